"""The roofs of every level that moves data, the rows below them, and the whole iteration: what the picture ``rooflines`` shows, in one
chart of the datasets ``roofs``, ``roof_points`` and ``roof_marks``."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any, NamedTuple

from etasim.report.drawing import MANY_COLOURS
from etasim.report.page.document import Chart, Toggle
from etasim.report.page.run_charts import INK, frame, hidden, params, phase_toggles, scale, tip, tone
from etasim.report.reading import StoredResult
from etasim.report.roofs import Roof, points_of, whole_iteration, without_macs

ARRAY = "array"
SHAPES = {"ff": "circle", "bp": "square", "wg": "triangle-up", "wu": "diamond"}
ROOM = 2.0
"""Between what is farthest out and the edge of the chart, as a factor."""


class PageRoofs(NamedTuple):
    """The rows of the three datasets, and the ``roofs`` that are known."""

    roofs: list[Roof]
    lines: list[dict[str, Any]]
    points: list[dict[str, Any]]
    marks: list[dict[str, Any]]


def page_roofs(result: StoredResult, roofs: Sequence[Roof]) -> PageRoofs:
    """What the chart shows of a result under ``roofs``."""
    peak, gops = result.summary.number("peak_gops"), result.summary.figure("throughput_gops")
    points, marks = list[dict[str, Any]](), list[dict[str, Any]]()
    for roof in roofs:
        points += [
            {"level": roof.name, "layer": point.row.layer, "phase": point.row.phase, "cycles": point.row.cycles,
             **_place(roof, peak, point.operations_per_byte, point.gops)}
            for point in points_of(result, roof)
        ]  # fmt: skip
        whole = whole_iteration(result, roof)
        if whole and gops:
            marks.append({"level": roof.name, "peak_gb_per_s": roof.peak_gb_per_s, **_place(roof, peak, whole, gops)})
    xs = [row["operations_per_byte"] for row in points + marks] + [peak / roof.peak_gb_per_s for roof in roofs if roof.peak_gb_per_s]
    lines = []
    for roof in roofs:
        if xs and roof.peak_gb_per_s:
            low, knee = min(xs) / ROOM, peak / roof.peak_gb_per_s
            lines += [{"level": roof.name, "x": x, "y": x * roof.peak_gb_per_s} for x in (low, knee)]
    if xs:
        lines += [{"level": ARRAY, "x": x, "y": peak} for x in (min(xs) / ROOM, max(xs) * ROOM)]
    return PageRoofs(list(roofs), lines, points, marks)


def _place(roof: Roof, peak_gops: float, operations_per_byte: float, gops: float) -> dict[str, float]:
    """Where something stands, and its share of what level and array allow there."""
    allowed = peak_gops if roof.peak_gb_per_s is None else min(peak_gops, operations_per_byte * roof.peak_gb_per_s)
    return {"operations_per_byte": operations_per_byte, "gops": gops, "of_the_roof": gops / allowed}


def roofline_chart(result: StoredResult, drawn: PageRoofs) -> Chart:
    """All roofs; the points of DRAM at first, those of the other levels as a reader puts them in."""
    tones = {roof.name: MANY_COLOURS[i % len(MANY_COLOURS)] for i, roof in enumerate(drawn.roofs)}
    levels = [roof.name for roof in drawn.roofs if any(row["level"] == roof.name for row in drawn.points)]
    everything = drawn.points + drawn.marks
    ends = {
        "x": [line["x"] for line in drawn.lines],
        "y": [result.summary.number("peak_gops") * ROOM, *(row["gops"] / ROOM for row in everything)],
    }
    place = {
        "x": {"field": "operations_per_byte", "type": "quantitative", "title": "operations per byte of the level", **_decades(ends["x"])},
        "y": {"field": "gops", "type": "quantitative", "title": "GOPS over the row's span", **_decades(ends["y"])},
        "color": {"field": "level", "type": "nominal", "scale": scale(tones | {ARRAY: INK}), "legend": None},
    }  # fmt: skip
    most = max((row["cycles"] for row in drawn.points), default=1)
    spec = frame({"layer": [_lines(place), _points(place, most), _marks(place)], "params": params(0, 1, levels[1:])}, 360)
    peaks = ", ".join(f"{roof.name} {roof.peak_gb_per_s:,.1f} GB/s" for roof in drawn.roofs if roof.peak_gb_per_s)
    unknown = ", ".join(roof.name for roof in drawn.roofs if not roof.peak_gb_per_s)
    alt = (
        f"Lines are roofs: {result.summary.number('peak_gops'):,.1f} GOPS of the array{peaks and f', the slopes {peaks}'}"
        f"{unknown and f'; no roof is known of {unknown}'}. A point is a row at its operations per byte of a level, larger where it takes "
        f"more cycles, a ring the whole iteration. {without_macs(result.layers)}"
    )  # fmt: skip
    groups = {
        "points of": [Toggle(name, name, tone(tones[name]), name in levels[1:]) for name in levels], "phase": phase_toggles(),
    }  # fmt: skip
    return Chart("roofline", "Rooflines of every level", alt.strip(), spec, None, groups)


def _decades(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis around ``values``, with a line for each power of ten."""
    low, high = min(values), max(values)
    powers = [10.0**exponent for exponent in range(ceil(log10(low)), floor(log10(high)) + 1)]
    return {"scale": {"type": "log", "nice": False, "domain": [low, high]}, "axis": {"values": powers, "format": "~g"}}


def _lines(place: Mapping[str, Any]) -> dict[str, Any]:
    fields = {axis: {"field": axis, "type": "quantitative"} for axis in ("x", "y")}
    return {
        "data": {"name": "roofs"}, "mark": {"type": "line", "clip": True, "strokeWidth": 1.5},
        "encoding": {**fields, "color": place["color"]},
    }  # fmt: skip


def _points(place: Mapping[str, Any], most_cycles: int) -> dict[str, Any]:
    shapes = {"domain": list(SHAPES), "range": list(SHAPES.values())}
    return {
        "data": {"name": "roof_points"},
        "mark": {"type": "point", "filled": True, "clip": True},
        "transform": [hidden("level"), hidden("phase")],
        "encoding": {
            **place,
            "shape": {"field": "phase", "type": "nominal", "scale": shapes, "legend": None},
            "size": {"field": "cycles", "type": "quantitative", "legend": None,
                     "scale": {"domain": [0, most_cycles], "range": [15, 300]}},
            "opacity": {"condition": {"test": "chosen === null || datum.layer === chosen", "value": 0.7}, "value": 0.15},
            "tooltip": tip("layer", "phase", "level", "operations_per_byte", "gops", "of_the_roof", "cycles", operations_per_byte=",.3~f",
                           gops=",.2f", of_the_roof=".1%", cycles=","),
        },
    }  # fmt: skip


def _marks(place: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "data": {"name": "roof_marks"},
        "mark": {"type": "point", "filled": False, "clip": True, "size": 220, "strokeWidth": 2.5},
        "encoding": {
            **place,
            "tooltip": tip("level", "peak_gb_per_s", "operations_per_byte", "gops", "of_the_roof", peak_gb_per_s=",.1f",
                           operations_per_byte=",.3~f", gops=",.2f", of_the_roof=".1%"),
        },
    }  # fmt: skip
