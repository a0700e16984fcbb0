"""Does an estimate say where it is not to be trusted? Random machines, half of them beyond what it was compared on, both fidelities."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from etasim import machine
from etasim.config import BaseArchitecture
from etasim.explore.selfcheck.bars import bar
from etasim.explore.selfcheck.estimating import HIGH_PERCENTILE, Estimated
from etasim.explore.selfcheck.machines import Trial, random_trials
from etasim.explore.selfcheck.monotone import WORKLOADS
from etasim.explore.selfcheck.running import ANALYTICAL, CYCLE, Rows, failures, point
from etasim.report.metrics import rounded
from etasim.report.store import doubts_of
from etasim.workload import load_network

MEDIAN_PERCENT, HIGH_PERCENT = 4.0, 20.0
"""The bars of the error: the median at most, and the 95th percentile; an error beyond the latter must be flagged."""

MOST_SHOWN = 10
"""Worst estimates that are told."""


def comparisons(n_machines: int, seed: int, networks: Sequence[str] = ()) -> list[Estimated]:
    """``n_machines`` iterations, half of them on machines around the shipped ones and half beyond."""
    workloads = [work for work in WORKLOADS if not networks or work.network in networks]
    inside = random_trials(n_machines - n_machines // 2, seed, workloads)
    trials = inside + random_trials(n_machines // 2, seed + 1, workloads, beyond=True)
    return [
        Estimated(trial, *(point(trial, f"machine {number}", fidelity) for fidelity in (ANALYTICAL, CYCLE)))
        for number, trial in enumerate(trials)
    ]


def doubts_of_trial(trial: Trial) -> list[str]:
    """What the estimate of an iteration says against itself."""
    architecture = BaseArchitecture(trial.architecture).varied(trial.overrides)
    return doubts_of(machine.simulate(architecture, load_network(trial.network), batch=trial.batch, fidelity=ANALYTICAL))


def findings(compared: Sequence[Estimated], rows: Rows) -> dict[str, Any]:
    """Errors of those that are flagged and of those that are not, bars and worst estimates, and what failed, as plain values."""
    told: list[dict[str, Any]] = []
    for one in compared:
        found = [rows[each.point_id] for each in (one.estimate, one.simulation)]
        if all(row["status"] == "ok" for row in found):
            error = rounded(100 * (found[0].number("total_cycles") / found[1].number("total_cycles") - 1))
            told.append({"error_percent": error, "doubts": doubts_of_trial(one.trial), "command": one.trial.command})
    errors = np.abs([each["error_percent"] for each in told])
    silent = [each for each in told if not each["doubts"]]
    unflagged = [each for each in silent if abs(each["error_percent"]) > HIGH_PERCENT]
    failed = failures(rows)
    bars = [
        bar("median error, in %", _percentile(errors, 50), MEDIAN_PERCENT),
        bar(f"{HIGH_PERCENTILE}th percentile of the error, in %", _percentile(errors, HIGH_PERCENTILE), HIGH_PERCENT),
        bar(f"beyond {HIGH_PERCENT:g} % and not flagged", len(unflagged), 0),
        bar("evaluations that failed", len(failed), 0),
    ]
    groups = {"all": told, "flagged": [each for each in told if each["doubts"]], "not flagged": silent}
    worst = sorted(told, key=lambda each: -abs(each["error_percent"]))[:MOST_SHOWN]
    return {"groups": [_group(name, own) for name, own in groups.items()], "bars": bars, "worst": worst, "failures": failed}


def _group(name: str, told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    errors = np.abs([each["error_percent"] for each in told])
    return {"group": name, "machines": len(told)} | {f"p{percent}_percent": _percentile(errors, percent) for percent in (50, 95, 100)}


def _percentile(errors: np.ndarray, percent: int) -> float | None:
    return rounded(float(np.percentile(errors, percent))) if len(errors) else None
