"""Does the estimate rank machines as the cycle model does? Random machines around `eta_vc709`, both fidelities, network by network."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from etasim.explore.selfcheck.bars import bar
from etasim.explore.selfcheck.machines import Trial, Workload, random_machines
from etasim.explore.selfcheck.ranking import rank_correlation
from etasim.explore.selfcheck.running import ANALYTICAL, CYCLE, Rows, failures, point
from etasim.explore.space import Point
from etasim.report.metrics import rounded
from etasim.report.published import ARCHITECTURE

BATCHES = {"resnet20_cifar": (1, 2, 4, 8), "vgg16_cifar": (1, 2), "resnet18_imagenet": (1,)}
"""Of the networks of the study: batches that take a cycle model seconds."""

OTHER_BATCHES = (1, 2)
"""Of a network that the study does not name."""

RANK_CORRELATION, BEST_PERCENT, MEDIAN_PERCENT, HIGH_PERCENT = 0.97, 2.0, 2.0, 6.0
"""The bars: rank correlation at least; at most, how far the estimate's best machine lies behind the best, and the median and the 95th
percentile of the error."""

HIGH_PERCENTILE = 95
MOST_SHOWN = 10
"""Worst estimates that are told of each network."""


class Estimated(NamedTuple):
    """An iteration, and its points in both fidelities."""

    trial: Trial
    estimate: Point
    simulation: Point


def comparisons(n_machines: int, seed: int, networks: Sequence[str] = ()) -> list[Estimated]:
    """Each of ``n_machines`` machines on each network."""
    workloads = [Workload(ARCHITECTURE, name, BATCHES.get(name, OTHER_BATCHES)) for name in networks or BATCHES]
    return [
        Estimated(trial, *(point(trial, f"machine {number}", fidelity) for fidelity in (ANALYTICAL, CYCLE)))
        for number, trials in enumerate(random_machines(n_machines, seed, workloads))
        for trial in trials
    ]


def points_of(compared: Iterable[Estimated]) -> list[Point]:
    """The points of all comparisons, each machine's together."""
    return [each for one in compared for each in (one.estimate, one.simulation)]


def findings(compared: Sequence[Estimated], rows: Rows) -> dict[str, Any]:
    """Figures, bars and worst estimates of each network, and what failed, as plain values."""
    told = [_told(one, rows) for one in compared]
    names = dict.fromkeys(one.trial.network for one in compared)
    networks = [_network(name, [each for each in told if each["network"] == name]) for name in names]
    failed = failures(rows)
    bars = [each for network in networks for each in network["bars"]] + [bar("evaluations that failed", len(failed), 0)]
    return {"networks": networks, "bars": bars, "failures": failed}


def _told(one: Estimated, rows: Rows) -> dict[str, Any]:
    """A comparison: throughputs in GOPS and the error of the estimated cycles in percent, None where one cannot run."""
    found = [rows[each.point_id] for each in (one.estimate, one.simulation)]
    is_known = all(row["status"] == "ok" for row in found)
    statuses = [str(row["status"]) for row in found]
    gops = [row.number("throughput_gops") if is_known else None for row in found]
    error = rounded(100 * (found[0].number("total_cycles") / found[1].number("total_cycles") - 1)) if is_known else None
    about = {"network": one.trial.network, "label": one.simulation.label, "command": one.trial.command, "statuses": statuses}
    return about | {"error_percent": error} | dict(zip(("estimated_gops", "simulated_gops"), gops, strict=True))


def _network(name: str, told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one network. The machine that the estimate ranks first lies ``best_percent`` behind the best in the cycle model."""
    judged = [each for each in told if each["error_percent"] is not None]
    estimated, simulated = ([each[key] for each in judged] for key in ("estimated_gops", "simulated_gops"))
    errors = np.abs([each["error_percent"] for each in judged])
    chosen = simulated[int(np.argmax(estimated))] if judged else None
    found = {
        "rank_correlation": rounded(rank_correlation(estimated, simulated)),
        "best_percent": rounded(100 * (1 - chosen / max(simulated))) if chosen else None,
        "median_error_percent": rounded(float(np.median(errors))) if judged else None,
        "high_error_percent": rounded(float(np.percentile(errors, HIGH_PERCENTILE))) if judged else None,
    }
    bars = [
        bar(f"{name}: rank correlation", found["rank_correlation"], RANK_CORRELATION, is_least=True),
        bar(f"{name}: the estimate's best behind the best, in %", found["best_percent"], BEST_PERCENT),
        bar(f"{name}: median error, in %", found["median_error_percent"], MEDIAN_PERCENT),
        bar(f"{name}: {HIGH_PERCENTILE}th percentile of the error, in %", found["high_error_percent"], HIGH_PERCENT),
    ]
    worst = sorted(judged, key=lambda each: -abs(each["error_percent"]))[:MOST_SHOWN]
    infeasible = sum("infeasible" in each["statuses"] for each in told)
    return {"network": name, "machines": len(judged), "infeasible": infeasible, **found, "bars": bars, "worst": worst}
