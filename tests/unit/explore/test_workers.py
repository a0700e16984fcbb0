import os
import signal
import time

import pytest

from etasim.explore.workers import Outcome, Workers, run_jobs


def square(job, progress):
    progress(0.5, job)
    if job < 0:
        raise ValueError(f"{job} is negative")
    return job * job


def die(job, progress):
    if job == 1:
        os._exit(7)
    return job


def process_of(job, progress):
    time.sleep(0.05)
    return os.getpid()


def collect(function, jobs, workers):
    outcomes, reports = {}, []

    def finished(index, outcome):
        assert index not in outcomes
        outcomes[index] = outcome

    run_jobs(function, jobs, workers, finished=finished, progressed=lambda *report: reports.append(report))
    return outcomes, reports


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_has_one_outcome_here_or_in_processes(workers):
    outcomes, reports = collect(square, [3, -1, 4], workers)
    assert outcomes == {0: Outcome(9), 1: Outcome(error="ValueError: -1 is negative"), 2: Outcome(16)}
    assert sorted(reports) == [(0, 0.5, 3), (1, 0.5, -1), (2, 0.5, 4)]


def test_one_worker_is_this_process():
    outcomes, _ = collect(process_of, [0, 1], 1)
    assert {outcome.value for outcome in outcomes.values()} == {os.getpid()}


def test_a_worker_that_dies_fails_its_job_only():
    outcomes, _ = collect(die, [0, 1, 2, 3], 2)
    assert outcomes.pop(1).error == "the worker process ended with status 7"
    assert {index: outcome.value for index, outcome in outcomes.items()} == {0: 0, 2: 2, 3: 3}


def test_an_interrupt_ends_the_workers():
    pids = []

    def finished(index, outcome):
        pids.append(outcome.value)
        if len(pids) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(process_of, range(50), 2, finished=finished)
    assert len(pids) == 2
    for pid in set(pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_no_job_needs_no_worker():
    assert collect(square, [], 4) == ({}, [])


def sleep(job, progress):
    time.sleep(job)
    return os.getpid()


def test_workers_stay_from_one_run_to_the_next():
    seen = [set(), set()]
    with Workers(process_of, 2) as pool:
        for pids in seen:
            pool.run(range(6), lambda _, outcome, pids=pids: pids.add(outcome.value))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 2
    for pid in seen[0]:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_that_takes_too_long_fails_alone(workers):
    outcomes = {}
    with Workers(sleep, workers, timeout_s=3) as pool:
        pool.run([0, 0, 60, 0, 0], outcomes.__setitem__)
        assert outcomes.pop(2) == Outcome(error="took longer than 3 s")
        assert sorted(outcomes) == [0, 1, 3, 4]
        assert all(outcome.error is None for outcome in outcomes.values())


def test_a_worker_that_died_between_two_runs_costs_no_job():
    first, second = {}, {}
    with Workers(process_of, 2) as pool:
        pool.run([0, 1], first.__setitem__)
        for outcome in first.values():
            os.kill(outcome.value, signal.SIGKILL)
        time.sleep(0.5)
        pool.run(range(6), second.__setitem__)
    assert [second[index].error for index in range(6)] == [None] * 6
    assert not {outcome.value for outcome in first.values()} & {outcome.value for outcome in second.values()}
