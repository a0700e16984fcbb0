"""What a recipe names: its device, batches, model and optimizer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from etasim.config.errors import InputError, Problem, allowed_names
from etasim.training.data import DEFAULT, BatchLoader, Images
from etasim.training.networks import NETWORKS, build_model
from etasim.training.optimizer import SGD, behind_master_weights, parameter_groups
from etasim.training.quantize import QuantizedModel
from etasim.training.recipe import SGD as OWN_SGD
from etasim.training.recipe import Recipe
from etasim.training.team import Team
from etasim.training.torch_import import load_model
from etasim.workload.layer import Shape

EVALUATION_BATCH = 128


def device_named(name: str, team: Team) -> str:
    """The device that ``name`` means: ``auto`` a GPU if there is one, in a team each process its own. Raises InputError for one that is not
    there."""
    if name == "auto":
        return (f"cuda:{team.local_rank}" if team.size > 1 else "cuda") if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):  # AssertionError: PyTorch is built without that kind of device
        raise InputError([Problem("--device", 1, name, "there is no such device here; allowed: auto, cpu, cuda, cuda:N")]) from None
    return name


def model_of(recipe: Recipe) -> tuple[Callable[[int], nn.Module], Shape]:
    """What makes the recipe's model for a number of classes, and the shape of the images that it reads. Raises InputError."""
    if recipe.network in NETWORKS:
        return (lambda classes: build_model(recipe.network, classes)), NETWORKS[recipe.network].input_shape
    if ":" not in recipe.network:
        raise InputError([Problem(recipe.network, 1, "", f"no such network; {allowed_names(recipe.network, NETWORKS)}")])
    shape = Shape(*recipe.input)

    def make(classes: int) -> nn.Module:
        model, _ = load_model(recipe.network)
        _check_output(model, recipe.network, shape, classes)
        return model

    return make, shape


@torch.no_grad()
def _check_output(model: nn.Module, name: str, shape: Shape, classes: int) -> None:
    """Raise InputError if ``model`` does not tell ``classes`` apart in an image of ``shape``."""
    was_training = model.training
    model.eval()
    try:
        found = tuple(model(torch.zeros(1, *shape)).shape)
    except Exception as error:  # the user's own code may raise anything
        reason = f"cannot read an image of {shape}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise InputError([Problem(name, None, "", f"{reason:.200}; --input CxHxW says what it reads")]) from None
    if found != (1, classes):
        raise InputError([Problem(name, None, "", f"gives values {list(found)} for an image, [1, {classes}] are expected")])
    model.train(was_training)


def loader_of(recipe: Recipe, images: Images, workers: int, team: Team) -> BatchLoader:
    """Batches as ``recipe`` says. Raises InputError for a batch larger than all images or one that ``team`` cannot share equally, and for
    what ``images`` cannot be varied by."""
    augment = images.augmentations[0] if recipe.augment == DEFAULT else recipe.augment
    if augment not in images.augmentations:
        allowed = f"{recipe.data} has {', '.join(sorted(images.augmentations))}"
        raise InputError([Problem("--augment", 1, augment, f"is not for these images: {allowed}")])
    samples, share = (recipe.train_samples, recipe.test_samples), (team.rank, team.size)
    loader = BatchLoader(images, augment, recipe.seed, (recipe.batch, EVALUATION_BATCH), workers, samples, share)
    if loader.n_train < recipe.batch:
        raise InputError([Problem("--batch", 1, "", f"{recipe.batch} samples, but there are only {loader.n_train} to train with")])
    if recipe.batch % team.size:
        raise InputError([Problem("--batch", 1, "", f"{recipe.batch} samples cannot be shared equally by {team.size} processes")])
    return loader


def optimizer_of(recipe: Recipe, model: QuantizedModel) -> torch.optim.Optimizer:
    """The recipe's optimizer for ``model``, with which its running scales learn. Raises InputError for one that PyTorch does not have, or
    that refuses its options."""
    optimizer = _named_optimizer(recipe, model)
    model.learn_before_steps(optimizer)
    return optimizer


def _named_optimizer(recipe: Recipe, model: QuantizedModel) -> torch.optim.Optimizer:
    try:
        groups = parameter_groups(model, recipe.weight_decay, recipe.no_decay)
    except ValueError as error:
        raise InputError([Problem("--no-decay", 1, "", str(error))]) from None
    if recipe.optimizer == OWN_SGD:
        return SGD(groups, recipe.scheme, recipe.rate, recipe.momentum, nesterov=recipe.nesterov, clock=model.clock)
    kinds = {name: kind for name, kind in vars(torch.optim).items() if isinstance(kind, type)}
    known: dict[str, Any] = {name: kind for name, kind in kinds.items() if issubclass(kind, torch.optim.Optimizer)}
    known = {name: kind for name, kind in known.items() if kind is not torch.optim.Optimizer and name != "LBFGS"}
    if recipe.optimizer not in known:
        raise InputError([Problem("--optimizer", 1, recipe.optimizer, f"unknown; {allowed_names(recipe.optimizer, [OWN_SGD, *known])}")])
    try:
        made = known[recipe.optimizer](groups, lr=recipe.rate, **recipe.optimizer_options)
    except (TypeError, ValueError) as error:
        raise InputError([Problem("optimizer_options", None, recipe.optimizer, str(error).splitlines()[0])]) from None
    return behind_master_weights(made, recipe.scheme, model.clock)
