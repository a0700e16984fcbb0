"""The compute lower bound of a mapping: how long the clusters take when everything around them is ideal.

A list schedule of the tile program. A cluster's command starts when the one before has ended and the controller, who learns of an end one
cycle later, has issued it, which takes one more cycle; every other command takes no time. A simulation with ``dram``, ``noc``,
``buffers`` and ``unified_core`` ideal takes exactly this many cycles.
"""

import numpy as np

from etasim.program.commands import Program, engines_of
from etasim.program.durations import compute_cycles

ISSUE_CYCLES = 1
COMPLETION_CYCLES = 1


def compute_bound_cycles(program: Program) -> int:
    """Core cycles of the list schedule of a program that was mapped for instant feeds (``noc`` and ``buffers`` ideal)."""
    n_engines = len(program.engine_start) - 1
    multiplying = engines_of(program).computes
    engine_of = np.repeat(np.arange(n_engines), np.diff(program.engine_start)).tolist()
    duration = compute_cycles(program).tolist()
    commands, dependencies = program.commands.tolist(), program.dependencies.tolist()
    known: list[list[int]] = [[] for _ in range(n_engines)]
    busy_until = [0] * n_engines
    for index in np.argsort(program.commands["order"], kind="stable").tolist():
        row, _, first, n, _ = commands[index]
        engine = engine_of[index]
        issued_at = max([known[e][count - 1] for e, count in dependencies[first : first + n]], default=0)
        if engine in multiplying:
            busy_until[engine] = max(busy_until[engine], issued_at + ISSUE_CYCLES) + duration[row]
            known[engine].append(busy_until[engine] + COMPLETION_CYCLES)
        else:
            busy_until[engine] = max(busy_until[engine], issued_at)
            known[engine].append(busy_until[engine])
    return max(times[-1] for times in known if times) + 1
