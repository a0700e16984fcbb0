"""Movers: engines that copy between two buffers, word by word, out of the second-level buffer and into it.

A word of the source is read and, when it is there, written; one that falls into two words of the target is read for each. One word is
asked for and one written a cycle. A command is complete when its last write is acknowledged.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.arrays import Records
from etasim.core.channel import NEVER, Channels, can_pop, can_push, pop, sooner, visible_at
from etasim.core.interval import OPEN, begin, end
from etasim.core.jit import kernel
from etasim.core.message import access_tags, command_words, send_access, send_completion
from etasim.program import events
from etasim.program.commands import RUN_DIMENSIONS, Program
from etasim.program.events import EventLog

COUNTERS = np.dtype([("commands", "i8"), ("words", "i8"), ("stall_cycles", "i8")])
"""Per engine. ``words`` are read and written; ``stall_cycles``: in which the next one could not be asked for."""

CURSOR = np.dtype([(name, "i8") for name in ("active", "row", "command", "offset", "asked", "read", "written")] +
                  [("index", "i8", (RUN_DIMENSIONS,))])  # fmt: skip
"""The command that is being read, its run and the byte of it; words asked for, read and written in all."""

PIECE = np.dtype([(name, "i8") for name in ("source", "target", "n_bytes", "row", "command", "is_last")])
"""What a word under way brings: bytes of the source and of the target, and whether it is the last of its command."""


class MoverSpec(NamedTuple):
    """``number`` [mover]: that of `etasim.program.commands.MOVERS`; ``engine`` [mover]: its command queue; ``source`` and ``target``
    [mover]: its requesters at the two buffers."""

    number: np.ndarray
    engine: np.ndarray
    source: np.ndarray
    target: np.ndarray
    word_bytes: int
    max_outstanding: int


class MoverState(NamedTuple):
    """``cursor`` [mover]; ``pieces`` [mover, word mod max_outstanding]; ``moved`` [operation, mover]: words."""

    cursor: np.ndarray
    pieces: np.ndarray
    blocked_since: np.ndarray
    moved: np.ndarray
    counters: np.ndarray


def init(spec: MoverSpec, n_operations: int) -> MoverState:
    """Idle engines."""
    n = len(spec.engine)
    return MoverState(
        np.zeros(n, CURSOR), np.zeros((n, spec.max_outstanding), PIECE), np.full(n, OPEN), np.zeros((n_operations, n), np.int64),
        np.zeros(n, COUNTERS),
    )  # fmt: skip


@kernel
def _accept(spec: MoverSpec, state: MoverState, commands: Channels, m: int, now: int) -> bool:
    """Begin the next command, if none is being read."""
    cursor = state.cursor[m]
    if cursor["active"] == 1 or not can_pop(commands, spec.engine[m], now):
        return False
    cursor["command"], cursor["row"] = command_words(commands, spec.engine[m])
    pop(commands, spec.engine[m], now + 1)
    cursor["active"] = 1
    state.counters[m]["commands"] += 1
    return True


@kernel
def _advance(state: MoverState, moves: Records, m: int, n_bytes: int) -> None:
    """Move the cursor past a piece; the command has been read after its last run."""
    cursor = state.cursor[m]
    row = moves[cursor["row"]]
    cursor["offset"] += n_bytes
    if cursor["offset"] < row["run_bytes"]:
        return
    cursor["offset"] = 0
    for d in range(RUN_DIMENSIONS - 1, -1, -1):
        cursor["index"][d] += 1
        if cursor["index"][d] < row["counts"][d]:
            return
        cursor["index"][d] = 0
    cursor["active"] = 0


@kernel
def _ask(spec: MoverSpec, state: MoverState, moves: Records, requests: Channels, m: int, now: int) -> bool:
    """Ask for the next word: up to the end of a word of the source or of the target."""
    cursor = state.cursor[m]
    if cursor["active"] == 0:
        return False
    if cursor["asked"] - cursor["written"] >= spec.max_outstanding or not can_push(requests, spec.source[m], now):
        begin(state.blocked_since, m, now)
        return False
    state.counters[m]["stall_cycles"] += end(state.blocked_since, m, now)
    row = moves[cursor["row"]]
    source, target = row["source_address"] + cursor["offset"], row["target_address"] + cursor["offset"]
    for d in range(RUN_DIMENSIONS):
        source += cursor["index"][d] * row["source_strides"][d]
        target += cursor["index"][d] * row["target_strides"][d]
    n_bytes = min(spec.word_bytes - max(source % spec.word_bytes, target % spec.word_bytes), row["run_bytes"] - cursor["offset"])
    piece = state.pieces[m, cursor["asked"] % spec.max_outstanding]
    piece["source"] = source
    piece["target"] = target
    piece["n_bytes"] = n_bytes
    piece["row"] = cursor["row"]
    piece["command"] = cursor["command"]
    send_access(requests, spec.source[m], now + 1, source // spec.word_bytes, 0, 0, 0)
    cursor["asked"] += 1
    _advance(state, moves, m, n_bytes)
    piece["is_last"] = 1 - cursor["active"]
    return True


@kernel
def _write(spec: MoverSpec, state: MoverState, requests: Channels, responses: Channels, m: int, now: int) -> bool:
    """Write the oldest word that has been read."""
    if not can_pop(responses, spec.source[m], now) or not can_push(requests, spec.target[m], now):
        return False
    cursor = state.cursor[m]
    piece = state.pieces[m, cursor["read"] % spec.max_outstanding]
    pop(responses, spec.source[m], now + 1)
    send_access(requests, spec.target[m], now + 1, piece["target"] // spec.word_bytes, 1, cursor["read"] % spec.max_outstanding, 0)
    cursor["read"] += 1
    return True


@kernel
def _finish(
    spec: MoverSpec, state: MoverState, moves: Records, responses: Channels, completions: Channels, log: EventLog, m: int, now: int
) -> bool:
    """Take the acknowledgement of a word; the last one completes its command."""
    if not can_pop(responses, spec.target[m], now):
        return False
    number, _ = access_tags(responses, spec.target[m])
    piece = state.pieces[m, number]
    if piece["is_last"] == 1:
        if not can_push(completions, spec.engine[m], now):
            return False
        send_completion(completions, spec.engine[m], now + 1, piece["command"])
    pop(responses, spec.target[m], now + 1)
    events.record(log, events.MOVED, spec.number[m], piece["source"], piece["target"], piece["n_bytes"])
    state.cursor[m]["written"] += 1
    state.counters[m]["words"] += 1
    state.moved[moves[piece["row"]]["operation"], m] += 1
    return True


@kernel
def step(spec: MoverSpec, state: MoverState, program: Program, links: Any, log: EventLog, m: int, now: int) -> bool:
    """One cycle of mover ``m``: acknowledge, write, read."""
    moves, requests, responses = program.moves, links.buffer_requests, links.buffer_responses
    progress = _finish(spec, state, moves, responses, links.completions, log, m, now)
    progress |= _write(spec, state, requests, responses, m, now)
    progress |= _accept(spec, state, links.commands, m, now)
    progress |= _ask(spec, state, moves, requests, m, now)
    return progress


@kernel
def next_timer(spec: MoverSpec, state: MoverState, program: Program, links: Any, log: EventLog, m: int, now: int) -> int:
    """Next cycle in which a word or an acknowledgement becomes visible."""
    timer = sooner(visible_at(links.buffer_responses, spec.source[m]), now, NEVER)
    return sooner(visible_at(links.buffer_responses, spec.target[m]), now, timer)
