"""From a design space to evaluations on disk: a search proposes designs, workers evaluate them, the promising are verified."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from etasim.explore.assess import FAILED, NO_MACHINE, Assessment, assessors
from etasim.explore.database import DATABASE, Evaluations, Recorder, Search, export_csv
from etasim.explore.design_space import Design, DesignSpace
from etasim.explore.methods import method
from etasim.explore.pareto import ranked
from etasim.explore.points import POINTS
from etasim.explore.scores import Score, directions, score, scores
from etasim.explore.space_file import ANALYTICAL, CYCLE, SCREEN
from etasim.explore.space_reading import load_design_space
from etasim.explore.workers import Outcome
from etasim.machine.result import TypedRow
from etasim.report.outputs import check_outputs

TOP = 12
"""Designs that the cycle model verifies, unless told otherwise."""

Seen = Callable[[str, int], None]
"""Called with a fidelity and the number of designs whose evaluation has ended."""


class Pool(Protocol):
    """What evaluates: `Workers` here, or a cluster."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *problem: object) -> None: ...

    def run(self, jobs: Sequence[Assessment], finished: Callable[[int, Outcome], None]) -> None:
        """Have all ``jobs`` done and call ``finished`` with the number and outcome of each."""


class SearchPlan(NamedTuple):
    """How to explore: ``budget`` designs (None: all) by ``method`` from ``seed``; ``top``: how many of them the cycle model verifies."""

    method: str = "grid"
    budget: int | None = None
    seed: int = 0
    top: int = TOP


def explore(
    path_or_name: str | Path, folder: str | Path, *, method: str = "grid", budget: int | None = None, seed: int = 0, top: int = TOP,
    workers: int | None = None, resume: bool = False, overwrite: bool = False,
) -> Evaluations:  # fmt: skip
    """Explore the design space of a file into ``folder``; its evaluations, for a ``with`` statement.

    Arguments are those of ``etasim explore``. Raises InputError for a bad file, a folder that belongs to another exploration, or one
    that another process is writing into.
    """
    space = load_design_space(path_or_name)
    pool = assessors(space, workers or os.cpu_count() or 1)
    run_exploration(space, Path(folder), SearchPlan(method, budget, seed, top), pool, resume, overwrite)
    return Evaluations(Path(folder))


def run_exploration(
    space: DesignSpace, folder: Path, plan: SearchPlan, pool: AbstractContextManager[Pool], resume: bool = False, overwrite: bool = False,
    seen: Seen = lambda fidelity, designs: None,
) -> None:  # fmt: skip
    """Evaluate what ``folder`` lacks of the designs that ``plan`` asks for, then verify the best of them, and write points.csv.

    What is evaluated depends on the space and the plan only, whatever the workers, and however often it was stopped and resumed.
    """
    check_outputs([("--out", folder / name) for name in (DATABASE, POINTS)])
    searching = method(plan.method, space, plan.budget, plan.seed)
    with Recorder(folder, space, Search(plan.method, plan.seed), resume, overwrite) as recorder, pool as ready:
        first = CYCLE if space.fidelity == CYCLE else ANALYTICAL
        asked = 0
        while numbers := searching.ask():
            searching.tell(_evaluated(recorder, ready, numbers, first, seen, asked))
            asked += len(numbers)
        if space.fidelity == SCREEN:
            _evaluated(recorder, ready, promising(recorder, plan.top), CYCLE, seen)
        export_csv(recorder)


def promising(evaluations: Evaluations, most: int) -> list[int]:
    """The designs that the estimate ranks first, at most so many: its front, the least crowded of it first, then what lies behind it."""
    feasible = [found for found in scores(evaluations, ANALYTICAL) if found.is_feasible]
    order = ranked([found.known for found in feasible], directions(evaluations.space.objectives), most)
    return [feasible[i].number for i in order]


def _evaluated(recorder: Recorder, pool: Pool, numbers: Sequence[int], fidelity: str, seen: Seen, asked: int = 0) -> list[Score]:
    """Scores of the designs ``numbers``, evaluated where they are not yet on disk; each row is there as soon as it is known. ``asked``: how
    many designs came before."""
    space = recorder.space
    designs = [space.design(number) for number in numbers]
    jobs = [
        Assessment(design, network.name, fidelity)
        for design in designs
        for network in space.networks
        if not recorder.has(space.evaluation_digest(design, network.name, fidelity))
    ]
    place = {number: asked + i for i, number in enumerate(numbers)}
    open_jobs = {design.number: 0 for design in designs}
    for job in jobs:
        open_jobs[job.design.number] += 1
    seen(fidelity, sum(not count for count in open_jobs.values()))

    def finished(index: int, outcome: Outcome) -> None:
        job = jobs[index]
        found = outcome.value if outcome.error is None else _failure(outcome.error)
        recorder.add([recorder.row(job.design, job.network, fidelity, found, place[job.design.number])])
        open_jobs[job.design.number] -= 1
        seen(fidelity, int(not open_jobs[job.design.number]))

    pool.run(jobs, finished)
    return [_score(recorder, design, fidelity) for design in designs]


def _failure(reason: str) -> TypedRow:
    return TypedRow({"status": FAILED, "reason": reason, "violation": NO_MACHINE})


def _score(recorder: Recorder, design: Design, fidelity: str) -> Score:
    space = recorder.space
    digests = (space.evaluation_digest(design, network.name, fidelity) for network in space.networks)
    return score(space, [row for digest in digests if (row := recorder.find(digest)) is not None])
