"""What a first simulation compiles is compiled by several processes, each what no other is at.

Helpers begin with what the process that asked needs last: it plans first. The weight update of a small network on a small machine needs all
kernels of a simulation but those of planning.
"""

import atexit
import os
import subprocess
import sys
from functools import lru_cache

from etasim.config import Architecture, load_architecture
from etasim.core import frame, jit, locks
from etasim.core.stamp import extent
from etasim.machine import engine
from etasim.machine.elaborate import Machine, elaborate
from etasim.machine.simulation import is_compiled, simulate
from etasim.mapping import map_iteration
from etasim.workload import Network, load_network

MOST_HELPERS = 3
"""Planning and the largest part bound the time that the rest can be done beside."""


def start_compiling(functional: bool = False, sampled: bool = False) -> bool:
    """Whether kernels must be compiled, as `is_compiled` says; then other processes begin with it."""
    compiles = not is_compiled(functional, sampled)
    if compiles and not jit.DISABLED and locks.LOCKS and jit.cache_folder() is not None:
        _start_helpers()
    return compiles


@lru_cache(maxsize=1)
def _start_helpers() -> None:
    """One for each further core, which end with this process at the latest."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for number in range(min(cores - 1, MOST_HELPERS)):
        command = [sys.executable, "-m", __name__, str(number), str(os.getpid())]
        nothing = subprocess.DEVNULL
        try:
            helper = subprocess.Popen(command, env=environment, stdin=nothing, stdout=nothing, stderr=nothing)
        except OSError:  # then this process compiles all by itself
            return
        atexit.register(_end, helper)


def _end(helper: subprocess.Popen[bytes]) -> None:
    helper.kill()
    helper.wait()


def help_compiling(number: int, asked_by: int) -> None:
    """Compile what process ``asked_by`` is going to need, as long as it is there; the second helper plans gradients first."""
    architecture, network = load_architecture("eta_small"), load_network("digits_cnn")
    if number == 1:
        map_iteration(architecture, network, 1, ("wg",))
    for kernel, sees in sorted(engine.parts_of(_small_machine(architecture, network)), key=lambda part: -extent(part[0])):
        if os.getppid() != asked_by:
            return
        frame.compile_part(kernel, sees)
    simulate(architecture, network, batch=1, phases=("wu",), series_every=0)


def _small_machine(architecture: Architecture, network: Network) -> Machine:
    return elaborate(architecture, map_iteration(architecture, network, 1, ("wu",)))


if __name__ == "__main__":
    help_compiling(int(sys.argv[1]), int(sys.argv[2]))
