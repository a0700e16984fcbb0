"""Run independent simulations in this process or in local worker processes.

Workers are spawned, so ``function`` and the jobs must be picklable. Each worker takes one job at a time over its own
pipe; a worker that dies (out of memory, killed) fails its job only, and a new worker takes its place.
"""

import gc
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Self

from etasim.core.collecting import collect_seldom
from etasim.explore.dealing import Dealer, KindOf
from etasim.report.ending import obey_parent

Progress = Callable[[float, int], None]
"""Called with the share done (0 to 1) and the simulated cycles."""


@dataclass(frozen=True)
class Outcome:
    """What a job came to: its value, or the type and text of the exception that ended it."""

    value: Any = None
    error: str | None = None


Finished = Callable[[int, Outcome], None]
Progressed = Callable[[int, float, int], None]


def _unheard(index: int, fraction: float, cycles: int) -> None:
    """Nobody wants to know."""


def run_jobs(
    function: Callable[[Any, Progress], Any],
    jobs: Sequence[Any],
    workers: int,
    *,
    finished: Finished,
    progressed: Progressed = _unheard,
) -> None:
    """Call ``function(job, progress)`` for every job, at most ``workers`` at a time, first jobs first (`Workers.run`)."""
    with Workers(function, min(workers, len(jobs))) as pool:
        pool.run(jobs, finished, progressed)


def _attempt(function: Callable[[Any, Progress], Any], job: Any, progress: Progress) -> Outcome:
    try:
        return Outcome(value=function(job, progress))
    except Exception as error:  # any failure of a job is a result of that job
        return Outcome(error=f"{type(error).__name__}: {error}")


class _Worker(NamedTuple):
    """A process, our end of its pipe, and the job it works on with the time by which that must end."""

    process: Any
    number: int
    deadline_s: float


class Workers:
    """Calls ``function(job, progress)`` for the jobs of any number of `run`, at most ``workers`` at a time. Use as a context manager.

    With one worker and no ``timeout_s`` everything runs in this process. A job that takes longer than ``timeout_s`` fails, and its
    worker with it. ``function`` is sent to a worker once. ``kind_of``: the kind of a job, of which each worker gets its own as long as
    there are any (`etasim.explore.dealing`).
    """

    def __init__(
        self, function: Callable[[Any, Progress], Any], workers: int, timeout_s: float | None = None, kind_of: KindOf | None = None
    ) -> None:
        self._context = get_context("spawn")
        self._function, self._workers, self._timeout_s = function, max(workers, 1), timeout_s
        self._busy: dict[Any, _Worker] = {}
        self._idle: dict[Any, Any] = {}
        self._dealer = Dealer(kind_of)

    def __enter__(self) -> Self:
        self._collected_after = collect_seldom()
        return self

    def __exit__(self, *_: object) -> None:
        """End every worker, whatever it does."""
        gc.set_threshold(*self._collected_after)
        for pipe in [*self._busy, *self._idle]:
            self._end(pipe)

    def run(self, jobs: Sequence[Any], finished: Finished, progressed: Progressed = _unheard) -> None:
        """Have all ``jobs`` done, those of a kind in their order.

        ``finished(index, outcome)`` is called here, in the caller's process, as each job ends; ``progressed(index, share,
        cycles)`` on the way. Leave the context after an exception (Ctrl-C): it ends the workers.
        """
        if self._workers == 1 and self._timeout_s is None:
            for index, job in enumerate(jobs):
                finished(index, _attempt(self._function, job, partial(progressed, index)))
            return
        self._dealer.take_in(jobs)
        for _ in range(min(self._workers, len(jobs))):
            self._give(self._free())
        while self._busy:
            for pipe, message in self._messages():
                index = self._busy[pipe].number
                if not isinstance(message, Outcome):
                    progressed(index, *message)
                    continue
                process = self._busy.pop(pipe).process
                if process.is_alive():
                    self._idle[pipe] = process
                else:
                    pipe.close()
                if self._dealer.has_more:
                    self._give(self._free())
                finished(index, message)

    def _messages(self) -> Iterator[tuple[Any, Any]]:
        """What workers say, or become of, next: their pipes with an Outcome or (share, cycles)."""
        soonest_s = min(worker.deadline_s for worker in self._busy.values()) - time.monotonic()
        ready: list[Any] = wait(list(self._busy), None if soonest_s == math.inf else max(soonest_s, 0))
        for pipe in ready:
            try:
                yield pipe, pipe.recv()
            except (EOFError, OSError):
                process = self._busy[pipe].process
                process.join()
                yield pipe, Outcome(error=f"the worker process ended with status {process.exitcode}")
        now_s = time.monotonic()
        for pipe, worker in list(self._busy.items()):
            if pipe not in ready and worker.deadline_s <= now_s:
                worker.process.kill()
                worker.process.join()
                yield pipe, Outcome(error=f"took longer than {self._timeout_s:g} s")

    def _free(self) -> tuple[Any, Any]:
        """A worker that waits, or a new one."""
        while self._idle:
            pipe, process = self._idle.popitem()
            if process.is_alive():
                return pipe, process
            pipe.close()
        return self._started()

    def _started(self) -> tuple[Any, Any]:
        """A new worker that knows its function: our end of its pipe, and the process."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=obey_parent, args=(theirs,), daemon=True)
        with _keyboard_blocked():
            process.start()
        theirs.close()
        self._idle[ours] = process
        ours.send(_work)
        ours.send(self._function)
        return ours, self._idle.pop(ours)

    def _give(self, worker: tuple[Any, Any]) -> None:
        """The next job, of which there must be one."""
        pipe, process = worker
        index, job = self._dealer.next_for(process.pid)
        self._busy[pipe] = _Worker(process, index, time.monotonic() + (self._timeout_s or math.inf))
        with suppress(OSError):  # it died waiting: what became of it is read from its pipe
            pipe.send(job)

    def _end(self, pipe: Any) -> None:
        process = self._busy.pop(pipe).process if pipe in self._busy else self._idle.pop(pipe)
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
    collect_seldom()
    function = pipe.recv()
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_attempt(function, pipe.recv(), lambda fraction, cycles: pipe.send((fraction, cycles))))
