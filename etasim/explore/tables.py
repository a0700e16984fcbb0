"""Terminal tables of a sweep and of the comparison with published figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from etasim.explore.document import LEFT_OUT_COLUMNS, LEFT_OUT_TITLE, by_status, left_out_cells, power_table
from etasim.explore.points import Row as PointRow
from etasim.explore.reproduce import FIDELITY_PERCENT, Reproduction, inconsistencies
from etasim.report.naming import FIDELITY_NAMES, fidelity_names
from etasim.report.published import CAVEATS, STATUSES, Claim
from etasim.report.tables import board_table

UNKNOWN = "-"


def reproduction_tables(result: Reproduction) -> RenderableType:
    """What is compared; published, derived and equal figures beside simulated ones; claims; estimates beside simulations; the board."""
    parts: list[RenderableType] = [_about_table(result.about)]
    parts += [_figure_table(status, rows) for status, rows in by_status(result.rows).items()]
    parts += [_claim_table(result.claims), Text(_notes(result.rows)), _fidelity_table(result.fidelity)]
    parts += [_power_table(result.power)] if result.power else []
    return Group(*parts, *([board_table(result.board)] if result.board else []))


def _about_table(about: Mapping[str, str]) -> Table:
    table = Table(title="Published and simulated", title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in about.items():
        table.add_row(name, Text(text))
    return table


def _claim_table(claims: Sequence[Claim]) -> Table:
    table = _numbers("Claims of the abstract without a figure", ("claim", "", "reason"), ())
    for claim in claims:
        table.add_row(claim.claim, claim.verdict, claim.reason)
    return table


def _fidelity_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line a network, a column for each phase and the iteration."""
    columns = list(dict.fromkeys(row["phase"] for row in rows))
    table = _numbers(f"Analytical beside simulated cycles: difference in %, bar {FIDELITY_PERCENT}", ("network",), columns)
    for network in dict.fromkeys(row["network"] for row in rows):
        own = {row["phase"]: row["difference_percent"] for row in rows if row["network"] == network}
        table.add_row(network, *(_text("{:+.1f}", own.get(column)) for column in columns))
    return table


def _power_table(power: Sequence[Mapping[str, Any]]) -> Table:
    heading, *rows = power_table(power)
    table = _numbers("Powers on CIFAR-ResNet20: bounds by what has a source", heading[:1], heading[1:5])
    table.add_column(heading[5])
    for row in rows:
        table.add_row(*row)
    return table


def _figure_table(status: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=STATUSES[status], title_justify="left")
    table.add_column("figure", no_wrap=True)
    for heading in (status if status != "definition" else "follows", "simulated", "error %", "tolerance %", "batch", "cycles"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in rows:
        verdict = "[green]within[/]" if row["within_tolerance"] else "[bold red]MISS[/]"
        table.add_row(
            Text(row["figure"]),
            f"{row['published']:,.6g}",
            _text("{:,.6g}", row["simulated"]),
            _text("{:+.2f}", row["error_percent"]),
            f"{row['tolerance_percent']:g}",
            _text("{}", row["batch"]),
            _text("{:,}", row["total_cycles"]),
            verdict,
        )
    return table


def _notes(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [*CAVEATS, *(f"{assumption}." for assumption in dict.fromkeys(row["assumption"] for row in rows))]
    lines += [f"{row['figure']}: no simulated figure, {row['reason']}" for row in rows if row["reason"]]
    return "\n".join([*lines, *inconsistencies(rows)])


def variation_tables(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Sensitivity, bottleneck ladder and what-if rows: GOPS of each network and the change in percent."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    tables = []
    for group in dict.fromkeys(row["group"] for row in rows):
        table = _numbers(f"{group.capitalize()} ({FIDELITY_NAMES[rows[0]['fidelity']]}): GOPS and change in %", ("what",), networks)
        for name in dict.fromkeys(row["name"] for row in rows if row["group"] == group):
            own = {row["network"]: row for row in rows if (row["group"], row["name"]) == (group, name)}
            table.add_row(name, *(_change(own.get(network)) for network in networks))
        tables.append(table)
    return Group(*tables)


def _change(row: Mapping[str, Any] | None) -> str:
    if row is None or row.get("change_percent") is None:
        return UNKNOWN
    return f"{row['throughput_gops']:,.1f} {row['change_percent']:+.1f}"


def calibration_tables(findings: Mapping[str, Any]) -> RenderableType:
    """Machines that the cycle model judged, those that fit first; leave one out; how far the fidelities differ."""
    networks, tolerance = findings["networks"], findings["tolerance_percent"]
    fitting = sum(entry["fits"] for entry in findings["simulated"])
    title = f"{fitting} of {len(findings['simulated'])} machines (cycle model) fit all figures within {tolerance:g} %"
    judged = _numbers(f"{title}; errors in %", ("machine",), (*networks, "worst"))
    judged.add_column("")
    for entry in findings["simulated"]:
        cells = [f"{entry['errors_percent'][name]:+.2f}" for name in networks]
        judged.add_row(entry["label"], *cells, f"{entry['worst_percent']:.2f}", "fits" if entry["fits"] else "")
    left = _numbers(LEFT_OUT_TITLE.format(tolerance=tolerance), ("predicted", "machine chosen blind to it"), LEFT_OUT_COLUMNS)
    for entry in findings["leave_one_out"]:
        left.add_row(*left_out_cells(entry))
    fidelity = _numbers("Analytical cycles beside simulated ones", ("network",), ("n", "mean %", "greatest %"))
    for entry in findings["fidelity_difference"]:
        fidelity.add_row(entry["network"], str(entry["n"]), f"{entry['mean_percent']:+.2f}", f"{entry['max_percent']:.2f}")
    screened = Text(f"{findings['n_screened']} machines screened, {findings['n_screened_fits']} of them fit by the analytical fidelity")
    return Group(screened, judged, left, fidelity)


def _numbers(title: str, names: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in names:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def sweep_table(rows: Sequence[PointRow]) -> Table:
    """One line a design point, in the order in which the points finished."""
    names = fidelity_names(row.text("fidelity") for row in rows)
    table = Table(title=f"Design points ({names})" if names else "Design points", title_justify="left")
    for heading in ("point", "network", "batch"):
        table.add_column(heading)
    for heading in ("MAC units", "GOPS", "utilization"):
        table.add_column(heading, justify="right")
    table.add_column("status", overflow="fold")
    for row in rows:
        figures = [
            _text(form, row[name]) for form, name in (("{:,}", "mac_units"), ("{:,.1f}", "throughput_gops"), ("{:.1%}", "mac_utilization"))
        ]
        status = row.text("status") if not row["reason"] else f"{row['status']}: {row['reason']}"
        table.add_row(Text(str(row["label"])), Text(str(row["network"])), str(row["batch"]), *figures, Text(status))
    return table


def _text(form: str, value: object) -> str:
    return UNKNOWN if value is None else form.format(value)
