"""Explorations on dask.distributed: real processes on loopback that die, come and go leave the store that one machine alone would write."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import invoke
from test_exploration import SPACE, table

import etasim
from etasim.config import InputError
from etasim.explore import cluster as cluster_module
from etasim.explore.assess import assess
from etasim.explore.cluster import IN_FLIGHT, Cluster
from etasim.explore.database import Evaluations
from etasim.explore.exploration import SearchPlan, explore, run_exploration
from etasim.explore.space_reading import load_design_space

pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning"
)

HERE = Path(__file__).parent
ROOT = Path(etasim.__file__).resolve().parents[1]


@pytest.fixture
def space_file(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def processes(tmp_path):
    """Starts dask processes; whatever lives at the end is killed."""
    started = []
    paths = os.pathsep.join(map(str, (ROOT, HERE, ROOT / "tests" / "given")))
    environment = os.environ | {"PYTHONPATH": paths, "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "False"}

    def start(*arguments):
        log = (tmp_path / f"log{len(started)}").open("w")
        process = subprocess.Popen([sys.executable, "-m", "dask", *arguments], cwd=tmp_path, env=environment, stdout=log, stderr=log)
        log.close()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, thread, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and thread.is_alive():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def n_rows(folder):
    try:
        with Evaluations(folder) as evaluations:
            return sum(evaluations.count().values())
    except (InputError, OSError):
        return 0


def slow(space, job, progress):
    """As `assess`, so slowly that processes can be killed in the middle."""
    time.sleep(0.4)
    return assess(space, job, progress)


@contextmanager
def exploring(space, folder, pool):
    """An exploration under way in a thread; at the end it has come to its end."""
    failures = []

    def work():
        try:
            run_exploration(space, folder, SearchPlan(), pool)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    thread.join(90)
    assert not thread.is_alive()
    assert failures == []


def test_workers_that_die_and_come_and_a_new_scheduler_change_nothing(space_file, tmp_path, processes):
    space, port = load_design_space(space_file), free_port()
    address, out = f"tcp://127.0.0.1:{port}", tmp_path / "out"

    def scheduler():
        return processes("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")

    def worker():
        return processes("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")

    first = scheduler()
    workers = [worker() for _ in range(3)]
    with exploring(space, out, Cluster(space, address, slow)) as thread:
        wait_for(lambda: n_rows(out) >= 4, thread)
        workers[0].send_signal(signal.SIGKILL)
        workers.append(worker())
        wait_for(lambda: n_rows(out) >= 14, thread)
        first.send_signal(signal.SIGKILL)
        first.wait()
        for process in workers:
            process.kill()
            process.wait()
        before = n_rows(out)
        assert before < space.size, "the scheduler went before the end"
        scheduler()
        workers = [worker() for _ in range(2)]
        wait_for(lambda: n_rows(out) > before, thread)
    explore(space_file, tmp_path / "alone", workers=1)
    assert table(out) == table(tmp_path / "alone")


def test_the_command_explores_on_processes_of_a_cluster_here(space_file, tmp_path):
    done = invoke("explore", space_file, "--out", tmp_path / "out", "--cluster", "local:2")
    assert done.exit_code == 0, done.output
    explore(space_file, tmp_path / "alone", workers=1)
    assert table(tmp_path / "out") == table(tmp_path / "alone")


def test_no_more_jobs_are_under_way_than_the_bound(space_file, tmp_path):
    space, most = load_design_space(space_file), []

    class Watched(Cluster):
        def _fill(self, jobs, left, flying):
            super()._fill(jobs, left, flying)
            most.append(len(flying))

    run_exploration(space, tmp_path / "out", SearchPlan(budget=24), Watched(space, "local:2"))
    assert 2 < max(most) <= 2 * IN_FLIGHT


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost:8786", "must be tcp://HOST:PORT of a scheduler, or local:N, got 'localhost:8786'"),
        ("local:none", "local:N needs a number of processes"),
        ("local:0", "local:N needs a number of processes"),
    ],
)
def test_addresses_that_are_none(space_file, tmp_path, address, message):
    done = invoke("explore", space_file, "--out", tmp_path / "out", "--cluster", address)
    assert done.exit_code == 2
    assert message in done.stderr


def test_options_of_workers_here_are_refused_beside_a_cluster(space_file, tmp_path):
    done = invoke("explore", space_file, "--out", tmp_path / "out", "--cluster", "local:1", "--workers", "2")
    assert done.exit_code == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["--workers"]


def endless(space, job, progress):
    """As `assess`, but one design goes on until it is told to stop."""
    while job.design.number == 5:
        time.sleep(0.02)
        progress(0.5, 100)
    return assess(space, job, progress)


def test_a_job_that_takes_too_long_is_a_row_and_the_rest_goes_on(space_file, tmp_path, processes):
    space, port = load_design_space(space_file), free_port()
    address = f"tcp://127.0.0.1:{port}"
    processes("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    for _ in range(2):
        processes("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
    pool = Cluster(space, address, endless, timeout_s=20)
    with exploring(space, tmp_path / "out", pool):
        pass
    failed = {int(row["point"]): row["reason"] for row in table(tmp_path / "out") if row["status"] == "failed"}
    assert failed == {5: "took longer than 20 s"}
    assert len(table(tmp_path / "out")) == space.size


def test_a_scheduler_that_does_not_answer_is_named(space_file, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1.0)
    address = f"tcp://127.0.0.1:{free_port()}"
    done = invoke("explore", space_file, "--out", tmp_path / "out", "--cluster", address)
    assert done.exit_code == 2
    assert f"no scheduler answers at {address}" in done.stderr


def test_workers_of_another_version_are_refused(space_file, tmp_path, monkeypatch):
    here = os.getpid()
    monkeypatch.setattr(cluster_module, "_versions", lambda: {"etasim": "9.9" if os.getpid() == here else "9.8"})
    done = invoke("explore", space_file, "--out", tmp_path / "out", "--cluster", "local:1")
    assert done.exit_code == 2
    assert "etasim is 9.8, not 9.9; install the same there" in done.stderr
