"""The iterations of a study: each evaluated once, on disk in ``DIR/points.csv`` as it ends, and in the order of the study at last."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from etasim.config import BaseArchitecture
from etasim.explore.design_space import code_version, digest_of
from etasim.explore.evaluate import Evaluation, evaluate
from etasim.explore.points import POINTS, OtherInputs, PointStore, Row, row
from etasim.explore.selfcheck.machines import Trial
from etasim.explore.space import Point, Space, variant
from etasim.explore.workers import Outcome, Progress, run_jobs
from etasim.machine.inputs import Inputs
from etasim.report.outputs import check_outputs
from etasim.workload import Network, dump_network, load_network
from etasim.workload.lowering import PHASES

KEYS = ("architecture", "overrides")
"""Columns that say which machine a row is of; overrides are a JSON object."""

OTHER_INPUTS = OtherInputs("--machines, --seed, --network or the study are others, or etasim has changed since", "--overwrite")

ANALYTICAL, CYCLE = "analytical", "cycle"
Rows = dict[str, Row]
"""By `point_id`."""


def point(trial: Trial, label: str, fidelity: str = CYCLE) -> Point:
    """``trial`` as a design point. Its identity is that of all inputs and of the code."""
    contents = [code_version(), _base_digest(trial.architecture), _network_digest(trial.network)]
    identity = digest_of([*contents, trial.overrides, trial.batch, fidelity])[:16]
    settings = dict(zip(KEYS, (trial.architecture, trial.overrides), strict=True))
    return Point(identity, label, settings, trial.network, trial.batch, PHASES, None, fidelity=fidelity)


def run_points(
    points: Iterable[Point], folder: Path, workers: int, overwrite: bool = False, finished: Callable[[str], None] = lambda label: None
) -> Rows:
    """A row for each of ``points``; what ``folder`` has already is not run again. ``finished`` is called with the label of each row once it
    is on disk. Rows do not depend on the number of workers, but for ``wall_seconds``.

    Raises InputError for a folder with rows of another study, seed or version, unless ``overwrite``: then these go.
    """
    check_outputs([("--out", folder / POINTS)])
    wanted: dict[str, Point] = {}
    for each in points:
        wanted.setdefault(each.point_id, each)
    space = Space(KEYS, [*wanted.values()])
    with PointStore(folder, space, True, overwrite, OTHER_INPUTS) as store:
        for old in store.rows:
            finished(old.text("label"))
        known = {old["point_id"] for old in store.rows}
        left = [each for each in space.points if each.point_id not in known]

        def ended(index: int, outcome: Outcome) -> None:
            found = Evaluation("failed", outcome.error) if outcome.error else outcome.value
            store.append(row(left[index], found))
            finished(left[index].label)

        run_jobs(evaluated, left, workers, finished=ended)
        store.sort()
        return {found.text("point_id"): found for found in store.rows}


def failures(rows: Rows) -> list[dict[str, Any]]:
    """Which iterations stopped, and why."""
    names = ("label", "network", "batch", "fidelity", "reason")
    return [{name: found[name] for name in names} for found in rows.values() if found["status"] == "failed"]


def evaluated(job: Point, progress: Progress) -> Evaluation:
    """What the machine of ``job`` comes to; in a worker."""
    architecture, reason = variant(_base(job.settings[KEYS[0]]), job.settings[KEYS[1]])
    if architecture is None:
        return Evaluation("infeasible", reason)
    return evaluate(Inputs(architecture, _network(job.network), job.batch, job.phases, job.fidelity), progress)


@cache
def _base(architecture: str) -> BaseArchitecture:
    return BaseArchitecture(architecture)


@cache
def _network(name: str) -> Network:
    return load_network(name)


@cache
def _base_digest(architecture: str) -> str:
    return digest_of(_base(architecture).architecture.resolved())


@cache
def _network_digest(name: str) -> str:
    return digest_of(dump_network(_network(name)))
