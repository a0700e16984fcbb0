"""Terminal tables of a sweep and of the comparison with published figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from etasim.explore.document import FITTED, MISSED, WITHIN, by_status, left_open, power_table, verdict
from etasim.explore.fitting_tables import calibration_sections
from etasim.explore.markdown import UNKNOWN
from etasim.explore.points import Row as PointRow
from etasim.explore.reproduce import FIDELITY_PERCENT, Reproduction, inconsistencies
from etasim.report.naming import FIDELITY_NAMES, fidelity_names
from etasim.report.published import CAVEATS, STATUSES, Claim
from etasim.report.tables import board_table


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


VERDICTS = {FITTED: "fitted", WITHIN: "[green]within[/]", MISSED: "[bold red]MISS[/]"}


def _figure_table(status: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=STATUSES[status], title_justify="left")
    table.add_column("figure", no_wrap=True)
    for heading in (status if status != "definition" else "follows", "simulated", "error %", "tolerance %", "batch", "cycles"):
        table.add_column(heading, justify="right")
    table.add_column("")
    shows_interval = any(row.get("left_open") for row in rows)
    if shows_interval:
        table.add_column("left open by the others", justify="right")
    for row in rows:
        table.add_row(
            Text(row["figure"]),
            f"{row['published']:,.6g}",
            _text("{:,.6g}", row["simulated"]),
            _text("{:+.2f}", row["error_percent"]),
            f"{row['tolerance_percent']:g}",
            _text("{}", row["batch"]),
            _text("{:,}", row["total_cycles"]),
            VERDICTS[verdict(row)],
            *([left_open(row)] if shows_interval else []),
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
    reasons = dict.fromkeys(row["reason"] for row in rows if row.get("reason"))
    return Group(*tables, *(Text(f"{UNKNOWN}: {reason}") for reason in reasons))


def _change(row: Mapping[str, Any] | None) -> str:
    if row is None or row.get("change_percent") is None:
        return UNKNOWN
    return f"{row['throughput_gops']:,.1f} {row['change_percent']:+.1f}"


def calibration_tables(findings: Mapping[str, Any]) -> RenderableType:
    """What was searched and fits; leave one out; what those that fit predict; how far the fidelities differ."""
    parts: list[RenderableType] = []
    for heading, text, cells in calibration_sections(findings):
        table = Table(title=heading, title_justify="left")
        for i, column in enumerate(cells[0]):
            table.add_column(column, overflow="fold", justify="left" if i == 0 or not column else "right")
        for row in cells[1:]:
            table.add_row(*row)
        parts += [Text(text), table]
    return Group(*parts)


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
