"""What happens in the course of the iteration, from the dataset ``samples`` (`series_rows.sample_rows`); all share the window of time."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from etasim.report.drawing import CLASS_COLOURS, CYCLE_COLOURS, MANY_COLOURS
from etasim.report.page.document import Chart, Toggle
from etasim.report.page.run_charts import ALIGNED, CLASS_TONES, INK, frame, hidden, params, scale, tip, tone, window
from etasim.report.page.series_rows import PageBand, PageSamples
from etasim.report.reading import StoredResult
from etasim.report.tables import stall_label

RESULT_TONE, BUSY_TONE = "#882255", "#0072B2"
TITLED = {"minExtent": 80, "maxExtent": 80}
"""With its title as wide as `ALIGNED`."""
ROW_PIXELS = 24
FAINT = 0.5
"""Of what is written, beside what is read."""


def series_charts(result: StoredResult, samples: PageSamples) -> list[Chart]:
    """All charts over time."""
    end, traffic = float(samples.edges_ms[-1]), samples.traffic
    tones = {band.key: CLASS_TONES.get(band.label, RESULT_TONE) for band in traffic}
    written = [band.key for band in traffic if band.of == "written"]
    charts = [_busy_chart(samples.busy, end)]
    if traffic:
        labels = {band.key: f"{band.label.replace('_', ' ')} {band.of}" for band in traffic}
        alt = "DRAM traffic in the course of the iteration, stacked by tensor class, written ones fainter; the line: the pins."
        lines = _lines(result, samples.pins.key)
        spec = _stacked([*traffic, samples.pins], tones, "GB/s", end, lines, faint=written)
        charts.append(Chart("bandwidth", "DRAM bandwidth over time", alt, spec, "time", {"tensor class": _toggles(tones, labels)}))
    causes = {column: CYCLE_COLOURS[column] for column in CYCLE_COLOURS}
    alt = "What the clusters did in the course of the iteration, in percent of their cycles."
    spec = _stacked(samples.causes, causes, "% of cluster cycles", end)
    names = {column: stall_label(column) for column in causes}
    charts.append(Chart("causes", "What the clusters did over time", alt, spec, "time", {"cause": _toggles(causes, names)}))
    charts += [_held_chart(name, bands, end) for name, bands in samples.held.items() if bands]
    charts += [_flit_chart(samples.flits, end)] if samples.flits else []
    charts += [_power_chart(samples.power, end)] if samples.power else []
    return charts + ([_resident_chart(samples.resident, end)] if samples.resident else [])


def _toggles(tones: Mapping[str, str], labels: Mapping[str, str]) -> list[Toggle]:
    return [Toggle(key, labels[key], tone(colour)) for key, colour in tones.items()]


def _held_chart(name: str, bands: Sequence[PageBand], end: float) -> Chart:
    tones = {band.key: CLASS_TONES.get(band.label, RESULT_TONE) for band in bands}
    alt = f"Bytes of the {name} buffer that are written, or being written, and still to be read, by what they are."
    spec = _stacked(bands, tones, "KiB", end, height=150)
    labels = {band.key: band.label.replace("_", " ") for band in bands}
    return Chart(bands[0].key, f"Occupancy of the {name} buffer over time", alt, spec, "time", {"what": _toggles(tones, labels)})


def _flit_chart(bands: Sequence[PageBand], end: float) -> Chart:
    tones = {band.key: colour for band, colour in zip(bands, MANY_COLOURS, strict=False)}
    alt = "Flits that enter the network in a cycle in the course of the iteration, stacked by message class."
    labels = {band.key: band.label for band in bands}
    spec = _stacked(bands, tones, "flits a cycle", end, height=150)
    return Chart("flits", "Flits over time", alt, spec, "time", {"message class": _toggles(tones, labels)})


def _resident_chart(bands: Sequence[PageBand], end: float) -> Chart:
    tones = {band.key: CLASS_TONES[band.label] for band in bands}
    alt = "Bytes of the tensors that are in DRAM in the course of the iteration and still of use, stacked by tensor class."
    groups = {"tensor class": _toggles(tones, {band.key: band.label.replace("_", " ") for band in bands})}
    return Chart("resident", "DRAM in use over time", alt, _stacked(bands, tones, "MiB", end), "time", groups)


def _power_chart(bands: Sequence[PageBand], end: float) -> Chart:
    colours = [*CLASS_COLOURS, "#88CCEE", "#AA4499", "#DDCC77"]
    tones = {band.key: colours[i % len(colours)] for i, band in enumerate(bands)}
    alt = "Power in the course of the iteration, stacked by part: stated energies times counts, not measured."
    labels = {band.key: band.label for band in bands}
    return Chart("power", "Power over time", alt, _stacked(bands, tones, "W", end), "time", {"part": _toggles(tones, labels)})


def _busy_chart(bands: Sequence[PageBand], end: float) -> Chart:
    labels = {band.key: band.label for band in bands}
    height = ROW_PIXELS * len(bands)
    spec = _over_time(bands, dict.fromkeys(labels, BUSY_TONE), "", end, {"type": "rect", "clip": True, "aria": False}, None, height)
    drawn = spec["layer"][0]
    drawn["transform"].append({"calculate": f"{json.dumps(labels)}[datum.band]", "as": "part"})
    drawn["encoding"] |= {
        "x2": {"field": "sample_end_ms"},
        "y": {"field": "part", "type": "nominal", "sort": None, "title": None, "axis": ALIGNED},
        "opacity": {"field": "amount", "type": "quantitative", "scale": {"domain": [0, 100], "range": [0, 1]}, "legend": None},
    }
    alt = "How busy each part was in the course of the iteration: the darker, the more percent of the time, or of the pins."
    return Chart("busy", "Who is busy when", alt, spec, "time")


def _stacked(
    bands: Sequence[PageBand], tones: Mapping[str, str], unit: str, end: float, lines: Sequence[Any] = (), faint: Sequence[str] = (),
    height: int = 220,
) -> dict[str, Any]:  # fmt: skip
    mark = {"type": "area", "interpolate": "step-after", "clip": True, "strokeWidth": 0}
    spec = _over_time(bands, tones, unit, end, mark, "zero", height)
    if faint:
        written = {"test": {"field": "band", "oneOf": list(faint)}, "value": FAINT}
        spec["layer"][0]["encoding"]["opacity"] = {"condition": written, "value": 1}
    spec["layer"][1:1] = lines
    return spec


def _over_time(
    bands: Sequence[PageBand], tones: Mapping[str, str], unit: str, end: float, mark: dict[str, Any], stack: str | None, height: int = 220
) -> dict[str, Any]:
    """Bands as areas or lines, and on top what cannot be seen: a bar for each sample, which shows its figures and marks the layer that is
    chosen."""
    drawn = {
        "mark": mark, "transform": [{"fold": list(tones), "as": ["band", "amount"]}, hidden("band")],
        "encoding": {
            "x": {"field": "sample_begin_ms", **window("time [ms]")},
            "y": {"field": "amount", "type": "quantitative", "title": unit, "stack": stack, "axis": TITLED},
            "color": {"field": "band", "type": "nominal", "scale": scale(tones), "legend": None},
        },
    }  # fmt: skip
    figures = [{"field": band.key, "title": f"{band.label} {band.of}".strip(), "format": ",.4~g"} for band in bands]
    shown = {
        "mark": {"type": "bar", "clip": True, "color": INK, "aria": False},
        "encoding": {
            "x": {"field": "sample_begin_ms", "type": "quantitative"}, "x2": {"field": "sample_end_ms"},
            "y": {"value": height}, "y2": {"value": 0},
            "opacity": {"condition": {"test": "datum.layer === chosen", "value": 0.18}, "value": 0},
            "tooltip": [*tip("sample_begin_ms", "sample_end_ms", "layer", "phase"), *figures],
        },
    }  # fmt: skip
    return frame({"data": {"name": "samples"}, "layer": [drawn, shown], "params": params(0, end)}, height)


def _lines(result: StoredResult, pins: str) -> list[dict[str, Any]]:
    """What the pins carry, and the most that they can."""
    carried = {
        "mark": {"type": "line", "interpolate": "step-after", "color": INK, "strokeWidth": 1, "clip": True},
        "encoding": {"x": {"field": "sample_begin_ms", "type": "quantitative"}, "y": {"field": pins, "type": "quantitative"}},
    }
    peak = result.summary.figure("dram_peak_gb_per_s")
    rule = {
        "mark": {"type": "rule", "color": INK, "strokeDash": [5, 3], "aria": False},
        "encoding": {"y": {"datum": peak, "type": "quantitative"}},
    }
    return [carried, *([rule] if peak else [])]
