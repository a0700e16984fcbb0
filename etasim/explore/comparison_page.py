"""The page of several results beside each other: figures, machines, and layers, each against the first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from etasim.config import InputError, Problem
from etasim.core.registry import METRICS
from etasim.explore.answer_tables import number
from etasim.explore.comparing import Side, compare, read_side
from etasim.report.drawing import CLASS_COLOURS
from etasim.report.glossary import SUMMARY, columns
from etasim.report.naming import FIDELITY_NAMES, told_assumed
from etasim.report.page.document import Chart, Page, PageSection, term
from etasim.report.page.markup import Markup, element, table
from etasim.report.page.run_charts import frame, hidden, of_layers, params, phase_toggles, scale, tip, toggles
from etasim.report.page.tables import sortable
from etasim.report.store import LAYERS, read_text
from etasim.workload.lowering import PHASES

COMPARED = {"throughput_gops": "throughput", "gops_per_w": "GOPS/W (partly assumed)", "dram_read_bytes": "DRAM reads"}
MOST_SIDES = 8
"""As many as colours tell apart."""


def comparison_page(folders: Sequence[Path]) -> Page:
    """The page of the results in ``folders`` (or DIR:POINT of explorations), of which the first is what the others are compared with.

    Raises InputError for one that holds no result, and for more than `MOST_SIDES`.
    """
    if len(folders) > MOST_SIDES:
        raise InputError([Problem("DIR", None, "", f"{len(folders)} results; a page compares at most {MOST_SIDES}")])
    sides = {letter: read_side(str(folder), None) for letter, folder in zip(ascii_uppercase, folders, strict=False)}
    first = sides["A"]
    answers = {letter: compare(first, side) for letter, side in sides.items() if letter != "A"}
    rows, gains = _rows(sides), _gains(answers)
    sections = [
        PageSection("summary", "What is compared", [_about(sides), _verdict(answers)]),
        PageSection("charts", "Charts", _charts(sides, rows, gains)),
        PageSection("figures", "Figures", [_figures(sides)]),
        PageSection("machines", "Machines", [_machines(sides)]),
        PageSection("layers", "Layers", [_layers(gains) if gains else element("p", "Different networks: their layers are not compared.")]),
    ]
    lead = element("p", f"Everything is compared with A: {first.network} on {first.name}.", class_="lead", dir="auto")
    files = {f"{letter}-{LAYERS}": Path(side.name) / LAYERS for letter, side in sides.items()}
    downloads = {name: read_text(path) for name, path in files.items() if path.exists()}
    datasets = {"rows": rows, "gains": gains, "figures": _measures(sides)}
    more = {"phases": dict.fromkeys(PHASES, ""), "nests": {}, "columns": []}
    return Page(f"{len(sides)} results beside each other", lead, sections, datasets, downloads, columns(SUMMARY), more)


def _tones(sides: Mapping[str, Side]) -> dict[str, str]:
    return dict(zip(sides, CLASS_COLOURS, strict=False))


def _names(sides: Mapping[str, Side]) -> dict[str, str]:
    return {letter: f"{letter}: {Path(side.name).name}" for letter, side in sides.items()}


def _about(sides: Mapping[str, Side]) -> Markup:
    rows = [
        (letter, side.name, side.network, str(side.architecture.get("name", "-")), str(side.batch), FIDELITY_NAMES[side.fidelity])
        for letter, side in sides.items()
    ]
    return table(("", "result", "network", "machine", "batch", "fidelity"), rows, "What is compared")


def _verdict(answers: Mapping[str, Mapping[str, Any]]) -> Markup:
    lines = []
    for letter, answer in answers.items():
        change = {row["name"]: row["change_percent"] for row in answer["metrics"]}
        keys = ", ".join(row["key"] for row in answer["architecture"][:6] if row["key"] != "name")
        parts = [f"{number(change[name], '{:+.1f}')} % {said}" for name, said in COMPARED.items()]
        lines.append(element("li", f"{letter}: {', '.join(parts)}", f" (differs in {keys})" if keys else " (the same machine)", dir="auto"))
    return element("div", element("h3", "Against A"), element("ul", lines), class_="limits")


def _rows(sides: Mapping[str, Side]) -> list[dict[str, Any]]:
    """Cycles of each layer and phase of each side."""
    places: dict[str, int] = {}
    for side in sides.values():
        for layer, _ in side.layers:
            places.setdefault(layer, len(places))
    return [
        {"side": letter, "layer": layer, "phase": phase, "cycles": cycles, "layer_index": places[layer]}
        for letter, side in sides.items() for (layer, phase), cycles in side.layers.items()
    ]  # fmt: skip


def _gains(answers: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each side saves against A, by layer and phase, where both ran the same network."""
    places: dict[str, int] = {}
    rows = []
    for letter, answer in answers.items():
        for row in answer["layers"]:
            place = places.setdefault(row["layer"], len(places))
            rows.append({"side": letter, **row, "layer_index": place})
    return rows


