"""Training schemes as YAML: the format of each class of tensors, the normalization, where exponents come from."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from etasim.config.base import Count, Delay, Name, Section, require
from etasim.config.catalog import find_input
from etasim.config.errors import InputError
from etasim.config.loading import apply_overrides
from etasim.config.reading import Document, Mark, SourceMap, read_yaml
from etasim.config.validation import violations
from etasim.numerics.format import TableFormat, data_format
from etasim.numerics.scheme import CHANNELS_OF_A_GROUP

SCHEMES = "configs/schemes"
BATCH, OWN = "batch", "own"


def _known_format(name: str) -> str:
    try:
        data_format(name)
    except ValueError as error:
        raise PydanticCustomError("format", "{reason}", {"reason": str(error)}) from None
    return name


FormatName = Annotated[str, Field(strict=True), AfterValidator(_known_format)]


class TensorClass(Section):
    """How the tensors of a class are rounded; ``axis``: along which the blocks of a format with blocks run (the last one of a tensor that
    has fewer), for products that add up that axis."""

    format: FormatName
    rounding: Literal["nearest", "stochastic"] = "nearest"
    axis: Annotated[int, Field(strict=True, ge=0, le=3)] = 1

    @model_validator(mode="after")
    def _consistent(self) -> "TensorClass":
        found = data_format(self.format)
        if self.rounding == "stochastic" and (isinstance(found.code, TableFormat) or found.block is not None):
            require([(("rounding",), f"the codes of {self.format} are rounded to nearest")])
        return self


class NormalizationChoice(Section):
    """What takes the place of batch normalization; ``group``: channels that share statistics, but of ``running_l1``.

    ``batch`` keeps batch normalizations and ``own`` all normalizations as they are, with all attributes; neither uses ``group``.
    """

    kind: Literal["l1_group", "running_l1", "range", "l2_group", "batch", "own"] = "l1_group"
    group: Count = CHANNELS_OF_A_GROUP


_EXACT = TensorClass(format="fp32")


class LayerRule(Section):
    """Other formats for the units (a layer with its normalization and ReLU) whose name fits ``match``, a pattern such as ``block1_*``."""

    match: Annotated[str, Field(strict=True, min_length=1, max_length=200)]
    activation: TensorClass | None = None
    weight: TensorClass | None = None
    error: TensorClass | None = None
    weight_gradient: TensorClass | None = None
    sum: TensorClass | None = None
    parameter: TensorClass | None = None


class TrainingScheme(Section):
    """Formats of a training run.

    ``activation``, ``weight``, ``error``: what the array multiplies. ``weight_gradient``: gradients of weights and parameters. ``sum``:
    sums before normalization, and errors before they are encoded. ``master_weight``: weights and parameters between updates. ``momentum``.
    ``parameter``: scales, offsets and biases as they are read. ``update``: what a step subtracts, before the learning rate multiplies it;
    ``update_scale``: in its own scale, or over the power of two of its greatest value, so that the rate is the greatest change.
    ``exponents``: of each tensor's own values, or the greatest of the ``history`` iterations before plus ``exponent_margin`` (the machine's
    ``history`` is 1). ``second_direction``: of formats with blocks, how products read them that add up another axis: from a second set,
    made of the values or of the first set's codes, or from squares. ``layers``: exceptions by unit; a later one counts before an earlier
    one.
    """

    name: Name
    activation: TensorClass = _EXACT
    weight: TensorClass = _EXACT
    error: TensorClass = _EXACT
    weight_gradient: TensorClass = _EXACT
    sum: TensorClass = _EXACT
    master_weight: TensorClass = _EXACT
    momentum: TensorClass = _EXACT
    parameter: TensorClass = _EXACT
    update: TensorClass = _EXACT
    update_scale: Literal["own", "greatest"] = "own"
    normalization: NormalizationChoice = NormalizationChoice()
    exponents: Literal["own", "previous"] = "own"
    exponent_margin: Delay = 0
    history: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    second_direction: Literal["copy", "requantise", "square"] = "copy"
    layers: tuple[LayerRule, ...] = ()

    def tensors(self, tensor_class: str, unit: str) -> TensorClass:
        """How tensors of ``tensor_class`` are rounded in the unit called ``unit``."""
        fitting = (getattr(rule, tensor_class) for rule in reversed(self.layers) if fnmatchcase(unit, rule.match))
        found: TensorClass = next((tensors for tensors in fitting if tensors is not None), getattr(self, tensor_class))
        return found

    def resolved(self) -> dict[str, Any]:
        """Everything in YAML form; equal for equal schemes."""
        return self.model_dump(mode="json")

    def changed(self, overrides: Sequence[str] | Mapping[str, Any]) -> "TrainingScheme":
        """With ``key.path=value`` overrides, as `load_scheme` has them; InputError lists what is wrong with them."""
        return _built(Document(self.resolved(), SourceMap({(): Mark(self.name, None, "")})), overrides)


def load_scheme(path_or_name: str | Path, overrides: Sequence[str] | Mapping[str, Any] = ()) -> TrainingScheme:
    """The scheme of a YAML file or shipped name, with ``key.path=value`` overrides; InputError has all problems, each with its line."""
    return _built(read_yaml(find_input(SCHEMES, path_or_name), TrainingScheme.keys()), overrides)


def _built(document: Document, overrides: Sequence[str] | Mapping[str, Any]) -> TrainingScheme:
    document = apply_overrides(document, overrides)
    try:
        return TrainingScheme.model_validate(document.data)
    except ValidationError as error:
        raise InputError(sorted({document.source.problem(*found) for found in violations(error, TrainingScheme)})) from None
