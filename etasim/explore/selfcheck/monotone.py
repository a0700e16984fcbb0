"""Is more hardware ever slower? Random machines, every step of `etasim.explore.selfcheck.changes`, cycles before and after."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from etasim.explore.points import Row
from etasim.explore.selfcheck.bars import bar
from etasim.explore.selfcheck.changes import Change, changes
from etasim.explore.selfcheck.machines import Trial, Workload, random_trials
from etasim.explore.selfcheck.running import ANALYTICAL, CYCLE, Rows, failures, point
from etasim.explore.space import Point
from etasim.report.metrics import rounded
from etasim.report.published import ARCHITECTURE, NETWORKS

WORKLOADS = (
    Workload("eta_small", "digits_cnn", (1, 2, 3, 4, 8)),
    Workload("eta_vc709", "digits_cnn", (1, 2, 3, 4, 8, 16)),
    Workload("eta_vc709", "resnet20_cifar", (1, 2, 3, 4)),
    Workload("eta_vc709", "resnet20_cifar_a", (1, 2, 3, 4)),
    Workload("eta_vc709", "vgg16_cifar", (1,)),
)
"""Batches that take a cycle model seconds."""

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SLOWER_PERCENT = 1.0
"""Above this, a machine is slower."""

SLOWER_SHARE_PERCENT, WORST_PERCENT = 0.5, 3.0
"""The bars: share of the cases that are slower, and by how much the worst of them."""

MOST_SHOWN = 10
"""Worst cases that are told."""

ALL = "all"


class Pair(NamedTuple):
    """A change, and the points before and after it."""

    change: Change
    before: Point
    after: Point


def pairs(n_machines: int, seed: int, networks: Iterable[str] = ()) -> list[Pair]:
    """Every change of ``n_machines`` random machines; with ``networks`` on these alone."""
    only = {*networks}
    workloads = [work for work in WORKLOADS if not only or work.network in only]
    return [
        Pair(change, point(change.before, f"machine {number}"), point(change.after, f"machine {number}, {change.key} {change.new}"))
        for number, trial in enumerate(random_trials(n_machines, seed, workloads))
        for change in changes(trial)
    ]


def points_of(found: Sequence[Pair]) -> list[Point]:
    """The points of all cases, each machine's together."""
    return [each for case in found for each in (case.before, case.after)]


def findings(found: Sequence[Pair], rows: Rows) -> dict[str, Any]:
    """Counts and changes in percent of the cycles by change and of all, the worst cases, what failed, and the bars, as plain values."""
    told = [_told(case, rows[case.before.point_id], rows[case.after.point_id]) for case in found]
    by_change = [_line(key, [each for each in told if each["change"] == key]) for key in dict.fromkeys(each["change"] for each in told)]
    total = _line(ALL, told)
    share = 100 * total["slower"] / total["cases"] if total["cases"] else None
    bars = [
        bar(f"cases slower by > {SLOWER_PERCENT:g} %, in %", share, SLOWER_SHARE_PERCENT),
        bar("worst case, slower by %", total["worst_percent"], WORST_PERCENT),
        bar("simulations that failed", len(failures(rows)), 0),
    ]
    judged = sorted((each for each in told if each["change_percent"] is not None), key=lambda each: -each["change_percent"])
    slower = [each for each in judged if each["change_percent"] > SLOWER_PERCENT]
    return {"changes": by_change, "total": total, "bars": bars, "worst": slower[:MOST_SHOWN], "failures": failures(rows)}


def _told(case: Pair, before: Row, after: Row) -> dict[str, Any]:
    """A case as plain values. Without a ``before`` there is nothing to compare with: its status is then of both."""
    change = case.change
    statuses = (before["status"], after["status"])
    status = "failed" if "failed" in statuses else statuses[1] if statuses[0] == "ok" else "unjudged"
    found = [row["total_cycles"] if status == "ok" else None for row in (before, after)]
    percent = rounded(100 * (after.number("total_cycles") / before.number("total_cycles") - 1)) if status == "ok" else None
    about = {"change": change.key, "old": change.old, "new": change.new, "command": change.after.command}
    return about | dict(zip(("before_cycles", "after_cycles"), found, strict=True)) | {"status": status, "change_percent": percent}


def _line(name: str, told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the cases of one change: how many, slower ones, the worst and the median change in percent, and those without one."""
    judged = [each["change_percent"] for each in told if each["change_percent"] is not None]
    line = {"change": name, "cases": len(judged), "slower": sum(percent > SLOWER_PERCENT for percent in judged)}
    line |= {"worst_percent": max(judged, default=None), "median_percent": rounded(median(judged)) if judged else None}
    return line | {status: sum(each["status"] == status for each in told) for status in ("infeasible", "failed", "unjudged")}


def batch_points(networks: Sequence[str] = (), batches: Sequence[int] = BATCHES, most_simulated: int = BATCHES[-1]) -> list[Point]:
    """Iterations of ever larger batches on the shipped machine; those of more than ``most_simulated`` samples are estimated, and the one
    before them too, so that like is compared with like."""
    asked = [(CYCLE, each) for each in batches if each <= most_simulated]
    first = next((i for i, each in enumerate(batches) if each > most_simulated), len(batches))
    asked += [(ANALYTICAL, each) for each in batches[max(first - 1, 0) :] if first < len(batches)]
    return [point(Trial(ARCHITECTURE, {}, name, batch), name, fidelity) for name in networks or NETWORKS for fidelity, batch in asked]


def batch_findings(points: Sequence[Point], rows: Rows) -> dict[str, Any]:
    """Cycles an image by network, fidelity and batch, with the change in percent from the batch before it, and the bar."""
    found: list[dict[str, Any]] = []
    for each in points:
        row = rows[each.point_id]
        cycles = row.number("total_cycles") / each.batch if row["status"] == "ok" else None
        about: dict[str, Any] = {"network": each.network, "fidelity": each.fidelity, "batch": each.batch}
        before = found[-1] if found and all(found[-1][name] == about[name] for name in ("network", "fidelity")) else None
        known = before["cycles_an_image"] if before else None
        change = rounded(100 * (cycles / known - 1)) if cycles is not None and known is not None else None
        about |= {"status": row["status"], "reason": row["reason"]}
        found.append(about | {"cycles_an_image": rounded(cycles), "change_percent": change})
    worst = max((each["change_percent"] for each in found if each["change_percent"] is not None), default=None)
    missing = sum(each["status"] != "ok" for each in found)
    bars = [bar("worst rise, in %", worst, SLOWER_PERCENT), bar("batches without a result", missing, 0)]
    return {"batches": found, "bars": bars, "failures": failures(rows)}
