"""docs/reproduction.md and the tables of the HTML page, from data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from etasim.explore.reproduce import FIDELITY_PERCENT, Reproduction
from etasim.explore.variations import CHARGED_GROUP, PARTS
from etasim.report.naming import FIDELITY_NAMES
from etasim.report.published import CAVEATS, STATUSES, Claim
from etasim.report.staging import staged_file

Rows = Sequence[Mapping[str, Any]]
UNKNOWN = "-"


def number(value: float | None, form: str = "{:,.5g}") -> str:
    """A cell."""
    return UNKNOWN if value is None else form.format(value)


def markdown(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first line is the heading."""
    return ["| " + " | ".join(table[0]) + " |", "|" + "---|" * len(table[0]), *("| " + " | ".join(row) + " |" for row in table[1:])]


def by_status(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each table: published, derived, equal by definition."""
    return {status: found for status in STATUSES if (found := [row for row in rows if row["status"] == status])}


def figure_table(status: str, rows: Rows) -> list[list[str]]:
    """Figures of one ``status`` beside simulated ones; the first line is the heading."""
    origin = "follows" if status == "definition" else status
    table = [["figure", origin, "simulated", "error %", "tolerance %", "calibrated", "batch", "cycles", ""]]
    for row in rows:
        verdict = "within" if row["within_tolerance"] else f"missed: {row['reason']}" if row["reason"] else "missed"
        cells = [number(row["published"]), number(row["simulated"]), number(row["error_percent"], "{:+.2f}")]
        cells += [f"{row['tolerance_percent']:g}", "yes" if row["calibrated"] else "no"]
        table.append([row["figure"], *cells, number(row["batch"], "{}"), number(row["total_cycles"], "{:,}"), verdict])
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


def calibration_table(found: Mapping[str, Any]) -> list[list[str]]:
    """Machines that the cycle model judged."""
    networks = found["networks"]
    table = [["machine", *(f"{name} error %" for name in networks), "worst %", ""]]
    for entry in found["simulated"]:
        errors = [number(entry["errors_percent"][name], "{:+.2f}") for name in networks]
        table.append([entry["label"], *errors, number(entry["worst_percent"], "{:.2f}"), "fits" if entry["fits"] else ""])
    return table


LEFT_OUT_TITLE = "Leave one out (cycle model; all machines that fit the others within {tolerance:g} %: both)"
LEFT_OUT_TEXT = (
    "For each network: the machine that fits the other two best, among those simulated that were chosen blind to it; so neither the "
    "machine as it is, which was tuned by hand on all three, nor those that all three chose. Then the errors of all machines that fit the "
    "other two within {tolerance:g} %, of those screened in closed form and of those simulated. What two throughputs say of the third is "
    "that interval, not the one machine."
)
LEFT_OUT_COLUMNS = ("error %", "n estimated", "errors %", "n simulated", "errors %")


def left_out_cells(entry: Mapping[str, Any]) -> list[str]:
    """The network that is predicted, the machine, its error there, and the errors of all machines that fit the other networks."""
    cells = [entry["predicted"], entry["label"] or UNKNOWN, number(entry["error_percent"], "{:+.2f}")]
    for found in (entry["interval_estimated"], entry["interval_simulated"]):
        ends = [number(found[f"{end}_percent"], "{:+.2f}") for end in ("least", "greatest")]
        cells += [str(found["n"]), " ... ".join(ends) if found["n"] else UNKNOWN]
    return cells


def left_out_table(found: Mapping[str, Any]) -> list[list[str]]:
    """Leave one out."""
    heading = ["predicted", "machine chosen blind to it", *LEFT_OUT_COLUMNS]
    return [heading, *(left_out_cells(entry) for entry in found["leave_one_out"])]


def fidelity_table(found: Mapping[str, Any]) -> list[list[str]]:
    """Analytical beside simulated cycles."""
    table = [["network", "n", "mean %", "greatest %"]]
    for e in found["fidelity_difference"]:
        table.append([e["network"], str(e["n"]), number(e["mean_percent"], "{:+.2f}"), number(e["max_percent"], "{:.2f}")])
    return table


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


def sections(result: Reproduction, variations: Rows, found: Mapping[str, Any] | None) -> list[tuple[str, str, list[list[str]]]]:
    """(heading, text, table) of everything that page and document show."""
    rows = result.rows
    content = []
    for status, own in by_status(rows).items():
        heading, _, text = STATUSES[status].partition(": ")
        sentence = f" {error_sentence(rows)}" if status == "published" else ""
        content.append((heading, f"{text[0].upper()}{text[1:]}.{sentence}", figure_table(status, own)))
    content.append(("Claims", "What the abstract claims without a figure.", claim_table(result.claims)))
    if found is not None:
        fits = sum(entry["fits"] for entry in found["simulated"])
        names = ", ".join(f"{unknown['name']} ({unknown['values']} values)" for unknown in found["unknowns"])
        searched = (
            f"{found['n_screened']} machines were screened in closed form, {found['n_screened_fits']} of them fit; "
            f"{len(found['simulated'])} were simulated, {fits} of them fit all three throughputs within {found['tolerance_percent']:g} %. "
            f"Unknowns: {names}. Calibrated on the three throughputs, nothing else."
        )
        content.append(("Calibration", searched, calibration_table(found)))
        content.append(("Leave one out", LEFT_OUT_TEXT.format(tolerance=found["tolerance_percent"]), left_out_table(found)))
        content.append(("Estimate and simulation of these machines", "Difference of the cycles of an iteration.", fidelity_table(found)))
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
        blind = " DRAM queues, bursts in flight, command queues act in the cycle model alone: `etasim sensitivity --fidelity cycle`."
        fidelity_name = FIDELITY_NAMES[fidelity]
        text = f"GOPS, {fidelity_name}.{blind if fidelity == 'analytical' else ''}"
        content.append(("Sensitivity: halved", text, variation_table(variations, "sensitivity half")))
        content.append(("Sensitivity: doubled", f"GOPS, {fidelity_name}.", variation_table(variations, "sensitivity double")))
        ladder = f"Time saved if a part ({', '.join(PARTS)}) were ideal, one at a time and together. Phases overlap, so a share may grow."
        content.append(("Bottleneck ladder", ladder, ladder_table(variations)))
        content.append(("What if", f"GOPS, {fidelity_name}.", variation_table(variations, "what if")))
        free = f"GOPS, {fidelity_name}. What each costs: [models/lane_work.md](models/lane_work.md)."
        content.append((CHARGED_GROUP.capitalize(), free, variation_table(variations, CHARGED_GROUP)))
    return content


def write_document(path: Path, result: Reproduction, variations: Rows, found: Mapping[str, Any] | None) -> None:
    """Write the Markdown page."""
    lines = ["# Reproduction", "", "Generated by `etasim reproduce --document`.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in result.about.items()] + [""]
    lines += [f"- {caveat}" for caveat in CAVEATS] + [""]
    for heading, text, table in sections(result, variations, found):
        lines += [f"## {heading}", "", text, "", *markdown(table), ""]
    lines += ["## Assumptions", "", *(f"- {text}." for text in dict.fromkeys(row["assumption"] for row in result.rows)), ""]
    lines += ["## Sources", "", *(f"- {source}" for source in dict.fromkeys(row["source"] for row in result.rows))]
    with staged_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
