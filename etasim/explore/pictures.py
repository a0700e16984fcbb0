"""Pictures of an exploration, drawn from its store alone."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from etasim.config import InputError, Problem
from etasim.config.errors import allowed_names
from etasim.core.registry import METRICS
from etasim.explore.answers import as_objective
from etasim.explore.database import DATABASE, Evaluations
from etasim.explore.design_space import DesignSpace
from etasim.explore.pareto import hypervolume, pareto_front
from etasim.explore.points import POINTS
from etasim.explore.scores import Score, directions, joins_networks, scores
from etasim.explore.space_file import ANALYTICAL, CYCLE, Objective
from etasim.report.drawing import QUIET_COLOUR, drawn_at, save, save_table, sheet, size_of, tabulate
from etasim.report.labels import label_points
from etasim.report.naming import FIDELITY_NAMES, plain
from etasim.report.outputs import check_outputs

FIDELITY_STYLE: dict[str, dict[str, Any]] = {ANALYTICAL: {"marker": "o", "color": "#0072B2"}, CYCLE: {"marker": "s", "color": "#D55E00"}}
COLOURS = "viridis"
FAINT = 0.25
MOST_LINES = 2000
"""Designs in parallel coordinates: the best of them."""
WORSE_BY = 1.05
"""The reference of a hypervolume lies so far beyond the worst value."""


class Shown(NamedTuple):
    """What a picture shows: names of figures, keys or axes, None for the default."""

    x: str | None = None
    y: str | None = None
    colour: str | None = None


def plot_exploration(picture: str, folder: Path, chosen: Shown, out: Path | None = None, width_inches: float | None = None) -> Path:
    """Draw ``picture`` (a name of `EXPLORED`) of the exploration in ``folder``; its path. What it shows is beside it as CSV. Raises
    InputError for what cannot be drawn or written."""
    out = out or folder / f"{picture}.png"
    check_outputs([("-o", out), ("-o", out.with_suffix(".csv"))], [folder / DATABASE, folder / POINTS])
    with Evaluations(folder) as evaluations, drawn_at(width_inches):
        figure = EXPLORED[picture](evaluations, chosen)
        save(figure, out)
        save_table(figure, out.with_suffix(".csv"))
    return out


def plot_all_explored(folder: Path, chosen: Shown, form: str = "png", width_inches: float | None = None) -> dict[str, Path | str]:
    """Draw every picture of the exploration in ``folder``: where it is, or why there is none, by its name. Raises InputError for a folder
    without an exploration, or pictures that cannot be written."""
    made: dict[str, Path | str] = {}
    check_outputs([("-o", folder / f"{picture}.{ending}") for picture in EXPLORED for ending in (form, "csv")])
    with Evaluations(folder):
        pass
    for picture in EXPLORED:
        try:
            made[picture] = plot_exploration(picture, folder, _of(picture, chosen), folder / f"{picture}.{form}", width_inches)
        except InputError as error:
            made[picture] = "; ".join(problem.message for problem in error.problems)
    return made


def _of(picture: str, chosen: Shown) -> Shown:
    """What ``picture`` takes of the choice: -x and -y are figures to a front, and axes to the sensitivity."""
    return chosen if picture == "pareto" else Shown()


def _feasible(evaluations: Evaluations, fidelity: str, objectives: Sequence[Objective]) -> list[Score]:
    return [found for found in scores(evaluations, fidelity, objectives) if found.is_feasible]


def _nothing(evaluations: Evaluations, reason: str) -> InputError:
    return InputError([Problem(str(evaluations.path), None, "", f"nothing to draw: {reason}")])


def _axis_text(objective: Objective, space: DesignSpace) -> str:
    joined = f", {objective.aggregate.replace('_', ' ')}" if joins_networks(space, objective) else ""
    unit = METRICS[objective.metric].unit if objective.metric in METRICS else ""
    shown = f" [{unit}]" if unit not in ("", "1") else ""
    return plain(f"{objective.metric}{shown}{joined} ({objective.direction})")


def pareto(evaluations: Evaluations, chosen: Shown) -> Figure:
    """All feasible designs in two objectives, dominated ones faint; the front of each fidelity joined; a third figure as colour."""
    space = evaluations.space
    x, y = _two_objectives(space, chosen)
    colour = as_objective(space, "--colour", chosen.colour) if chosen.colour else None
    wanted = (x, y, *([colour] if colour else []))
    groups = {fidelity: _feasible(evaluations, fidelity, wanted) for fidelity in (ANALYTICAL, CYCLE)}
    groups = {fidelity: own for fidelity, own in groups.items() if own}
    if not groups:
        raise _nothing(evaluations, f"no design that meets the constraints has {' and '.join(each.metric for each in wanted)}")
    figure, axes = sheet(figsize=size_of(8.5, 5.5))
    mapped, labels, table = None, [], list[dict[str, Any]]()
    limits = [found.known[2] for own in groups.values() for found in own] if colour else []
    for fidelity, own in groups.items():
        style = FIDELITY_STYLE[fidelity]
        front = pareto_front([found.known[:2] for found in own], directions((x, y)))
        front.sort(key=[found.known for found in own].__getitem__)
        points = np.array([found.known[:2] for found in own])
        tint: dict[str, Any] = {"color": style["color"]}
        if colour:
            tint = {"c": [found.known[2] for found in own], "cmap": COLOURS, "vmin": min(limits), "vmax": max(limits)}
        tint |= {"s": 26 if fidelity == CYCLE else 14, "alpha": np.where(np.isin(np.arange(len(own)), front), 1.0, FAINT)}
        mapped = axes.scatter(*points.T, linewidths=0, marker=style["marker"], **tint)
        line = "-" if fidelity == CYCLE else ":"
        axes.plot(*points[front].T, line, linewidth=1, color=style["color"], marker=style["marker"], markersize=5, markerfacecolor="none",
                  label=f"front, {FIDELITY_NAMES[fidelity]}")  # fmt: skip
        labels = [(own[i].known[0], own[i].known[1], str(own[i].number)) for i in front]
        table += [
            {"point": found.number, "fidelity": fidelity, "on_front": i in front}
            | {each.metric: value for each, value in zip(wanted, found.known, strict=True)} for i, found in enumerate(own)
        ]
    axes.set(xlabel=_axis_text(x, space), ylabel=_axis_text(y, space))
    axes.set_title(plain(f"{space.name}: designs and fronts, numbered as `etasim why` takes them"), loc="left")
    axes.margins(0.08)
    axes.grid(True, alpha=0.3)
    axes.legend(loc="best", frameon=False)
    if colour and mapped is not None:
        figure.colorbar(mapped, ax=axes, label=plain(colour.metric))
    label_points(axes, labels, markers=[(x, y, 3.0) for x, y, _ in labels])
    return tabulate(figure, table)


def _two_objectives(space: DesignSpace, chosen: Shown) -> tuple[Objective, Objective]:
    """Those of the options, or of the space: the second against the first. Raises InputError."""
    own = space.objectives
    if chosen.y is None and chosen.x is None and len(own) == 1:
        raise InputError([Problem("-x", None, "", f"must name a figure: {space.name} has one objective, {own[0].metric}")])
    y = as_objective(space, "-y", chosen.y) if chosen.y else own[0]
    x = as_objective(space, "-x", chosen.x) if chosen.x else own[1] if len(own) > 1 else own[0]
    return x, y


class Lines(NamedTuple):
    """Designs in parallel coordinates: ``axes`` (those that vary) by number and ``names`` of all columns; ``designs`` from the worst to the
    best, ``heights`` [design, column] from 0 to 1, ``values`` [design, objective]."""

    axes: list[int]
    names: list[str]
    designs: list[Score]
    heights: np.ndarray
    values: np.ndarray


def lines_of(evaluations: Evaluations, most: int = MOST_LINES) -> Lines:
    """The best ``most`` designs through their steps and objectives. Raises InputError if none meets the constraints."""
    space = evaluations.space
    own = _feasible(evaluations, drawn_fidelity(evaluations), space.objectives)
    if not own:
        raise _nothing(evaluations, "no design meets the constraints")
    sign = 1 if space.objectives[0].direction == "maximize" else -1
    own = sorted(own, key=lambda found: sign * found.known[0])[-most:]
    varied = [i for i, axis in enumerate(space.axes) if len(axis.steps) > 1]
    steps = [[space.steps(found.number)[i] / (len(space.axes[i].steps) - 1) for i in varied] for found in own]
    values = np.array([found.known for found in own])
    low, high = values.min(axis=0), values.max(axis=0)
    shares = (values - low) / np.where(high > low, high - low, 1)
    names = [space.axes[i].name for i in varied] + [objective.metric for objective in space.objectives]
    return Lines(varied, names, own, np.hstack([np.array(steps).reshape(len(own), -1), shares]), values)


def parallel(evaluations: Evaluations, _chosen: Shown) -> Figure:
    """Parallel coordinates: a line through the steps and the objectives of each feasible design, the best on top in colour."""
    space, (varied, names, own, heights, values) = evaluations.space, lines_of(evaluations)
    figure, axes = sheet(figsize=size_of(2 + 1.15 * heights.shape[1], 5))
    lines = [np.column_stack([np.arange(heights.shape[1]), row]) for row in heights]
    drawn = LineCollection(lines, cmap=COLOURS, array=values[:, 0], alpha=0.5, linewidths=0.8)
    axes.add_collection(drawn)
    axes.set_xticks(range(len(names)), [plain(name.replace(".", ".\n")) for name in names], fontsize=7)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(-0.05, 1.05), yticks=[])
    axes.grid(True, axis="x", color=QUIET_COLOUR, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    marks = [(column, step / last, step_text(space, i, step)) for column, i in enumerate(varied)
             for last in [len(space.axes[i].steps) - 1] for step in sorted({0, last // 2, last})]  # fmt: skip
    for column, (least, most) in enumerate(zip(values.min(axis=0), values.max(axis=0), strict=True), len(varied)):
        marks += [(column, 0, f"{least:.4g}"), (column, 1, f"{most:.4g}")]
    for column, height, text in marks:
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        axes.annotate(plain(text), (column, height), (-4, 0), textcoords="offset points", ha="right", va="center", fontsize=6, bbox=box)
    figure.colorbar(drawn, ax=axes, label=_axis_text(space.objectives[0], space))
    axes.set_title(plain(f"{space.name}: {len(own):,} designs ({FIDELITY_NAMES[drawn_fidelity(evaluations)]})"), loc="left")
    return tabulate(figure, [
        {"point": found.number} | {space.axes[i].name: step_text(space, i, space.steps(found.number)[i]) for i in varied}
        | {objective.metric: value for objective, value in zip(space.objectives, found.known, strict=True)} for found in own[::-1]
    ])  # fmt: skip


def step_text(space: DesignSpace, i: int, step: int) -> str:
    """The values of a step of axis ``i``."""
    return " x ".join(str(value) for value in space.axes[i].steps[step].values())


def drawn_fidelity(evaluations: Evaluations) -> str:
    """The fidelity that saw most designs: the estimate, where there is one."""
    return ANALYTICAL if any(fidelity == ANALYTICAL for fidelity, _ in evaluations.count()) else CYCLE


class Cells(NamedTuple):
    """The best first objective, ``best`` by the steps of two axes, those of ``x`` and ``y`` by number, of ``n_designs``."""

    x: int
    y: int
    best: dict[tuple[int, ...], float]
    n_designs: int


def cells_of(evaluations: Evaluations, chosen: Shown) -> Cells:
    """The best for each pair of steps, whatever the other axes; without a choice, of the two that matter most. Raises InputError."""
    space, fidelity = evaluations.space, drawn_fidelity(evaluations)
    objective = space.objectives[0]
    own = _feasible(evaluations, fidelity, (objective,))
    if not own:
        raise _nothing(evaluations, "no design meets the constraints")
    i, j = _two_axes(space, own, objective, chosen)
    return Cells(i, j, _best_by_step(space, own, objective, (i, j)), len(own))


def sensitivity(evaluations: Evaluations, chosen: Shown) -> Figure:
    """The best first objective for each pair of steps of two axes, whatever the others; without a choice, of the two that matter most."""
    space, (i, j, best, n_designs) = evaluations.space, cells_of(evaluations, chosen)
    objective = space.objectives[0]
    figure, axes = sheet(figsize=size_of(7, 5))
    cells = np.full((len(space.axes[j].steps), len(space.axes[i].steps)), np.nan)
    for (column, row), value in best.items():
        cells[row, column] = value
    image = axes.imshow(cells, origin="lower", aspect="auto", cmap=COLOURS)
    middle = (np.nanmin(cells) + np.nanmax(cells)) / 2
    for (column, row), value in best.items():
        axes.text(column, row, f"{value:.4g}", ha="center", va="center", fontsize=7, color="black" if value > middle else "white")
    for axis, set_ticks, set_label in ((i, axes.set_xticks, axes.set_xlabel), (j, axes.set_yticks, axes.set_ylabel)):
        set_ticks(range(len(space.axes[axis].steps)), [plain(step_text(space, axis, s)) for s in range(len(space.axes[axis].steps))])
        set_label(plain(space.axes[axis].name))
    figure.colorbar(image, ax=axes, label=f"best {_axis_text(objective, space)}")
    axes.set_title(plain(f"{space.name}: the best of {n_designs:,} designs ({FIDELITY_NAMES[drawn_fidelity(evaluations)]})"), loc="left")
    return tabulate(figure, [
        {space.axes[i].name: step_text(space, i, column), space.axes[j].name: step_text(space, j, row), f"best_{objective.metric}": value}
        for (column, row), value in sorted(best.items())
    ])  # fmt: skip


def _best_by_step(space: DesignSpace, own: Sequence[Score], objective: Objective, axes: Sequence[int]) -> dict[tuple[int, ...], float]:
    """The best objective among designs with the same steps on ``axes``."""
    better: Callable[..., float] = max if objective.direction == "maximize" else min
    best: dict[tuple[int, ...], float] = {}
    for found in own:
        steps = space.steps(found.number)
        place = tuple(steps[i] for i in axes)
        best[place] = better(best.get(place, found.known[0]), found.known[0])
    return best


def _two_axes(space: DesignSpace, own: Sequence[Score], objective: Objective, chosen: Shown) -> tuple[int, int]:
    """The axes of the options; for those left out, the ones along which the best value differs most. Raises InputError."""
    names = [axis.name for axis in space.axes if len(axis.steps) > 1]
    wrong = [(option, name) for option, name in (("-x", chosen.x), ("-y", chosen.y)) if name is not None and name not in names]
    if wrong or len(names) < 2:
        problems = [
            Problem(option, None, "", f"{name!r} is no axis of {space.name}; {allowed_names(name, names)}") for option, name in wrong
        ]
        raise InputError(problems or [Problem(space.name, None, "", "has fewer than two axes")])

    def spread(name: str) -> float:
        values = _best_by_step(space, own, objective, [_number(space, name)]).values()
        return max(values) - min(values)

    left = sorted((name for name in names if name not in (chosen.x, chosen.y)), key=lambda name: -spread(name))
    x = chosen.x or left.pop(0)
    y = chosen.y or left.pop(0)
    return _number(space, x), _number(space, y)


def _number(space: DesignSpace, name: str) -> int:
    return next(i for i, axis in enumerate(space.axes) if axis.name == name)


def convergence(evaluations: Evaluations, _chosen: Shown) -> Figure:
    """What the search had found after so many designs: the best value, or of several objectives the dominated share of the final volume."""
    space, fidelity = evaluations.space, drawn_fidelity(evaluations)
    order = {}
    for number, rows in groupby(evaluations.rows(("point", "asked"), fidelity=fidelity), key=lambda row: row.count("point")):
        order[number] = min(row.count("asked") for row in rows)
    by_number = {found.number: found for found in _feasible(evaluations, fidelity, space.objectives)}
    asked = sorted(order, key=lambda number: order[number])
    if not by_number:
        raise _nothing(evaluations, "no design meets the constraints")
    figure, axes = sheet(figsize=size_of(7, 4))
    counts, values = _progress(asked, by_number, space.objectives)
    axes.step(counts, values, where="post", color=FIDELITY_STYLE[fidelity]["color"])
    several = len(space.objectives) > 1
    label = "dominated hypervolume, share of the final one" if several else f"best {_axis_text(space.objectives[0], space)}"
    axes.set(xlabel="designs asked for", ylabel=label)
    axes.grid(True, alpha=0.3)
    search = evaluations.search
    axes.set_title(plain(f"{space.name}: {search.method}, seed {search.seed} ({FIDELITY_NAMES[fidelity]})"), loc="left")
    return tabulate(figure, [{"designs_asked_for": count, "reached": value} for count, value in zip(counts, values, strict=True)])


def _progress(asked: Sequence[int], found: Mapping[int, Score], objectives: Sequence[Objective]) -> tuple[list[int], list[float]]:
    """Numbers of designs at which the search got better, and how good it was then."""
    better = directions(objectives)
    values = [score.known for score in found.values()]
    worst = [(min if way == "higher" else max)(value[i] for value in values) for i, way in enumerate(better)]
    reference = [value / WORSE_BY if way == "higher" else value * WORSE_BY for value, way in zip(worst, better, strict=True)]
    front: list[tuple[float, ...]] = []
    counts, reached = [], []
    for count, number in enumerate(asked, 1):
        if number not in found:
            continue
        own = found[number].known
        grown = [*front, own]
        kept = pareto_front(grown, better)
        if len(grown) - 1 in kept and own not in front:
            front = [grown[i] for i in kept]
            counts.append(count)
            reached.append(hypervolume(front, reference, better) if len(better) > 1 else front[0][0])
    if len(better) > 1 and reached[-1]:
        reached = [value / reached[-1] for value in reached]
    return [*counts, len(asked)], [*reached, reached[-1]]


EXPLORED: dict[str, Callable[[Evaluations, Shown], Figure]] = {
    "pareto": pareto, "parallel": parallel, "sensitivity": sensitivity, "convergence": convergence,
}  # fmt: skip
"""Pictures of explorations by name."""
