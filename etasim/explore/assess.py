"""One evaluation of a design: its machine, what that takes of the board, which constraints it breaks, and its figures on a network.

This runs in workers, so it depends on the space and on the job alone.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from etasim.explore.design_space import Design, DesignSpace
from etasim.explore.evaluate import Evaluation, evaluate
from etasim.explore.expression import Expression, ExpressionError
from etasim.explore.figures import BATCH, BOARD_EXCESS, CAUSE_SHARES, FITS_BOARD, figure_names, resources
from etasim.explore.space import Variant, variant
from etasim.explore.space_file import CYCLE
from etasim.explore.workers import Progress, Workers
from etasim.machine.inputs import Inputs
from etasim.machine.result import TypedRow, Value
from etasim.pe.causes import CAUSES
from etasim.report.metrics import rounded
from etasim.workload.lowering import PHASES

OK, INFEASIBLE, EXCLUDED, FAILED = "ok", "infeasible", "excluded", "failed"
STATUSES = {
    OK: "evaluated, and all constraints hold",
    INFEASIBLE: "no such machine, or it cannot run the network",
    EXCLUDED: "breaks a constraint; without figures where the constraint was judged before they were needed",
    FAILED: "stopped: a broken law, a killed worker, a time-out; tried again with --resume",
}
NO_MACHINE = 1000.0
"""Violation of a design that is no machine, in the place of what it lacks for meeting the constraints."""

OUTCOME = ("status", "reason", "violation", "wall_seconds")


class Assessment(NamedTuple):
    """What a worker is sent."""

    design: Design
    network: str
    fidelity: str


def assess(space: DesignSpace, job: Assessment, progress: Progress) -> TypedRow:
    """Resources, outcome and figures of ``job``; what does not exist is None."""
    row = TypedRow(dict.fromkeys((*space.resource_names, *OUTCOME, *figure_names())))
    row.update(_outcome(space, job, progress))
    return row


MOST_MACHINES = 64
"""That a process keeps, more than a generation of a search: the networks of a design may come one by one."""


def assessors(space: DesignSpace, workers: int, timeout_s: float | None = None) -> Workers:
    """A pool of processes that assess designs of ``space``; each has networks of its own, as far as that keeps all of them busy."""
    return Workers(partial(assess, space), workers, timeout_s, attrgetter("network"))


_machines: dict[int, tuple[DesignSpace, Variant]] = {}
"""The latest machines, by the number of their design."""


def _machine(space: DesignSpace, design: Design) -> Variant:
    found = _machines.get(design.number)
    if found is None or found[0] is not space:
        _machines.pop(design.number, None)
        if len(_machines) == MOST_MACHINES:
            del _machines[next(iter(_machines))]
        found = _machines[design.number] = space, variant(space.base, space.overrides(design))
    return found[1]


def _outcome(space: DesignSpace, job: Assessment, progress: Progress) -> dict[str, Value]:
    """What is known of ``job`` in the end."""
    architecture, reason = (None, job.design.fault) if job.design.fault else _machine(space, job.design)
    if architecture is None:
        return {"status": INFEASIBLE, "reason": reason, "violation": NO_MACHINE}
    row: dict[str, Value] = dict(resources(architecture))
    known = {**row, **job.design.settings, BATCH: job.design.batch}
    early = [constraint for constraint in space.constraints if not constraint.names & set(figure_names())]
    excess, reason = violation(space, early, known)
    if excess:
        return row | {"status": EXCLUDED, "reason": reason, "violation": excess}
    network = next(network for network in space.networks if network.name == job.network)
    found = evaluate(Inputs(architecture, network, job.design.batch, space.phases, job.fidelity), progress)
    row |= {"status": found.status, "reason": found.reason, "wall_seconds": found.wall_seconds}
    if found.status != OK:
        return row | {"violation": NO_MACHINE}
    row |= figures(found)
    judged = [constraint for constraint in space.constraints if job.fidelity == CYCLE or not constraint.names & set(CAUSE_SHARES)]
    excess, reason = violation(space, judged, {**known, **row})  # what only a simulation knows, the estimate leaves to it
    return row | {"status": EXCLUDED if excess else OK, "reason": reason, "violation": excess}


def figures(found: Evaluation) -> dict[str, Value]:
    """The summary of a finished evaluation, and the shares of phases and causes."""
    row: dict[str, Value] = {name: found.figures.get(name) for name in figure_names()}
    row |= _shares(found.phase_cycles or {}, PHASES)
    return row | _shares(found.cluster_cycles or {}, CAUSES)


def _shares(cycles: Mapping[str, int | None], names: Iterable[str]) -> dict[str, Value]:
    """Each of ``cycles`` over their sum; None where one is not known."""
    known = [count for count in cycles.values() if count is not None]
    whole = sum(known) if len(known) == len(cycles) else 0
    return {f"{name}_share": rounded(cycles[name] / whole) if whole and name in cycles else None for name in names}  # type: ignore[operator]


def violation(space: DesignSpace, constraints: Iterable[Expression], known: Mapping[str, Any]) -> tuple[float, str]:
    """How far ``constraints`` are from holding (0: they hold), and which do not. What is not known does not hold."""
    excess = 0.0
    broken: list[str] = []
    lookup = space.lookup(known)
    for constraint in constraints:
        try:
            found = constraint.excess(lookup)
        except ExpressionError as error:
            found, broken = 1.0, [*broken, f"{constraint.text}: {error}"]
        else:
            if found != 0:
                broken.append(f"{constraint.text}: {_about(constraint, lookup)}")
        if constraint.text == FITS_BOARD and found:
            found = max(known.get(BOARD_EXCESS) or 0.0, 1e-6)
        excess += 1.0 if found is None else found
    return float(f"{excess:.6g}"), "; ".join(broken)


def _about(constraint: Expression, lookup: Callable[[str], Any]) -> str:
    """The values that a broken constraint reads."""
    if constraint.names == {FITS_BOARD}:
        return f"exceeded by {lookup(BOARD_EXCESS):.1%}"
    values = {name: lookup(name) for name in sorted(constraint.names)}
    if len(values) == 1:
        return _shown(*values.values())
    return ", ".join(f"{name} {_shown(value)}" for name, value in values.items())


def _shown(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:,.6g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
