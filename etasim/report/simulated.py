"""`etasim.simulate`: the simulation, with a result that prints, draws and saves itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, wraps
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec

from etasim.machine import simulation
from etasim.machine.inputs import FunctionalInputs
from etasim.machine.result import RunResult, TypedRow
from etasim.report.metrics import layer_rows, summary
from etasim.report.reading import StoredResult, read_results
from etasim.report.run_info import run_info
from etasim.report.session import InSession
from etasim.report.store import components, doubts_of, write_results


class Result(InSession, RunResult):
    """A simulated iteration: what `RunResult` says, and what `InSession` does. ``wall_seconds``: how long the simulation took."""

    wall_seconds: float
    _begun_with: FunctionalInputs | None

    @classmethod
    def of(cls, result: RunResult, wall_seconds: float, begun_with: FunctionalInputs | None = None) -> "Result":
        """``result``, which took ``wall_seconds`` to simulate; ``begun_with``: the values it started from."""
        made = cls(**{name: getattr(result, name) for name in RunResult.__dataclass_fields__})
        made.__dict__.update(wall_seconds=wall_seconds, _begun_with=begun_with)
        return made

    @property
    def summary(self) -> TypedRow:
        """Figures of the iteration by the names of the glossary (`etasim explain NAME`): throughput, time, traffic, energy, ..."""
        return self.stored.summary

    @cached_property
    def stored(self) -> StoredResult:  # type: ignore[override]  # what it becomes when it is first asked for
        """The figures as its files have them."""
        names = self.architecture.name, self.network.name, self.fidelity
        return StoredResult(Path(), *names, summary(self), components(self), layer_rows(self), tuple(doubts_of(self)))

    @contextmanager
    def in_a_folder(self) -> Iterator[StoredResult]:
        """The result, saved in a folder that goes afterwards."""
        with TemporaryDirectory() as folder:
            self.save(Path(folder) / "result")
            yield read_results(Path(folder) / "result")

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write the files that `etasim run --out` writes (docs/outputs.md), and arrays that the values began with as ``tensors.npz``.

        Raises OSError if the folder cannot be written, InputError if it holds a result already; with ``force`` that goes.
        """
        write_results(self, Path(folder), run_info(self, self.wall_seconds), self._begun_with, force)
        return Path(folder)


_Arguments = ParamSpec("_Arguments")


def _in_session(function: Callable[_Arguments, RunResult]) -> Callable[_Arguments, Result]:
    """``function``, with a result that can do more."""

    @wraps(function)
    def timed(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> Result:
        started = time.perf_counter()
        result = function(*arguments, **options)
        given: dict[str, Any] = {name: options[name] for name in ("seed", "iterations") if name in options}
        begun_with = None if result.values is None else FunctionalInputs(**given, arrays=options.get("tensors") or {})  # type: ignore[arg-type]
        return Result.of(result, time.perf_counter() - started, begun_with)

    timed.__module__ = __name__
    timed.__signature__ = signature(function).replace(return_annotation=Result)  # type: ignore[attr-defined]  # of any function
    return timed



simulate = _in_session(simulation.simulate)
