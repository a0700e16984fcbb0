"""Calibration: which machines of a stated space fit all published throughputs, and how well two of them predict the third.

The analytical fidelity screens every candidate that the board holds, the cycle model decides about the best of them, and those that fit
are asked for what was not used. All keep their rows on disk (`points.csv` in the folders ``screen``, ``cycle`` and ``predict``), so a
calibration that was stopped goes on where it was.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from etasim.explore.calibration_space import Calibration, Proposal
from etasim.explore.fitting import independent_figures, predictions
from etasim.explore.points import POINTS, Row
from etasim.explore.space import Space, digest
from etasim.explore.sweeps import run_sweep
from etasim.report.metrics import rounded
from etasim.report.outputs import check_outputs
from etasim.report.published import THROUGHPUTS
from etasim.report.staging import reserved_folder

SCREEN, CYCLE, PREDICT, NEIGHBOURS = "screen", "cycle", "predict", "neighbours"
FINISHED = Callable[[Row], None]
Errors = dict[str, dict[str, float]]
"""Label of a candidate to network to error in percent of the published throughput."""


def calibrate(
    calibration: Calibration, folder: Path, n_simulated: int, workers: int, resume: bool, screened: FINISHED, simulated: FINISHED,
    overwrite: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Screen the candidates, simulate the architecture as it is and the ``n_simulated`` - 1 most promising others; what was found.

    ``screened`` and ``simulated`` are called with each finished row. Raises InputError for a folder of another calibration.
    """
    check_outputs([("--out", folder / stage / POINTS) for stage in (SCREEN, CYCLE, PREDICT)])
    candidates = calibration.on_board()
    with reserved_folder(folder):
        every = calibration.space(candidates, "analytical")
        screen = in_order(every, run_sweep(every, folder / SCREEN, workers, resume, screened, overwrite))
        chosen = promising(candidates, errors(screen), n_simulated)
        verified = calibration.space([choice.candidate for choice in chosen], "cycle")
        cycle = in_order(verified, run_sweep(verified, folder / CYCLE, workers, resume, simulated, overwrite))
        blind_to = {choice.candidate.label: choice.blind_to for choice in chosen}
        found = findings(calibration, screen, cycle, blind_to)
        fitting = [choice.candidate for choice in chosen if choice.candidate.label in fitting_labels(found)]
        asked = calibration.space(fitting, "analytical", calibration.predicted) if calibration.predicted else Space((), [])
        answers = in_order(asked, run_sweep(asked, folder / PREDICT, workers, resume, overwrite=overwrite))
        elsewhere: dict[str, list[Row]] = {}
        for relative in calibration.relatives:
            like = calibration.space_of(relative, fitting, "cycle")
            elsewhere[relative.name] = run_sweep(like, folder / NEIGHBOURS / relative.name, workers, resume, overwrite=overwrite)
    machines = {candidate.label: calibration.machine(candidate)[0] for candidate in fitting}
    own = [row for row in (*cycle, *answers) if row["label"] in machines]
    return found | {"predictions": predictions(own, elsewhere, machines, found["chosen"])}


def in_order(space: Space, rows: Sequence[Row]) -> list[Row]:
    """Rows of the points of ``space``, in its order; an earlier calibration may have left others."""
    place = {point.point_id: number for number, point in enumerate(space.points)}
    return sorted((row for row in rows if row["point_id"] in place), key=lambda row: place[row.text("point_id")])


def errors(rows: Sequence[Row]) -> Errors:
    """Errors of the finished rows whose network has a published throughput."""
    table: Errors = {}
    for row in rows:
        if row["status"] == "ok" and row["network"] in THROUGHPUTS:
            error = 100 * (row.number("throughput_gops") / THROUGHPUTS[row.text("network")] - 1)
            table.setdefault(row.text("label"), {})[row.text("network")] = error
    return table


def worst(by_network: dict[str, float]) -> float:
    """Greatest absolute error."""
    return max(abs(error) for error in by_network.values())


class Choice(NamedTuple):
    """A machine that is simulated; ``blind_to``: networks without which it was chosen all the same."""

    candidate: Proposal
    blind_to: tuple[str, ...] = ()


def promising(candidates: Sequence[Proposal], screened: Errors, n: int) -> list[Choice]:
    """The architecture as it is, and ``n`` - 1 others that ran every network: in turn the best by all networks, and by all but one.

    The architecture was tuned by hand with all networks in view, so it is blind to none.
    """
    networks = [*max(screened.values(), key=lambda by_network: len(by_network), default={})]
    if not networks:
        return [Choice(candidates[0])]
    others = [c for c in candidates[1:] if len(screened.get(c.label, {})) == len(networks)]
    views = [(None, networks)] + [(out, [name for name in networks if name != out]) for out in networks if len(networks) > 1]
    rankings = [sorted(others, key=lambda c: worst({name: screened[c.label][name] for name in view})) for _, view in views]
    blind_to: dict[str, list[str]] = {}
    chosen: dict[str, Proposal] = {}
    for same_rank in zip(*rankings, strict=True):
        for candidate, (left_out, _) in zip(same_rank, views, strict=True):
            if len(chosen) < n - 1:
                chosen[candidate.label] = candidate
                blind_to.setdefault(candidate.label, []).extend([left_out] if left_out else [])
    return [Choice(candidates[0]), *(Choice(candidate, tuple(blind_to[label])) for label, candidate in chosen.items())]


