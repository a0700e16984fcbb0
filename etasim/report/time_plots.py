"""Pictures over time, from the series of a run: what the buffers hold, what the clusters do, power."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from etasim.pe.causes import CAUSES
from etasim.report.drawing import (
    CAUSE_COLOURS,
    CLASS_COLOURS,
    LIMIT_COLOUR,
    MANY_COLOURS,
    RESULT_COLOUR,
    legend_beside,
    nothing_to_draw,
    set_title,
    sheet,
    size_of,
)
from etasim.report.naming import assumed_share
from etasim.report.over_time import finish, name_layers, stack, steps_of
from etasim.report.reading import StoredResult


def occupancy(result: StoredResult) -> Figure:
    """What each buffer holds over the iteration, by what it is: which tensors reside where, and for how long."""
    steps = steps_of(result)
    arrays = steps.series.arrays
    held, sizes, names = steps.levels("held_bytes") / 1024, arrays["buffer_bytes"] / 1024, arrays["buffers"].tolist()
    kinds = [name.replace("_", " ") for name in arrays["held"].tolist()]
    size = size_of(11, 1.5 + 2.2 * len(names))
    figure, grid = sheet(len(names), 1, sharex=True, figsize=size, squeeze=False)
    for b, (axes, name) in enumerate(zip(grid[:, 0], names, strict=True)):
        stack(axes, steps.edges_ms, held[:, b], (*CLASS_COLOURS, RESULT_COLOUR), kinds)
        axes.axhline(sizes[b], color=LIMIT_COLOUR, linestyle="--", linewidth=1)
        axes.set_ylabel(f"KiB\n{name} buffer")
        axes.grid(True, axis="y", alpha=0.3)
        axes.set_ylim(0, sizes[b] * 1.05)
        legend_beside(axes)
    name_layers(grid[0, 0], result, steps.series.clock_hz)
    share = arrays["held_bytes"].sum(axis=2).max(axis=0) / arrays["buffer_bytes"]
    most = ", ".join(f"{name} {each:.0%}" for name, each in zip(names, share, strict=True))
    note = f"bytes that are being written, or written and still to be read; dashed: capacity, both halves; at most: {most}"
    set_title(figure, "What the buffers hold", result, note)
    columns = {
        f"{name}_{kind}_bytes": steps.levels("held_bytes")[:, b, k] for b, name in enumerate(names)
        for k, kind in enumerate(arrays["held"].tolist()) if held[:, b, k].any()
    }  # fmt: skip
    return finish(figure, grid[-1, 0], steps, columns)


def stalls_over_time(result: StoredResult) -> Figure:
    """What the clusters do over the iteration, as shares of their time by cause."""
    steps = steps_of(result)
    cycles = steps.amounts("cluster_cycles")
    shares = cycles / cycles.sum(axis=1, keepdims=True)
    figure, axes = sheet(figsize=size_of(11, 4.6))
    stack(axes, steps.edges_ms, shares, CAUSE_COLOURS, [name.replace("_", " ") for name in CAUSES])
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("share of the clusters' cycles")
    name_layers(axes, result, steps.series.clock_hz)
    legend_beside(axes)
    whole = cycles.sum(axis=0) / cycles.sum()
    told = ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in zip(CAUSES, whole, strict=True) if share >= 0.001)
    set_title(figure, "What the clusters do", result, told)
    return finish(figure, axes, steps, {f"{name}_share": shares[:, i] for i, name in enumerate(CAUSES)})


def power(result: StoredResult) -> Figure:
    """Power over the iteration, by part; what the architecture states no energy for is not in it."""
    steps = steps_of(result)
    arrays = steps.series.arrays
    known = np.flatnonzero(~np.isnan(arrays["energy_joule"]).any(axis=0))
    if not len(known):
        raise nothing_to_draw(result, "the architecture states no energy")
    watt = steps.rates(steps.summed(arrays["energy_joule"][:, known]))
    order = np.argsort(-watt.mean(axis=0), kind="stable")
    names = [str(arrays["energy_parts"][known[i]]) for i in order]
    figure, axes = sheet(figsize=size_of(11, 5))
    colours = [MANY_COLOURS[i % len(MANY_COLOURS)] for i in range(len(order))]
    for i in range(len(order)):
        hatch = "...." if i >= len(MANY_COLOURS) else None
        stack(axes, steps.edges_ms, watt[:, order[i : i + 1]], colours[i : i + 1], names[i : i + 1], hatch, watt[:, order[:i]].sum(axis=1))
    axes.set_ylabel("power [W]")
    axes.grid(True, axis="y", alpha=0.3)
    axes.set_ylim(0, None)
    name_layers(axes, result, steps.series.clock_hz)
    legend_beside(axes)
    mean = np.nansum(arrays["energy_joule"]) / steps.series.lengths_s.sum()
    left_out = [str(name) for i, name in enumerate(arrays["energy_parts"]) if i not in known]
    note = f"{mean:.2f} W on average, at most {watt.sum(axis=1).max():.2f} W in a step, {assumed_share(result.summary)}"
    set_title(figure, "Power", result, note + (f"; not known: {', '.join(left_out)}" if left_out else ""))
    return finish(figure, axes, steps, {f"{name.replace(' ', '_')}_watt": watt[:, i] for i, name in zip(order, names, strict=True)})
