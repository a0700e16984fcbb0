"""The published figures beside simulated ones. A comparison with print, not a validation against hardware."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import etasim
from etasim.config import load_architecture, shipped, shipped_names
from etasim.explore.evaluate import Evaluation, evaluate
from etasim.explore.power_bounds import power_bounds
from etasim.explore.workers import Outcome, run_jobs
from etasim.machine.inputs import Inputs
from etasim.machine.result import TypedRow
from etasim.report.board import board_rows
from etasim.report.metrics import rounded
from etasim.report.naming import FIDELITY_NAMES
from etasim.report.published import (
    ARCHITECTURE,
    CAVEATS,
    CLAIMS,
    FIGURES,
    NEIGHBOUR_ARCHITECTURE,
    NETWORKS,
    PAPER,
    PRIOR_ARCHITECTURE,
    PRIOR_NETWORK,
    THROUGHPUTS,
    Claim,
    PublishedFigure,
)
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

Row = dict[str, Any]
PRIOR = "prior art"
NOT_SIMULATED = "not simulated"
ESTIMATE = "analytical"
FIDELITY_PERCENT = 10
"""How far an estimate may lie from the simulation in each phase."""

IDENTITY_PERCENT = 0.1
"""Figures that follow from each other agree within what their printed digits allow."""


def _ratio(a: TypedRow, b: TypedRow, name: str) -> float | None:
    """Quotient of a figure of two summaries, of which one may be empty; None if it is not known."""
    above, below = (of.figure(name) if of else None for of in (a, b))
    return above / below if above is not None and below else None


def _over_prior(name: str) -> Callable[[TypedRow, TypedRow], float | None]:
    def quotient(own: TypedRow, prior: TypedRow) -> float | None:
        return _ratio(own, prior, name)

    return quotient


QUANTITIES: dict[str, Callable[[TypedRow, TypedRow], float | None]] = {
    "throughput_gops": lambda own, prior: own.number("throughput_gops"),
    "ms_per_image": lambda own, prior: own.number("time_ms") / own.number("batch"),
    "mmacs_per_image": lambda own, prior: own.number("useful_macs") / own.number("batch") / 1e6,
    "avoided_percent": lambda own, prior: 100 * (own.number("zero_insertion_macs") / own.number("useful_macs") - 1),
    "speedup": _over_prior("throughput_gops"),
    "efficiency_ratio": _over_prior("gops_per_w"),
    "prior_gops": lambda own, prior: prior.figure("throughput_gops") if prior else None,
    "prior_power_ratio": lambda own, prior: _ratio(prior, own, "power_w"),
}
"""What a row compares, from the summaries of ETA and of the prior art on the row's network."""
OF_ETA = ("throughput_gops", "ms_per_image")
"""Quantities that `eta_vc709` alone was fitted to."""
OF_PRIOR = ("speedup", "efficiency_ratio", "prior_gops", "prior_power_ratio")
"""Quantities that need the prior art."""


class Reproduction(NamedTuple):
    """``rows``: one a figure to compare with. ``fidelity``: estimated beside simulated cycles, by network and phase. ``board``: what the
    machine takes of its board. ``about``: what was compared, on what, and how to repeat it. ``claims``: those
    without a figure. ``power``: bounds of the powers, and what they hang on (`etasim.explore.power_bounds`). ``found``: what the
    calibration of this machine found, None if there is none."""

    rows: list[Row]
    fidelity: list[Row]
    board: list[Row]
    about: Mapping[str, str] = MappingProxyType({})
    claims: tuple[Claim, ...] = CLAIMS
    power: Sequence[Row] = ()
    found: Mapping[str, Any] | None = None

    def calibrated_by(self, found: Mapping[str, Any] | None) -> "Reproduction":
        """With what the calibration of this machine ``found``, and in the rows what it leaves open of each throughput."""
        rows = [row | {"left_open": found and left_open(found, row)} for row in self.rows]
        return self._replace(rows=rows, found=found)

    def plain(self) -> dict[str, Any]:
        """As `etasim reproduce --json` prints it."""
        plain = {"about": dict(self.about), "claims": [asdict(claim) for claim in self.claims], "power": list(self.power)}
        return self._asdict() | plain | {"caveats": list(CAVEATS)}


