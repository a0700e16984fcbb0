"""The charts of a run, as Vega-Lite specifications of the datasets ``rows`` (`run_rows.page_rows`), ``energy`` and
``links``."""

from collections.abc import Mapping, Sequence
from typing import Any

from etasim.pe.causes import CAUSE_COLUMNS
from etasim.program.commands import TENSOR_CLASSES
from etasim.report.drawing import CLASS_COLOURS, CYCLE_COLOURS, MANY_COLOURS, PHASE_COLOURS
from etasim.report.metrics import DRAM_READ_COLUMNS, DRAM_WRITE_COLUMNS, OCCUPIED_COLUMNS
from etasim.report.page.document import Chart, Toggle
from etasim.report.reading import StoredResult
from etasim.report.tables import PHASE_NAMES, stall_label

INK = "currentColor"
SEEN = {"#333333": INK, "#D9D9D9": "#8C96A3"}
"""What is drawn in the place of a colour that would vanish on a dark page, or look like another one there."""
HEIGHT = 280
ALIGNED = {"minExtent": 96, "maxExtent": 96, "labelLimit": 90}
"""The vertical axis of all charts of time, so that they stand below each other."""
ALL = "all"
"""The message class of flits that are not known apart."""
CLASS_TONES = dict(zip(TENSOR_CLASSES, CLASS_COLOURS, strict=True))

Spec = dict[str, Any]
Row = Mapping[str, Any]


def run_charts(result: StoredResult) -> list[Chart]:
    """All charts of layers and of energy that the figures of ``result`` allow, in the order of the page."""
    known = {name for row in result.layers for name, value in row.items() if value is not None}
    charts = [time_chart(result), layer_time_chart(result)]
    if known >= set(OCCUPIED_COLUMNS):
        charts.append(stall_chart(result))
    if known & {*DRAM_READ_COLUMNS, *DRAM_WRITE_COLUMNS}:
        charts.append(traffic_chart(result))
    if "utilization" in known:
        charts.append(utilization_chart(result))
    if result.components.get("energy"):
        charts.append(energy_chart())
    return charts


def tone(colour: str) -> str:
    """``colour``, or what can be seen on light and dark in its place."""
    return SEEN.get(colour, colour)


def scale(tones: Mapping[str, str]) -> Spec:
    """A scale that gives each value its colour; the page draws the legend, as toggles."""
    return {"domain": list(tones), "range": [tone(colour) for colour in tones.values()]}


def toggles(tones: Mapping[str, str], names: Mapping[str, str] = {}) -> list[Toggle]:
    """A toggle for each value."""
    return [Toggle(value, names.get(value, value.replace("_", " ")), tone(colour)) for value, colour in tones.items()]


def hidden(field: str) -> Spec:
    """Leaves out what the page's toggles took out."""
    return {"filter": f"indexof(hidden, datum.{field}) < 0"}


def params(begin: float, end: float, out: Sequence[str] = ()) -> list[Spec]:
    """What the page sets: the classes that are hidden, at first those that are ``out``, the window of the horizontal axis, and the layer
    that is selected."""
    values = {"hidden": list(out), "from": begin, "to": end, "chosen": None}
    return [{"name": name, "value": value} for name, value in values.items()]


def tip(*fields: str | tuple[str, str], **formats: str) -> list[Spec]:
    """What hovering shows: fields by the names of layers.csv, whole."""
    return [{"field": field, "title": field, **({"format": formats[field]} if field in formats else {})} for field in fields]


def window(title: str) -> Spec:
    """A horizontal axis of time in the window that all charts of time share."""
    return {"type": "quantitative", "title": title, "scale": {"domain": [{"expr": "from"}, {"expr": "to"}], "nice": False, "zero": False},
            "axis": {"labelOverlap": True, "tickCount": 10}}  # fmt: skip


def of_layers(spec: Spec, n_layers: int) -> Spec:
    """``spec`` over the layers in the order of the forward pass, in the window that all such charts share."""
    shown = {"filter": "datum.layer_index >= from && datum.layer_index <= to"}
    axis = {"field": "layer", "type": "nominal", "sort": {"field": "layer_index", "op": "min"}, "title": None,
            "axis": {"labelAngle": -50, "labelOverlap": "greedy"}}  # fmt: skip
    faint = {"condition": {"test": "chosen === null || datum.layer === chosen", "value": 1}, "value": 0.35}
    encoding = {"x": axis, "opacity": faint, **spec["encoding"]}
    return frame({**spec, "transform": [shown, *spec.get("transform", [])], "encoding": encoding, "params": params(0, n_layers - 1)})


