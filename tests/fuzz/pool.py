"""Worker processes under watch: one that takes too long, or ends, is replaced, and its case has a fault."""

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .case import Fault
from .worker import fault_of

TESTS = Path(__file__).resolve().parents[1]
CASES_OF_A_WORKER = 300
"""After that many a fresh process: what the caches of many machines hold is no fault of the next one."""
PLACE = re.compile(r'File "\S*/(etasim/\S+)", line (\d+) in (\S+)')
"""A place of etasim in a stack as faulthandler writes it."""
GRACE_S = 3.0
"""After its limit a worker writes where it is."""
WARM_UP_S = 900.0
"""The first case of all may have to compile the kernels; a process may take long to import them."""


class Job(NamedTuple):
    """What makes a case."""

    kind: str
    seed: int
    number: int


class Outcome(NamedTuple):
    """What came of a case: exit statuses, faults, and the commands that were run."""

    job: Job
    statuses: tuple[str, ...]
    faults: tuple[Fault, ...]
    said: tuple[str, ...]
    seconds: float


class Worker:
    """One process, in a session and a folder of its own."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="etasim-fuzz-"))
        path = os.pathsep.join([str(TESTS), str(TESTS / "given"), str(TESTS.parent)])
        environment = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment |= {"TMPDIR": str(self.folder)}
        self._errors = (self.folder / "stderr").open("wb")
        command = [sys.executable, "-m", f"{__package__}.worker"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self._process = subprocess.Popen(command, cwd=self.folder, env=environment, start_new_session=True, **pipes)
        os.set_blocking(self._process.stdout.fileno(), False)
        self.pipe, self.n_cases, self._unread = self._process.stdout, 0, b""
        self.job: Job | None = None

    def begin(self, job: Job, limit_s: float) -> None:
        """Start on a case."""
        self.job, self.said, self._limit_s = job, [], limit_s
        self._ends_at = time.monotonic() + WARM_UP_S
        self.n_cases += 1
        request = json.dumps(job._asdict() | {"limit_s": limit_s}) + "\n"
        with suppress(BrokenPipeError):  # it has ended: its empty pipe says so
            self._process.stdin.write(request.encode())
            self._process.stdin.flush()

    def outcome(self) -> Outcome | None:
        """What came of the case, None while it runs. Ends the process if the case took too long."""
        chunk = self.pipe.read()
        for line in self._lines(chunk or b""):
            message = json.loads(line)
            if "began" in message:
                self._ends_at = time.monotonic() + self._limit_s + GRACE_S
            elif "said" in message:
                self.said.append(message["said"])
            else:
                faults = [fault_of(fault) for fault in message["faults"]]
                return self._finished(tuple(message["statuses"]), faults, message["seconds"])
        if time.monotonic() > self._ends_at:
            self.end()
            return self._finished(("hang",), [Fault("hang", f"more than {self._limit_s:.0f} s in {self._stack()}", "")])
        if chunk == b"":
            status = self.end()
            return self._finished(("ended",), [Fault("crash", f"the process ended with status {status} in {self._stack()}", "")])
        return None

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        yield from lines

    def _finished(self, statuses: tuple[str, ...], faults: list[Fault], seconds: float | None = None) -> Outcome:
        job, self.job = self.job, None
        return Outcome(job, statuses, tuple(faults), tuple(self.said), self._limit_s if seconds is None else seconds)

    def _stack(self) -> str:
        """The innermost place of etasim in the last stack on standard error."""
        text = (self.folder / "stderr").read_text(errors="replace")
        places = PLACE.findall(text.rpartition("most recent call first")[2])
        return "{}:{} {}".format(*places[0]) if places else "no place of etasim"

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.returncode is not None

    def end(self) -> int:
        """End the process and all that it started; its status."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return self._process.returncode

    def close(self) -> None:
        """End the process and remove its folder."""
        self.end()
        self._errors.close()
        for pipe in (self._process.stdin, self.pipe):
            with suppress(BrokenPipeError):
                pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def outcomes(jobs: Iterable[Job], n_workers: int, limit_s: float, warm_up: Job | None = None) -> Iterator[Outcome]:
    """Outcomes of ``jobs`` in the order in which they end, ``n_workers`` at a time, each case within ``limit_s`` seconds.

    ``warm_up``: a case that runs before all others, for as long as it takes to compile the kernels.
    """
    waiting, workers = iter(jobs), []
    selector = selectors.DefaultSelector()

    def start(worker: Worker | None, job: Job | None, limit_s: float = limit_s) -> None:
        """``job`` on ``worker``, or on a new one in the place of one that is gone or used up."""
        if worker is not None and (job is None or worker.has_ended or worker.n_cases >= CASES_OF_A_WORKER):
            selector.unregister(worker.pipe)
            workers.remove(worker)
            worker.close()
            worker = None
        if job is None:
            return
        if worker is None:
            worker = Worker()
            workers.append(worker)
            selector.register(worker.pipe, selectors.EVENT_READ)
        worker.begin(job, limit_s)

    try:
        if warm_up is not None:
            start(None, warm_up, WARM_UP_S)
        while len(workers) < (n_workers if warm_up is None else 1) and (job := next(waiting, None)):
            start(None, job)
        while workers:
            selector.select(timeout=0.5)
            for worker in list(workers):
                outcome = worker.outcome()
                if outcome is None:
                    continue
                yield outcome
                start(worker, next(waiting, None))
                while outcome.job == warm_up and len(workers) < n_workers and (job := next(waiting, None)):
                    start(None, job)
    finally:
        for worker in workers:
            worker.close()
