"""Calibration: which machines of a stated space fit all published throughputs, and how well two of them predict the third.

The analytical fidelity screens every candidate, the cycle model decides about the best of them. Both keep their rows on disk
(`points.csv` in the folders ``screen`` and ``cycle``), so a calibration that was stopped goes on where it was.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from etasim.explore.calibration_space import Calibration, Candidate
from etasim.explore.points import POINTS, Row
from etasim.explore.sweep import run_sweep
from etasim.report.metrics import rounded
from etasim.report.outputs import check_outputs
from etasim.report.published import THROUGHPUTS
from etasim.report.staging import reserved_folder

SCREEN, CYCLE = "screen", "cycle"
FINISHED = Callable[[Row], None]
Errors = dict[str, dict[str, float]]
"""Label of a candidate to network to error in percent of the published throughput."""


def calibrate(
    calibration: Calibration, folder: Path, n_simulated: int, workers: int, resume: bool, screened: FINISHED, simulated: FINISHED,
    overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Screen all candidates, simulate the architecture as it is and the ``n_simulated`` - 1 most promising others; what was found.

    ``screened`` and ``simulated`` are called with each finished row. Raises InputError for a folder of another calibration.
    """
    check_outputs([("--out", folder / fidelity / POINTS) for fidelity in (SCREEN, CYCLE)])
    with reserved_folder(folder):
        every = calibration.space(calibration.candidates, "analytical")
        screen = run_sweep(every, folder / SCREEN, workers, resume, screened, overwrite)
        best = promising(calibration.candidates, errors(screen), n_simulated)
        cycle = run_sweep(calibration.space(best, "cycle"), folder / CYCLE, workers, resume, simulated, overwrite)
    return findings(calibration, screen, cycle)


def errors(rows: Sequence[Row]) -> Errors:
    """Errors of the finished rows whose network has a published throughput."""
    table: Errors = {}
    for row in rows:
        if row["status"] == "ok" and row["network"] in THROUGHPUTS:
            error = 100 * (row["throughput_gops"] / THROUGHPUTS[row["network"]] - 1)
            table.setdefault(row["label"], {})[row["network"]] = error
    return table


def worst(by_network: dict[str, float]) -> float:
    """Greatest absolute error."""
    return max(abs(error) for error in by_network.values())


def promising(candidates: Sequence[Candidate], screened: Errors, n: int) -> list[Candidate]:
    """The architecture as it is, and ``n`` - 1 others that ran every network: in turn the best by all networks, and by all but one, so
    that what is predicted for a network was not chosen by it."""
    networks = list(max(screened.values(), key=len, default={}))
    if not networks:
        return candidates[:1]
    others = [c for c in candidates[1:] if len(screened.get(c.label, {})) == len(networks)]
    views = [networks] + [[name for name in networks if name != left_out] for left_out in networks if len(networks) > 1]
    rankings = [sorted(others, key=lambda c: worst({name: screened[c.label][name] for name in view})) for view in views]
    in_turn = [candidate for same_rank in zip(*rankings, strict=True) for candidate in same_rank]
    return [candidates[0], *{candidate.label: candidate for candidate in in_turn}.values()][:n]


def findings(calibration: Calibration, screen: Sequence[Row], cycle: Sequence[Row]) -> dict[str, Any]:
    """What `etasim calibrate` prints, as plain values."""
    networks = [network.name for network in calibration.networks]
    judged = {label: found for label, found in errors(cycle).items() if len(found) == len(networks)}
    ranked = sorted(judged, key=lambda label: worst(judged[label]))
    return {
        "architecture": calibration.architecture,
        "networks": networks,
        "tolerance_percent": calibration.tolerance_percent,
        "unknowns": [
            {"name": unknown.name, "keys": list(unknown.key_paths), "values": len(unknown.values), "reason": unknown.reason}
            for unknown in calibration.unknowns
        ],
        "n_screened": len({row["label"] for row in screen}),
        "n_screened_fits": sum(worst(found) <= calibration.tolerance_percent for found in errors(screen).values()),
        "simulated": [_judged(label, judged[label], calibration.tolerance_percent) for label in ranked],
        "leave_one_out": leave_one_out(judged, networks),
        "fidelity_difference": fidelity_difference(screen, cycle, networks),
    }


def _judged(label: str, found: dict[str, float], tolerance_percent: float) -> dict[str, Any]:
    table = {name: rounded(error) for name, error in found.items()}
    return {"label": label, "errors_percent": table, "worst_percent": rounded(worst(found)), "fits": worst(found) <= tolerance_percent}


def leave_one_out(judged: Errors, networks: Sequence[str]) -> list[dict[str, Any]]:
    """For each network: the machine that fits the others best, chosen without looking at it, and its error there."""
    table = []
    for predicted in networks:
        known = [name for name in networks if name != predicted]
        if judged and known:
            label = min(judged, key=lambda candidate: (worst({name: judged[candidate][name] for name in known}), candidate))
            error = rounded(judged[label][predicted])
            table.append({"predicted": predicted, "calibrated_on": known, "label": label, "error_percent": error})
    return table


def fidelity_difference(screen: Sequence[Row], cycle: Sequence[Row], networks: Sequence[str]) -> list[dict[str, Any]]:
    """How far the analytical time lies from the simulated one, per network: n, mean and greatest absolute difference in percent."""
    simulated = {(row["label"], row["network"]): row["total_cycles"] for row in cycle if row["status"] == "ok"}
    table = []
    for name in networks:
        found = [
            100 * (row["total_cycles"] / simulated[row["label"], name] - 1)
            for row in screen
            if row["status"] == "ok" and row["network"] == name and (row["label"], name) in simulated
        ]
        if found:
            table.append(
                {"network": name, "n": len(found), "mean_percent": rounded(fmean(found)), "max_percent": rounded(max(map(abs, found)))}
            )
    return table
