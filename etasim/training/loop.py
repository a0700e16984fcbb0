"""Training a network: epochs, evaluation, checkpoints; resumable at any moment."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import distributed
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from etasim.config.errors import InputError, Problem
from etasim.report.staging import reserved_folder, write_text
from etasim.report.store import csv_text
from etasim.training import checkpoint
from etasim.training.average import WeightAverage
from etasim.training.data import BatchLoader, load_images
from etasim.training.prepare import device_named, loader_of, model_of, optimizer_of
from etasim.training.quantize import QuantizedModel, quantize_model
from etasim.training.quantizer import NOT_FINITE, NotFiniteError
from etasim.training.recipe import Recipe
from etasim.training.schedule import rate_at
from etasim.training.statistics import COLUMNS as STATISTICS_COLUMNS
from etasim.training.statistics import TensorStatistics
from etasim.training.team import Team, joined
from etasim.training.torch_import import trace_model
from etasim.training.watch import first_gradient, first_not_finite, greatest_before, look_at
from etasim.workload import dump_network

Row = dict[str, Any]


class Progress(NamedTuple):
    """After an iteration: ``done`` of ``total`` iterations, ``epoch`` (from 1), mean ``loss`` and ``accuracy`` of the epoch so far."""

    done: int
    total: int
    epoch: int
    loss: float
    accuracy: float


class Running(NamedTuple):
    """How a recipe is trained, which the weights do not depend on (but for the order of sums): ``device`` (auto: a GPU if there is one),
    ``workers`` that read images ahead, ``checkpoint_every`` so many iterations within an epoch (0: at its end only), ``statistics_every``
    so many iterations what rounding does to each tensor is noted (0: never), ``team`` of processes; ``defers``: numbers are read from the
    device once an iteration instead of once a tensor (None: if the device is not this processor)."""

    device: str = "auto"
    workers: int = 0
    checkpoint_every: int = 0
    statistics_every: int = 0
    team: Team = Team()
    defers: bool | None = None


PLAINLY = Running()
"""One process, the usual device, a checkpoint after each epoch."""


class Trainer:
    """One training run. Raises InputError for a recipe that cannot be: unknown names, data that is missing or damaged."""

    def __init__(self, recipe: Recipe, running: Running = PLAINLY) -> None:
        self.recipe, self._team = recipe, running.team
        self._device = device_named(running.device, running.team)
        made, shape = model_of(recipe)
        images = load_images(recipe.data, shape)
        self._loader: BatchLoader = loader_of(recipe, images, running.workers, running.team)
        torch.manual_seed(recipe.seed)
        model = made(images.classes)
        self.network = trace_model(model, shape, recipe.network).network
        self.model: QuantizedModel = quantize_model(model, recipe.scheme, recipe.seed).to(self._device)
        defers = self._device != "cpu" if running.defers is None else running.defers
        self.model.clock.greatest = {} if defers else None
        self.model.clock.share = (running.team.rank, running.team.size)
        self.optimizer = optimizer_of(recipe, self.model)
        self.average = WeightAverage(self.model, recipe.ema)
        self._parallel = DistributedDataParallel(self.model) if running.team.size > 1 else self.model
        self.epoch, self.position, self._sums = 0, 0, [0.0, 0.0]
        self.history: list[Row] = []
        self.statistics, self._statistics_every = TensorStatistics(self.model), running.statistics_every

    @property
    def iterations_per_epoch(self) -> int:
        """Full batches; the samples that are left over are others in each epoch."""
        return self._loader.per_epoch

    # State ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Content of a checkpoint: ``epoch`` epochs and ``position`` iterations of the next one are done."""
        return {
            "recipe": self.recipe.plain(),
            "epoch": self.epoch,
            "position": self.position,
            "sums": self._sums,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state(),
            "random": [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if self._device.startswith("cuda") else [])],
            "history": self.history,
            "statistics": self.statistics.rows,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.average.restore(content["average"])
        self.epoch, self.position, self._sums = content["epoch"], content["position"], list(content["sums"])
        self.history, self.statistics.rows = content["history"], content["statistics"]
        self.model.clock.iteration = self._done
        torch.set_rng_state(content["random"][0])
        if self._device.startswith("cuda") and len(content["random"]) > 1:
            torch.cuda.set_rng_state(content["random"][1])

    def best(self) -> dict[str, Any] | None:
        """Content of best.pt, if the last test was better than all before: the weights that it saw."""
        tested = [row["test_accuracy"] for row in self.history if row["test_accuracy"] is not None]
        if not tested or self.history[-1]["test_accuracy"] is None or tested[-1] <= max(tested[:-1], default=-1):
            return None
        with self.average.in_place():
            model = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in self.model.state_dict().items()}
        return {"recipe": self.recipe.plain(), "model": model, **self.history[-1]}

    def arrays(self) -> dict[str, Any]:
        """Content of state.npz: what the next iteration starts from, and its samples."""
        momentum: dict[Any, torch.Tensor] = {p: state["momentum"] for p, state in self.optimizer.state.items() if "momentum" in state}
        images, labels = self._loader.batch(self.epoch, self.position)
        samples = {"inputs": images.double().numpy(), "labels": labels.numpy()}
        return checkpoint.state_arrays(self.model, momentum, self.recipe.batch) | samples

    @property
    def _done(self) -> int:
        return self.epoch * self.iterations_per_epoch + self.position

    # Epochs --------------------------------------------------------------------------------------------------------

    def train_epoch(self, progressed: Callable[[Progress], None], moved: Callable[[], None] = lambda: None) -> Row:
        """Train what is left of an epoch, and evaluate; ``moved`` is called after each iteration but the last. Raises InputError if a
        tensor holds NaN or infinity; names the first."""
        self.model.train()
        recipe, n = self.recipe, self.iterations_per_epoch
        for images, labels in self._loader.epoch(self.epoch, self.position):
            rate = self._rate()
            number = self._done + 1
            is_watched = self._statistics_every and number % self._statistics_every == 0
            with self.statistics.watched(number) if is_watched else nullcontext():
                loss, right = self._iteration(images.to(self._device), labels.to(self._device), rate)
            self._sums = [self._sums[0] + loss, self._sums[1] + right]
            self.position += 1
            mean = self._sums[0] / self.position, self._sums[1] / self.position / recipe.batch
            progressed(Progress(self._done, recipe.epochs * n, self.epoch + 1, *mean))
            if self.position < n:
                moved()
        found = {"learning_rate": self._rate(-1), "train_loss": self._sums[0] / n, "train_accuracy": self._sums[1] / n / recipe.batch}
        self.epoch, self.position, self._sums = self.epoch + 1, 0, [0.0, 0.0]
        row = {"epoch": self.epoch, "iteration": self._done, **found}
        self.history.append(row | dict(zip(("test_loss", "test_accuracy"), self._test(), strict=True)))
        return self.history[-1]

    def _rate(self, further: int = 0) -> float:
        recipe, n = self.recipe, self.iterations_per_epoch
        return recipe.rate * rate_at(recipe.schedule, recipe.warmup, recipe.epochs, n, self._done + further)

    def _test(self) -> tuple[float, float] | tuple[None, None]:
        """Loss and accuracy, if the epoch is one that is evaluated. Raises InputError if they are not finite."""
        if self.epoch % self.recipe.evaluate_every and self.epoch != self.recipe.epochs:
            return None, None
        with self._finite(f"after iteration {self._done}"):
            loss, accuracy = self.evaluate()
            if not isfinite(loss):
                raise NotFiniteError(first_not_finite(self.model, next(self._loader.test())[0].to(self._device)))
        return loss, accuracy

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Mean loss and accuracy of the test images, under the averaged weights if there are some."""
        self.model.eval()
        if self._team.size > 1:
            for buffer in self.model.buffers():
                distributed.broadcast(buffer, 0)
        sums = [0.0, 0.0]
        with self.average.in_place():
            for batch in self._loader.test():
                images, labels = (tensor.to(self._device) for tensor in batch)
                logits = self.model(images)
                loss = functional.cross_entropy(logits, labels, reduction="sum")
                found = look_at(self.model, loss, (logits.argmax(1) == labels).sum())
                sums = [sum(pair) for pair in zip(sums, found, strict=True)]
        loss_sum, right = self._team.total(sums)
        return loss_sum / self._loader.n_test, right / self._loader.n_test

    def _iteration(self, images: torch.Tensor, labels: torch.Tensor, rate: float) -> list[float]:
        """Loss of the batch and how many of its images were told right."""
        number = self._done + 1
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        with self._finite(f"in iteration {number}"):
            logits = self._parallel(images)
            loss = functional.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
            if self.model.clock.greatest is None and not isfinite(loss.item()):
                raise NotFiniteError(first_not_finite(self.model, images))
            loss.backward()
            found = look_at(self.model, loss, (logits.detach().argmax(1) == labels).sum())
            if not isfinite(found[0]):
                raise NotFiniteError(first_not_finite(self.model, images))
            if self.recipe.clip:
                clip_grad_norm_(self.model.parameters(), self.recipe.clip)
            self.optimizer.step()
            look_at(self.model)
        self.average.update()
        self.model.clock.iteration = number
        loss_sum, right = self._team.total(found)
        return [loss_sum / self._team.size, right]

    @contextmanager
    def _finite(self, when: str) -> Iterator[None]:
        """Report a tensor that is not finite as bad input."""
        try:
            yield
        except NotFiniteError as error:
            tensor = error.tensor or first_gradient(self.model)
            before = greatest_before(self.model, tensor)
            grew = "" if before is None else f" (its greatest value was {before:.3g} when it was last rounded)"
            hint = f"{NOT_FINITE} first, {when}{grew}; earlier checkpoints are kept, a lower --learning-rate may help"
            raise InputError([Problem(self.recipe.network, 1, tensor, hint)]) from None


def train(
    recipe: Recipe,
    folder: Path,
    resume: bool = False,
    progressed: Callable[[Progress], None] = lambda progress: None,
    finished: Callable[[Row], None] = lambda row: None,
    running: Running = PLAINLY,
) -> list[Row]:
    """Train into ``folder``: checkpoint, metrics and state after every epoch, and the best weights so far. Returns one row an epoch, whose
    figures of the test are None where it did not run.

    Raises InputError for bad input, if ``folder`` has a checkpoint and ``resume`` is False, and if somebody else trains there.
    """
    leads = running.team.leads
    with ExitStack() as stack:
        stack.enter_context(joined(running.team, device_named(running.device, running.team)))
        stack.enter_context(reserved_folder(folder) if leads else nullcontext())
        exists = (folder / checkpoint.CHECKPOINT).exists()
        if exists and not resume:
            message = "exists; --resume continues that run, another --out starts a new one"
            raise InputError([Problem(str(folder / checkpoint.CHECKPOINT), 1, "", message)])
        content = checkpoint.read_checkpoint(folder, recipe) if exists else None
        trainer = Trainer(recipe, running)
        if leads:
            write_text(folder / checkpoint.TRACE, dump_network(trainer.network))
            checkpoint.write_recipe(folder, recipe, recipe.epochs * trainer.iterations_per_epoch)
        if content is not None:
            trainer.restore(content)
            _write_figures(trainer, folder, leads)  # the run may have ended between its checkpoint and these

        def moved() -> None:
            if leads and running.checkpoint_every and trainer.position % running.checkpoint_every == 0:
                checkpoint.write_checkpoint(folder, trainer.state())

        while trainer.epoch < recipe.epochs:
            row = trainer.train_epoch(progressed, moved)
            if leads:
                best = trainer.best()
                if best is not None:
                    checkpoint.write_checkpoint(folder, best, checkpoint.BEST)
                checkpoint.write_checkpoint(folder, trainer.state())
            _write_figures(trainer, folder, leads)
            finished(row)
    return trainer.history


def _write_figures(trainer: Trainer, folder: Path, leads: bool) -> None:
    """Write what follows from a checkpoint."""
    if leads:
        checkpoint.write_metrics(folder, trainer.history)
        checkpoint.write_state(folder, trainer.arrays())
        if trainer.statistics.rows:
            write_text(folder / checkpoint.STATISTICS, csv_text(STATISTICS_COLUMNS, trainer.statistics.rows))