def frame(spec: Spec, height: int = HEIGHT) -> Spec:
    """``spec`` as wide as the page lets it be."""
    return {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "width": "container", "height": height,
            "autosize": {"type": "fit-x", "contains": "padding"}, "data": {"name": "rows"}, **spec}  # fmt: skip


def n_layers(result: StoredResult) -> int:
    """Layers of the result."""
    return len({row.layer for row in result.layers})


def time_chart(result: StoredResult) -> Chart:
    """The rows along the iteration, a line a phase."""
    end = result.summary.number("time_ms")
    spec = frame({
        "mark": {"type": "bar", "clip": True, "stroke": "#8888", "strokeWidth": 0.5},
        "transform": [hidden("phase")],
        "encoding": {
            "x": {"field": "begin_ms", **window("time [ms]")}, "x2": {"field": "end_ms"},
            "y": {"field": "phase", "type": "nominal", "sort": list(PHASE_NAMES), "title": None, "axis": ALIGNED},
            "color": {"field": "phase", "type": "nominal", "scale": scale(PHASE_COLOURS), "legend": None},
            "opacity": {"condition": {"test": "chosen === null || datum.layer === chosen", "value": 1}, "value": 0.35},
            "tooltip": tip("layer", "phase", "kind", "cycles", "begin_ms", "end_ms", "span_cycles", cycles=",", span_cycles=","),
        },
        "params": params(0, end),
    }, 150)  # fmt: skip
    alt = "Each bar is a row of layers.csv, as long as its share of the iteration, a line a phase. Select a bar to see its layer."
    return Chart("timeline", "Layers along the iteration", alt, spec, "time", {"phase": toggles(PHASE_COLOURS, PHASE_NAMES)})


def layer_time_chart(result: StoredResult) -> Chart:
    """Cycles of each layer by phase."""
    spec = of_layers({
        "mark": {"type": "bar"},
        "transform": [hidden("phase")],
        "encoding": {
            "y": {"field": "cycles", "type": "quantitative", "title": "core cycles", "axis": {"format": "~s"}},
            "color": {"field": "phase", "type": "nominal", "scale": scale(PHASE_COLOURS), "legend": None},
            "order": {"field": "phase_index"},
            "tooltip": tip("layer", "phase", "kind", "cycles", "share", "span_cycles", "macs", cycles=",", share=".2%", span_cycles=",",
                           macs=","),
        },
    }, n_layers(result))  # fmt: skip
    alt = "Cycles of the iteration that each layer takes, stacked by phase, in the order of the forward pass."
    return Chart("layer-time", "Time by layer", alt, spec, "layer", {"phase": toggles(PHASE_COLOURS, PHASE_NAMES)})


def stall_chart(result: StoredResult) -> Chart:
    """What the clusters did for each layer."""
    spec = {
        "mark": {"type": "bar"},
        "transform": [{"fold": list(OCCUPIED_COLUMNS), "as": ["cause", "cause_cycles"]}, hidden("phase"), hidden("cause"),
                      {"filter": "datum.cause_cycles > 0"}],
        "encoding": {
            "y": {"field": "cause_cycles", "type": "quantitative", "title": "cluster cycles", "axis": {"format": "~s"}},
            "color": {"field": "cause", "type": "nominal", "scale": scale({c: CYCLE_COLOURS[c] for c in OCCUPIED_COLUMNS}), "legend": None},
            "tooltip": tip("layer", "phase", "cause", "cause_cycles", "utilization", cause_cycles=",", utilization=".1%"),
        },
    }  # fmt: skip
    tones = {column: CYCLE_COLOURS[column] for column in OCCUPIED_COLUMNS}
    groups = {"cause": toggles(tones, {c: stall_label(c) for c in CAUSE_COLUMNS}), "phase": phase_toggles()}
    alt = "Cluster cycles of each layer by what the clusters did: work, or the cause of the wait. Idle cycles belong to no layer."
    return Chart("stalls", "Where the cluster cycles went", alt, of_layers(spec, n_layers(result)), "layer", groups)


def phase_toggles() -> list[Toggle]:
    """The phases where colours mean something else."""
    return [Toggle(phase, name, None) for phase, name in PHASE_NAMES.items()]


