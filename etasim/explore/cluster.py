"""Evaluations on a cluster of dask.distributed: the pool of an exploration, with other machines behind it.

What all jobs share (networks, base, constraints) goes to the scheduler once and from there to each worker once, as the result of a task,
which the scheduler makes again where it was lost. No more than `IN_FLIGHT` jobs a thread are under way. A worker that dies, or a scheduler
that starts again, costs only what was under way: it is given out once more.
"""

import math
import pickle
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple, Self

from etasim.config import InputError, Problem
from etasim.explore.assess import Assessment, assess
from etasim.explore.design_space import DesignSpace, code_version
from etasim.explore.workers import Finished, Outcome

IN_FLIGHT = 3
"""Jobs for each thread of the cluster: one is worked on, the others are on their way."""
CONNECT_SECONDS = 30.0
PATIENCE_SECONDS = 300.0
"""How long a cluster may be away, or without a worker, before the exploration gives up; what is on disk stays."""
LOOK_SECONDS = 0.5
LOST = ("cancelled", "lost")
"""States of a job that the cluster, and not the job, brought to its end."""
LOCAL = "local:"
PROTOCOLS = ("tcp://", "tls://")
OPTION = "--cluster"


class TooLongError(Exception):
    """A job that has taken longer than it may."""


class Deadline:
    """The progress of a job on a worker: nobody follows it, but it ends a job that has taken longer than ``timeout_s``."""

    def __init__(self, timeout_s: float | None) -> None:
        self._timeout_s, self._end_s = timeout_s, time.monotonic() + (timeout_s or math.inf)

    def __call__(self, _fraction: float, _cycles: int) -> None:
        if time.monotonic() > self._end_s:
            raise TooLongError(f"took longer than {self._timeout_s:g} s")


class VersionsDifferError(Exception):
    """A worker whose sources or packages would give other results; the text says which."""


class _Shared(NamedTuple):
    """What all jobs share."""

    space: DesignSpace
    versions: dict[str, str]
    timeout_s: float | None = None


def _unpacked(content: bytes) -> Any:
    """What all jobs share, made once on each worker."""
    return pickle.loads(content)


def _done(function: Callable[[Any, Any, Callable[[float, int], None]], Any], shared: _Shared, job: Any) -> Outcome:
    """A job on a worker: whatever happens in it is its outcome. Raises VersionsDifferError on a worker that joined and must not."""
    if wrong := _differences(_versions(), shared.versions):
        raise VersionsDifferError("; ".join(wrong))
    try:
        return Outcome(value=function(shared.space, job, Deadline(shared.timeout_s)))
    except TooLongError as error:
        return Outcome(error=str(error))
    except Exception as error:
        return Outcome(error=f"{type(error).__name__}: {error}")


def _away() -> tuple[type[BaseException], ...]:
    """What a client raises of which the cluster, and not a job, is the cause."""
    from concurrent.futures import CancelledError

    from distributed import TimeoutError as ClusterTimeout
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError

    return (CancelledError, FutureCancelledError, CommClosedError, ClusterTimeout, OSError)


class Remote(NamedTuple):
    """A job that is under way."""

    number: int
    future: Any


