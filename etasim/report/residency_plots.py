"""The picture of the tensors in DRAM over time."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from etasim.report.drawing import (
    CLASS_COLOURS,
    is_narrow,
    legend_below,
    nothing_to_draw,
    set_title,
    sheet,
    size_of,
    tabulate,
)
from etasim.report.naming import plain_name, shortened
from etasim.report.over_time import name_layers, stack
from etasim.report.reading import StoredResult
from etasim.report.residents import Residents, bytes_by_class, never_stored, residents_of
from etasim.report.series import read_series

LARGEST_NAMED = 3
"""Tensors that the title names."""
LAYER_INCHES = 0.26


def residency(result: StoredResult) -> Figure:
    """The tensors in DRAM over the iteration: their bytes by class, and a line for each from its first write to its last read."""
    series = read_series(result.folder)
    found = residents_of(series)
    if not found.names:
        raise nothing_to_draw(result, "no tensor is in DRAM")
    classes = series.arrays["tensor_classes"].tolist()
    edges, held = bytes_by_class(found, len(classes))
    ms = 1e3 / series.clock_hz
    stays = found.stays
    moving = [i for i in range(len(found.names)) if not stays[i]]
    layers = list(dict.fromkeys(found.layers[i] for i in moving))
    size = size_of(11, 4 + LAYER_INCHES * max(len(layers), 8), grows=True)
    figure, grid = sheet(2, 1, sharex=True, figsize=size, height_ratios=(2.2, LAYER_INCHES * max(len(layers), 8)))
    stack(grid[0], edges * ms, held / 2**20, CLASS_COLOURS, classes)
    grid[0].set_ylabel("MiB in DRAM")
    grid[0].set_ylim(0, None)
    grid[0].grid(True, axis="y", alpha=0.3)
    name_layers(grid[0], result, series.clock_hz)
    _lines(grid[1], found, layers, moving, ms)
    grid[1].set_xlabel("time [ms]")
    grid[1].set_xlim(0, edges[-1] * ms)
    used = [i for i in range(len(classes)) if (found.classes == i).any()]
    legend_below(figure, [Patch(color=CLASS_COLOURS[i]) for i in used], [classes[i].replace("_", " ") for i in used])
    room = found.n_bytes * (found.cycles[:, 1] - found.cycles[:, 0]).astype(float) * ~stays
    most = ", ".join(shortened(found.names[i]) for i in np.argsort(-room, kind="stable")[:LARGEST_NAMED])
    note = f"at most {held.sum(axis=1).max() / 2**20:.2f} MiB; a tensor is there from its first write to its last read; "
    note += f"most room times time: {most}; {stays.sum()} that are there all the time have no line of their own"
    on_chip = never_stored(series)
    note += f"; {len(on_chip)} live on chip alone" if on_chip else ""
    set_title(figure, "Tensors in DRAM", result, note)
    return tabulate(figure, [
        {"tensor": found.names[i], "class": classes[found.classes[i]], "bytes": int(found.n_bytes[i]),
         "from_ms": float(found.cycles[i, 0] * ms), "until_ms": float(found.cycles[i, 1] * ms), "lives_in": found.homes[i]}
        for i in range(len(found.names))
    ] + on_chip)  # fmt: skip


def _lines(axes: Axes, found: Residents, layers: list[str], shown: list[int], ms: float) -> None:
    """A band a layer, in it a line for each of its tensors, in the colour of its class."""
    for place, layer in enumerate(layers):
        own = [i for i in shown if found.layers[i] == layer]
        height = 0.86 / len(own)
        for k, i in enumerate(own):
            begin, end = found.cycles[i] * ms
            bar: dict[str, Any] = {"left": begin, "height": height, "color": CLASS_COLOURS[found.classes[i]], "linewidth": 0}
            axes.barh(place - 0.43 + height * (k + 0.5), end - begin, **bar)
    axes.set_yticks(range(len(layers)), [plain_name(layer) for layer in layers], fontsize=4 if is_narrow() else 7)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x", alpha=0.3)
    axes.set_axisbelow(True)
