"""Pictures over time, from the series of a run: what the buffers hold, what the clusters do, power, the links of the network."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from etasim.pe.causes import CAUSES
from etasim.report.drawing import (
    CAUSE_COLOURS,
    CLASS_COLOURS,
    LIMIT_COLOUR,
    MANY_COLOURS,
    RESULT_COLOUR,
    is_narrow,
    legend_beside,
    nothing_to_draw,
    set_title,
    sheet,
    size_of,
    tabulate,
)
from etasim.report.naming import assumed_share, plain
from etasim.report.over_time import Steps, name_layers, stack, steps_of
from etasim.report.reading import StoredResult

MOST_LINKS = 48
"""That a picture shows by name: the busiest."""


def _finish(figure: Figure, axes: Axes, steps: Steps, columns: dict[str, np.ndarray]) -> Figure:
    """The axis of time, and the table: ``columns`` [step] by name."""
    axes.set_xlabel(f"time [ms], in steps of {1e6 * steps.lengths_s[0]:.3g} us")
    axes.set_xlim(0, steps.edges_ms[-1])
    return tabulate(figure, [row | {name: each[i].item() for name, each in columns.items()} for i, row in enumerate(steps.times())])


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
    return _finish(figure, grid[-1, 0], steps, columns)


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
    return _finish(figure, axes, steps, {f"{name}_share": shares[:, i] for i, name in enumerate(CAUSES)})


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
    return _finish(figure, axes, steps, {f"{name.replace(' ', '_')}_watt": watt[:, i] for i, name in zip(order, names, strict=True)})


def noc_over_time(result: StoredResult) -> Figure:
    """Flits of each message class, and how busy each link is, over the iteration."""
    steps = steps_of(result)
    arrays = steps.series.arrays
    if not arrays["link_flits"].any():
        raise nothing_to_draw(result, "no network was simulated")
    busy = steps.amounts("link_flits") / steps.lengths_cycles[:, None]
    flits = steps.amounts("noc_flits_injected") / steps.lengths_cycles[:, None]
    flits_of = arrays["link_flits"].sum(axis=0)
    used = int(np.count_nonzero(flits_of))
    shown = np.argsort(-flits_of, kind="stable")[: min(MOST_LINKS, used)]
    names = [plain(f"router {arrays['links'][i, 0]} to {arrays['link_targets'][i]}") for i in shown]
    size, ratios = size_of(11, 3.4 + 0.17 * len(shown), grows=True), (1, max(len(shown) / 12, 1))
    figure, grid = sheet(2, 1, sharex=True, figsize=size, height_ratios=ratios)
    stack(grid[0], steps.edges_ms, flits, MANY_COLOURS, arrays["flit_classes"].tolist())
    grid[0].set_ylabel("flits a cycle\ninjected")
    grid[0].grid(True, axis="y", alpha=0.3)
    legend_beside(grid[0])
    name_layers(grid[0], result, steps.series.clock_hz)
    lines = np.arange(len(shown) + 1) - 0.5
    mesh = grid[1].pcolormesh(steps.edges_ms, lines, busy[:, shown].T, cmap="viridis", vmin=0, vmax=1, rasterized=True)
    grid[1].set_yticks(range(len(shown)), names, fontsize=4 if is_narrow() else 6)
    grid[1].set_ylim(len(shown) - 0.5, -0.5)
    figure.colorbar(mesh, ax=grid[1], format=PercentFormatter(1, decimals=0), label="cycles with a flit", pad=0.01)
    note = f"{len(shown)} of {used} links that carry a flit, the busiest first; {len(flits_of) - used} carry none"
    set_title(figure, "The network", result, note)
    columns = {f"{name}_flits_a_cycle": flits[:, i] for i, name in enumerate(arrays["flit_classes"].tolist())}
    columns |= {f"router_{arrays['links'][i, 0]}_port_{arrays['links'][i, 1]}_busy": busy[:, i] for i in shown}
    return _finish(figure, grid[-1], steps, columns)
