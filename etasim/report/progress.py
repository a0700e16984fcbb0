"""Progress on the terminal: share of the iteration done and speed of the simulator."""

import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from etasim.report.console import Verbosity, verbosity

COMPILING = "compiling kernels (once after an installation or a change)"
WITHOUT_CACHE = "compiling kernels (each time: no folder for machine code can be written; NUMBA_CACHE_DIR can name one)"
WAITING = "waiting"
SECONDS_OF_A_LINE = {Verbosity.NORMAL: 10.0, Verbosity.VERBOSE: 1.0}
"""Between two lines where no bars can be drawn."""
SHORTEST_SECONDS = 0.2
"""Below this, a speed would be noise."""


class SimulationProgress:
    """Bars on standard error where that is a terminal, or in a notebook; elsewhere a line every 10 seconds, every second if much is to be
    said. Nothing if little is.

    Use as a context manager.
    """

    def __init__(self, compiling: bool):
        self._console = Console(stderr=True)
        self._has_bars = self._console.is_terminal or self._console.is_jupyter
        self._is_quiet = verbosity() == Verbosity.QUIET
        self._notice = _notice() if compiling else ""
        self._said = time.monotonic()
        self._first: dict[int, tuple[float, int]] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=self._is_quiet or not self._has_bars,
        )

    def __enter__(self) -> "SimulationProgress":
        if self._notice and not self._has_bars and not self._is_quiet:
            self._console.print(self._notice, soft_wrap=True)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def add(self, name: str) -> Callable[[float, int], None]:
        """A new bar; call the returned function with (share done, simulated cycles)."""
        task = self._progress.add_task(name, total=1.0, note=self._notice or WAITING)

        def update(fraction: float, cycles: int) -> None:
            self._compiled()
            self._progress.update(task, completed=fraction, note=self._speed(task, cycles))
            self._say()

        return update

    def stage(self, what: str) -> None:
        """Say what is done when no cycles are simulated."""
        for task in self._progress.task_ids:
            self._progress.update(task, note=f"{what}; {self._notice}" if self._notice else what)

    def count(self, name: str, total: int) -> Callable[[str], None]:
        """A bar that counts finished items; call the returned function with a note as each one ends."""
        task = self._progress.add_task(name, total=total, note=self._notice)

        def ended(note: str) -> None:
            self._progress.update(task, advance=1, note=note)
            self._say()

        return ended

    def rates(self, totals: Mapping[str, int]) -> Callable[[str, int], None]:
        """A bar for each of ``totals``; call the returned function with a fidelity (the estimate counts for the first bar, the cycle model
        for the last) and the number of items that have ended. Each bar says how many there are a second, and the time that is left."""
        tasks = [self._progress.add_task(name, total=total, note="", visible=False) for name, total in totals.items()]
        first: dict[int, float] = {}

        def ended(fidelity: str, items: int) -> None:
            task = tasks[0] if fidelity == "analytical" else tasks[-1]
            started = first.setdefault(task, time.monotonic())
            done = self._progress.tasks[task].completed + items
            rate = done / max(time.monotonic() - started, SHORTEST_SECONDS)
            left_s = max((self._progress.tasks[task].total or 0) - done, 0) / rate if rate else 0
            self._progress.update(task, advance=items, visible=True, note=f"{rate:,.1f}/s, {left_s:,.0f} s left")
            self._say()

        return ended

    def _say(self) -> None:
        """A line about everything that goes on, where there are no bars, if the last one is long enough ago."""
        now = time.monotonic()
        if self._has_bars or self._is_quiet or now - self._said < SECONDS_OF_A_LINE[verbosity()]:
            return
        self._said = now
        seen = (task for task in self._progress.tasks if task.visible)
        parts = [f"{task.description} {task.percentage:.0f} % {task.fields['note']}".rstrip() for task in seen]
        self._console.print("; ".join(parts), soft_wrap=True, markup=False, highlight=False)

    def _compiled(self) -> None:
        """The first cycle that is reported means that compilation is over, for every bar."""
        if self._notice:
            self._notice = ""
            for task in self._progress.task_ids:
                self._progress.update(task, note=WAITING)

    def _speed(self, task: int, cycles: int) -> str:
        """Cycles so far and cycles a second since the first report, which leaves compilation out."""
        now = time.monotonic()
        start, start_cycles = self._first.setdefault(task, (now, cycles))
        text = f"{cycles / 1e6:,.1f} M cycles"
        return f"{text}, {(cycles - start_cycles) / (now - start) / 1e6:.2f} M cycles/s" if now - start > SHORTEST_SECONDS else text


def progress() -> SimulationProgress:
    """Bars for a Python session: ``with etasim.progress() as bars: etasim.simulate(..., progress=bars.add("resnet20_cifar"))``."""
    from etasim.machine import start_compiling

    return SimulationProgress(start_compiling())


def _notice() -> str:
    """What to say while kernels are compiled."""
    from etasim.core.jit import cache_folder

    return COMPILING if cache_folder() else WITHOUT_CACHE