def traffic_chart(result: StoredResult) -> Chart:
    """DRAM bytes of each layer by tensor class: read upwards, written downwards."""
    columns = (*DRAM_READ_COLUMNS, *DRAM_WRITE_COLUMNS)
    spec = {
        "mark": {"type": "bar"},
        "transform": [
            {"fold": list(columns), "as": ["column", "bytes"]}, {"filter": "datum.bytes > 0"},
            {"calculate": "replace(replace(datum.column, /^dram_(read|write)_/, ''), /_bytes$/, '')", "as": "tensor"},
            {"calculate": "indexof(datum.column, 'dram_write_') === 0 ? 'written' : 'read'", "as": "direction"},
            {"calculate": "(datum.direction === 'written' ? -1 : 1) * datum.bytes", "as": "signed"},
            hidden("phase"), hidden("tensor"), hidden("direction"),
        ],
        "encoding": {
            "y": {"field": "signed", "type": "quantitative", "title": "written | read [B]",
                  "axis": {"labelExpr": "format(abs(datum.value), '~s')"}},
            "color": {"field": "tensor", "type": "nominal", "scale": scale(CLASS_TONES), "legend": None},
            "tooltip": tip("layer", "phase", "column", "bytes", bytes=","),
        },
    }  # fmt: skip
    groups = {
        "tensor class": toggles(CLASS_TONES), "direction": [Toggle("read", "read", None), Toggle("written", "written", None)],
        "phase": phase_toggles(),
    }  # fmt: skip
    alt = "Bytes on the DRAM bus of each layer by tensor class: read above the axis, written below it."
    return Chart("traffic", "DRAM traffic by layer", alt, of_layers(spec, n_layers(result)), "layer", groups)


def utilization_chart(result: StoredResult) -> Chart:
    """MAC utilization of each row, and of the iteration."""
    whole = result.summary.figure("mac_utilization")
    shapes = {"domain": list(PHASE_COLOURS), "range": ["circle", "square", "triangle-up", "diamond"]}
    spec = of_layers({
        "mark": {"type": "point", "filled": True, "size": 60},
        "transform": [{"filter": "isValid(datum.utilization) && datum.macs > 0"}, hidden("phase")],
        "encoding": {
            "y": {"field": "utilization", "type": "quantitative", "title": "MAC utilization", "scale": {"domain": [0, 1]},
                  "axis": {"format": "%"}},
            "color": {"field": "phase", "type": "nominal", "scale": scale(PHASE_COLOURS), "legend": None},
            "shape": {"field": "phase", "type": "nominal", "scale": shapes, "legend": None},
            "tooltip": tip("layer", "phase", "utilization", "macs", "loss", utilization=".2%", macs=","),
        },
    }, n_layers(result))  # fmt: skip
    over_all = "" if whole is None else f" Over the whole iteration it is {whole:.1%}."
    alt = f"Share of the MAC slots that did useful work, of each layer and phase in the time that the array gave it.{over_all}"
    return Chart("utilization", "MAC utilization", alt, spec, "layer", {"phase": toggles(PHASE_COLOURS, PHASE_NAMES)})


def energy_chart() -> Chart:
    """Energy of each component by action."""
    spec = frame({
        "data": {"name": "energy"},
        "mark": {"type": "bar", "stroke": "#8888", "strokeWidth": 0.5},
        "encoding": {
            "y": {"field": "component", "type": "nominal", "sort": "-x", "title": None},
            "x": {"field": "energy_mj", "type": "quantitative", "title": "mJ", "stack": "zero"},
            "detail": {"field": "action"},
            "color": {"value": "#56B4E9"},
            "tooltip": tip("component", "action", "count", "energy_mj", "share_percent", "source", count=",", energy_mj=",.4~f"),
        },
        "params": params(0, 1),
    })  # fmt: skip
    alt = "Energy of each component, divided into its actions: counts times stated energies, not measured."
    return Chart("energy", "Energy by component", alt, spec)


def link_chart(classes: Sequence[str]) -> Chart:
    """How busy each link of the network was, by message ``classes``; none if they are not known apart."""
    tones = dict(zip(classes, MANY_COLOURS, strict=False)) or {ALL: MANY_COLOURS[0]}
    spec = frame({
        "data": {"name": "links"},
        "mark": {"type": "bar"},
        "transform": [hidden("message_class")],
        "encoding": {
            "y": {"field": "link", "type": "nominal", "sort": {"field": "place", "op": "min"}, "title": None},
            "x": {"field": "busy", "type": "quantitative", "title": "cycles with a flit", "axis": {"format": "%", "tickCount": 8}},
            "color": {"field": "message_class", "type": "nominal", "scale": scale(tones), "legend": None},
            "order": {"field": "message_class"},
            "tooltip": tip("link", "message_class", "flits", "busy", flits=",", busy=".2%"),
        },
        "params": params(0, 1),
    }, 320)  # fmt: skip
    alt = "Share of the cycles of the iteration in which each of the busiest links of the network carried a flit, by message class."
    return Chart("links", "Links of the network", alt, spec, None, {"message class": toggles(tones)} if classes else {})
