"""Pictures of a sweep, drawn from points.csv alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from etasim.config import InputError, Problem
from etasim.config.errors import allowed_names
from etasim.core.registry import METRICS
from etasim.explore.pareto import pareto_front
from etasim.explore.points import POINTS, Row, of_status, read_points
from etasim.machine.result import Value
from etasim.report.drawing import sheet
from etasim.report.glossary import SUMMARY, columns
from etasim.report.labels import label_points
from etasim.report.naming import FIDELITY_NAMES, fidelity_names, plain
from etasim.report.plots import STYLE, save

NETWORK_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NETWORK_MARKERS = "os^DvP"


def plot_pareto(folder: Path, x: str, y: str, out: Path | None = None) -> Path:
    """Draw the finished points of the sweep in ``folder`` and the front of each network; the picture's path.

    Raises InputError for an unknown metric, a folder without a sweep, or a sweep without a finished point.
    """
    objectives = [name for name in columns(SUMMARY) if METRICS[name].better]
    problems = [
        Problem(option, 1, name, f"not a metric with a better direction; {allowed_names(name, objectives)}")
        for option, name in (("-x", x), ("-y", y))
        if name not in objectives
    ]
    if problems:
        raise InputError(problems)
    path = folder / POINTS
    rows = [row for row in of_status(read_points(path), "ok") if row[x] is not None and row[y] is not None]
    if not rows:
        raise InputError([Problem(str(path), 1, "", f"no finished point has both {x} and {y}")])
    return save(pareto(rows, x, y), out or folder / "pareto.png")


def pareto(rows: Sequence[Row], x: str, y: str) -> Figure:
    """All points; those that no other point of their network, batch and fidelity beats are joined and labelled."""
    groups = list(dict.fromkeys(map(_group, rows)))
    fidelities = dict.fromkeys(fidelity for *_, fidelity in groups)
    better = (METRICS[x].better, METRICS[y].better)
    with rc_context(STYLE):
        figure, axes = sheet(figsize=(8.5, 5.5))
        labels = []
        networks = list(dict.fromkeys(network for network, _, _ in groups))
        others = list(dict.fromkeys(group[1:] for group in groups))
        for group in groups:
            own = [row for row in rows if _group(row) == group]
            colour, marker = networks.index(group[0]) % len(NETWORK_COLOURS), others.index(group[1:]) % len(NETWORK_MARKERS)
            style: dict[str, Any] = {"color": NETWORK_COLOURS[colour], "marker": NETWORK_MARKERS[marker]}
            points = [(row.number(x), row.number(y)) for row in own]
            on_front = pareto_front(points, better)
            front = sorted(points[i] for i in on_front)
            axes.scatter([x for x, _ in points], [y for _, y in points], s=28, alpha=0.35, linewidths=0, **style)
            name = f"{plain(group[0])}, batch {group[1]}" + (f", {FIDELITY_NAMES[group[2]]}" if len(fidelities) > 1 else "")
            axes.plot([x for x, _ in front], [y for _, y in front], markersize=6, linewidth=1.2, label=f"{name}: front", **style)
            labels += sorted((*points[i], plain(str(own[i]["label"]))) for i in on_front)
        axes.set(xlabel=_axis(x), ylabel=_axis(y))
        axes.set_title(f"Design points ({fidelity_names(fidelities)}): {y} against {x}, with the Pareto front", loc="left")
        axes.margins(0.08)
        axes.grid(True, alpha=0.3)
        axes.legend(loc="best", frameon=False)
        label_points(axes, labels)
    return figure


def _group(row: Row) -> tuple[str, Value, str]:
    """What makes points comparable: network, batch, fidelity."""
    return row.text("network"), row["batch"], row.text("fidelity")


def _axis(name: str) -> str:
    metric = METRICS[name]
    unit = "" if metric.unit == "1" else f" [{metric.unit}]"
    return f"{name}{unit} ({metric.better} is better)"
