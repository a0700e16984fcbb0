"""Pictures of a sweep, drawn from points.csv alone."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import pyplot
from matplotlib.figure import Figure

from etasim.config import InputError, Problem
from etasim.config.errors import allowed_names
from etasim.core.registry import METRICS
from etasim.explore.pareto import pareto_front
from etasim.explore.points import POINTS, Row, of_status, read_points
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
    groups = list(dict.fromkeys((row["network"], row["batch"], row["fidelity"]) for row in rows))
    fidelities = dict.fromkeys(fidelity for *_, fidelity in groups)
    better = (METRICS[x].better, METRICS[y].better)
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(8.5, 5.5), layout="constrained")
        labels = []
        networks, others = (list(dict.fromkeys(group[part] for group in groups)) for part in (slice(1), slice(1, None)))
        for group in groups:
            own = [row for row in rows if (row["network"], row["batch"], row["fidelity"]) == group]
            colour, marker = networks.index(group[:1]) % len(NETWORK_COLOURS), others.index(group[1:]) % len(NETWORK_MARKERS)
            style = {"color": NETWORK_COLOURS[colour], "marker": NETWORK_MARKERS[marker]}
            front = sorted((own[i] for i in pareto_front([(row[x], row[y]) for row in own], better)), key=lambda row: (row[x], row[y]))
            axes.scatter([row[x] for row in own], [row[y] for row in own], s=28, alpha=0.35, linewidths=0, **style)
            name = f"{plain(group[0])}, batch {group[1]}" + (f", {FIDELITY_NAMES[group[2]]}" if len(fidelities) > 1 else "")
            axes.plot([row[x] for row in front], [row[y] for row in front], markersize=6, linewidth=1.2, label=f"{name}: front", **style)
            labels += [(row[x], row[y], plain(str(row["label"]))) for row in front]
        axes.set(xlabel=_axis(x), ylabel=_axis(y))
        axes.set_title(f"Design points ({fidelity_names(fidelities)}): {y} against {x}, with the Pareto front", loc="left")
        axes.margins(0.08)
        axes.grid(True, alpha=0.3)
        axes.legend(loc="best", frameon=False)
        label_points(axes, labels)
    return figure


def _axis(name: str) -> str:
    metric = METRICS[name]
    unit = "" if metric.unit == "1" else f" [{metric.unit}]"
    return f"{name}{unit} ({metric.better} is better)"
