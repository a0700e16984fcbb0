"""Signals at random moments of whole commands: nothing that was finished is lost, nothing is half-written, and no process is left.

ETASIM_SIGNAL_SECONDS says how long this goes on (default 20, preparation included; 3600 makes it an hour; every command is ended once at
least), ETASIM_SIGNAL_SEED which signals are sent (default 7). What is drawn is repeatable, the moment at which a signal arrives is not.
Each trial runs one command, ends it, and checks its folder.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

import etasim
from etasim.explore.points import read_points
from etasim.report.ending import MESSAGE
from etasim.report.reading import read_results
from etasim.report.staging import TEMPORARY_PREFIX

SECONDS = float(os.environ.get("ETASIM_SIGNAL_SECONDS", "20"))
SEED = int(os.environ.get("ETASIM_SIGNAL_SEED", "7"))
GONE_AFTER_SECONDS = 2.0
READY_WITHIN_SECONDS = 60.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
SET = ("layers.csv", "results.json", "run.yaml")
TRACE = """\
name: resnet20_cifar
input: {channels: 3, height: 8, width: 8}
classes: 10
layers:
  - {name: conv1, op: conv, out_channels: 8, kernel: 3, padding: 1}
  - {name: norm1, op: norm}
  - {name: relu1, op: relu}
  - {name: fc, op: linear, out_channels: 10}
"""
SWEEP = """\
architecture: eta_small
networks: [net.yaml]
batch: [1, 2, 3, 4]
axes:
  - {name: clock, key: core.clock, values: [100 MHz, 200 MHz]}
"""
SPACE = """\
architecture: eta_small
networks: [net.yaml]
tolerance_percent: 5
alone:
  - {name: batch, key: training.batch, values: [1, 3, 4], reason: a test}
