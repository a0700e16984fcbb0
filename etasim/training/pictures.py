"""Pictures of training: curves of a run, accuracies of a grid."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context

from etasim.explore.pareto import pareto_front
from etasim.explore.plots import NETWORK_COLOURS, NETWORK_MARKERS
from etasim.report.drawing import sheet
from etasim.report.plots import STYLE, save
from etasim.report.store import read_text

Row = dict[str, Any]


def draw_curves(rows: Sequence[Row], title: str, path: Path) -> Path:
    """Loss and accuracy over the epochs of metrics.csv."""
    with rc_context(STYLE):
        figure, panels = sheet(1, 2, figsize=(9, 3.6))
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


def draw_noise(statistics: Path, title: str, path: Path) -> Path:
    """Signal over noise of each layer's activation, weight and error over the iterations of statistics.csv; what was not changed is left
    out."""
    rows = list(csv.DictReader(io.StringIO(read_text(statistics))))
    iterations = list(dict.fromkeys(row["iteration"] for row in rows))
    classes = [name for name in ("activation", "weight", "error") if any(row["class"] == name for row in rows)]
    with rc_context(STYLE):
        size = (3.4 * max(len(classes), 1) + 1.5, 0.16 * len({row["tensor"].split(".")[0] for row in rows}) + 1.6)
        figure, panels = sheet(1, max(len(classes), 1), figsize=size, squeeze=False)
        for axes, name in zip(panels[0], classes, strict=False):
            own = [row for row in rows if row["class"] == name]
            tensors = list(dict.fromkeys(row["tensor"] for row in own))
            shown = {(row["tensor"], row["iteration"]): float(row["signal_to_noise_db"] or "nan") for row in own}
            image = axes.imshow([[shown.get((t, i), float("nan")) for i in iterations] for t in tensors], aspect="auto", cmap="viridis")
            axes.set(title=name, xlabel="iteration")
            axes.set_yticks(range(len(tensors)), [tensor.split(".")[0] for tensor in tensors], fontsize=5)
            places = sorted({0, len(iterations) // 2, len(iterations) - 1})
            axes.set_xticks(places, [iterations[place] for place in places])
            figure.colorbar(image, ax=axes, label="signal over noise [dB]" if name == classes[-1] else "")
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return save(figure, path)


def draw_cells(cells: Sequence[Row], path: Path) -> Path:
    """Mean accuracies with bars that span the seeds: over batch sizes, a line for each scheme and normalization; a row for each if there is
    one batch size only."""
    finished = [cell for cell in cells if cell["runs"]]
    lines = list(dict.fromkeys((cell["scheme"], cell["norm"]) for cell in finished))
    batches = sorted({cell["batch"] for cell in finished})
    with rc_context(STYLE):
        size = (7, 4.2) if len(batches) > 1 else (9, 0.25 * len(lines) + 1.2)
        figure, axes = sheet(figsize=size)
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


def draw_formats(rows: Sequence[Row], title: str, path: Path) -> Path:
    """Mean accuracies over time, energy and traffic of an iteration; a line joins those that no other beats in both."""
    shown = (("time_ms", "time [ms]"), ("energy_mj", "energy [mJ]"), ("dram_mbit", "DRAM traffic [Mbit]"))
    with rc_context(STYLE):
        figure, panels = sheet(1, len(shown), figsize=(11, 3.8), sharey=True)
        for axes, (column, label) in zip(panels, shown, strict=True):
            known = [row for row in rows if row["runs"] and row[column] is not None]
            points = [(row[column], 100 * row["mean_accuracy"]) for row in known]
            front = sorted(points[i] for i in pareto_front(points, ["lower", "higher"])) if points else []
            axes.plot([x for x, _ in front], [y for _, y in front], color="0.6", linewidth=1, zorder=1)
            for index, (row, (x, y)) in enumerate(zip(known, points, strict=True)):
                colour, marker = NETWORK_COLOURS[index % 6], NETWORK_MARKERS[(index + index // 6) % 6]
                style: dict[str, Any] = {"color": colour, "marker": marker, "capsize": 2}
                name = ", ".join((row["scheme"], row["norm"], str(row["batch"])))
                axes.errorbar([x], [y], yerr=row["spread_points"], linestyle="none", markersize=5, label=name, **style)
            axes.set(xlabel=label)
            axes.grid(True, alpha=0.3)
        panels[0].set(ylabel="test accuracy [%]")
        panels[0].set_title(title, loc="left")
        if any(row["runs"] for row in rows):
            panels[-1].legend(frameon=False, fontsize=6, loc="upper left", bbox_to_anchor=(1.02, 1))
    return save(figure, path)


def _means(cells: Sequence[Row]) -> list[float]:
    return [100 * cell["mean_accuracy"] for cell in cells]


def _bars(cells: Sequence[Row]) -> list[list[float]]:
    """Distances of the least and the greatest accuracy from the mean, in percentage points."""
    return [
        [100 * (cell["mean_accuracy"] - cell["least_accuracy"]) for cell in cells],
        [100 * (cell["greatest_accuracy"] - cell["mean_accuracy"]) for cell in cells],
    ]
