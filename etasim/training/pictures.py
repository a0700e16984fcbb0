"""Pictures of training: curves of a run, accuracies of a grid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot

from etasim.explore.plots import NETWORK_COLOURS, NETWORK_MARKERS
from etasim.report.plots import STYLE, save

Row = dict[str, Any]


def draw_curves(rows: Sequence[Row], title: str, path: Path) -> Path:
    """Loss and accuracy over the epochs of metrics.csv."""
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        for axes, quantity, unit in zip(panels, ("loss", "accuracy"), ("nats", "share of images"), strict=True):
            for index, split in enumerate(("train", "test")):
                style = {"color": NETWORK_COLOURS[index], "marker": NETWORK_MARKERS[index], "markersize": 3}
                axes.plot([row["epoch"] for row in rows], [row[f"{split}_{quantity}"] for row in rows], label=split, **style)
            axes.set(xlabel="epoch", ylabel=f"{quantity} [{unit}]")
            axes.grid(True, alpha=0.3)
        panels[0].set_title(title, loc="left")
        panels[1].legend(frameon=False)
    return save(figure, path)


def draw_cells(cells: Sequence[Row], path: Path) -> Path:
    """Mean accuracy over batch sizes, a line for each scheme and normalization; bars span the seeds."""
    lines = list(dict.fromkeys((cell["scheme"], cell["norm"]) for cell in cells))
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
        for index, line in enumerate(lines):
            own = sorted((c for c in cells if (c["scheme"], c["norm"]) == line and c["runs"]), key=lambda cell: cell["batch"])
            means = [100 * cell["mean_accuracy"] for cell in own]
            below = [m - 100 * cell["least_accuracy"] for m, cell in zip(means, own, strict=True)]
            above = [100 * cell["greatest_accuracy"] - m for m, cell in zip(means, own, strict=True)]
            style = {"color": NETWORK_COLOURS[index % 6], "marker": NETWORK_MARKERS[index % 6], "markersize": 4, "capsize": 3}
            axes.errorbar([cell["batch"] for cell in own], means, [below, above], label=", ".join(line), **style)
        axes.set(xlabel="batch size", ylabel="test accuracy [%]", xscale="log")
        ticks = sorted({cell["batch"] for cell in cells})
        axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        axes.minorticks_off()
        axes.grid(True, alpha=0.3)
        axes.legend(frameon=False)
        axes.set_title("Mean over seeds; bars from the least to the greatest", loc="left")
    return save(figure, path)
