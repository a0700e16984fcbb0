"""Progress on the terminal: share of the iteration done and speed of the simulator."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

COMPILING = "compiling kernels (once after an installation or a change)"


class SimulationProgress:
    """A bar for each simulation, on standard error and only where that is a terminal. Use as a context manager."""

    def __init__(self, compiling: bool):
        console = Console(stderr=True)
        self._waiting = COMPILING if compiling else "mapping"
        self._first: dict[int, tuple[float, int]] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "SimulationProgress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def add(self, name: str) -> Callable[[float, int], None]:
        """A new bar; call the returned function with (share done, simulated cycles)."""
        task = self._progress.add_task(name, total=1.0, speed=self._waiting)

        def update(fraction: float, cycles: int) -> None:
            self._progress.update(task, completed=fraction, speed=self._speed(task, cycles))

        return update

    def count(self, name: str, total: int) -> Callable[[str], None]:
        """A bar that counts finished items; call the returned function with a note as each one ends."""
        task = self._progress.add_task(name, total=total, speed="")
        return lambda note: self._progress.update(task, advance=1, speed=note)

    def _speed(self, task: int, cycles: int) -> str:
        """Cycles so far and cycles a second since the first report, which leaves compilation out."""
        now = time.monotonic()
        start, start_cycles = self._first.setdefault(task, (now, cycles))
        text = f"{cycles / 1e6:,.1f} M cycles"
        return f"{text}, {(cycles - start_cycles) / (now - start) / 1e6:.2f} M cycles/s" if now - start > 0.2 else text
