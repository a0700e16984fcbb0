"""docs/reproduction.md and the tables of the HTML page, from data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from etasim.explore.fitting_tables import calibration_sections
from etasim.explore.markdown import UNKNOWN, markdown, number
from etasim.explore.reproduce import FIDELITY_PERCENT, Reproduction
from etasim.explore.space_file import ANALYTICAL
from etasim.explore.variations import CHARGES_GROUP, PARTS
from etasim.report.naming import FIDELITY_NAMES
from etasim.report.published import CAVEATS, STATUSES, Claim
from etasim.report.staging import write_text

Rows = Sequence[Mapping[str, Any]]


def by_status(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each table: published, derived, equal by definition."""
    return {status: found for status in STATUSES if (found := [row for row in rows if row["status"] == status])}


FITTED, WITHIN, MISSED = "fitted", "within", "missed"


def verdict(row: Mapping[str, Any]) -> str:
    """What a row comes to: a figure that the machine was fitted to confirms nothing when it is met."""
    if not row["within_tolerance"]:
        return MISSED
    return FITTED if row["calibrated"] else WITHIN


def left_open(row: Mapping[str, Any]) -> str:
    """What all machines that fit the other throughputs make of this one."""
    ends = row.get("left_open")
    return f"{number(ends['least'])} ... {number(ends['greatest'])} (n = {ends['n']})" if ends else UNKNOWN


def figure_table(status: str, rows: Rows) -> list[list[str]]:
    """Figures of one ``status`` beside simulated ones; the first line is the heading."""
    origin = "follows" if status == "definition" else status
    table = [["figure", origin, "simulated", "error %", "tolerance %", "fitted to", "left open by the others", "batch", "cycles", ""]]
    for row in rows:
        said = f"{verdict(row)}: {row['reason']}" if row["reason"] else verdict(row)
        cells = [number(row["published"]), number(row["simulated"]), number(row["error_percent"], "{:+.2f}")]
        cells += [f"{row['tolerance_percent']:g}", "yes" if row["calibrated"] else "no", left_open(row)]
        table.append([row["figure"], *cells, number(row["batch"], "{}"), number(row["total_cycles"], "{:,}"), said])
    return table


def claim_table(claims: Sequence[Claim]) -> list[list[str]]:
    """Claims that no simulation confirms."""
    return [["claim", "", "reason"], *([claim.claim, claim.verdict, claim.reason] for claim in claims)]


def phase_table(fidelity: Rows) -> list[list[str]]:
    """Difference of the estimate from the simulation, a column for each phase and the iteration."""
    columns = list(dict.fromkeys(row["phase"] for row in fidelity))
    table = [["network", *(f"{column} %" for column in columns)]]
    for network in dict.fromkeys(row["network"] for row in fidelity):
        own = {row["phase"]: row["difference_percent"] for row in fidelity if row["network"] == network}
        table.append([network, *(number(own.get(column), "{:+.1f}") for column in columns)])
    return table


def board_rows_table(board: Rows) -> list[list[str]]:
    """What the machine takes of its board."""
    table = [["resource", "used", "available", "share %", ""]]
    for row in board:
        note = "estimate" if row["estimate"] else "" if row["fits"] else "does not fit"
        table.append([row["resource"], f"{row['used']:,}", f"{row['available']:,}", f"{row['share_percent']:.0f}", note])
    return table


POWER_TEXT = (
    "Bounds of the powers on CIFAR-ResNet20 by what has a source, and what the published ratio hangs on; the neighbour by the analytical "
    "estimate ([energy.md](energy.md))."
)


def power_table(power: Rows) -> list[list[str]]:
    """Bounds of the powers."""
    columns = ("low", "by_table", "high", "published")
    table = [["figure", "low", "by the table", "high", "published", "hangs on"]]
    for row in power:
        table.append([row["figure"], *(number(row[name], "{:,.3g}") for name in columns), row["hangs_on"]])
    return table


def error_sentence(rows: Rows) -> str:
    """n, mean and greatest error of the throughputs."""
    errors = [abs(row["error_percent"]) for row in rows if "throughput [GOPS]" in row["figure"] and row["error_percent"] is not None]
    if not errors:
        return "No throughput was simulated."
    return f"Throughputs: n = {len(errors)}, mean absolute error {fmean(errors):.2f} %, greatest {max(errors):.2f} %."