"""


def start(folder, *arguments):
    """The command in a process group of its own, as a terminal starts it."""
    environment = os.environ | {"PYTHONPATH": str(Path(etasim.__file__).resolve().parents[1])}
    command = [sys.executable, "-m", "etasim", *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def finish(folder, *arguments):
    process = start(folder, *arguments)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


def members(group):
    """Living processes of a process group."""
    listing = subprocess.run(["ps", "-A", "-o", "pgid=", "-o", "stat=", "-o", "args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    return [row for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def wait_until_ready(process):
    """Until the process answers signals itself; before, the interpreter starts, and the system ends it."""
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status")
        if not status.exists():
            time.sleep(1.0)
            return
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.002)


def interrupted(process, number, to_group, delay):
    """Send the signal after ``delay`` seconds; exit status and what it said. Fails if anything lives on."""
    wait_until_ready(process)
    time.sleep(delay)
    send = os.killpg if to_group else os.kill
    sent = time.monotonic()
    if process.poll() is None:
        send(process.pid, number)
    _, errors = process.communicate()
    while (left := members(process.pid)) and time.monotonic() - sent < GONE_AFTER_SECONDS:
        time.sleep(0.02)
    assert not left, f"{left} live {GONE_AFTER_SECONDS} s after {number.name}, status {process.returncode}: {errors.decode()}"
    return process.returncode, errors.decode()


def check_ending(number, status, errors, left):
    """Status, message and the temporary files that a command left when it was ended; True if it had finished before."""
    if number == signal.SIGKILL:
        assert status in (0, -number), errors
        return status == 0
    assert "Traceback" not in errors
    assert not left, "only what cannot be answered may leave something"
    if status in (0, -number) and MESSAGE not in errors:
        return True  # a signal that comes while the interpreter closes, after the work, is the system's to answer
    assert (status, errors.splitlines()[-1]) == (128 + number, MESSAGE)
    return False


def temporaries(folder):
    return set(folder.rglob(f"{TEMPORARY_PREFIX}*"))


class Case(NamedTuple):
    """A command: how long it takes, and what its folder must hold after an end at any moment."""

    arguments: tuple
    seconds: float
    check: object


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signals")
    for name, text in (("net.yaml", TRACE), ("sweep.yaml", SWEEP), ("space.yaml", SPACE)):
        (folder / name).write_text(text)
    return folder


def contents(folder):
    return {name: (folder / name).read_bytes() for name in SET}


def run_case(folder):
    """`run` over an older result: its set of files or the new one, whole, and the listing whole or not there."""
    over = ("--listing", "program.txt", "--out", "out", "--force")
    arguments = [("run", "eta_small", "net.yaml", "--batch", batch, *over) for batch in (2, 3)]
    whole = []
    for command in arguments:
        begun = time.monotonic()
        finish(folder, *command)
        took = time.monotonic() - begun
        whole.append((contents(folder / "out"), (folder / "program.txt").read_bytes()))

    def check():
        read_results(folder / "out")
        assert contents(folder / "out") in [content for content, _ in whole]
        assert (folder / "program.txt").read_bytes() in [listing for _, listing in whole]

    return [Case(command, took, check) for command in arguments]


def table_case(folder, command, file, tables):
    """A command that resumes its tables: rows that were on disk stay as they are, wall time included."""
    begun = time.monotonic()
    finish(folder, command, file, "--out", f"{command}_whole", "--workers", 2)
    took = time.monotonic() - begun
    seen = {table: {} for table in tables}

    def timeless(rows):
        return {row["point_id"]: row | {"wall_seconds": None} for row in rows}

    expected = {table: timeless(read_points(folder / f"{command}_whole" / table)) for table in tables}

    def check():
        for table in tables:
            path = folder / f"{command}_out" / table
            rows = read_points(path) if path.exists() else []
            found = {row["point_id"]: row for row in rows if row["status"] != "failed"}
            assert len(rows) == len({row["point_id"] for row in rows})
            assert {key: found.get(key) for key in seen[table]} == seen[table], "a finished row was lost or simulated again"
            assert timeless(found.values()).items() <= expected[table].items()
            seen[table] = found if len(found) < len(expected[table]) else {}
            if len(found) == len(expected[table]) and table == tables[-1]:
                for done in tables:
                    (folder / f"{command}_out" / done).unlink()
                    seen[done] = {}

    return Case((command, file, "--out", f"{command}_out", "--workers", 2, "--resume"), took, check)


def estimate_case(folder):
    """`reproduce` writes its page at the end, and has two workers until then."""

    def check():
        assert not (folder / "page.html").exists() or (folder / "page.html").read_text().endswith("</html>\n")

    return Case(("reproduce", "--batch", 1, "--report", "page.html"), 4.0, check)


def test_signals_at_random_moments(folder):
    begun = time.monotonic()
    cases = [*run_case(folder), table_case(folder, "sweep", "sweep.yaml", ["points.csv"])]
    cases += [table_case(folder, "calibrate", "space.yaml", ["screen/points.csv", "cycle/points.csv"])]
    cases += [estimate_case(folder)] if find_spec("vl_convert") else []  # pages need the extra report
    chance, done, prepared = random.Random(SEED), Counter(), time.monotonic()
    while not done or time.monotonic() - begun < SECONDS:
        for case in chance.sample(cases, len(cases)):
            number, to_group = chance.choice(SIGNALS), chance.random() < 0.5
            delay = chance.uniform(0, 1.1 * case.seconds)
            if number == signal.SIGKILL and to_group:
                to_group = False  # what the parent's death alone must do
            before = temporaries(folder)
            process = start(folder, *case.arguments)
            status, errors = interrupted(process, number, to_group, delay)
            finished = check_ending(number, status, errors, temporaries(folder) - before)
            case.check()
            done["finished before" if finished else number.name] += 1
    finish(folder, "run", "eta_small", "net.yaml", "--batch", 2, "--listing", "program.txt", "--out", "out", "--force")
    for command, file in (("sweep", "sweep.yaml"), ("calibrate", "space.yaml")):
        finish(folder, command, file, "--out", f"{command}_out", "--workers", 2, "--resume")
    assert not temporaries(folder), "whoever comes next removes what a kill left"
    print(f"\nprepared in {prepared - begun:.0f} s; {sum(done.values())} commands ended: {dict(done)}")
