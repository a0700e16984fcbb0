"""What an exploration found: the designs on its front, or the best by a figure, with the error of the estimate beside what was verified."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from etasim.config import InputError, Problem
from etasim.core.registry import METRICS
from etasim.explore.database import Evaluations
from etasim.explore.design_space import DesignSpace
from etasim.explore.expression import Expression, ExpressionError, parse
from etasim.explore.figures import BATCH, figure_names
from etasim.explore.pareto import pareto_front
from etasim.explore.scores import Score, directions, needed_columns, parsed, score
from etasim.explore.space_file import ANALYTICAL, CYCLE, Objective
from etasim.explore.space_problems import unknown_name
from etasim.machine.result import TypedRow
from etasim.report.inputs import gather
from etasim.report.metrics import rounded

DIRECTIONS = ("maximize", "minimize")
NO_DIRECTION = "say which direction is better, as NAME:maximize or NAME:minimize"


class Question(NamedTuple):
    """``where``: what must hold on every network, besides the constraints; ``by``: what designs are ordered by, instead of their front."""

    where: Expression | None = None
    by: Objective | None = None
    fidelity: str | None = None
    most: int | None = None


def question(space: DesignSpace, where: str | None, by: str | None, fidelity: str | None, most: int | None) -> Question:
    """What the options of `etasim best` ask. Raises InputError with all that is wrong with them."""
    problems: list[Problem] = []
    condition = _expression(space, "--where", where, problems) if where is not None else None
    objective = gather(problems, as_objective, space, "--by", by) if by is not None else None
    if fidelity not in (None, ANALYTICAL, CYCLE):
        problems.append(Problem("--fidelity", None, "", f"unknown name {fidelity!r}; allowed: {ANALYTICAL}, {CYCLE}"))
    if problems:
        raise InputError(problems)
    return Question(condition, objective, fidelity, most)


def as_objective(space: DesignSpace, option: str, text: str) -> Objective:
    """``NAME[:maximize|minimize]`` as an objective that joins networks as the first of the space does. Raises InputError."""
    problems: list[Problem] = []
    name, _, direction = text.partition(":")
    order = _expression(space, option, name, problems)
    if order is not None and not problems:
        direction = direction or _direction(space, name)
        if direction not in DIRECTIONS:
            problems.append(Problem(option, None, "", NO_DIRECTION))
    if problems:
        raise InputError(problems)
    first = space.objectives[0]
    content = {"metric": name, "direction": direction, "aggregate": first.aggregate, "weights": first.weights}
    return Objective.model_validate(content)


def _direction(space: DesignSpace, name: str) -> str:
    """The better direction of a figure that has one."""
    stated = next((objective.direction for objective in space.objectives if objective.metric == name), "")
    better = METRICS[name].better if name in METRICS else "lower" if name in space.resource_names else None
    return stated or {"higher": "maximize", "lower": "minimize"}.get(better or "", "")


def _expression(space: DesignSpace, option: str, text: str, problems: list[Problem]) -> Expression | None:
    try:
        found = parse(text)
    except ExpressionError as error:
        problems.append(Problem(option, None, "", str(error)))
        return None
    known = {BATCH, *space.resolved, *space.keys, *space.common, *space.resource_names, *figure_names()}
    problems += [Problem(option, None, "", unknown_name(name, known, not space.resource_names)) for name in sorted(found.names - known)]
    return found


def best_fidelity(evaluations: Evaluations) -> str:
    """The cycle model, if it evaluated anything, else the estimate."""
    return CYCLE if any(fidelity == CYCLE for fidelity, _ in evaluations.count()) else ANALYTICAL


def best(evaluations: Evaluations, asked: Question) -> dict[str, Any]:
    """The answer of `etasim best` as plain values: what was evaluated, and the designs, each with the estimate beside it."""
    space = evaluations.space
    fidelity = asked.fidelity or best_fidelity(evaluations)
    objectives = space.objectives if asked.by is None else (asked.by, *(each for each in space.objectives if each != asked.by))
    pool = _feasible(evaluations, fidelity, objectives, asked.where)
    if asked.by is None:
        chosen = [pool[i] for i in pareto_front([found.known for found in pool], directions(objectives))] if pool else []
    else:
        chosen = pool
    sign = -1 if objectives[0].direction == "maximize" else 1
    chosen = sorted(chosen, key=lambda found: (sign * found.known[0], found.number))
    shown = chosen[: asked.most]
    estimates = (
        {n: _of_design(evaluations, n, ANALYTICAL, objectives) for n in (found.number for found in shown)} if fidelity == CYCLE else {}
    )
    return {
        "space": space.name, "method": evaluations.search.method, "seed": evaluations.search.seed,
        "fidelity": fidelity, "networks": [network.name for network in space.networks], "designs_of_space": space.size,
        "evaluations": [{"fidelity": f, "status": status, "n": n} for (f, status), n in evaluations.count().items()],
        "objectives": [objective.model_dump(exclude_none=True) for objective in objectives],
        "front": asked.by is None, "n_found": len(chosen),
        "designs": [described(evaluations, found, fidelity, objectives, estimates.get(found.number)) for found in shown],
    }  # fmt: skip


def _feasible(evaluations: Evaluations, fidelity: str, objectives: Sequence[Objective], where: Expression | None) -> list[Score]:
    """Scores of the designs that meet all constraints, and ``where``."""
    space = evaluations.space
    wanted = set(needed_columns(space, objectives)) | ((where.names if where else set()) & {*space.resource_names, *figure_names()})
    found = []
    for _, group in groupby(evaluations.rows(sorted(wanted), fidelity=fidelity), key=lambda row: row["point"]):
        rows = list(group)
        own = score(space, rows, objectives)
        if own.is_feasible and (where is None or _holds(space, where, rows)):
            found.append(own)
    return found


def _holds(space: DesignSpace, where: Expression, rows: Sequence[TypedRow]) -> bool:
    """Whether it is true on every network; what is not known is not."""
    design = space.design(rows[0].count("point"))
    try:
        return all(where.value(space.lookup({**row, **design.settings, BATCH: design.batch})) for row in rows)
    except ExpressionError:
        return False


def _of_design(evaluations: Evaluations, number: int, fidelity: str, objectives: Sequence[Objective]) -> Score | None:
    rows = list(evaluations.rows(point=number, fidelity=fidelity))
    return score(evaluations.space, rows, objectives) if rows else None


def described(
    evaluations: Evaluations, found: Score, fidelity: str, objectives: Sequence[Objective], estimate: Score | None = None
) -> dict[str, Any]:
    """A design with its objectives, resources and figures by network. ``off_percent``: of the estimate, where the cycle model verified it;
    None for what neither computes, such as DSP blocks."""
    space, design = evaluations.space, evaluations.space.design(found.number)
    rows = {row.text("network"): row for row in evaluations.rows(point=found.number, fidelity=fidelity)}
    first = next(iter(rows.values()))
    judged = [_is_judged(objective) for objective in objectives]
    guessed = estimate.values if estimate is not None else (None,) * len(objectives)
    return {
        "point": found.number, "label": design.label, "settings": design.settings, "batch": design.batch, "fidelity": fidelity,
        "status": found.status, "objectives": [rounded(value) for value in found.values],
        "estimates": [rounded(value) for value in guessed] if estimate is not None else None,
        "off_percent": [
            rounded(100 * (guess / value - 1)) if is_judged and guess is not None and value else None
            for value, guess, is_judged in zip(found.values, guessed, judged, strict=True)
        ],
        "resources": {name: first[name] for name in space.resource_names},
        "by_network": {name: {figure: row[figure] for figure in figure_names()} for name, row in rows.items()},
    }  # fmt: skip


def _is_judged(objective: Objective) -> bool:
    """Whether a simulation can find another value than the estimate."""
    return bool(parsed(objective.metric).names & set(figure_names()))


def differing(designs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Keys, and the batch, in which ``designs`` differ."""
    keys = dict.fromkeys(key for design in designs for key in design["settings"])
    found = [key for key in keys if len({str(design["settings"].get(key)) for design in designs}) > 1]
    return (*found, *([BATCH] if len({design["batch"] for design in designs}) > 1 else []))
