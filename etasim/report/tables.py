"""Terminal tables of a result: the iteration, its layers by phase, and where the cluster cycles went."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from etasim.config.energy import ASSUMED
from etasim.machine.result import LayerRow, Value
from etasim.pe.causes import CAUSE_COLUMNS
from etasim.report.glossary import SUMMARY, added
from etasim.report.metrics import total
from etasim.report.naming import FIDELITY_NAMES, assumed_share, subject
from etasim.report.published import NEIGHBOURS
from etasim.report.reading import StoredResult
from etasim.workload import Network

PHASE_NAMES = {"ff": "forward", "bp": "input gradient", "wg": "weight gradient", "wu": "weight update"}
UNKNOWN = "-"
LINES = 40
"""Layers that a terminal shows one by one; layers.csv has all."""
Row = LayerRow


def report(result: StoredResult) -> RenderableType:
    """Everything ``etasim run`` prints: totals, layers by phase, stall causes, energy, the board."""
    tables: list[RenderableType] = [summary_table(result), *doubts_text(result), layer_table(result), stall_table(result)]
    if result.summary["energy_mj"] is not None:
        tables.append(energy_table(result))
    if result.components.get("board"):
        tables.append(board_table(result.components["board"]))
    return Group(*(part for table in tables for part in (table, Text())))


def summary_table(result: StoredResult) -> Table:
    """Totals of the iteration."""
    figures = result.summary
    table = Table(title=escape(_subject(result)), title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    rows = [
        ("throughput", "throughput_gops", "{:,.2f} GOPS", f"of {_format('{:,.1f}', figures['peak_gops'])} peak"),
        ("images", "images_per_s", "{:,.1f} /s", f"batch {figures['batch']}, phases {figures['phases']}"),
        ("iteration", "time_ms", "{:,.3f} ms", f"{figures['total_cycles']:,} cycles"),
        ("MAC utilization", "mac_utilization", "{:.1%}", f"{_format('{:,}', figures['useful_macs'])} useful MACs"),
        ("DRAM read", "dram_read_bytes", "{:,} B", ""),
        ("DRAM written", "dram_write_bytes", "{:,} B", ""),
        ("DRAM bandwidth", "dram_bandwidth_gb_per_s", "{:,.2f} GB/s", f"of {_format('{:,.1f}', figures['dram_peak_gb_per_s'])} peak"),
    ]
    for label, name, form, note in rows:
        table.add_row(label, _format(form, figures[name]), note)
    for metric in added(SUMMARY):
        value = figures[metric.name]
        unit = "" if metric.unit == "1" else f" {metric.unit}"
        table.add_row(escape(metric.name), escape(_format("{}" if isinstance(value, str) else f"{{:,.6g}}{unit}", value)), "")
    return table


def doubts_text(result: StoredResult) -> list[Text]:
    """Why an estimate may be off, if anything says so."""
    lines = ["The estimate was not compared with the cycle model on this:", *(f"- {doubt}" for doubt in result.doubts)]
    return [Text("\n".join(lines))] if result.doubts else []


def _subject(result: StoredResult) -> str:
    """The result by network, machine, batch and fidelity."""
    return subject(result.network, result.architecture, result.summary["batch"], result.fidelity)


def layer_table(result: StoredResult) -> Table:
    """One line a layer: share of the iteration, then cycles and, where the PE array works, utilization of each phase."""
    phases = [phase for phase in PHASE_NAMES if any(row["phase"] == phase for row in result.layers)]
    multiplying = {row["phase"] for row in result.layers if row["macs"]}
    title = f"Layers by phase ({FIDELITY_NAMES[result.fidelity]}): cycles (the share of the iteration) and MAC utilization"
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("layer", footer="all layers", no_wrap=True)
    table.add_column("share", justify="right", footer="100.0%")
    for phase in phases:
        rows = [row for row in result.layers if row["phase"] == phase]
        table.add_column(f"{phase} cycles", justify="right", footer=_format("{:,}", total(rows, ["cycles"])))
        if phase in multiplying:
            table.add_column("util", justify="right")
    table.add_column("DRAM MB", justify="right", footer=_format("{:,.2f}", _megabytes(result.layers)))
    for layer, rows in _fold_small(by_layer(result.layers)).items():
        cells = [escape(layer), _share(total(rows, ["cycles"]), result.summary.figure("total_cycles"))]
        for phase in phases:
            own = [row for row in rows if row["phase"] == phase]
            cells.append(_format("{:,}", total(own, ["cycles"])) if own else "")
            if phase in multiplying:
                cells.append(_format("{:.0%}", own[0]["utilization"]) if len(own) == 1 and own[0]["macs"] else "")
        table.add_row(*cells, _format("{:,.2f}", _megabytes(rows)))
    return table


def _fold_small(layers: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """At most ``LINES`` layers: those with the most cycles, in order, and the others together."""
    if len(layers) <= LINES:
        return layers
    kept = set(sorted(layers, key=lambda name: -(total(layers[name], ["cycles"]) or 0))[: LINES - 1])
    folded = [row for name, rows in layers.items() if name not in kept for row in rows]
    return {name: rows for name, rows in layers.items() if name in kept} | {f"({len(layers) - len(kept)} others: layers.csv)": folded}


def stall_table(result: StoredResult) -> Table:
    """Share of all cluster cycles by cause, largest first, with the rows of layers.csv that have most of it."""
    sums = {column: total(result.layers, [column]) for column in CAUSE_COLUMNS}
    everything = total(result.layers, CAUSE_COLUMNS)
    title = f"Where the cluster cycles went ({FIDELITY_NAMES[result.fidelity]})"
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("cause")
    table.add_column("share", justify="right")
    table.add_column("cluster cycles", justify="right")
    table.add_column("most in")
    for column in sorted(CAUSE_COLUMNS, key=lambda name: -(sums[name] or 0)):
        largest = sorted(result.layers, key=lambda row: -(row.figure(column) or 0))[:3]
        most_in = ", ".join(f"{row['layer']} {row['phase']}" for row in largest if row[column])
        table.add_row(stall_label(column), _share(sums[column], everything), _format("{:,}", sums[column]), escape(most_in))
    if everything is None and result.is_estimate:
        table.caption = "an estimate counts no stalls: --fidelity cycle does"
    return table


def energy_table(result: StoredResult) -> Table:
    """Energy by component, largest first, with what is left out; the measured neighbours below."""
    figures = result.summary
    by_component: dict[str, float] = {}
    assumed: dict[str, float] = {}
    for entry in result.components["energy"]:
        if entry["energy_mj"] is not None:
            by_component[entry["component"]] = by_component.get(entry["component"], 0.0) + entry["energy_mj"]
            assumed[entry["component"]] = assumed.get(entry["component"], 0.0) + entry["energy_mj"] * bool(entry["assumed"])
    known_mj, power_w = figures.figure("energy_mj"), figures.figure("power_w")
    title = f"Energy ({FIDELITY_NAMES[result.fidelity]}): counts times stated energies, not measured"
    table = Table(title=title, title_justify="left", caption_justify="left", show_footer=True)
    table.add_column("component", footer="known")
    table.add_column("mJ", justify="right", footer=_format("{:,.3f}", figures["energy_mj"]))
    table.add_column("share", justify="right", footer="100.0%")
    table.add_column("W", justify="right", footer=_format("{:,.2f}", figures["power_w"]))
    table.add_column("", footer=assumed_share(figures))
    for name, energy_mj in sorted(by_component.items(), key=lambda item: -item[1]):
        watts = None if not known_mj or power_w is None else energy_mj / known_mj * power_w
        cells = (f"{energy_mj:,.3f}", _share(energy_mj, known_mj), _format("{:,.2f}", watts), _assumed(assumed[name], energy_mj))
        table.add_row(escape(name), *cells)
    reached = f"{_format('{:,.2f}', figures['gops_per_w'])} GOPS/W, {_format('{:.3g}', figures['j_per_image'])} J an image"
    lines = [f"{reached}, {assumed_share(figures)}"]
    lines += [f"measured {neighbour}" for neighbour in NEIGHBOURS]
    lines.append(f"excluded: {figures['energy_excluded']}")
    table.caption = escape("\n".join(lines))
    return table


def _assumed(assumed_mj: float, energy_mj: float) -> str:
    share = assumed_mj / energy_mj if energy_mj else 0.0
    return "" if not share else ASSUMED if share > 0.9995 else f"{share:.0%} {ASSUMED}"


def board_table(rows: Sequence[Mapping[str, Value]]) -> Table:
    """What the machine takes of the board; ``rows`` as `etasim.report.board.board_rows` gives them."""
    table = Table(title="Board: by laws fitted to synthesis", title_justify="left")
    for heading in ("resource", "used", "available", "share", ""):
        table.add_column(heading, justify="left" if heading in ("resource", "") else "right")
    for row in rows:
        notes = ["estimate"] * bool(row["estimate"]) + ["does not fit"] * (not row["fits"])
        cells = (f"{row['used']:,}", f"{row['available']:,}", f"{row['share_percent']:.0f}%", ", ".join(notes))
        table.add_row(escape(str(row["resource"])), *cells)
    return table


def by_layer(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of layers.csv by layer, in the order of first appearance: that of the forward pass, for layers that have a row in it."""
    layers: dict[str, list[Row]] = {}
    for row in rows:
        layers.setdefault(str(row["layer"]), []).append(row)
    return layers


def forward_order(layers: Iterable[str], network: Network) -> list[str]:
    """``layers`` in the order in which ``network`` has them, those that it does not have last."""
    known, places = list(layers), {layer.name: i for i, layer in enumerate(network.layers)}
    return sorted(known, key=lambda name: places.get(name, len(places)))


def stall_label(column: str) -> str:
    """Column of layers.csv as people read it: ``stream_stall_cycles`` is "stream stall"."""
    return "busy" if column == "cluster_busy_cycles" else column.removesuffix("_cycles").replace("_", " ")


def dram_bytes(rows: Sequence[Row]) -> int | None:
    """Bytes on the DRAM bus of ``rows``, read and written."""
    columns = [name for name in rows[0] if name.startswith("dram_") and name.endswith("_bytes")]
    return total(rows, columns)


def _megabytes(rows: Sequence[Row]) -> float | None:
    moved_bytes = dram_bytes(rows)
    return None if moved_bytes is None else moved_bytes / 1e6


def _share(part: float | None, whole: float | None) -> str:
    return UNKNOWN if part is None or not whole else f"{part / whole:.1%}"


def _format(form: str, value: Value) -> str:
    return UNKNOWN if value is None else form.format(value)
