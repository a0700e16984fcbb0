"""Terminal tables of a sweep and of the comparison with published figures."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from etasim.explore.points import Row as PointRow
from etasim.explore.reproduce import Row as FigureRow

UNKNOWN = "-"


def reproduction_tables(rows: Sequence[FigureRow]) -> RenderableType:
    """Published figures beside simulated ones, then what was assumed."""
    table = Table(title=f"Published figures and simulated ones ({rows[0]['architecture']})", title_justify="left")
    table.add_column("figure", no_wrap=True)
    for heading in ("published", "simulated", "error %", "tolerance %", "batch", "cycles"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in rows:
        verdict = "[green]within[/]" if row["within_tolerance"] else "[bold red]MISS[/]"
        table.add_row(
            row["figure"],
            f"{row['published']:,.2f}",
            _text("{:,.2f}", row["simulated"]),
            _text("{:+.2f}", row["error_percent"]),
            f"{row['tolerance_percent']:g}",
            str(row["batch"]),
            _text("{:,}", row["total_cycles"]),
            verdict,
        )
    return Group(table, Text(_notes(rows)))


def _notes(rows: Sequence[FigureRow]) -> str:
    lines = [f"Published: {source}." for source in dict.fromkeys(row["source"] for row in rows)]
    lines += [f"{row['network']}: {row['assumption']}." for row in rows]
    if any(row["calibrated"] for row in rows):
        lines.append("The reconstruction was chosen with these figures in view; no hardware was at hand to compare with.")
    lines += [f"{row['network']} did not finish: {row['reason']}" for row in rows if row["reason"]]
    return "\n".join(lines)


def sweep_table(rows: Sequence[PointRow]) -> Table:
    """One line a design point, in the order in which the points finished."""
    table = Table(title="Design points", title_justify="left")
    for heading in ("point", "network", "batch"):
        table.add_column(heading)
    for heading in ("MAC units", "GOPS", "utilization"):
        table.add_column(heading, justify="right")
    table.add_column("status", overflow="fold")
    for row in rows:
        figures = [
            _text(form, row[name]) for form, name in (("{:,}", "mac_units"), ("{:,.1f}", "throughput_gops"), ("{:.1%}", "mac_utilization"))
        ]
        status = row["status"] if not row["reason"] else f"{row['status']}: {row['reason']}"
        table.add_row(row["label"], row["network"], str(row["batch"]), *figures, Text(status))
    return table


def _text(form: str, value) -> str:
    return UNKNOWN if value is None else form.format(value)
