"""Simulate every point of a sweep in local processes; each row is on disk as its point finishes."""

import os
from collections.abc import Callable
from pathlib import Path

from etasim.explore.evaluate import Evaluation, evaluate
from etasim.explore.points import POINTS, PointStore, Row, row
from etasim.explore.space import Point, Space, load_space
from etasim.explore.workers import Outcome, run_jobs
from etasim.report.outputs import check_outputs


def sweep(
    path_or_name: str | Path, folder: str | Path, *, workers: int | None = None, resume: bool = False, overwrite: bool = False
) -> list[Row]:
    """Simulate all points of a sweep file into ``folder``/points.csv and return its rows.

    ``workers`` is the number of processes (default: one a processor). With ``resume``, points that ``folder`` already
    has are skipped; with ``overwrite``, rows go that belong to other inputs. Raises InputError for a bad sweep file, a folder that belongs
    to another sweep, or one that another process is writing into.
    """
    return run_sweep(load_space(path_or_name), Path(folder), workers or os.cpu_count() or 1, resume, overwrite=overwrite)


def run_sweep(
    space: Space, folder: Path, workers: int, resume: bool, finished: Callable[[Row], None] = lambda row: None, overwrite: bool = False
) -> list[Row]:
    """Simulate the points of ``space`` that ``folder`` lacks; ``finished`` is called with each row once it is on disk."""
    check_outputs([("--out", folder / POINTS)])
    with PointStore(folder, space, resume, overwrite) as store:
        for old in store.rows:
            finished(old)
        done = {old["point_id"] for old in store.rows}

        def add(point: Point, evaluation: Evaluation) -> None:
            store.append(row(point, evaluation))
            finished(store.rows[-1])

        left = [point for point in space.points if point.point_id not in done]
        for point in left:
            if point.inputs is None:
                add(point, Evaluation("infeasible", point.reason))
        runnable = [point for point in left if point.inputs is not None]

        def ended(index: int, outcome: Outcome) -> None:
            add(runnable[index], Evaluation("failed", outcome.error) if outcome.error else outcome.value)

        run_jobs(evaluate, [point.inputs for point in runnable], workers, finished=ended)
        return store.rows
