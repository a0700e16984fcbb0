"""Training a network: epochs, evaluation, a checkpoint after each; resumable at any moment."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import cos, isfinite, pi
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.nn import functional

from etasim.config.errors import InputError, Problem
from etasim.report.staging import reserved_folder
from etasim.training import checkpoint
from etasim.training.data import DEFAULT, BatchLoader, Images, load_images
from etasim.training.networks import build_model, network_named
from etasim.training.optimizer import SGD, parameter_groups
from etasim.training.quantize import QuantizedModel, quantize_model
from etasim.training.quantizer import NOT_FINITE, NotFiniteError
from etasim.training.recipe import Recipe
from etasim.training.torch_import import trace_model
from etasim.workload import dump_network

EVALUATION_BATCH = 128
Row = dict[str, Any]


class Progress(NamedTuple):
    """After an iteration: ``done`` of ``total`` iterations, ``epoch`` (from 1), mean ``loss`` and ``accuracy`` of the epoch so far."""

    done: int
    total: int
    epoch: int
    loss: float
    accuracy: float


class Trainer:
    """One training run. Raises InputError for a recipe that cannot be: unknown names, data that is missing or damaged."""

    def __init__(self, recipe: Recipe, workers: int = 0) -> None:
        self.recipe = recipe
        architecture = network_named(recipe.network)
        images: Images = load_images(recipe.data, architecture.input_shape)
        self._loader = _loader(recipe, images, workers)
        torch.manual_seed(recipe.seed)
        model = build_model(recipe.network, images.classes)
        self.network = trace_model(model, architecture.input_shape, recipe.network).network
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model: QuantizedModel = quantize_model(model, recipe.scheme, recipe.seed).to(device)
        groups = parameter_groups(self.model, recipe.weight_decay)
        self.optimizer = SGD(groups, recipe.scheme, recipe.rate, recipe.momentum)
        self._device = device
        self.epoch = 0
        self.history: list[Row] = []

    @property
    def iterations_per_epoch(self) -> int:
        """Full batches; the samples that are left over are others in each epoch."""
        return self._loader.per_epoch

    # State ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Content of a checkpoint."""
        return {
            "recipe": self.recipe.plain(),
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.epoch, self.history = content["epoch"], content["history"]
        self.model.clock.iteration = self.epoch * self.iterations_per_epoch

    def arrays(self) -> dict[str, Any]:
        """Content of state.npz: what the next iteration starts from, and its samples."""
        momentum: dict[Any, torch.Tensor] = {p: state["momentum"] for p, state in self.optimizer.state.items()}
        images, labels = self._loader.batch(self.epoch, 0)
        samples = {"inputs": images.double().numpy(), "labels": labels.numpy()}
        return checkpoint.state_arrays(self.model, momentum, self.recipe.batch) | samples

    # Epochs --------------------------------------------------------------------------------------------------------

    def train_epoch(self, progressed: Callable[[Progress], None]) -> Row:
        """Train one epoch and evaluate. Raises InputError if a tensor holds NaN or infinity; names the first."""
        self.model.train()
        total = self.recipe.epochs * self.iterations_per_epoch
        losses, right = 0.0, 0
        for number, (images, labels) in enumerate(self._loader.epoch(self.epoch), 1):
            done = self.epoch * self.iterations_per_epoch + number
            rate = self.recipe.rate * (1 + cos(pi * (done - 1) / total)) / 2
            loss, n_right = self._iteration(images.to(self._device), labels.to(self._device), rate, done)
            losses, right = losses + loss, right + n_right
            progressed(Progress(done, total, self.epoch + 1, losses / number, right / number / self.recipe.batch))
        self.epoch += 1
        n = self.iterations_per_epoch
        found = {"train_loss": losses / n, "train_accuracy": right / n / self.recipe.batch}
        row = {"epoch": self.epoch, "iteration": self.epoch * n, "learning_rate": rate, **found}
        self.history.append(row | dict(zip(("test_loss", "test_accuracy"), self._test(), strict=True)))
        return self.history[-1]

    def _test(self) -> tuple[float, float] | tuple[None, None]:
        """Loss and accuracy, if the epoch is one that is evaluated. Raises InputError if they are not finite."""
        if self.epoch % self.recipe.evaluate_every and self.epoch != self.recipe.epochs:
            return None, None
        with self._finite(f"after iteration {self.epoch * self.iterations_per_epoch}"):
            loss, accuracy = self.evaluate()
            if not isfinite(loss):
                raise NotFiniteError(first_not_finite(self.model, next(self._loader.test())[0].to(self._device)))
        return loss, accuracy

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Mean loss and accuracy of the test images."""
        self.model.eval()
        losses, right, n = 0.0, 0, self._loader.n_test
        for batch in self._loader.test():
            images, labels = (tensor.to(self._device) for tensor in batch)
            logits = self.model(images)
            losses += float(functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(1) == labels).sum())
        return losses / n, right / n

    def _iteration(self, images: torch.Tensor, labels: torch.Tensor, rate: float, number: int) -> tuple[float, int]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        with self._finite(f"in iteration {number}"):
            logits = self.model(images)
            loss = functional.cross_entropy(logits, labels)
            if not isfinite(loss.item()):
                raise NotFiniteError(first_not_finite(self.model, images))
            loss.backward()
            self.optimizer.step()
        self.model.clock.iteration = number
        return loss.item(), int((logits.detach().argmax(1) == labels).sum())

    @contextmanager
    def _finite(self, when: str) -> Iterator[None]:
        """Report a tensor that is not finite as bad input."""
        try:
            yield
        except NotFiniteError as error:
            hint = f"{NOT_FINITE} first, {when}; earlier checkpoints are kept, a lower --learning-rate may help"
            raise InputError([Problem(self.recipe.network, 1, error.tensor or _first_gradient(self.model), hint)]) from None


def _loader(recipe: Recipe, images: Images, workers: int) -> BatchLoader:
    """Batches as ``recipe`` says. Raises InputError for a batch larger than all images, and for what ``images`` cannot be varied by."""
    augment = images.augmentations[0] if recipe.augment == DEFAULT else recipe.augment
    if augment not in images.augmentations:
        allowed = f"{recipe.data} has {', '.join(sorted(images.augmentations))}"
        raise InputError([Problem("--augment", 1, augment, f"is not for these images: {allowed}")])
    samples = (recipe.train_samples, recipe.test_samples)
    loader = BatchLoader(images, augment, recipe.seed, (recipe.batch, EVALUATION_BATCH), workers, samples)
    if loader.n_train < recipe.batch:
        raise InputError([Problem("--batch", 1, "", f"{recipe.batch} samples, but there are only {loader.n_train} to train with")])
    return loader


class _Watch(fx.Interpreter):
    """Runs a model and notes the first tensor that is not finite."""

    first: str | None = None

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        if self.first is None and isinstance(result, torch.Tensor) and not torch.isfinite(result).all():
            self.first = node.name
        return result


@torch.no_grad()
def first_not_finite(model: QuantizedModel, images: torch.Tensor) -> str:
    """Name of the first tensor with NaN or infinity: a parameter, or what a layer makes of ``images``; else the loss."""
    for name, parameter in model.body.named_parameters():
        if not torch.isfinite(parameter).all():
            return name
    watch = _Watch(model.body)
    watch.run(images)
    return watch.first or "loss"


def _first_gradient(model: QuantizedModel) -> str:
    """Which tensor made an update impossible."""
    gradients = ((name, parameter.grad) for name, parameter in model.body.named_parameters())
    bad = next((name for name, gradient in gradients if gradient is not None and not torch.isfinite(gradient).all()), None)
    return "an updated weight" if bad is None else f"the gradient of {bad}"


def train(
    recipe: Recipe,
    folder: Path,
    resume: bool = False,
    progressed: Callable[[Progress], None] = lambda progress: None,
    finished: Callable[[Row], None] = lambda row: None,
    workers: int = 0,
) -> list[Row]:
    """Train into ``folder``: checkpoint, metrics and state after every epoch; ``workers``: processes that read images ahead, 0: none.
    Returns one row an epoch, whose figures of the test are None where it did not run.

    Raises InputError for bad input, if ``folder`` has a checkpoint and ``resume`` is False, and if somebody else trains there.
    """
    with reserved_folder(folder):
        exists = (folder / checkpoint.CHECKPOINT).exists()
        if exists and not resume:
            message = "exists; --resume continues that run, another --out starts a new one"
            raise InputError([Problem(str(folder / checkpoint.CHECKPOINT), 1, "", message)])
        content = checkpoint.read_checkpoint(folder, recipe) if exists else None
        trainer = Trainer(recipe, workers)
        checkpoint.write_text(folder / checkpoint.TRACE, dump_network(trainer.network))
        checkpoint.write_recipe(folder, recipe, recipe.epochs * trainer.iterations_per_epoch)
        if content is not None:
            trainer.restore(content)
            _write_figures(trainer, folder)  # the run may have ended between its checkpoint and these
        while trainer.epoch < recipe.epochs:
            row = trainer.train_epoch(progressed)
            checkpoint.write_checkpoint(folder, trainer.state())
            _write_figures(trainer, folder)
            finished(row)
    return trainer.history


def _write_figures(trainer: Trainer, folder: Path) -> None:
    """Write what follows from a checkpoint."""
    checkpoint.write_metrics(folder, trainer.history)
    checkpoint.write_state(folder, trainer.arrays())
