"""Pictures of the roofs of every level that moves data: DRAM, links of the network, buffers, under that of the array."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from etasim.report.drawing import (
    LIMIT_COLOUR,
    MANY_COLOURS,
    PHASE_COLOURS,
    QUIET_COLOUR,
    is_narrow,
    legend_below,
    nothing_to_draw,
    set_title,
    sheet,
    size_of,
    tabulate,
)
from etasim.report.inputs import inputs_of
from etasim.report.reading import StoredResult
from etasim.report.roofs import Roof, RoofPoint, points_of, roofs_of, whole_iteration, without_macs
from etasim.report.tables import PHASE_NAMES

PHASE_MARKERS = {"ff": "o", "bp": "s", "wg": "^", "wu": "D"}
LEVEL_MARKERS, LEVEL_LINES = "*Pos^D", ("-", "--", "-", (0, (2, 2)), "-.", "-")
"""Of the levels, which may lie on each other."""
PANELS_ACROSS = 3
LEAST_GOPS_SHARE = 1e-4
"""Of the peak: what is below is counted in the title of its panel and not drawn."""

def rooflines(result: StoredResult) -> Figure:
    """All roofs together with the whole iteration at each, then a roofline for each level that moves data: each row's throughput against
    its operations a byte there, and what that level allows."""
    roofs = roofs_of(result, inputs_of(result.folder).architecture)
    peak_gops = result.summary.number("peak_gops")
    rows = [row for row in result.layers if row.macs and row.figure("span_cycles")]
    if not rows:
        raise nothing_to_draw(result, "no row multiplies")
    across = 2 if is_narrow() else PANELS_ACROSS
    down = -(-(1 + len(roofs)) // across)
    figure, grid = sheet(down, across, sharey=True, squeeze=False, figsize=size_of(4.2 * across, 3.6 * down))
    panels = list(grid.ravel())
    table: list[dict[str, Any]] = []
    for axes, roof in zip(panels[1:], roofs, strict=False):
        points = points_of(result, roof)
        _draw_level(axes, roof, peak_gops, points)
        table += [{"level": roof.name, "layer": row.layer, "phase": row.phase, "operations_per_byte": x, "gops": y} for row, x, y in points]
    for axes in panels[1 + len(roofs) :]:
        axes.set_axis_off()
    table += _draw_all(panels[0], result, roofs, peak_gops)
    table += [dict.fromkeys(table[0], None) | {"level": "none: no MACs", "layer": row.layer, "phase": row.phase}
              for row in result.layers if not row.macs]  # fmt: skip
    note = f"points over the span of each row, in which others run too; {without_macs(result.layers)}"
    set_title(figure, "Rooflines of every level", result, note)
    shown = [phase for phase in PHASE_NAMES if any(row.phase == phase for row in rows)]
    handles: list[Any] = [
        Line2D([], [], color=PHASE_COLOURS[phase], marker=PHASE_MARKERS[phase], linewidth=0, label=f"{phase}: {PHASE_NAMES[phase]}")
        for phase in shown
    ]
    handles += [Line2D([], [], **_style(i), label=roof.name) for i, roof in enumerate(roofs)]
    legend_below(figure, handles)
    return tabulate(figure, table)


def _title_size() -> float:
    return 5 if is_narrow() else 10


def _style(level: int) -> dict[str, Any]:
    """Of a level's roof and of the iteration's mark under it."""
    k = level % len(LEVEL_MARKERS)
    return {
        "color": MANY_COLOURS[level % len(MANY_COLOURS)], "linestyle": LEVEL_LINES[k], "linewidth": 1.4, "marker": LEVEL_MARKERS[k],
        "markersize": 6 if is_narrow() else 10, "markerfacecolor": "none", "markeredgewidth": 1.4,
    }  # fmt: skip


def _draw_all(axes: Axes, result: StoredResult, roofs: Sequence[Roof], peak_gops: float) -> list[dict[str, Any]]:
    """Every roof in one panel, and the whole iteration marked at its operations a byte of each level; these as rows."""
    gops = result.summary.figure("throughput_gops")
    marks = [(i, roof, x) for i, roof in enumerate(roofs) if gops and (x := whole_iteration(result, roof))]
    places = [x for _, _, x in marks] + [peak_gops / roof.peak_gb_per_s for roof in roofs if roof.peak_gb_per_s]
    low, high = min(places, default=1) / 3, max(places, default=1) * 3
    axes.set(xscale="log", yscale="log", xlabel="operations a byte of the level", ylabel="GOPS")
    axes.set_title("All roofs; marks: the whole iteration", loc="left", fontsize=_title_size())
    axes.plot([low, high], [peak_gops, peak_gops], color=LIMIT_COLOUR, linewidth=1)
    axes.annotate(f"array, {peak_gops:,.0f} GOPS", (high, peak_gops), (-2, 3), textcoords="offset points", ha="right", fontsize="small")
    for i, roof in enumerate(roofs):
        if roof.peak_gb_per_s:
            knee = peak_gops / roof.peak_gb_per_s
            axes.plot([low, knee], [low * roof.peak_gb_per_s, peak_gops], **_style(i) | {"marker": ""})
    for i, _, x in marks:
        axes.plot([x], [gops or 0], **_style(i), zorder=3)
    axes.grid(True, alpha=0.3)
    named = {"layer": "whole iteration", "phase": "all"}
    return [{"level": roof.name, **named, "operations_per_byte": x, "gops": gops} for _, roof, x in marks]


def _draw_level(axes: Axes, roof: Roof, peak_gops: float, every: Sequence[RoofPoint]) -> None:
    """Points of a level under its slanted roof and that of the array."""
    points = [point for point in every if point[2] >= LEAST_GOPS_SHARE * peak_gops]
    title = roof.name if roof.peak_gb_per_s is None else f"{roof.name}, {roof.peak_gb_per_s:,.1f} GB/s"
    below = f"; {len(every) - len(points)} below" if len(points) < len(every) else ""
    axes.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GOPS")
    axes.set_title(title + below, loc="left", fontsize=_title_size())
    if not points:
        axes.annotate("not known", (0.5, 0.5), xycoords="axes fraction", ha="center", color=QUIET_COLOUR)
        return
    for row, x, y in points:
        axes.plot(x, y, marker=PHASE_MARKERS[row.phase], color=PHASE_COLOURS[row.phase], alpha=0.6, markersize=3 if is_narrow() else 5,
                  linewidth=0)  # fmt: skip
    low, high = min(x for _, x, _ in points) / 2, max(x for _, x, _ in points) * 2
    peak = roof.peak_gb_per_s
    knee = low if peak is None else min(max(peak_gops / peak, low), high)
    axes.plot([knee, high], [peak_gops, peak_gops], color=LIMIT_COLOUR, linewidth=1)
    if peak is not None:
        axes.plot([low, knee], [low * peak, knee * peak], color=LIMIT_COLOUR, linewidth=1)
    axes.grid(True, alpha=0.3)