def _measures(sides: Mapping[str, Side]) -> list[dict[str, Any]]:
    """Figures of each side relative to A, in percent."""
    first, rows = sides["A"], []
    for name in ("throughput_gops", "mac_utilization", "dram_bandwidth_gb_per_s", "power_w", "gops_per_w"):
        base = first.summary.figure(name)
        for letter, side in sides.items():
            value = side.summary.figure(name)
            if base and value is not None:
                rows.append({"figure": told_assumed(name), "side": letter, "value": value, "percent": 100 * value / base})
    return rows


def _charts(sides: Mapping[str, Side], rows: Sequence[Any], gains: Sequence[Any]) -> list[Markup | Chart]:
    tones, n = _tones(sides), 1 + max(row["layer_index"] for row in rows)
    colour = {"field": "side", "type": "nominal", "scale": scale(tones), "legend": None}
    groups = {"result": toggles(tones, _names(sides)), "phase": phase_toggles()}
    bars = frame({
        "data": {"name": "figures"}, "mark": "bar", "transform": [hidden("side")],
        "encoding": {"x": {"field": "figure", "type": "nominal", "sort": None, "title": None, "axis": {"labelAngle": -20}},
                     "xOffset": {"field": "side"}, "color": colour,
                     "y": {"field": "percent", "type": "quantitative", "title": "percent of A"},
                     "tooltip": tip("side", "figure", "value", "percent", percent=".1f")},
        "params": params(0, 1),
    })  # fmt: skip
    times = of_layers({
        "mark": "bar", "transform": [hidden("side"), hidden("phase"), _summed("cycles", "layer_cycles")],
        "encoding": {"xOffset": {"field": "side"}, "color": colour,
                     "y": {"field": "layer_cycles", "type": "quantitative", "title": "core cycles", "axis": {"format": "~s"}},
                     "tooltip": tip("layer", "side", "layer_cycles", layer_cycles=",")},
    }, n)  # fmt: skip
    charts: list[Markup | Chart] = [
        Chart("measures", "Figures, relative to A", "Each figure as percent of that of A.", bars, None, {"result": groups["result"]}),
        Chart("layer-times", "Time by layer", "Core cycles of each layer in each result, of the phases shown.", times, "layer", groups),
    ]
    if gains:
        others = {letter: colour for letter, colour in tones.items() if letter != "A"}
        saved = of_layers({
            "data": {"name": "gains"}, "mark": "bar",
            "transform": [hidden("side"), hidden("phase"), {"filter": "isValid(datum.gain_cycles)"}, _summed("gain_cycles", "saved")],
            "encoding": {"xOffset": {"field": "side"}, "color": {**colour, "scale": scale(others)},
                         "y": {"field": "saved", "type": "quantitative", "title": "cycles saved against A", "axis": {"format": "~s"}},
                         "tooltip": tip("layer", "side", "saved", saved=",")},
        }, n)  # fmt: skip
        alt = "Cycles that each layer saves against A, of the phases that are shown; below the axis it takes longer."
        charts.append(Chart("gains", "What is saved against A", alt, saved, "layer", groups | {"result": toggles(others, _names(sides))}))
    return charts


def _summed(field: str, name: str) -> dict[str, Any]:
    """The phases of a layer added up."""
    return {"aggregate": [{"op": "sum", "field": field, "as": name}], "groupby": ["layer", "layer_index", "side"]}


def _figures(sides: Mapping[str, Side]) -> Markup:
    names = [name for name in columns(SUMMARY) if METRICS[name].unit]
    first = sides["A"].summary
    rows = [[term(name), METRICS[name].unit, *(_cell(side.summary.figure(name), first.figure(name), letter, METRICS[name].better)
                                              for letter, side in sides.items())] for name in names]  # fmt: skip
    return table(("figure", "unit", *sides), rows, "Figures of the iteration; the change against A")


def _cell(value: float | None, base: float | None, letter: str, better: str | None) -> Markup:
    text = element("span", number(value))
    if letter == "A" or value is None or not base or value == base:
        return text
    change = 100 * (value / base - 1)
    kind = None if better is None else "gain" if (change > 0) == (better == "higher") else "loss"
    return element("span", text, " ", element("span", f"({change:+.1f} %)", class_=kind))


def _machines(sides: Mapping[str, Side]) -> Markup:
    keys = dict.fromkeys(key for side in sides.values() for key in side.architecture)
    differ = [key for key in keys if len({str(side.architecture.get(key)) for side in sides.values()}) > 1]
    if not differ:
        return element("p", "All on the same machine.")
    rows = [[key, *("-" if key not in side.architecture else str(side.architecture[key]) for side in sides.values())] for key in differ]
    return table(("key", *sides), rows, "Keys of the architecture that differ")


def _layers(gains: Sequence[Mapping[str, Any]]) -> Markup:
    """Rows of all layers and phases, those that change most first."""
    order = sorted(gains, key=lambda row: -abs(row["gain_cycles"] or 0))
    rows = [[row["layer"], row["phase"], row["side"], row["a_cycles"], row["b_cycles"], row["gain_cycles"]] for row in order]
    headings = ("layer", "phase", "result", "cycles of A", "cycles", "saved")
    return sortable("layer-gains", "Layers and phases, the largest change first", headings, rows)
