"""The page of one run: what it reached, what limits it, its layers, its machine, and where all of it comes from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config import Architecture, InputError, Problem
from etasim.config.energy import ASSUMED
from etasim.machine.inputs import Inputs
from etasim.machine.result import FLIT_CLASSES
from etasim.pe.causes import CAUSE_COLUMNS
from etasim.report.glossary import LAYERS, shown_columns
from etasim.report.inputs import read_inputs
from etasim.report.metrics import OCCUPIED_COLUMNS, total
from etasim.report.naming import FIDELITY_NAMES, subject
from etasim.report.page.diagram import diagram, machine_rows
from etasim.report.page.document import Chart, Page, PageSection, term
from etasim.report.page.markup import Markup, element, join, region, table
from etasim.report.page.roof_charts import page_roofs, roofline_chart
from etasim.report.page.run_charts import ALL, link_chart, run_charts
from etasim.report.page.run_rows import counted, page_rows
from etasim.report.page.series_charts import series_charts
from etasim.report.page.series_rows import sample_rows, samples_of
from etasim.report.page.tensor_charts import tensor_chart, tensor_rows
from etasim.report.reading import StoredResult, is_figure, read_json, read_results
from etasim.report.roofs import roofs_of
from etasim.report.series import read_series
from etasim.report.store import LAYERS as LAYERS_FILE
from etasim.report.store import RESULTS, RUN, RUN_INFO, SERIES, read_text
from etasim.report.tables import PHASE_NAMES, by_layer, stall_label

UNKNOWN = "-"
MOST_LINKS = 16
"""Of the network, that are shown."""
SHOWN = (
    "layer", "phase", "kind", "macs", "cycles", "share", "begin_ms", "span_cycles", "utilization", "loss", "dram_mb", "on_chip_energy_mj",
)  # fmt: skip
"""Columns of the table of layers; the others are shown of the layer that is selected."""
FORMS = {"share": "{:.2%}", "utilization": "{:.1%}", "begin_ms": "{:,.3f}", "dram_mb": "{:,.3f}", "on_chip_energy_mj": "{:,.4g}"}
HEADINGS = {"macs": "MACs", "begin_ms": "begin [ms]", "span_cycles": "span", "loss": "most lost by", "dram_mb": "DRAM [MB]",
            "on_chip_energy_mj": "on chip [mJ], partly assumed"}  # fmt: skip
TILES = (
    ("throughput_gops", "throughput", "{:,.1f}", "GOPS"), ("images_per_s", "images", "{:,.1f}", "/s"),
    ("time_ms", "iteration", "{:,.3f}", "ms"), ("mac_utilization", "MAC utilization", "{:.1%}", ""),
    ("dram_bandwidth_gb_per_s", "DRAM", "{:,.1f}", "GB/s"), ("power_w", "power", "{:,.2f}", "W"),
    ("gops_per_w", "efficiency", "{:,.1f}", "GOPS/W"), ("j_per_image", "energy an image", "{:.3g}", "J"),
)  # fmt: skip


def run_page(folder: Path, with_nests: bool = False) -> Page:
    """The page of the result in ``folder``. ``with_nests``: each layer's loops on the array too, which are planned again.

    Raises InputError for a folder without an intact result.
    """
    result = read_results(folder)
    inputs = read_inputs(str(folder / RUN), None)
    rows = page_rows(result, inputs.network)
    series = _of_series(result, folder, rows) if (folder / SERIES).exists() else PageSeries([], {}, [], {})
    roofs, links = page_roofs(result, roofs_of(result, inputs.architecture)), busiest_links(result, series.flits)
    charts = [*run_charts(result), *series.charts, *([link_chart(series.classes)] if links else [])]
    if roofs.points:
        charts.insert(0, roofline_chart(result, roofs))
    found = f", {FIDELITY_NAMES[result.fidelity]}" if result.is_estimate else ""  # in every title
    title, charts = f"{result.network} on {result.architecture}{found}", [chart._replace(title=chart.title + found) for chart in charts]
    sections = [
        PageSection("summary", f"What it reached{found}", [_tiles(result), _limits(result)]),
        PageSection("time", "Time", [chart for chart in charts if chart.axis == "time"]),
        PageSection("layers-charts", "By layer", [chart for chart in charts if chart.axis == "layer"]),
        PageSection("roofs", "Roofs and energy", [chart for chart in charts if chart.axis is None]),
        PageSection("machine", "Machine", _machine(result, inputs.architecture)),
        PageSection("layers", f"Layers{found}", [layer_table(rows)]),
        PageSection("layer", "Layer", [_chosen_layer(result)]),
        PageSection("provenance", "Where it comes from", [_provenance(result, inputs, folder)]),
    ]
    energy = [row for row in result.components.get("energy", []) if row["energy_mj"] is not None]
    columns = shown_columns(LAYERS, result.layers[0])
    more = {"columns": list(columns), "nests": _nests(inputs) if with_nests else {}}
    terms = [*result.summary, *columns]
    datasets = {"rows": rows, **series.datasets, "energy": energy, "links": links}
    datasets |= {"roofs": roofs.lines, "roof_points": roofs.points, "roof_marks": roofs.marks}
    return Page(title, _lead(result), [section for section in sections if section.parts], datasets, _downloads(folder), terms, more)


class PageSeries(NamedTuple):
    """What the page draws of a series: charts, their datasets, the message ``classes``, and the ``flits`` of each by (router, port)."""

    charts: list[Chart]
    datasets: dict[str, list[dict[str, Any]]]
    classes: list[str]
    flits: dict[tuple[int, int], list[int]]


def _of_series(result: StoredResult, folder: Path, rows: list[dict[str, Any]]) -> PageSeries:
    """What the page draws of the series in ``folder``. Raises InputError for one that is damaged, or of another run."""
    series = read_series(folder)
    try:
        samples, tensors = samples_of(result, series), tensor_rows(series)
        links, classes = series.arrays["links"].tolist(), series.arrays["flit_classes"].tolist()
        flits = {(router, port): own for (router, port), own in zip(links, series.arrays["link_flits"].sum(axis=0).tolist(), strict=True)}
    except (KeyError, IndexError, ValueError, TypeError) as error:
        message = f"damaged: {type(error).__name__}; run the simulation again"
        raise InputError([Problem(str(folder / SERIES), None, "", message)]) from None
    charts = series_charts(result, samples)
    if tensors:
        charts.append(tensor_chart(tensors, float(samples.edges_ms[-1])))
    return PageSeries(charts, {"samples": sample_rows(samples, rows), "tensors": tensors}, classes, flits)


def busiest_links(result: StoredResult, flits: Mapping[tuple[int, int], Sequence[int]]) -> list[dict[str, Any]]:
    """The links of the network that carried most, with their share of the cycles; where ``flits`` of message classes are known, those of
    each: a row for each class of a link."""
    cycles, links = result.summary.number("total_cycles"), result.components.get("noc_link", [])
    rows = []
    for place, each in enumerate(sorted(links, key=lambda link: -link["flits"])[:MOST_LINKS]):
        own = flits.get((each["router"], each.get("port", -1)))
        apart = zip(FLIT_CLASSES, own, strict=False) if own else [(ALL, each["flits"])]
        link = f"router {each['router']} to {each['to']}"
        rows += [{"link": link, "place": place, "message_class": name, "flits": n, "busy": n / cycles} for name, n in apart if n or not own]
    return rows


def _lead(result: StoredResult) -> Markup:
    named = subject(result.network, result.architecture, result.summary["batch"], result.fidelity)
    return element("p", named, ", phases ", str(result.summary["phases"]), class_="lead", dir="auto")


def _downloads(folder: Path) -> dict[str, str]:
    return {name: read_text(folder / name) for name in (LAYERS_FILE, RESULTS, RUN, RUN_INFO) if (folder / name).exists()}


def _tiles(result: StoredResult) -> Markup:
    notes = {
        "throughput_gops": ("peak_gops", "of {:,.1f} peak"), "dram_bandwidth_gb_per_s": ("dram_peak_gb_per_s", "of {:,.1f} GB/s pins"),
        "time_ms": ("total_cycles", "{:,} cycles"), "images_per_s": ("batch", "batch {}"),
        **dict.fromkeys(("power_w", "gops_per_w", "j_per_image"), ("energy_assumed_percent", f"{{:.0f}} % {ASSUMED}")),
    }  # fmt: skip
    tiles = []
    for name, label, form, unit in TILES:
        note, note_form = notes.get(name, ("", ""))
        value = result.summary.figure(name)
        text = UNKNOWN if value is None else form.format(value)
        under = note_form.format(result.summary[note]) if note and result.summary[note] is not None else ""
        tiles.append(element("li", term(name, label), element("b", text, element("small", f" {unit}")), element("span", under)))
    return element("ul", tiles, class_="tiles")


def _limits(result: StoredResult) -> Markup:
    """What the counters say about what holds the machine back, as sentences."""
    lines = [*_array_limit(result), *_memory_limit(result), *_phase_limit(result)]
    if result.is_estimate:
        lines.append("An estimate in closed form: it knows no stalls; `etasim run --fidelity cycle` simulates them.")
    found = element("ul", (element("li", line, dir="auto") for line in lines))
    return element("div", element("h3", "What limits it"), found, class_="limits")


def _array_limit(result: StoredResult) -> list[str]:
    sums = {column: total(result.layers, [column]) for column in CAUSE_COLUMNS}
    everything = total(result.layers, CAUSE_COLUMNS)
    if not everything:
        return []
    shares = {column: (sums[column] or 0) / everything for column in CAUSE_COLUMNS}
    busy, *stalls = OCCUPIED_COLUMNS
    cause = max(stalls, key=lambda name: shares[name])
    most = sorted((row for row in result.layers if row.figure(cause)), key=lambda row: -row.number(cause))[:3]
    names = ", ".join(f"{row.layer} {row.phase}" for row in most)
    where = f", above all in {names}" if names else ""
    idle = 1 - sum(shares[column] for column in OCCUPIED_COLUMNS)
    return [
        f"The clusters multiply in {shares[busy]:.1%} of their cycles; in {idle:.1%} they have nothing to do.",
        f"Their longest wait is the {stall_label(cause)}: {shares[cause]:.1%} of their cycles{where}.",
    ]


def _memory_limit(result: StoredResult) -> list[str]:
    used, peak = (result.summary.figure(name) for name in ("dram_bandwidth_gb_per_s", "dram_peak_gb_per_s"))
    if used is None or not peak:
        return []
    channels = result.components.get("dram", [])
    hits, *others = (sum(counted(channels, name)) for name in ("row_hits", "row_misses", "row_conflicts"))
    all_rows = hits + sum(others)
    rows = f"; {hits / all_rows:.1%} of its accesses find their row open" if all_rows else ""
    return [f"The DRAM moves {used:,.2f} of {peak:,.1f} GB/s, {used / peak:.1%} of its pins{rows}."]


def _phase_limit(result: StoredResult) -> list[str]:
    cycles = result.summary.number("total_cycles")
    sums = {phase: sum(row.cycles for row in result.layers if row.phase == phase) for phase in PHASE_NAMES}
    shares = ", ".join(f"{PHASE_NAMES[phase]} {n / cycles:.1%}" for phase, n in sums.items() if n)
    longest = sorted(by_layer(result.layers).items(), key=lambda item: -sum(row.cycles for row in item[1]))[:3]
    names = ", ".join(f"{layer} {sum(row.cycles for row in rows) / cycles:.1%}" for layer, rows in longest)
    return [f"Of the time, {shares}.", f"The longest layers: {names}."]


def _machine(result: StoredResult, architecture: Architecture) -> list[Markup | Chart]:
    parts = table(("part", "size", "how busy"), machine_rows(result, architecture), "Parts and links of the machine")
    board = result.components.get("board") or []
    rows = [(str(row["resource"]), f"{row['used']:,}", f"{row['available']:,}", f"{row['share_percent']:.0f} %") for row in board]
    caption = "What it takes of the board, by laws fitted to synthesis"
    boards = table(("resource", "used", "available", "share"), rows, caption) if rows else None
    drawing = region(diagram(result, architecture), "Drawing of the machine")
    return [element("div", drawing, element("div", parts, boards), class_="two")]


def layer_table(rows: list[dict[str, Any]]) -> Markup:
    """The rows of layers.csv, sortable, with a filter."""
    names = [name for name in SHOWN if name in rows[0]]
    heads = (
        element("th", element("button", HEADINGS.get(name, name), type="button"), scope="col", aria_sort="none", data_column=name)
        for name in names
    )
    body = (element("tr", (_cell(row, name) for name in names), data_layer=row["layer"], data_phase=row["phase"]) for row in rows)
    made = element("table", element("caption", "Rows of layers.csv; a heading sorts, a name selects its layer"),
                   element("thead", element("tr", heads)), element("tbody", body), class_="sortable", id="layer-rows")  # fmt: skip
    label = element("label", "Show rows with ", element("input", type="search", id="filter", autocomplete="off"))
    return join((element("p", label, element("output", "", id="shown")), region(made, "Table of layers", "tall")))


def _cell(row: dict[str, Any], name: str) -> Markup:
    value = row[name]
    if name == "layer":
        return element("th", element("button", str(value), type="button", class_="name", dir="auto"), scope="row", data_value=value)
    if isinstance(value, str):
        return element("td", value, data_value=value)
    form = FORMS.get(name, "{:,}")
    return element("td", UNKNOWN if value is None else form.format(value), class_="number", data_value="" if value is None else value)


def _chosen_layer(result: StoredResult) -> Markup:
    options = (element("option", layer, value=layer, dir="auto") for layer in by_layer(result.layers))
    choice = element("label", "Layer ", element("select", element("option", "none", value=""), *options, id="choose"))
    note = "Select a layer here, in the table or in a chart: all its figures, its stretches of time, and its loops."
    found = element("div", id="layer-detail", aria_live="polite")
    return join((element("p", choice), element("p", note, id="layer-note"), found))


def _run_info(folder: Path) -> tuple[str, str]:
    """Versions that made the result, and the time that it took them. Raises InputError for a file that is damaged."""
    path = folder / RUN_INFO
    info = read_json(path) if path.exists() else {}
    if not isinstance(info, dict) or not isinstance(info.get("versions", {}), dict):
        raise InputError([Problem(str(path), 1, "", "damaged: not what a run writes; run the simulation again")])
    seconds = info.get("wall_seconds")
    versions = ", ".join(f"{name} {text}" for name, text in info.get("versions", {}).items())
    return versions or UNKNOWN, f"{seconds:,.1f} s" if is_figure(seconds) else UNKNOWN


def _provenance(result: StoredResult, inputs: Inputs, folder: Path) -> Markup:
    versions, seconds = _run_info(folder)
    rows = [
        ("architecture", result.architecture), ("network", result.network), ("batch", str(inputs.batch)),
        ("phases", ", ".join(inputs.phases)), ("fidelity", FIDELITY_NAMES[result.fidelity]),
        ("versions", versions),
        ("repeat it", f"etasim run {RUN} --out DIR, with the {RUN} that can be downloaded below"), ("folder", folder.absolute().name),
        ("time it took", seconds),
        ("energy leaves out", str(result.summary["energy_excluded"])),
    ]  # fmt: skip
    return table(("what", ""), rows, "Provenance", "about")


def _nests(inputs: Inputs) -> dict[str, dict[str, str]]:
    """Loops of each layer and phase on the array, planned again as the run did."""
    from etasim.mapping.iteration import Iteration
    from etasim.mapping.sequence import works
    from etasim.schedule.nest import nest_lines

    iteration = Iteration(*inputs.in_blocks[:4])
    for _ in works(iteration):
        pass
    found: dict[str, dict[str, str]] = {}
    for operation in iteration.operations:
        if operation.nest is not None:
            found.setdefault(operation.layer, {})[operation.phase] = "\n".join(nest_lines(operation.nest))
    return found
