"""Tables of what a calibration found, for terminal, page and document."""

from collections.abc import Mapping
from typing import Any

from etasim.explore.calibration_space import AS_IT_IS
from etasim.explore.markdown import UNKNOWN, number
from etasim.report.naming import FIDELITY_NAMES
from etasim.report.published import NEIGHBOUR_FIGURES

Findings = Mapping[str, Any]
Section = tuple[str, str, list[list[str]]]
CHOICE = (
    "of those that fit the one that changes fewest unknowns, so the machine as it is while it fits, since errors below the tolerance tell "
    "none from another; of several the one whose greatest error is least"
)
"""The rule by which one of the machines that fit is chosen."""

LEFT_OUT_TEXT = (
    "For each network: the machine that fits the others best, among those simulated that were chosen blind to it; so neither the "
    "machine as it is, which was chosen with all in view, nor those that all chose. Then the errors of all machines that fit "
    "the others within {tolerance:g} %, of those screened in closed form and of those simulated. What the others say of one "
    "is that interval, not the one machine."
)
LEFT_OUT_COLUMNS = ("error %", "n estimated", "errors %", "n simulated", "errors %")
PREDICTED_TEXT = (
    "By all {n} machines that fit the throughputs in the cycle model: figures that were not used. Batch: that of each machine unless "
    "one is given. On another machine: with the clock, batch and unified core of each machine that fits, and all else its own."
)


def searched(found: Findings) -> str:
    """What was searched, and how much of it fits."""
    fits, tolerance, n = sum(entry["fits"] for entry in found["simulated"]), found["tolerance_percent"], len(found["networks"])
    names = ", ".join(f"{unknown['name']} ({unknown['values']} values)" for unknown in found["unknowns"])
    share = 100 * found["n_screened_fits"] / found["n_screened"] if found["n_screened"] else 0.0
    return (
        f"Of {found['n_candidates']:,} machines the board holds {found['n_screened']:,}, which were screened in closed form: "
        f"{found['n_screened_fits']:,} ({share:.1f} %) fit all {n} throughputs within {tolerance:g} %. {len(found['simulated'])} were "
        f"simulated, {fits} of them fit; chosen is {CHOICE}: {found['chosen'] or 'none'}. Unknowns: {names}. They can move "
        f"{number(found['independent_figures'], '{:.2f}')} of {n} figures independently (effective number of fitted parameters): the "
        "nearer to all of them, the less it says that they are met. What the machines that fit say, are the intervals below."
    )


def judged_table(found: Findings) -> list[list[str]]:
    """Machines that fit by the cycle model, and the machine as it is."""
    networks = found["networks"]
    table = [["machine", *(f"{name} error %" for name in networks), "worst %", ""]]
    for entry in found["simulated"]:
        if entry["fits"] or entry["label"] == AS_IT_IS:
            errors = [number(entry["errors_percent"][name], "{:+.2f}") for name in networks]
            verdict = "chosen" if entry["label"] == found["chosen"] else "fits" if entry["fits"] else ""
            table.append([entry["label"], *errors, number(entry["worst_percent"], "{:.2f}"), verdict])
    return table


def left_out_cells(entry: Mapping[str, Any]) -> list[str]:
    """The network that is predicted, the machine, its error there, and the errors of all machines that fit the other networks."""
    cells = [entry["predicted"], entry["label"] or UNKNOWN, number(entry["error_percent"], "{:+.2f}")]
    for found in (entry["interval_estimated"], entry["interval_simulated"]):
        ends = [number(found[f"{end}_percent"], "{:+.2f}") for end in ("least", "greatest")]
        cells += [str(found["n"]), " ... ".join(ends) if found["n"] else UNKNOWN]
    return cells


def left_out_table(found: Findings) -> list[list[str]]:
    """Leave one out."""
    heading = ["predicted", "machine chosen blind to it", *LEFT_OUT_COLUMNS]
    return [heading, *(left_out_cells(entry) for entry in found["leave_one_out"])]


UNITS = {"throughput_gops": "throughput [GOPS]", "power_w": "power [W], partly assumed"}


def predicted_table(found: Findings) -> list[list[str]]:
    """What all machines that fit say of what was not used, and of what it stands on."""
    table = [["figure", "network", "batch", "n", "least", "greatest", "as it is", "published", ""]]
    for entry in found["predictions"]:
        neighbour = entry["neighbour"]
        if entry["figure"] == "throughput_gops" and entry["fidelity"] == "cycle" and neighbour is None:
            continue  # what was fitted
        published = NEIGHBOUR_FIGURES.get((neighbour, entry["network"], entry["figure"]))
        ends = [number(entry[name], "{:,.4g}" if entry["network"] else "{:,.0f}") for name in ("least", "greatest", "chosen")]
        network = entry["network"] or "the board"
        where = [f"{network} on {neighbour}" if neighbour else network, number(entry["batch"], "{}"), str(entry["n"])]
        fidelity = FIDELITY_NAMES[entry["fidelity"]] if entry["fidelity"] else "laws fitted to synthesis"
        table.append([UNITS.get(entry["figure"], entry["figure"]), *where, *ends, number(published, "{:g}"), fidelity])
    return table


def fidelity_table(found: Findings) -> list[list[str]]:
    """Analytical beside simulated cycles."""
    table = [["network", "n", "mean %", "greatest %"]]
    for e in found["fidelity_difference"]:
        table.append([e["network"], str(e["n"]), number(e["mean_percent"], "{:+.2f}"), number(e["max_percent"], "{:.2f}")])
    return table


def calibration_sections(found: Findings) -> list[Section]:
    """(heading, text, table) of all that a calibration found."""
    fits = sum(entry["fits"] for entry in found["simulated"])
    return [
        ("Calibration", searched(found), judged_table(found)),
        ("Leave one out", LEFT_OUT_TEXT.format(tolerance=found["tolerance_percent"]), left_out_table(found)),
        ("Predictions of the machines that fit", PREDICTED_TEXT.format(n=fits), predicted_table(found)),
        ("Estimate and simulation of these machines", "Difference of the cycles of an iteration.", fidelity_table(found)),
    ]