def reproduce(
    batch: int | None, workers: int, progressed: Callable[[str, float, int], None], architecture: str = ARCHITECTURE
) -> Reproduction:
    """Simulate and estimate one iteration of each published network, and simulate the prior art.

    ``architecture`` stands for ETA; ``batch`` None means each architecture's. ``progressed(network, share, cycles)`` is called on the way.
    A simulation that fails, or that does not exist, gives a row without a simulated figure and with the reason, which counts as a miss.
    """
    inputs = {name: _inputs(architecture, name, batch) for name in NETWORKS}
    longest_first = sorted(inputs, key=lambda name: -inputs[name].network.useful_macs(inputs[name].batch))
    if PRIOR_ARCHITECTURE in shipped_names("configs/prior"):
        inputs[PRIOR] = _inputs(shipped("configs/prior", PRIOR_ARCHITECTURE), PRIOR_NETWORK, batch)
        longest_first.append(PRIOR)
    estimates = {(name, ESTIMATE): inputs[name]._replace(fidelity=ESTIMATE) for name in NETWORKS}
    jobs = {name: inputs[name] for name in longest_first} | estimates
    if NEIGHBOUR_ARCHITECTURE in shipped_names("configs/prior"):
        neighbour = _inputs(shipped("configs/prior", NEIGHBOUR_ARCHITECTURE), PRIOR_NETWORK, batch)
        jobs[NEIGHBOUR_ARCHITECTURE, ESTIMATE] = neighbour._replace(fidelity=ESTIMATE)
    names = list(jobs)
    evaluations: dict[Any, Evaluation] = {}

    def finished(index: int, outcome: Outcome) -> None:
        evaluations[names[index]] = Evaluation("failed", outcome.error) if outcome.error else outcome.value

    def moved(index: int, share: float, cycles: int) -> None:
        name = names[index]
        if isinstance(name, str):
            progressed(name, share, cycles)

    run_jobs(evaluate, list(jobs.values()), workers, finished=finished, progressed=moved)
    prior = evaluations.get(PRIOR, Evaluation("failed", NOT_SIMULATED))
    fidelity = [row for name in NETWORKS for row in fidelity_rows(name, evaluations[name], evaluations[name, ESTIMATE])]
    name = inputs[NETWORKS[0]].architecture.name
    rows = [comparison(figure, evaluations[figure.network], prior, name) for figure in FIGURES]
    powers = [evaluations[PRIOR_NETWORK], prior, evaluations.get((NEIGHBOUR_ARCHITECTURE, ESTIMATE), Evaluation("failed", NOT_SIMULATED))]
    bounds = power_bounds(*(evaluation.figures for evaluation in powers))
    board = board_rows(inputs[NETWORKS[0]].architecture)
    return Reproduction(rows, fidelity, board, about(inputs, batch, architecture), power=bounds)


def about(inputs: Mapping[str, Inputs], batch: int | None, architecture: str = ARCHITECTURE) -> dict[str, str]:
    """What was compared, on what, and how to repeat it; ``inputs`` by network, and of the prior art; ``batch`` as it was asked for."""
    own, prior = inputs[NETWORKS[0]], inputs.get(PRIOR)
    found = {"paper": PAPER, "machine": f"{own.architecture.name} ({FIDELITY_NAMES[own.fidelity]})"}
    if prior is not None:
        found["prior art"] = f"{prior.architecture.name}, {PRIOR_NETWORK}, batch {prior.batch} ({FIDELITY_NAMES[prior.fidelity]})"
    found["batch"] = f"{own.batch}, all networks; one machine and one mapping policy for all"
    found["version"] = f"etasim {etasim.__version__}"
    found["command"] = (
        "etasim reproduce" + ("" if architecture == ARCHITECTURE else f" {architecture}") + ("" if batch is None else f" --batch {batch}")
    )
    return found


def left_open(found: Mapping[str, Any], row: Mapping[str, Any]) -> Row | None:
    """What all simulated machines that fit the other throughputs make of that of ``row``: ``n``, ``least``, ``greatest`` in GOPS. None of
    another figure, and where no machine fits them."""
    if row["quantity"] != "throughput_gops":
        return None
    entry = next((entry["interval_simulated"] for entry in found["leave_one_out"] if entry["predicted"] == row["network"]), None)
    if not entry or not entry["n"]:
        return None
    return {"n": entry["n"]} | {
        end: rounded(row["published"] * (1 + entry[f"{end}_percent"] / 100)) for end in ("least", "greatest")
    }


