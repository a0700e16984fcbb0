"""What a design is worth: its objectives over all networks, and how far it is from meeting the constraints."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from math import exp, log
from typing import NamedTuple

from etasim.explore.assess import EXCLUDED, INFEASIBLE, OK
from etasim.explore.database import Evaluations
from etasim.explore.design_space import Design, DesignSpace
from etasim.explore.expression import Expression, ExpressionError, parse
from etasim.explore.figures import BATCH, figure_names
from etasim.explore.pareto import Direction
from etasim.explore.space_file import GEOMETRIC_MEAN, WORST, Objective
from etasim.machine.result import TypedRow

parsed = lru_cache(maxsize=None)(parse)


class Score(NamedTuple):
    """``values``: of each objective, None where a figure is not known; ``violation``: 0 where all constraints hold on all networks."""

    number: int
    status: str
    values: tuple[float | None, ...]
    violation: float

    @property
    def is_feasible(self) -> bool:
        """Whether the design may be chosen."""
        return self.status == OK and None not in self.values

    @property
    def known(self) -> tuple[float, ...]:
        """The objectives of a feasible design."""
        return tuple(value for value in self.values if value is not None)


def directions(objectives: Sequence[Objective]) -> tuple[Direction, ...]:
    """Which way each objective is better."""
    return tuple("higher" if objective.direction == "maximize" else "lower" for objective in objectives)


def joins_networks(space: DesignSpace, objective: Objective) -> bool:
    """Whether networks may differ in an objective: they do not in what a design takes or is set to."""
    return len(space.networks) > 1 and not parsed(objective.metric).names.isdisjoint(figure_names())


def score(space: DesignSpace, rows: Sequence[TypedRow], objectives: Sequence[Objective] | None = None) -> Score:
    """The score of one design from its rows, one for each network, of one fidelity."""
    by_network = {row.text("network"): row for row in rows}
    statuses = {row.text("status") for row in rows}
    worst = next((status for status in (INFEASIBLE, EXCLUDED) if status in statuses), statuses.pop() if len(statuses) == 1 else "failed")
    number = rows[0].count("point")
    violation = max(row.number("violation") for row in rows)
    if len(by_network) < len(space.networks):
        return Score(number, "failed", (None,) * len(objectives or space.objectives), violation)
    design = space.design(number)
    values = tuple(joined(space, design, objective, by_network) for objective in objectives or space.objectives)
    return Score(number, worst, values, violation)


def joined(space: DesignSpace, design: Design, objective: Objective, rows: Mapping[str, TypedRow]) -> float | None:
    """An objective of a design over all networks; None if it is not known for one of them."""
    expression = parsed(objective.metric)
    found = {name: _of_network(space, design, expression, row) for name, row in rows.items()}
    values = [value for value in found.values() if value is not None]
    if len(values) < len(found):
        return None
    if objective.aggregate == GEOMETRIC_MEAN:
        return float(f"{exp(sum(map(log, values)) / len(values)):.12g}") if min(values) > 0 else 0.0 if min(values) == 0 else None
    if objective.aggregate == WORST:
        return min(values) if objective.direction == "maximize" else max(values)
    weights = objective.weights or {}
    return sum(weights[name] * value for name, value in found.items() if value is not None) / sum(weights.values())


def _of_network(space: DesignSpace, design: Design, expression: Expression, row: TypedRow) -> float | None:
    try:
        value = expression.value(space.lookup({**row, **design.settings, BATCH: design.batch}))
    except ExpressionError:
        return None
    return None if value is None or isinstance(value, str) else float(value)


def needed_columns(space: DesignSpace, objectives: Sequence[Objective]) -> tuple[str, ...]:
    """Columns that scores are made of."""
    names = {name for objective in objectives for name in parsed(objective.metric).names}
    known = (*space.resource_names, *figure_names())
    return ("point", "network", "status", "violation", *(name for name in known if name in names))


def scores(evaluations: Evaluations, fidelity: str, objectives: Sequence[Objective] | None = None) -> Iterator[Score]:
    """Scores of all designs that were evaluated in ``fidelity``, by number."""
    space = evaluations.space
    chosen = objectives or space.objectives
    rows = evaluations.rows(needed_columns(space, chosen), fidelity=fidelity)
    for _, own in groupby(rows, key=lambda row: row["point"]):
        yield score(space, list(own), chosen)
