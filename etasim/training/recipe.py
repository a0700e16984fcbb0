"""What a training run is: everything that its weights depend on. Recipes are YAML files, as all inputs are."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from etasim.config.base import Batch, Section, Violation, require
from etasim.config.catalog import find_input
from etasim.config.errors import InputError
from etasim.config.reading import Document, KeyPath, Mark, SourceMap, merge, read_yaml
from etasim.config.validation import violations
from etasim.training.schedule import shape_of
from etasim.training.scheme import TrainingScheme, load_scheme

RECIPES = "configs/recipes"
GREATEST_RATE, BATCH_OF_GREATEST_RATE = 0.1, 32
"""Default learning rate: proportional to the batch (Goyal et al., "Accurate, large minibatch SGD", 2017) up to this one."""
SGD = "sgd"
FORMAT = 5
"""Of the checkpoint; another one means that the same recipe trained in another way."""


def _scheme(value: Any) -> Any:
    """A scheme by its name or file, or the mapping of one."""
    if not isinstance(value, str):
        return value
    try:
        return load_scheme(value)
    except InputError as error:
        raise PydanticCustomError("scheme", "{reason}", {"reason": "; ".join(str(error).splitlines())}) from None


Epochs = Annotated[int, Field(strict=True, ge=1, le=2**20)]
Samples = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(strict=True, min_length=1, max_length=4096)]


class Recipe(Section):
    """A run of ``epochs`` on ``network`` under ``scheme``.

    ``network``: a name, or ``package.module:callable`` of a PyTorch model that reads images of ``input`` (channels, height, width).
    ``learning_rate`` 0: batch / 320, at most 0.1. ``schedule`` (`etasim.training.schedule`) after ``warmup`` epochs of a rising rate.
    ``optimizer``: ``sgd``, which has ``momentum``, ``nesterov`` and 16-bit momentum, or a class of torch.optim with ``optimizer_options``.
    ``no_decay``: patterns of names of parameters that do not decay, besides scales, offsets and biases. ``clip``: greatest norm of all
    gradients together, 0: any. ``ema``: the test sees an average of the weights that keeps so much of itself each iteration, 0: none.
    ``augment``: how images are varied, or ``default`` (that of the source). ``train_samples`` and ``test_samples`` 0: all of them; else as
    many, evenly spaced (an experiment on few). The test runs after every ``evaluate_every`` epochs and after the last one.
    """

    network: Text
    scheme: Annotated[TrainingScheme, BeforeValidator(_scheme)]
    input: tuple[Annotated[int, Field(strict=True, ge=1, le=2**14)], ...] = (3, 32, 32)
    data: Text = "digits"
    augment: Literal["default", "none", "mirror-crop", "imagenet"] = "default"
    batch: Batch = 32
    epochs: Epochs = 10
    seed: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] = 0
    optimizer: Text = SGD
    optimizer_options: dict[str, StrictBool | int | float | tuple[float, ...]] = Field(default_factory=dict)
    learning_rate: Positive = 0.0
    schedule: Text = "cosine"
    warmup: Positive = 0.0
    momentum: Share = 0.9
    nesterov: StrictBool = False
    weight_decay: Positive = 1e-4
    no_decay: tuple[Text, ...] = ()
    label_smoothing: Share = 0.0
    clip: Positive = 0.0
    ema: Share = 0.0
    train_samples: Samples = 0
    test_samples: Samples = 0
    evaluate_every: Epochs = 1

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        require(_violations(self))
        return self

    @property
    def rate(self) -> float:
        """The greatest learning rate."""
        return self.learning_rate or GREATEST_RATE * min(self.batch / BATCH_OF_GREATEST_RATE, 1.0)

    def plain(self) -> dict[str, Any]:
        """As plain values; equal for equal recipes."""
        return self.model_dump(mode="json") | {"format": FORMAT}


def _violations(recipe: Recipe) -> Iterator[Violation]:
    try:
        shape_of(recipe.schedule)
    except ValueError as error:
        yield ("schedule",), str(error)
    if len(recipe.input) != 3:
        yield ("input",), f"must be channels, height and width, got {list(recipe.input)}"
    if recipe.warmup >= recipe.epochs:
        yield ("warmup",), f"must be less than the {recipe.epochs} epochs, got {recipe.warmup:g}"
    if recipe.nesterov and not recipe.momentum:
        yield ("nesterov",), "needs a momentum of more than 0"
    if recipe.optimizer == SGD and recipe.optimizer_options:
        yield ("optimizer_options",), "are for optimizers of torch.optim; momentum, nesterov and weight_decay are keys of their own"


def load_recipe(path_or_name: str | Path | None, given: Mapping[str, Any] = {}) -> Recipe:
    """The recipe of a YAML file or shipped name (None: of nothing), with the keys ``given`` in the place of its own.

    Raises InputError with all problems; one of ``given`` has the option of that name as its file.
    """
    empty = Document({}, SourceMap({(): Mark("recipe", None, "")}))
    document = empty if path_or_name is None else read_yaml(find_input(RECIPES, path_or_name), Recipe.keys())
    marks: dict[KeyPath, Mark] = {(key,): Mark("--" + key.replace("_", "-"), 1, "") for key in given}
    merged = merge(document, Document(dict(given), SourceMap(marks)))
    try:
        return Recipe.model_validate(merged.data)
    except ValidationError as error:
        raise InputError(sorted({merged.source.problem(*found) for found in violations(error, Recipe)}, key=str)) from None