def fidelity_rows(network: str, simulated: Evaluation, estimated: Evaluation) -> list[Row]:
    """Estimated beside simulated cycles: one row a phase, and one for the iteration. None if one of them failed."""
    if simulated.phase_cycles is None or estimated.phase_cycles is None:
        return []
    pairs = {phase: (cycles, estimated.phase_cycles[phase]) for phase, cycles in simulated.phase_cycles.items()}
    pairs["iteration"] = (int(simulated.figures.number("total_cycles")), int(estimated.figures.number("total_cycles")))
    return [
        {
            "network": network, "phase": phase, "simulated_cycles": own, "estimated_cycles": estimate,
            "difference_percent": error(estimate, own), "within_tolerance": abs(estimate / own - 1) <= FIDELITY_PERCENT / 100,
        }
        for phase, (own, estimate) in pairs.items()
    ]  # fmt: skip


def _inputs(architecture: str | Path, network: str, batch: int | None) -> Inputs:
    machine = load_architecture(architecture)
    return Inputs(machine, load_network(network), batch or machine.training.batch, PHASES, "cycle")


def comparison(figure: PublishedFigure, own: Evaluation, prior: Evaluation, architecture: str = ARCHITECTURE) -> Row:
    """One row: the published figure, the simulated one, the error and whether it is within the tolerance."""
    summary, reason = own.figures, own.reason
    needs_prior = figure.quantity in OF_PRIOR
    simulated = None
    if summary and (prior.summary or not needs_prior):
        simulated = rounded(QUANTITIES[figure.quantity](summary, prior.figures))
    if simulated is None:
        reason = reason or (prior.reason if needs_prior else "") or "energy is not known"
    error_percent = error(simulated, figure.published)
    shown = prior.figures if figure.quantity == "prior_gops" else summary
    return {
        "figure": figure.figure,
        "quantity": figure.quantity,
        "status": figure.status,
        "network": figure.network,
        "architecture": architecture,
        "published": figure.published,
        "simulated": simulated,
        "error_percent": error_percent,
        "tolerance_percent": figure.tolerance_percent,
        "within_tolerance": error_percent is not None and abs(error_percent) <= figure.tolerance_percent,
        "calibrated": figure.calibrated and (architecture == ARCHITECTURE or figure.quantity not in OF_ETA),
        "batch": shown.get("batch"),
        "total_cycles": shown.get("total_cycles"),
        "useful_macs": shown.get("useful_macs"),
        "wall_seconds": own.wall_seconds,
        "assumption": figure.assumption,
        "source": figure.source,
        "reason": reason or None,
    }


def error(simulated: float | None, published: float) -> float | None:
    """Error in percent of the published figure; of a published 0, the simulated value itself."""
    if simulated is None:
        return None
    return rounded(100 * (simulated / published - 1) if published else simulated)


def inconsistencies(rows: Sequence[Mapping[str, Any]], figures: Sequence[PublishedFigure] = FIGURES) -> list[str]:
    """Figures that contradict each other: published ones that no longer follow from the abstract's, results that cannot belong together."""
    published: dict[Any, Any] = {(figure.network, figure.quantity): figure.published for figure in figures}
    simulated = {(figure.network, figure.quantity): row["simulated"] for figure, row in zip(figures, rows, strict=True)}
    found = []
    for origin, values in (("published", published), ("simulated", simulated)):
        for network in THROUGHPUTS:
            gops, ms, mmacs = (values.get((network, name)) for name in ("throughput_gops", "ms_per_image", "mmacs_per_image"))
            if gops is not None and ms is not None and mmacs is not None and abs(gops * ms / (2 * mmacs) - 1) > IDENTITY_PERCENT / 100:
                found.append(f"{network}, {origin}: throughput x time per image is not 2 x MACs per image")
    for row in rows:
        if row["error_percent"] != error(row["simulated"], row["published"]):
            found.append(f"{row['figure']}: the error does not belong to the figures")
    ratio = published[PRIOR_NETWORK, "speedup"], published[PRIOR_NETWORK, "efficiency_ratio"]
    prior_gops, prior_power = published[PRIOR_NETWORK, "prior_gops"], published[PRIOR_NETWORK, "prior_power_ratio"]
    if abs(published[PRIOR_NETWORK, "throughput_gops"] / ratio[0] / prior_gops - 1) > IDENTITY_PERCENT / 100:
        found.append(f"published: the prior art's {prior_gops} GOPS are not ETA's throughput / {ratio[0]}")
    if abs(ratio[1] / ratio[0] / prior_power - 1) > IDENTITY_PERCENT / 100:
        found.append(f"published: the ratio of the powers is not {prior_power}")
    return found


def passes(rows: Sequence[Row]) -> bool:
    """Whether every figure is within its tolerance and none contradicts another."""
    return all(row["within_tolerance"] for row in rows) and not inconsistencies(rows)
