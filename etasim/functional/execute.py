"""Executes the recorded events of the machine, in their order, on real bytes."""

from typing import NamedTuple

import numpy as np

from etasim.core import events
from etasim.core.jit import entry
from etasim.core.program import FEED_STATIONARY, FIRST_CLUSTER, STORE, UNIFIED, Program
from etasim.functional.memories import Memories
from etasim.functional.movement import collect, load, receive, send, store, transfer
from etasim.functional.multiply import multiply
from etasim.functional.passes import execute_pass
from etasim.functional.results import Results, drain
from etasim.functional.tables import CoreValues


class Formats(NamedTuple):
    """Codes of the operands: ``tables`` [format, code] integers, ``element_bytes`` [format], ``of_operation`` [operation, (streamed,
    stationary)]."""

    tables: np.ndarray
    element_bytes: np.ndarray
    of_operation: np.ndarray


class Functional(NamedTuple):
    """The functional machine. ``reaches`` [route, cluster]: whether a route leads to a cluster."""

    memories: Memories
    core: CoreValues
    formats: Formats
    results: Results
    program: Program
    reaches: np.ndarray


@entry
def _pass(core, vectors, row):
    """A pass of the unified core; compiled once for all places that call it."""
    execute_pass(core, vectors, row)


@entry
def _collect(machine, row, packet, first, n_segments):
    cluster = machine.program.drains[row]["engine"] - FIRST_CLUSTER - machine.memories.n_drained.shape[0]
    result = machine.results.operations[machine.program.drains[row]["operation"]]
    segment_bytes = machine.core.lanes * result["bytes"]
    collect(
        machine.memories, machine.program.drains, machine.program.segment_offsets, row, packet, first, n_segments, cluster, segment_bytes
    )


@entry
def _complete(machine, engine, row):
    """A whole command of an instant engine."""
    memories, program = machine.memories, machine.program
    if engine <= STORE:
        transfer(memories, program.transfers, engine, row, engine == STORE)
    elif engine <= FEED_STATIONARY:
        feed = program.feeds[row]
        for packet in range(feed["n_packets"]):
            send(memories, program.feeds, feed["stream"], row, packet)
            for cluster in range(machine.reaches.shape[1]):
                if machine.reaches[feed["route"], cluster]:
                    receive(memories, program.feeds, cluster, feed["stream"], packet)
    elif engine == UNIFIED:
        _pass(machine.core, program.vectors, row)
    else:
        command = program.drains[row]
        cluster = engine - FIRST_CLUSTER - memories.n_drained.shape[0]
        for packet in range(command["n_packets"]):
            drain(memories, machine.core, machine.results, program.drains, cluster, row, packet)
            first = packet * command["segments_per_packet"]
            _collect(machine, row, packet, 0, min(command["segments_per_packet"], command["n_segments"] - first))


@entry
def execute(machine, log, n_events):
    """Execute the first ``n_events`` rows of ``log`` [event, (kind, up to four numbers)] (`etasim.core.events`)."""
    memories, program = machine.memories, machine.program
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
            multiply(memories, machine.formats, program, a, b, machine.core.lanes)
        elif kind == events.DRAINED:
            drain(memories, machine.core, machine.results, program.drains, a, b, c)
        elif kind == events.COLLECTED:
            _collect(machine, a, b, c, d)
        elif kind == events.PASSED:
            _pass(machine.core, program.vectors, a)
        else:
            _complete(machine, a, b)
