"""Why a design is as good as it is: its ladder, its stalls, the constraint that is nearest, and what the next step on each axis brings."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from etasim.config import InputError, Problem
from etasim.explore.answers import best_fidelity, described
from etasim.explore.assess import Assessment, assess
from etasim.explore.database import Evaluations
from etasim.explore.design_space import Design, DesignSpace
from etasim.explore.expression import Expression, ExpressionError
from etasim.explore.figures import BATCH, CAUSE_SHARES, FITS_BOARD, PHASE_SHARES
from etasim.explore.ladder import ladder, limit
from etasim.explore.scores import Score, score
from etasim.explore.space_file import ANALYTICAL, CYCLE
from etasim.machine.result import TypedRow
from etasim.report.board import board_rows
from etasim.report.metrics import rounded

DRAM_CHANNELS = "DRAM channels"
"""The resource of a board that no design takes more or less of by degrees."""

Finished = Callable[[str], None]


def why(evaluations: Evaluations, number: int, fidelity: str = ANALYTICAL, finished: Finished = lambda what: None) -> dict[str, Any]:
    """The answer of `etasim why` as plain values; what is asked anew (ladder, next steps) is evaluated in ``fidelity``.

    Raises InputError for a point that the space does not have, or that was not evaluated.
    """
    space = evaluations.space
    known = known_fidelity(evaluations, number)
    rows = list(evaluations.rows(point=number, fidelity=known))
    design, found = space.design(number), score(space, rows)
    answer = described(evaluations, found, known, space.objectives) | {"space": space.name, "reason": rows[0]["reason"]}
    answer["objective_names"] = [objective.metric for objective in space.objectives]
    answer["constraints"] = [_headroom(space, design, rows, constraint) for constraint in space.constraints]
    answer["asked_in"] = fidelity
    machine = None if design.fault else _machine(space, design)
    answer["board"] = board_rows(machine) if machine is not None else []
    for entry in answer["constraints"]:
        if entry["constraint"] == FITS_BOARD and machine is not None:
            entry["headroom_percent"] = rounded(
                100 - max(row["share_percent"] for row in answer["board"] if row["resource"] != DRAM_CHANNELS)
            )
    answer["ladders"] = {} if machine is None else dict(_ladders(space, design, fidelity, finished))
    answer["phase_shares"] = {row.text("network"): {name: row[name] for name in PHASE_SHARES} for row in rows}
    answer["cluster_shares"] = {row.text("network"): {name: row[name] for name in CAUSE_SHARES} for row in rows}
    own = _evaluated(space, design, fidelity)
    answer["steps"] = [] if machine is None else list(_steps(space, number, own, fidelity, finished))
    return answer


def known_fidelity(evaluations: Evaluations, number: int) -> str:
    """The best fidelity in which a design was evaluated."""
    if not 0 <= number < evaluations.space.size:
        message = f"{number} is no design of this space; points are numbers from 0 to {evaluations.space.size - 1:,}"
        raise InputError([Problem("POINT", None, "", message)])
    for fidelity in (CYCLE, ANALYTICAL):
        if next(evaluations.rows(("point",), point=number, fidelity=fidelity), None) is not None:
            return fidelity
    some = ", ".join(
        str(row["point"]) for row, _ in zip(evaluations.rows(("point",), fidelity=best_fidelity(evaluations)), range(5), strict=False)
    )
    raise InputError([Problem("POINT", None, "", f"{number} was not evaluated; among those that were: {some or 'none'}")])


def _machine(space: DesignSpace, design: Design) -> Any:
    try:
        return space.base.varied(space.overrides(design))
    except InputError:
        return None


def _ladders(space: DesignSpace, design: Design, fidelity: str, finished: Finished) -> Iterator[tuple[str, dict[str, Any]]]:
    """The ladder of a design on each network."""
    overrides = space.overrides(design)
    for network in space.networks:
        rows = ladder(lambda more: space.base.varied({**overrides, **more}), network, design.batch, fidelity, space.phases, finished)
        rows[0].pop("figures")
        yield network.name, {"limit": limit(rows), "rungs": rows}


def _headroom(space: DesignSpace, design: Design, rows: list[TypedRow], constraint: Expression) -> dict[str, Any]:
    """A constraint with the values that it reads, on the network where it is nearest, and how far these are from its bound."""
    found: list[dict[str, Any]] = []
    for row in rows:
        lookup = space.lookup({**row, **design.settings, BATCH: design.batch})
        names = set(constraint.names) - {FITS_BOARD}
        values = {name: lookup(name) for name in sorted(names)}
        found.append(
            {
                "network": row["network"],
                "values": values,
                "headroom_percent": _distance(constraint, lookup),
                "holds": _holds(constraint, lookup),
            }
        )
    nearest = min(found, key=lambda entry: (entry["holds"] is True, _or_infinite(entry["headroom_percent"])))
    return {"constraint": constraint.text, **nearest}


def _or_infinite(value: float | None) -> float:
    return float("inf") if value is None else value


def _holds(constraint: Expression, lookup: Callable[[str], Any]) -> bool | None:
    try:
        excess = constraint.excess(lookup)
    except ExpressionError:
        return None
    return None if excess is None else excess == 0


def _distance(constraint: Expression, lookup: Callable[[str], Any]) -> float | None:
    """By how many percent of its bound a comparison could still move; negative where it does not hold; None for what is no comparison."""
    try:
        sides = constraint.sides(lookup)
    except ExpressionError:
        return None
    if sides is None or not sides[1]:
        return None
    return rounded(100 * abs(sides[1] - sides[0]) / abs(sides[1]) * (1 if _holds(constraint, lookup) else -1))


def _steps(space: DesignSpace, number: int, own: Score, fidelity: str, finished: Finished) -> Iterator[dict[str, Any]]:
    """The neighbours of a design, one step down or up on each axis (any other category), and what they change."""
    steps = space.steps(number)
    for i, axis in enumerate(space.axes):
        others = (steps[i] - 1, steps[i] + 1) if axis.is_ordered else [step for step in range(len(axis.steps)) if step != steps[i]]
        for step in others:
            if not 0 <= step < len(axis.steps):
                continue
            design = space.design(space.number([*steps[:i], step, *steps[i + 1 :]]))
            found, reason = _judged(space, design, fidelity)
            changes = [
                rounded(100 * (new / old - 1)) if new is not None and old else None
                for new, old in zip(found.values, own.values, strict=True)
            ]
            yield {
                "axis": axis.name, "to": _shown(axis.steps[step]), "point": design.number, "status": found.status, "reason": reason,
                "change_percent": changes,
            }  # fmt: skip
            finished(axis.name)


def _shown(step: Mapping[str, Any]) -> str:
    return " x ".join(str(value) for value in step.values())


def _judged(space: DesignSpace, design: Design, fidelity: str) -> tuple[Score, str]:
    rows = _rows(space, design, fidelity)
    reasons = dict.fromkeys(str(row["reason"]) for row in rows if row["reason"])
    return score(space, rows), "; ".join(reasons)


def _evaluated(space: DesignSpace, design: Design, fidelity: str) -> Score:
    return score(space, _rows(space, design, fidelity))


def _rows(space: DesignSpace, design: Design, fidelity: str) -> list[TypedRow]:
    """Evaluations of a design on all networks, now."""
    rows = []
    for network in space.networks:
        found = assess(space, Assessment(design, network.name, fidelity), lambda share, cycles: None)
        rows.append(TypedRow({**found, "point": design.number, "network": network.name}))
    return rows
