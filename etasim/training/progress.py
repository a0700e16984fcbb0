"""Progress of training on the terminal: bar, loss, accuracy, time left; a line an epoch where there is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from etasim.report.console import Verbosity, verbosity

if TYPE_CHECKING:
    from etasim.training.loop import Progress as Iteration


class TrainingProgress:
    """A bar over all iterations of a run. Use as a context manager."""

    def __init__(self, name: str, epochs: int) -> None:
        self._console = Console(stderr=True)
        columns = ("{task.description}", BarColumn(bar_width=30), TaskProgressColumn(), "{task.fields[note]}", TimeRemainingColumn())
        texts = [TextColumn(column) if isinstance(column, str) else column for column in columns]
        self._bar = Progress(*texts, console=self._console, disable=not self._console.is_terminal or verbosity() == Verbosity.QUIET)
        self._task = self._bar.add_task(name, note="")
        self._epochs = epochs

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def progressed(self, at: "Iteration") -> None:
        """After an iteration (`etasim.training.loop.Progress`)."""
        note = f"epoch {at.epoch}/{self._epochs}, loss {at.loss:.3f}, accuracy {at.accuracy:.1%}"
        self._bar.update(self._task, completed=at.done, total=at.total, note=note)

    def finished(self, row: dict[str, Any]) -> None:
        """After an epoch, with its row of metrics."""
        tested = "" if row["test_accuracy"] is None else f", test accuracy {row['test_accuracy']:.2%}"
        figures = f"train loss {row['train_loss']:.4f}{tested}"
        if verbosity() != Verbosity.QUIET:
            self._console.print(f"epoch {row['epoch']}/{self._epochs}: {figures}", highlight=False)


@contextmanager
def count_runs(total: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar that counts the finished runs of a grid; yields what to call with the row of each."""
    console = Console(stderr=True)
    columns = (TextColumn("runs"), BarColumn(bar_width=30), TaskProgressColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    is_quiet = verbosity() == Verbosity.QUIET
    with Progress(*columns, console=console, disable=not console.is_terminal or is_quiet) as bar:
        task = bar.add_task("runs", total=total, note="")

        def finished(row: dict[str, Any]) -> None:
            result = row["reason"] if row["test_accuracy"] is None else f"{row['test_accuracy']:.2%}"
            note = f"{row['scheme']}, {row['norm']}, batch {row['batch']}, seed {row['seed']}: {result}"
            bar.update(task, advance=1, note=note)
            if not console.is_terminal and not is_quiet:
                console.print(note, highlight=False)

        yield finished
