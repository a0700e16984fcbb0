"""Run independent simulations in this process or in local worker processes.

Workers are spawned, so ``function`` and the jobs must be picklable. Each worker takes one job at a time over its own
pipe; a worker that dies (out of memory, killed) fails its job only, and a new worker takes its place.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from etasim.report.ending import obey_parent

Progress = Callable[[float, int], None]
"""Called with the share done (0 to 1) and the simulated cycles."""


@dataclass(frozen=True)
class Outcome:
    """What a job came to: its value, or the type and text of the exception that ended it."""

    value: Any = None
    error: str | None = None


def run_jobs(
    function: Callable[[Any, Progress], Any],
    jobs: Sequence[Any],
    workers: int,
    *,
    finished: Callable[[int, Outcome], None],
    progressed: Callable[[int, float, int], None] = lambda index, fraction, cycles: None,
) -> None:
    """Call ``function(job, progress)`` for every job, at most ``workers`` at a time, first jobs first.

    ``finished(index, outcome)`` is called here, in the caller's process, as each job ends; ``progressed(index, share,
    cycles)`` on the way. With one worker everything runs in this process. Leaving by an exception (Ctrl-C) ends the workers.
    """
    if min(workers, len(jobs)) <= 1:
        for index, job in enumerate(jobs):
            finished(index, _attempt(function, job, partial(progressed, index)))
        return
    pool = _Pool(function, jobs, min(workers, len(jobs)))
    try:
        for index, message in pool.messages():
            if isinstance(message, Outcome):
                finished(index, message)
            else:
                progressed(index, *message)
    finally:
        pool.close()


def _attempt(function: Callable[[Any, Progress], Any], job: Any, progress: Progress) -> Outcome:
    try:
        return Outcome(value=function(job, progress))
    except Exception as error:  # any failure of a job is a result of that job
        return Outcome(error=f"{type(error).__name__}: {error}")


class _Pool:
    """Worker processes, each with a pipe and the index of the job it works on."""

    def __init__(self, function: Callable[[Any, Progress], Any], jobs: Sequence[Any], workers: int) -> None:
        self._context = get_context("spawn")
        self._function = function
        self._jobs = jobs
        self._next = 0
        self._busy: dict[Any, tuple[int, Any]] = {}
        for _ in range(workers):
            self._start_worker()

    def messages(self) -> Iterator[tuple[int, Any]]:
        """Yield (job index, Outcome or (share, cycles)) until every job has an Outcome."""
        while self._busy:
            ready: list[Any] = wait(list(self._busy))
            for pipe in ready:
                index, process = self._busy[pipe]
                try:
                    message = pipe.recv()
                except (EOFError, OSError):
                    process.join()
                    message = Outcome(error=f"the worker process ended with status {process.exitcode}")
                    self._end_worker(pipe)
                    self._start_worker()
                else:
                    if isinstance(message, Outcome):
                        self._next_job(pipe, process)
                yield index, message

    def close(self) -> None:
        """End every worker, whatever it does."""
        for pipe in list(self._busy):
            self._end_worker(pipe)

    def _start_worker(self) -> None:
        if self._next == len(self._jobs):
            return
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=obey_parent, args=(theirs,), daemon=True)
        with _keyboard_blocked():
            process.start()
        theirs.close()
        ours.send(_work)
        ours.send(self._function)
        self._next_job(ours, process)

    def _next_job(self, pipe: Connection, process: Any) -> None:
        self._busy[pipe] = (self._next, process)
        if self._next == len(self._jobs):
            self._end_worker(pipe)
            return
        pipe.send(self._jobs[self._next])
        self._next += 1

    def _end_worker(self, pipe: Connection) -> None:
        _, process = self._busy.pop(pipe)
        pipe.close()
        process.kill()
        process.join()
        process.close()


@contextmanager
def _keyboard_blocked() -> Iterator[None]:
    """A process that starts here never hears Ctrl-C, which is its parent's business; the parent hears it after the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection) -> None:
    """Body of a worker."""
    function = pipe.recv()
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_attempt(function, pipe.recv(), lambda fraction, cycles: pipe.send((fraction, cycles))))