def findings(
    calibration: Calibration, screen: Sequence[Row], cycle: Sequence[Row], blind_to: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """What `etasim calibrate` prints, as plain values, but for the predictions. ``blind_to``: of each simulated machine, as `Choice` has
    it; ``chosen``: label of the machine to take; ``machine``: identity of the architecture as it is."""
    networks, tolerance = [network.name for network in calibration.networks], calibration.tolerance_percent
    judged, screened = (_of_all(errors(rows), networks) for rows in (cycle, screen))
    ranked = sorted(judged, key=lambda label: worst(judged[label]))
    n_changed = {candidate.label: calibration.n_changed(candidate) for candidate in calibration.candidates if candidate.label in judged}
    return {
        "architecture": calibration.architecture,
        "networks": networks,
        "tolerance_percent": tolerance,
        "unknowns": [
            {"name": unknown.name, "keys": list(unknown.key_paths), "values": len(unknown.values), "reason": unknown.reason}
            for unknown in calibration.unknowns
        ],
        "machine": digest(calibration.base.architecture.resolved()),
        "n_candidates": len(calibration.candidates),
        "n_screened": len({row["label"] for row in screen}),
        "n_screened_fits": sum(worst(found) <= tolerance for found in screened.values()),
        "independent_figures": rounded(independent_figures(list(screened.values()), networks, tolerance)),
        "simulated": [_judged(label, judged[label], tolerance) | {"blind_to": list(blind_to[label])} for label in ranked],
        "chosen": choice(judged, n_changed, tolerance),
        "leave_one_out": leave_one_out(judged, screened, blind_to, networks, tolerance),
        "fidelity_difference": fidelity_difference(screen, cycle, networks),
    }


def choice(judged: Errors, n_changed: Mapping[str, int], tolerance_percent: float) -> str | None:
    """Of the machines that fit the one that changes fewest unknowns, so the machine as it is while that fits: errors below the tolerance
    tell none from another. Of several the one whose greatest error is least. ``n_changed``: unknowns by label."""
    fitting = [label for label in judged if worst(judged[label]) <= tolerance_percent]
    return min(fitting, key=lambda label: (n_changed[label], worst(judged[label])), default=None)


def fitting_labels(found: Mapping[str, Any]) -> set[str]:
    """Simulated machines that fit every network."""
    return {entry["label"] for entry in found["simulated"] if entry["fits"]}


def _of_all(table: Errors, networks: Sequence[str]) -> Errors:
    """Machines that ran every network."""
    return {label: found for label, found in table.items() if len(found) == len(networks)}


def _judged(label: str, found: dict[str, float], tolerance_percent: float) -> dict[str, Any]:
    table = {name: rounded(error) for name, error in found.items()}
    return {"label": label, "errors_percent": table, "worst_percent": rounded(worst(found)), "fits": worst(found) <= tolerance_percent}


def leave_one_out(
    judged: Errors, screened: Errors, blind_to: Mapping[str, Sequence[str]], networks: Sequence[str], tolerance_percent: float
) -> list[dict[str, Any]]:
    """For each network: the machine that fits the others best, and its error there, among those that were chosen blind to it; and how far
    all machines that fit the others are spread, by the estimate and by the cycle model."""
    table = []
    for predicted in networks:
        known = [name for name in networks if name != predicted]
        pool = [label for label in judged if predicted in blind_to.get(label, ())]
        if not known:
            continue
        label = min(pool, key=lambda candidate: (worst({name: judged[candidate][name] for name in known}), candidate), default=None)
        row = {"predicted": predicted, "calibrated_on": known, "n_machines": len(pool), "label": label}
        row["error_percent"] = None if label is None else rounded(judged[label][predicted])
        for name, errors_of in (("estimated", screened), ("simulated", judged)):
            row[f"interval_{name}"] = interval(errors_of, predicted, known, tolerance_percent)
        table.append(row)
    return table


def interval(table: Errors, predicted: str, known: Sequence[str], tolerance_percent: float) -> dict[str, Any]:
    """Errors of ``predicted`` over all machines that fit the networks ``known``: their number, the least and the greatest."""
    fitting = [found for found in table.values() if worst({name: found[name] for name in known}) <= tolerance_percent]
    found = [by_network[predicted] for by_network in fitting]
    return {"n": len(found), "least_percent": rounded(min(found, default=None)), "greatest_percent": rounded(max(found, default=None))}


def fidelity_difference(screen: Sequence[Row], cycle: Sequence[Row], networks: Sequence[str]) -> list[dict[str, Any]]:
    """How far the analytical time lies from the simulated one, per network: n, mean and greatest absolute difference in percent."""
    simulated = {(row["label"], row["network"]): row.number("total_cycles") for row in cycle if row["status"] == "ok"}
    table = []
    for name in networks:
        found = [
            100 * (row.number("total_cycles") / simulated[row["label"], name] - 1)
            for row in screen
            if row["status"] == "ok" and row["network"] == name and (row["label"], name) in simulated
        ]
        if found:
            table.append(
                {"network": name, "n": len(found), "mean_percent": rounded(fmean(found)), "max_percent": rounded(max(map(abs, found)))}
            )
    return table