class Cluster:
    """A pool on the cluster at ``address``: ``tcp://HOST:PORT``, or ``local:N`` for N processes here. Use as a context manager."""

    def __init__(
        self, space: DesignSpace, address: str, function: Callable[..., Any] = assess, patience_s: float = PATIENCE_SECONDS,
        timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        """``function(space, job, progress)`` is what a job is; one that takes longer than ``timeout_s`` fails when it next reports
        progress. Raises InputError for an address that is none."""
        if not address.startswith((LOCAL, *PROTOCOLS)):
            message = f"must be tcp://HOST:PORT of a scheduler, or local:N, got {address!r}"
            raise InputError([Problem(OPTION, None, "", message)])
        self._address, self._function, self._patience_s = address, function, patience_s
        self._content = pickle.dumps(_Shared(space, _versions(), timeout_s))
        self._key = f"etasim-{space.digest}-{code_version().rpartition(' ')[2]}-{timeout_s}"
        self._client: Any = None
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._local: Any = None

    def __enter__(self) -> Self:
        """Raises InputError for a cluster that cannot be reached, or whose workers have other versions."""
        try:
            import distributed
        except ImportError:
            message = "needs dask.distributed: pip install 'etasim[cluster]'"
            raise InputError([Problem(OPTION, None, "", message)]) from None
        del distributed
        try:
            self._connect(CONNECT_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for part in (self._client, self._local):
            if part is not None:
                with suppress(Exception):  # the end is the end, whatever the cluster does about it
                    part.close()

    def run(self, jobs: Sequence[Assessment], finished: Finished) -> None:
        """Have all ``jobs`` done, first jobs first; ``finished(index, outcome)`` is called here as each one ends."""
        left = list(range(len(jobs)))[::-1]
        flying: dict[str, Remote] = {}
        alive_s = time.monotonic()
        while left or flying:
            try:
                self._fill(jobs, left, flying)
                for key, outcome in self._ended(flying):
                    finished(flying.pop(key).number, outcome)
                    alive_s = time.monotonic()
                if self._threads():
                    alive_s = time.monotonic()
                self._give_up_if(time.monotonic() - alive_s > self._patience_s, "no worker")
            except _away() as error:
                left += sorted((remote.number for remote in flying.values()), reverse=True)
                flying.clear()
                self._reconnect(error)
                alive_s = time.monotonic()

    def _fill(self, jobs: Sequence[Assessment], left: list[int], flying: dict[str, Remote]) -> None:
        """Give out jobs up to the bound."""
        most = IN_FLIGHT * max(self._threads(), 1)
        while left and len(flying) < most:
            number = left.pop()
            future = self._client.submit(_done, self._function, self._shared, jobs[number], pure=False, retries=0)
            flying[future.key] = Remote(number, future)
            future.add_done_callback(self._arrived.put)

    def _ended(self, flying: dict[str, Remote]) -> Iterator[tuple[str, Outcome]]:
        """Jobs that have ended, after at most `LOOK_SECONDS`. Raises one of `_away` where the cluster lost them."""
        with suppress(queue.Empty):
            future = self._arrived.get(timeout=LOOK_SECONDS)
            while True:
                if future.key in flying and future.status in LOST:
                    raise OSError("the scheduler is gone")
                if future.key in flying:
                    yield future.key, self._outcome(future)
                future = self._arrived.get_nowait()
        if self._client.status != "running":
            raise OSError("the scheduler is gone")

    def _outcome(self, future: Any) -> Outcome:
        """What came of a finished job; a worker that died of it so often that the scheduler gave up is its outcome too."""
        from distributed.scheduler import KilledWorker

        try:
            outcome: Outcome = future.result(timeout=CONNECT_SECONDS)
        except KilledWorker:
            return Outcome(error="several workers died of it")
        except VersionsDifferError as error:
            raise InputError([Problem(OPTION, None, "", f"a worker has other versions: {error}")]) from None
        return outcome

    def _threads(self) -> int:
        """Threads of all workers, as far as is known here."""
        return sum(worker["nthreads"] for worker in self._client.scheduler_info(n_workers=-1)["workers"].values())

    def _connect(self, timeout_s: float) -> None:
        from distributed import Client, LocalCluster

        if self._address.startswith(LOCAL):
            self._local = self._local or LocalCluster(
                n_workers=_number(self._address), threads_per_worker=1, processes=True, dashboard_address=None
            )  # type: ignore[no-untyped-call]
            target: Any = self._local
        else:
            target = self._address
        try:
            self._client = Client(target, timeout=timeout_s, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError, TimeoutError) as error:
            message = f"no scheduler answers at {self._address}: {error}; `dask scheduler` starts one, local:N needs none"
            raise InputError([Problem(OPTION, None, "", message)]) from None
        self._check_versions()
        self._shared = self._client.submit(_unpacked, self._content, key=self._key)

    def _reconnect(self, cause: BaseException) -> None:
        """Find the scheduler again, wherever it was. Raises InputError when patience ends."""
        since_s = time.monotonic()
        self._arrived = queue.SimpleQueue()  # what the old client still reports is of nobody's jobs
        while True:
            with suppress(Exception):
                self._client.close(timeout=1)
            try:
                self._connect(LOOK_SECONDS * 10)
                return
            except InputError:
                self._give_up_if(time.monotonic() - since_s > self._patience_s, f"lost ({cause})")
                time.sleep(LOOK_SECONDS)

    def _give_up_if(self, lost: bool, what: str) -> None:
        if lost:
            message = f"{what} at {self._address} for {self._patience_s:g} s; what is finished is kept, --resume goes on"
            raise InputError([Problem(OPTION, None, "", message)])

    def _check_versions(self) -> None:
        """Refuse workers whose sources or packages would give other results, or none."""
        found = self._client.run(_versions)
        own = _versions()
        wrong = {worker: text for worker, theirs in sorted(found.items()) for text in _differences(theirs, own)}
        if wrong:
            raise InputError(
                Problem(OPTION, None, "", f"worker {worker}: {text}; install the same there") for worker, text in wrong.items()
            )


def _differences(theirs: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """What differs, in words."""
    return [f"{name} is {theirs.get(name)}, not {version}" for name, version in here.items() if theirs.get(name) != version]


def _number(address: str) -> int:
    """N of ``local:N``. Raises InputError."""
    text = address.removeprefix(LOCAL)
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise InputError([Problem(OPTION, None, "", f"local:N needs a number of processes from 1 to 1024, got {text!r}")])
    return int(text)


@cache
def _versions() -> dict[str, str]:
    """What results depend on, on this machine."""
    import platform
    from importlib.metadata import version

    python = ".".join(platform.python_version_tuple()[:2])
    return {"etasim": code_version(), "python": python, "numpy": version("numpy"), "numba": version("numba")}
