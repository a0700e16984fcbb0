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
                style: dict[str, Any] = {"color": NETWORK_COLOURS[index], "marker": NETWORK_MARKERS[index], "markersize": 3}
                known = [(row["epoch"], row[f"{split}_{quantity}"]) for row in rows if row[f"{split}_{quantity}"] is not None]
                axes.plot([epoch for epoch, _ in known], [value for _, value in known], label=split, **style)
            axes.set(xlabel="epoch", ylabel=f"{quantity} [{unit}]")
            axes.grid(True, alpha=0.3)
        panels[0].set_title(title, loc="left")
        panels[1].legend(frameon=False)
    return save(figure, path)


def draw_cells(cells: Sequence[Row], path: Path) -> Path:
    """Mean accuracies with bars that span the seeds: over batch sizes, a line for each scheme and normalization; a row for each if there is
    one batch size only."""
    finished = [cell for cell in cells if cell["runs"]]
    lines = list(dict.fromkeys((cell["scheme"], cell["norm"]) for cell in finished))
    batches = sorted({cell["batch"] for cell in finished})
    with pyplot.rc_context(STYLE):
        size = (7, 4.2) if len(batches) > 1 else (9, 0.25 * len(lines) + 1.2)
        figure, axes = pyplot.subplots(figsize=size, layout="constrained")
        for index, line in enumerate(lines):
            own = sorted((cell for cell in finished if (cell["scheme"], cell["norm"]) == line), key=lambda cell: cell["batch"])
            colour, marker = NETWORK_COLOURS[index % 6], NETWORK_MARKERS[index % 6]
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "capsize": 3}
            if len(batches) > 1:
                beside = 1.03 ** (index - (len(lines) - 1) / 2)
                at = [cell["batch"] * beside for cell in own]
                axes.errorbar(at, _means(own), _bars(own), label=", ".join(line), **style)
            else:
                axes.errorbar(_means(own), [", ".join(line)] * len(own), xerr=_bars(own), linestyle="none", **style)
        if len(batches) > 1:
            axes.set(xlabel="batch size", ylabel="test accuracy [%]", xscale="log")
            axes.set_xticks(batches, [str(batch) for batch in batches], minor=False)
            axes.legend(frameon=False)
        else:
            axes.set(xlabel="test accuracy [%]")
            axes.tick_params(axis="y", labelsize=7)
            axes.invert_yaxis()
        axes.minorticks_off()
        axes.grid(True, alpha=0.3)
        axes.set_title("Mean over seeds; bars from the least to the greatest", loc="left")
    return save(figure, path)


def _means(cells: Sequence[Row]) -> list[float]:
    return [100 * cell["mean_accuracy"] for cell in cells]


def _bars(cells: Sequence[Row]) -> list[list[float]]:
    """Distances of the least and the greatest accuracy from the mean, in percentage points."""
    return [
        [100 * (cell["mean_accuracy"] - cell["least_accuracy"]) for cell in cells],
        [100 * (cell["greatest_accuracy"] - cell["mean_accuracy"]) for cell in cells],
    ]