def variation_table(variations: Rows, group: str) -> list[list[str]]:
    """GOPS and change in percent of each case of ``group`` on each network."""
    networks = list(dict.fromkeys(row["network"] for row in variations))
    own = {(row["name"], row["network"]): row for row in variations if row["group"] == group}
    table = [["what", *networks]]
    for name in dict.fromkeys(name for name, _ in own):
        cells = []
        for network in networks:
            row = own[name, network]
            cells.append(UNKNOWN if row["change_percent"] is None else f"{row['throughput_gops']:,.1f} ({row['change_percent']:+.1f} %)")
        table.append([name, *cells])
    return table


def ladder_table(variations: Rows) -> list[list[str]]:
    """Time that an ideal part would save, in percent of the iteration: of all, and of each phase."""
    base = {row["network"]: row for row in variations if row["group"] == "base"}
    phases = list(next(iter(base.values()))["phases"])
    table = [["ideal", "network", "saved %", *(f"in {phase} %" for phase in phases)]]
    for row in variations:
        if row["group"] == "ladder" and row.get("total_cycles"):
            reference = base[row["network"]]
            saved = [100 * (reference["phases"][p] - row["phases"][p]) / reference["total_cycles"] for p in phases]
            total = 100 * (1 - row["total_cycles"] / reference["total_cycles"])
            table.append([row["name"], row["network"], f"{total:.1f}", *(f"{value:+.1f}" for value in saved)])
    return table


def sections(result: Reproduction, variations: Rows) -> list[tuple[str, str, list[list[str]]]]:
    """(heading, text, table) of everything that page and document show."""
    rows = result.rows
    content = []
    for status, own in by_status(rows).items():
        heading, _, text = STATUSES[status].partition(": ")
        sentence = f" {error_sentence(rows)}" if status == "published" else ""
        content.append((heading, f"{text[0].upper()}{text[1:]}.{sentence}", figure_table(status, own)))
    content.append(("Claims", "What the abstract claims without a figure.", claim_table(result.claims)))
    if result.found is not None:
        content += calibration_sections(result.found)
    if result.fidelity:
        text = f"Difference of the estimated cycles from those simulated, for the machine as it is; bar {FIDELITY_PERCENT} %."
        content.append(("Estimate and simulation, by phase", text, phase_table(result.fidelity)))
    if result.power:
        content.append(("Powers", POWER_TEXT, power_table(result.power)))
    if result.board:
        text = "What the machine takes of the board, beside what the board has, by laws fitted to synthesis ([rtl.md](rtl.md))."
        content.append(("Board", text, board_rows_table(result.board)))
    if variations:
        fidelity = variations[0]["fidelity"]
        blind = f" {UNKNOWN}: the estimate does not feel the key ([keys.md](keys.md)), `etasim sensitivity --fidelity cycle` does."
        fidelity_name = FIDELITY_NAMES[fidelity]
        text = f"GOPS, {fidelity_name}.{blind if fidelity == ANALYTICAL else ''}"
        content.append(("Sensitivity: halved", text, variation_table(variations, "sensitivity half")))
        content.append(("Sensitivity: doubled", f"GOPS, {fidelity_name}.", variation_table(variations, "sensitivity double")))
        ladder = f"Time saved if a part ({', '.join(PARTS)}) were ideal, one at a time and together. Phases overlap, so a share may grow."
        content.append(("Bottleneck ladder", ladder, ladder_table(variations)))
        content.append(("What if", f"GOPS, {fidelity_name}.", variation_table(variations, "what if")))
        free = f"GOPS, {fidelity_name}. What each costs: [models/lane_work.md](models/lane_work.md)."
        content.append((CHARGES_GROUP.capitalize(), free, variation_table(variations, CHARGES_GROUP)))
    return content


def write_document(path: Path, result: Reproduction, variations: Rows) -> None:
    """Write the Markdown page."""
    lines = ["# Reproduction", "", "Generated by `etasim reproduce --document`.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in result.about.items()] + [""]
    lines += [f"- {caveat}" for caveat in CAVEATS] + [""]
    for heading, text, table in sections(result, variations):
        lines += [f"## {heading}", "", text, "", *markdown(table), ""]
    lines += ["## Assumptions", "", *(f"- {text}." for text in dict.fromkeys(row["assumption"] for row in result.rows)), ""]
    lines += ["## Sources", "", *(f"- {source}" for source in dict.fromkeys(row["source"] for row in result.rows))]
    write_text(path, "\n".join(lines) + "\n")
