"""A process that works on one case after the other, so that kernels are loaded once.

Requests and answers are lines of JSON. A case is made from its kind, seed and number, here and wherever it is repeated.
"""

import faulthandler
import gc
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from .case import Case, Fault
from .choices import Seeded

MEMORY_BYTES = 4 * 10**9
"""Beyond what the process has at its start; a command that wants more ends in a MemoryError."""
ROOMS = ("etasim", "fuzz")


def attempt_of(kind: str) -> Callable[[Case, int, int], None]:
    """What makes and runs a case of ``kind``, a module of this package."""
    return import_module(f"{__package__}.{kind}").attempt


def frame_key(error: BaseException) -> str:
    """The type of an exception and the last place of etasim that it passed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _room(frame.filename)]
    place = f"{_room(frames[-1].filename)}:{frames[-1].lineno} {frames[-1].name}" if frames else "?"
    return f"{type(error).__name__} in {place}"


def _room(filename: str) -> str | None:
    """Path of a source below the package or the fuzzer, None for others."""
    parts = Path(filename).parts
    at = next((i for i in reversed(range(len(parts))) if parts[i] in ROOMS), None)
    return None if at is None or "site-packages" in parts[at:] else "/".join(parts[at:])


def perform(kind: str, seed: int, number: int, folder: Path, said: Callable[[str], None]) -> Case:
    """Run a case; an exception becomes a fault."""
    case = Case(Seeded(kind, seed, number), folder, said)
    try:
        attempt_of(kind)(case, seed, number)
    except Exception as error:
        sort = "memory" if isinstance(error, MemoryError) else "traceback"
        case.fault(sort, frame_key(error), f"{error}\n{''.join(traceback.format_tb(error.__traceback__)[-2:])}")
    return case


def limit_memory() -> None:
    """Let this process grow by ``MEMORY_BYTES`` and no more."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        now_bytes = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now_bytes + MEMORY_BYTES, resource.RLIM_INFINITY))


def main() -> None:
    """Read requests until there are no more. What commands print goes nowhere; only answers reach the parent."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    faulthandler.enable()
    limit_memory()

    def tell(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")

    for line in sys.stdin:
        request = json.loads(line)
        faulthandler.dump_traceback_later(request["limit_s"])
        tell(began=True)
        started, folder = time.perf_counter(), Path(tempfile.mkdtemp(dir=Path.cwd()))
        case = perform(request["kind"], request["seed"], request["number"], folder, lambda command: tell(said=command))
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(folder, ignore_errors=True)
        tell(statuses=case.statuses, faults=case.faults, seconds=time.perf_counter() - started)
        gc.collect()


def fault_of(values: list[str]) -> Fault:
    """A fault as it came over the pipe."""
    return Fault(*values)


if __name__ == "__main__":
    main()
