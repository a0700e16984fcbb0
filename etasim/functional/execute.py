"""Executes the recorded events of the machine, in their order, on real bytes."""

from typing import NamedTuple

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.jit import is_cached, procedure
from etasim.functional.instant import expanded
from etasim.functional.memories import Memories
from etasim.functional.movement import arrive, load, move, receive, send, store
from etasim.functional.multiply import Formats, multiply
from etasim.functional.passes import execute_pass
from etasim.functional.results import Results, collect, drain, reduce
from etasim.functional.tables import CoreValues
from etasim.program import events
from etasim.program.commands import Program


class Functional(NamedTuple):
    """The functional machine. ``reaches`` [route, cluster]: whether a route leads to a cluster."""

    memories: Memories
    core: CoreValues
    formats: Formats
    results: Results
    program: Program
    reaches: np.ndarray


@procedure
def _execute(
    memories: Memories, core: CoreValues, formats: Formats, results: Results, program: Program, log: Integers, n_events: int
) -> None:
    for i in range(n_events):
        kind, a, b, c, d = log[i, 0], log[i, 1], log[i, 2], log[i, 3], log[i, 4]
        if kind == events.LOADED:
            load(memories, a, b, c, d)
        elif kind == events.STORED:
            store(memories, b, c, d)
        elif kind == events.SENT:
            send(memories, program.feeds, a, b, c)
        elif kind == events.RECEIVED:
            receive(memories, program.feeds, a, b, c)
        elif kind == events.MULTIPLIED:
            multiply(memories, formats, program.computes, program.geometries, program.taps, a, b)
        elif kind == events.DRAINED:
            drain(memories, core, results, program.drains, a, b, c)
        elif kind == events.REDUCED:
            reduce(memories, program.drains, a, b, c, d)
        elif kind == events.COLLECTED:
            collect(memories, core, results, program.drains, program.segment_offsets, a, b, c, d)
        elif kind == events.ARRIVED:
            arrive(memories, a, b)
        elif kind == events.MOVED:
            move(memories, a, b, c, d)
        elif kind == events.PASSED:
            execute_pass(core, program.vectors, a)


def execute(machine: Functional, log: np.ndarray) -> None:
    """Execute the events ``log`` [event, (kind, up to four numbers)] (`etasim.program.events`)."""
    log = expanded(log, machine.program, machine.reaches)
    _execute(machine.memories, machine.core, machine.formats, machine.results, machine.program, log, len(log))


def is_compiled() -> bool:
    """Whether the kernels that execute events are on disk."""
    return is_cached(_execute)
