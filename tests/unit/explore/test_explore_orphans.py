"""Workers end with their parent, whatever they are doing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import etasim

SCRIPT = """\
import os, sys
from pathlib import Path
from etasim.explore.workers import run_jobs
from etasim.report.ending import end_on_signals

def busy(job, progress):
    Path(f"worker{job}").write_text(str(os.getpid()))
    if job:
        sum(range(10**12))  # hours in C, with Python's lock held: no other thread of this process runs
    while True:
        pass

class Slow:
    "Takes its time to arrive, as a function does whose module imports PyTorch."
    def __reduce__(self):
        return arrive, ()

def arrive():
    try:
        file = open("worker0", "x")
    except FileExistsError:
        file = open("worker1", "x")
    print(os.getpid(), end="", file=file, flush=True)
    sum(range(10**12))

if __name__ == "__main__":
    end_on_signals()
    run_jobs(Slow() if sys.argv[1:] else busy, [0, 1], 2, finished=lambda *_: None)
"""


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("arriving", [(), ("arriving",)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(tmp_path, number, arriving):
    (tmp_path / "jobs.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(etasim.__file__).resolve().parents[1])}
    process = subprocess.Popen([sys.executable, "jobs.py", *arriving], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    names = [tmp_path / "worker0", tmp_path / "worker1"]
    while not all(name.exists() and name.read_text() for name in names):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    workers = [int(name.read_text()) for name in names]
    process.send_signal(number)
    sent = time.monotonic()
    assert process.wait(timeout=60) == (-number if number == signal.SIGKILL else 128 + number)
    while any(map(alive, workers)) and time.monotonic() - sent < 2:
        time.sleep(0.02)
    assert not any(map(alive, workers))
    assert "Traceback" not in process.communicate()[1]
