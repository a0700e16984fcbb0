"""One simulation as a job: inputs in, summary or the reason why there is none out."""

import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from etasim.explore.workers import Progress
from etasim.machine.inputs import Inputs
from etasim.machine.result import TypedRow, Value
from etasim.pe.causes import CAUSE_COLUMNS, CAUSES
from etasim.report.metrics import rounded, summary, total

Status = Literal["ok", "infeasible", "failed"]


class Evaluation(NamedTuple):
    """Outcome of one design point; ``summary`` is empty unless ``status`` is ok, else ``reason`` says why. ``phase_cycles``: by phase;
    ``cluster_cycles``: by what a cluster does with them, None where only a simulation knows."""

    status: Status
    reason: str = ""
    summary: Mapping[str, Value] | None = None
    wall_seconds: float | None = None
    phase_cycles: dict[str, int] | None = None
    cluster_cycles: dict[str, int | None] | None = None

    @property
    def figures(self) -> TypedRow:
        """The summary, empty if there is none."""
        return TypedRow(self.summary or {})


def evaluate(inputs: Inputs, progress: Progress) -> Evaluation:
    """Simulate ``inputs``. A machine that cannot run the network is infeasible; one that breaks its own rules failed."""
    from etasim import machine
    from etasim.core.errors import InfeasibleError
    from etasim.machine.errors import DEFECTS

    started = time.perf_counter()
    try:
        result = machine.simulate_inputs(inputs, machine.Watching(progress))
    except InfeasibleError as error:
        return Evaluation("infeasible", one_line(error.brief))
    except DEFECTS as error:
        return Evaluation("failed", f"{type(error).__name__}: {str(error).splitlines()[0]}")
    phase_cycles = {phase: sum(row.cycles for row in result.layers if row.phase == phase) for phase in inputs.phases}
    cluster_cycles = {cause: total(result.layers, [column]) for cause, column in zip(CAUSES, CAUSE_COLUMNS, strict=True)}
    return Evaluation("ok", "", summary(result), rounded(time.perf_counter() - started), phase_cycles, cluster_cycles)


def one_line(value: Any) -> str:
    """Text of ``value`` without line breaks, for a cell of a table."""
    return "; ".join(line.strip() for line in str(value).splitlines() if line.strip())
