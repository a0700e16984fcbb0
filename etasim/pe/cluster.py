"""Clusters of PEs: chunks of sweeps over local operands into a double-buffered psum memory, and its drain.

In a sweep every PE of the cluster holds one stationary vector and each cycle adds one group of columns to its psums.
Operands of a sweep are local once the last word that it reads has arrived, so a sweep cannot be disturbed: its length is a table
entry (groups plus bank conflicts of the gather) and the cluster acts again when it ends. Behind the last sweep of a chunk it may take
nothing in for some cycles (``fill_cycles``), booked as ``fill_drain``.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.arrays import Integers, Record, Records
from etasim.core.channel import NEVER, Channels, can_pop, can_push, pop, sooner, visible_at
from etasim.core.frame import GOES_ON, NOTHING, WAITS
from etasim.core.jit import kernel, procedure
from etasim.core.message import command_words, packet_words, send_completion, send_packet
from etasim.pe.causes import BUSY, CAUSES, FILL_DRAIN, GATHER_CONFLICT, IDLE, PSUM_STALL, STATIONARY_STALL, STREAM_STALL
from etasim.program import events
from etasim.program.commands import Program
from etasim.program.events import EventLog

STREAM, STATIONARY = range(2)
"""Scratchpads of a cluster."""

_LAST_IN_FILES = "gather_conflict"
_NAMED = sorted(enumerate(CAUSES), key=lambda cause: cause[1] == _LAST_IN_FILES)
COUNTERS = np.dtype({
    "names": [f"{cause}_cycles" for _, cause in _NAMED], "formats": ["i8"] * len(CAUSES), "offsets": [8 * number for number, _ in _NAMED],
})  # fmt: skip
"""Per operation and cluster: names for the causes. ``busy``: a group of columns enters the
pipeline; ``gather_conflict``: the columns' operands take another cycle to read; ``fill_drain``: nothing left to multiply,
results still in the pipeline; ``idle``: no command, booked to the operation that ends the wait (the last one at the end)."""

LINK_COUNTERS = np.dtype([("psum_packets", "i8")])
"""Per operation and cluster: packets of results injected."""


class ClusterSpec(NamedTuple):
    """Cluster c computes for engine ``first_engine + c`` and drains for ``first_engine + n + c``; ``node`` [c] is its NoC node."""

    node: np.ndarray
    first_engine: int
    pipeline_depth: int
    packet_bits: int


WORK = np.dtype([
    ("active", "i8"), ("row", "i8"), ("command", "i8"), ("sweep", "i8"), ("sweeping", "i8"), ("sweep_ends_at", "i8"),
])  # fmt: skip
"""The command that a cluster computes: its row of the program, and the sweep that is next or, if ``sweeping``, under way."""

DRAIN = np.dtype([("active", "i8"), ("row", "i8"), ("packet", "i8")])
"""The command that drains a pass, and its next packet."""

PASSES = np.dtype([("begun", "i8"), ("computed", "i8"), ("drained", "i8")])
BOOKED = np.dtype([("cause", "i8"), ("since", "i8"), ("operation", "i8")])
"""The interval of one cause that is open."""


class ClusterState(NamedTuple):
    """Records [c], and ``arrived`` [c, scratchpad]: words; ``spare`` [c, scratchpad]: the least words beyond those that a sweep needed;
    ``ready_at`` [c, half] when a finished pass has left the pipeline; ``cycles`` [operation, c, cause]; ``links`` [operation, c]."""

    work: np.ndarray
    arrived: np.ndarray
    spare: np.ndarray
    passes: np.ndarray
    ready_at: np.ndarray
    drain: np.ndarray
    booked: np.ndarray
    cycles: np.ndarray
    links: np.ndarray

    @property
    def counters(self) -> np.ndarray:
        """``cycles`` by the names of the causes [operation, c]."""
        return self.cycles.view(COUNTERS)[..., 0]


def init(spec: ClusterSpec, n_operations: int) -> ClusterState:
    """Idle clusters with empty scratchpads."""
    n = len(spec.node)
    state = ClusterState(
        work=np.zeros(n, WORK), arrived=np.zeros((n, 2), np.int64), spare=np.full((n, 2), NEVER), passes=np.zeros(n, PASSES),
        ready_at=np.zeros((n, 2), np.int64), drain=np.zeros(n, DRAIN), booked=np.zeros(n, BOOKED),
        cycles=np.zeros((n_operations, n, len(CAUSES)), np.int64), links=np.zeros((n_operations, n), LINK_COUNTERS),
    )  # fmt: skip
    state.booked["cause"] = IDLE
    return state


@kernel
def _book(state: ClusterState, c: int, cause: int, operation: int, now: int) -> None:
    """Close the interval that ends now and open one of ``cause``."""
    booked = state.booked[c]
    state.cycles[booked["operation"], c, booked["cause"]] += now - booked["since"]
    booked["cause"] = cause
    booked["since"] = now
    booked["operation"] = operation


@kernel
def _turn(state: ClusterState, log: EventLog, c: int, cause: int, operation: int, now: int) -> None:
    """As `_book`, and record that the interval of ``cause`` begins."""
    _book(state, c, cause, operation, now)
    events.record(log, events.BOOKED, c, cause, operation, now)


@kernel
def _receive(state: ClusterState, c: int, node: int, eject: Channels, log: EventLog, now: int) -> bool:
    """Write what the network interface delivers into the scratchpads."""
    progress = False
    while can_pop(eject, node, now):
        stream, number = packet_words(eject, node)
        events.record(log, events.RECEIVED, c, stream, number, 0)
        state.arrived[c, stream] += 1
        pop(eject, node, now + 1)
        progress = True
    return progress


@kernel
def _words_needed(command: Record, sweep_words: Integers, sweep: int) -> tuple[int, int]:
    """Words, streamed and stationary, that a cluster must have received before a sweep of a chunk can begin."""
    place = command["word_table"] + sweep
    return command["stream_base_words"] + sweep_words[place, 0], command["stationary_base_words"] + sweep_words[place, 1]


@kernel
def _missing(state: ClusterState, computes: Records, sweep_words: Integers, c: int) -> int:
    """What the next sweep waits for (a cause), or BUSY if it can begin."""
    work, passes = state.work[c], state.passes[c]
    command = computes[work["row"]]
    if work["sweep"] == 0 and command["first"] == 1 and passes["begun"] - passes["drained"] >= 2:
        return PSUM_STALL
    stream_words, stationary_words = _words_needed(command, sweep_words, work["sweep"])
    if state.arrived[c, STATIONARY] < stationary_words:
        return STATIONARY_STALL
    if state.arrived[c, STREAM] < stream_words:
        return STREAM_STALL
    return BUSY


@kernel
def _note_spare_words(state: ClusterState, computes: Records, sweep_words: Integers, c: int) -> None:
    """Keep the least number of words that were there beyond those that a sweep which begins needs."""
    work, spare, arrived = state.work[c], state.spare, state.arrived
    stream_words, stationary_words = _words_needed(computes[work["row"]], sweep_words, work["sweep"])
    spare[c, STREAM] = min(spare[c, STREAM], arrived[c, STREAM] - stream_words)
    spare[c, STATIONARY] = min(spare[c, STATIONARY], arrived[c, STATIONARY] - stationary_words)


@kernel
def _finish_chunk(
    spec: ClusterSpec, state: ClusterState, computes: Records, completions: Channels, log: EventLog, c: int, now: int,
) -> bool:  # fmt: skip
    """Report the chunk; a finished pass can be drained once it has left the pipeline."""
    engine, work, passes = spec.first_engine + c, state.work[c], state.passes[c]
    if not can_push(completions, engine, now):
        return False
    command = computes[work["row"]]
    send_completion(completions, engine, now + 1, work["command"])
    events.record(log, events.MULTIPLIED, c, work["row"], 0, 0)
    work["active"] = 0
    state.cycles[command["operation"], c, GATHER_CONFLICT] += command["conflict_cycles"]
    state.cycles[command["operation"], c, BUSY] -= command["conflict_cycles"]
    if command["last"] == 1:
        state.ready_at[c, passes["computed"] % 2] = now + spec.pipeline_depth
        passes["computed"] += 1
        _turn(state, log, c, FILL_DRAIN, command["operation"], now)
    else:
        _turn(state, log, c, IDLE, command["operation"], now)
    return True


@kernel
def _accept(work: Record, commands: Channels, engine: int, now: int) -> None:
    """Take the next command."""
    work["active"] = 1
    work["command"], work["row"] = command_words(commands, engine)
    work["sweep"] = 0
    pop(commands, engine, now + 1)


@kernel
def _compute(
    spec: ClusterSpec, state: ClusterState, program: Program, commands: Channels, completions: Channels, log: EventLog, c: int, now: int,
) -> bool:  # fmt: skip
    """End a sweep, take a command, begin a sweep: whatever is possible in this cycle."""
    computes, sweep_cycles, sweep_words = program.computes, program.sweep_cycles, program.sweep_words
    engine, work, booked = spec.first_engine + c, state.work[c], state.booked[c]
    progress = False
    if work["sweeping"] == 1 and now >= work["sweep_ends_at"]:
        work["sweeping"] = 0
        work["sweep"] += 1
        progress = True
    if work["active"] == 1 and work["sweeping"] == 0 and work["sweep"] == computes[work["row"]]["n_sweeps"]:
        if now >= work["sweep_ends_at"] + computes[work["row"]]["fill_cycles"]:
            progress |= _finish_chunk(spec, state, computes, completions, log, c, now)
        elif booked["cause"] != FILL_DRAIN:
            _turn(state, log, c, FILL_DRAIN, computes[work["row"]]["operation"], now)
            progress = True
    if work["active"] == 0 and can_pop(commands, engine, now):
        _accept(work, commands, engine, now)
        progress = True
    if work["active"] == 1 and work["sweeping"] == 0 and work["sweep"] < computes[work["row"]]["n_sweeps"]:
        command = computes[work["row"]]
        cause = _missing(state, computes, sweep_words, c)
        if cause == BUSY:
            if work["sweep"] == 0 and command["first"] == 1:
                state.passes[c]["begun"] += 1
            _note_spare_words(state, computes, sweep_words, c)
            work["sweep_ends_at"] = now + sweep_cycles[command["sweep_table"] + work["sweep"] % command["sweep_period"]]
            work["sweeping"] = 1
            progress = True
        if booked["cause"] != cause or booked["operation"] != command["operation"]:
            if booked["cause"] == IDLE:
                booked["operation"] = command["operation"]
            _turn(state, log, c, cause, command["operation"], now)
    if booked["cause"] == FILL_DRAIN and work["active"] == 0 and now >= booked["since"] + spec.pipeline_depth:
        _turn(state, log, c, IDLE, booked["operation"], now)
        progress = True
    return progress


@kernel
def _drain(
    spec: ClusterSpec, state: ClusterState, drains: Records, commands: Channels, inject: Channels, log: EventLog, c: int, now: int,
) -> bool:  # fmt: skip
    """Inject the next packet of a finished pass; its half of the psum memory is free after the last one."""
    engine, drain, passes = spec.first_engine + state.work.shape[0] + c, state.drain[c], state.passes[c]
    if drain["active"] == 0:
        if not can_pop(commands, engine, now):
            return False
        drain["active"] = 1
        _, drain["row"] = command_words(commands, engine)
        drain["packet"] = 0
        pop(commands, engine, now + 1)
        return True
    drained = passes["drained"]
    if passes["computed"] <= drained or now < state.ready_at[c, drained % 2] or not can_push(inject, spec.node[c], now):
        return False
    row, packet = drain["row"], drain["packet"]
    send_packet(inject, spec.node[c], now + 1, drains[row]["route"], spec.packet_bits, row, packet)
    events.record(log, events.DRAINED, c, row, packet, 0)
    state.links[drains[row]["operation"], c]["psum_packets"] += 1
    drain["packet"] = packet + 1
    if packet + 1 == drains[row]["n_packets"]:
        drain["active"] = 0
        passes["drained"] += 1
    return True


@kernel
def step(spec: ClusterSpec, state: ClusterState, program: Program, links: Any, log: EventLog, c: int, now: int) -> int:
    """One cycle of a cluster: receive operands, drain psums, compute. A cluster that only receives takes all that is there."""
    commands = links.commands
    receives = _receive(state, c, spec.node[c], links.eject, log, now)
    drains = _drain(spec, state, program.drains, commands, links.inject, log, c, now)
    computes = _compute(spec, state, program, commands, links.completions, log, c, now)
    if drains or computes:
        return GOES_ON
    return WAITS if receives else NOTHING


@kernel
def next_timer(spec: ClusterSpec, state: ClusterState, program: Program, links: Any, log: EventLog, c: int, now: int) -> int:
    """Next cycle in which a sweep ends, a pass leaves the pipeline, or an operand becomes visible."""
    timer, work, passes, booked = NEVER, state.work[c], state.passes[c], state.booked[c]
    if work["sweeping"] == 1:
        timer = sooner(work["sweep_ends_at"], now, timer)
    if passes["computed"] > passes["drained"]:
        timer = sooner(state.ready_at[c, passes["drained"] % 2], now, timer)
    if booked["cause"] == FILL_DRAIN and work["active"] == 0:
        timer = sooner(booked["since"] + spec.pipeline_depth, now, timer)
    if work["active"] == 1 and work["sweeping"] == 0:
        timer = sooner(work["sweep_ends_at"] + program.computes[work["row"]]["fill_cycles"], now, timer)
    return sooner(visible_at(links.eject, spec.node[c]), now, timer)


@procedure
def close_books(state: ClusterState, now: int) -> None:
    """Book the open interval of every cluster at the end of a simulation; waiting for the end belongs to the last operation."""
    for c in range(state.booked.shape[0]):
        booked = state.booked[c]
        if booked["cause"] == IDLE:
            booked["operation"] = state.cycles.shape[0] - 1
        _book(state, c, IDLE, booked["operation"], now)
