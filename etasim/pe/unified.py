"""The unified core: vector lanes that serve normalization, activation functions, pooling, additions, loss and update.

One queue, first come first served. A command streams up to four operands out of the error buffer and up to three results
into it. Each cycle one vector group enters the pipeline if its operands are in the operand FIFOs; a group's
results can be written ``pipeline_depth`` cycles later. Streams advance in proportion: group g of G needs
``ceil((g+1) * words / G)`` words of a stream.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.arrays import Record
from etasim.core.channel import NEVER, Channels, can_pop, can_push, pop, sooner, visible_at
from etasim.core.interval import OPEN, begin, end
from etasim.core.jit import kernel
from etasim.core.message import command_words, send_access, send_completion
from etasim.program import events
from etasim.program.commands import MAX_READS, Program
from etasim.program.events import EventLog

COUNTERS = np.dtype([
    ("commands", "i8"), ("busy_cycles", "i8"), ("operand_stall_cycles", "i8"), ("active_cycles", "i8"),
    ("read_words", "i8"), ("written_words", "i8"),
])  # fmt: skip
"""Per operation. ``busy_cycles``: a vector group entered the pipeline; ``operand_stall_cycles``: the next group's operands
were missing or its results had no room; ``active_cycles``: from a command's start to its last result in the buffer."""


class UnifiedSpec(NamedTuple):
    """``engine`` [core] its queue; ``requester`` [core, stream] its buffer ports, operands first; ``fifo_words`` of each stream, or one
    group's words if these are more; ``instant``: ideal lanes."""

    engine: Any  # of one core: its number
    requester: np.ndarray
    pipeline_depth: int
    fifo_words: int
    instant: int


WORK = np.dtype([("active", "i8"), ("row", "i8"), ("command", "i8"), ("begun", "i8"), ("done", "i8"), ("started_at", "i8")])
"""The command that is processed: its row of the program, groups that have begun and that are done."""

STREAM = np.dtype([("asked", "i8"), ("answered", "i8")])
"""Words requested of an operand or written of a result, and words answered."""


class UnifiedState(NamedTuple):
    """Records ``work`` [core] and ``streams`` [core, stream]; ``begun_at`` [core] ring of the last groups' start cycles; ``since`` [core]:
    a group waits; ``counters`` [operation, core]."""

    work: np.ndarray
    streams: np.ndarray
    begun_at: np.ndarray
    since: np.ndarray
    counters: np.ndarray


def init(spec: UnifiedSpec, n_operations: int) -> UnifiedState:
    """Idle cores."""
    n_cores, n_streams = spec.requester.shape
    return UnifiedState(
        work=np.zeros(n_cores, WORK),
        streams=np.zeros((n_cores, n_streams), STREAM),
        begun_at=np.zeros((n_cores, spec.pipeline_depth + 1), np.int64),
        since=np.full(n_cores, OPEN),
        counters=np.zeros((n_operations, n_cores), COUNTERS),
    )


@kernel
def _spec_of(spec: UnifiedSpec, core: int) -> UnifiedSpec:
    """The description of one core."""
    return UnifiedSpec(spec.engine[core], spec.requester[core], spec.pipeline_depth, spec.fifo_words, spec.instant)


@kernel
def _state_of(state: UnifiedState, core: int) -> UnifiedState:
    """The state of one core."""
    return UnifiedState(
        state.work[core : core + 1], state.streams[core], state.begun_at[core], state.since[core : core + 1], state.counters[:, core]
    )  # fmt: skip


@kernel
def _accept(spec: UnifiedSpec, state: UnifiedState, commands: Channels, now: int) -> bool:
    if not can_pop(commands, spec.engine, now):
        return False
    work = state.work[0]
    work["active"] = 1
    work["command"], work["row"] = command_words(commands, spec.engine)
    work["begun"] = 0
    work["done"] = 0
    work["started_at"] = now
    for s in range(state.streams.shape[0]):
        state.streams[s]["asked"] = 0
        state.streams[s]["answered"] = 0
    pop(commands, spec.engine, now + 1)
    return True


@kernel
def _needed(words: int, group: int, n_groups: int) -> int:
    """Words of a stream that the first ``group`` groups take."""
    return (group * words + n_groups - 1) // n_groups


@kernel
def _answers(spec: UnifiedSpec, state: UnifiedState, responses: Channels, now: int) -> bool:
    """Operand words that arrived and result words that were written."""
    progress = False
    for s in range(spec.requester.shape[0]):
        if can_pop(responses, spec.requester[s], now):
            state.streams[s]["answered"] += 1
            pop(responses, spec.requester[s], now + 1)
            progress = True
    return progress


@kernel
def _read_operands(spec: UnifiedSpec, state: UnifiedState, vector: Record, requests: Channels, now: int) -> bool:
    """Ask for the next word of every operand whose FIFO has room."""
    progress = False
    for s in range(vector["n_reads"]):
        asked, words, begun = state.streams[s]["asked"], vector["words"][s], state.work[0]["begun"]
        room = max(_needed(words, begun, vector["n_groups"]) + spec.fifo_words, _needed(words, begun + 1, vector["n_groups"]))
        if asked < min(words, room) and can_push(requests, spec.requester[s], now):
            send_access(requests, spec.requester[s], now + 1, vector["address"][s] + asked, 0, 0, 0)
            state.counters[vector["operation"]]["read_words"] += 1
            state.streams[s]["asked"] = asked + 1
            progress = True
    return progress


@kernel
def _begin_group(spec: UnifiedSpec, state: UnifiedState, vector: Record, first_result: int, now: int) -> bool:
    """Whether the next group can enter the pipeline: operands present, room for its results."""
    group = state.work[0]["begun"] + 1
    for s in range(vector["n_reads"]):
        if state.streams[s]["answered"] < _needed(vector["words"][s], group, vector["n_groups"]):
            return False
    for i in range(vector["n_writes"]):
        s = first_result + i
        before = _needed(vector["words"][s], group - 1, vector["n_groups"])
        after = _needed(vector["words"][s], group, vector["n_groups"])
        if after - state.streams[s]["asked"] > spec.fifo_words and before > state.streams[s]["asked"]:
            return False
    return True


@kernel
def _write_results(spec: UnifiedSpec, state: UnifiedState, vector: Record, first_result: int, requests: Channels, now: int) -> bool:
    """Write the next complete word of every result stream."""
    progress = False
    n_groups, done = vector["n_groups"], state.work[0]["done"]
    for i in range(vector["n_writes"]):
        s = first_result + i
        words, written = vector["words"][s], state.streams[s]["asked"]
        ready = words if done == n_groups else done * words // n_groups
        if written < ready and can_push(requests, spec.requester[s], now):
            send_access(requests, spec.requester[s], now + 1, vector["address"][s] + written, 1, 0, 0)
            state.counters[vector["operation"]]["written_words"] += 1
            state.streams[s]["asked"] = written + 1
            progress = True
    return progress


@kernel
def _finished(state: UnifiedState, vector: Record, first_result: int) -> bool:
    """Whether all groups are done and all results are in the buffer."""
    if state.work[0]["done"] < vector["n_groups"]:
        return False
    for i in range(vector["n_writes"]):
        s = first_result + i
        if state.streams[s]["answered"] < vector["words"][s]:
            return False
    return True


@kernel
def _process(spec: UnifiedSpec, state: UnifiedState, vector: Record, first_result: int, now: int) -> bool:
    """Retire the group that leaves the pipeline and begin the next one."""
    progress = False
    depth = state.begun_at.shape[0]
    n_groups, counters = vector["n_groups"], state.counters[vector["operation"]]
    work, limit = state.work[0], n_groups if spec.instant == 1 else 1
    latency = 0 if spec.instant == 1 else spec.pipeline_depth
    for _ in range(limit):
        if work["done"] < work["begun"] and now >= state.begun_at[work["done"] % depth] + latency:
            work["done"] += 1
            progress = True
        if work["begun"] == n_groups or work["begun"] - work["done"] >= depth:
            continue
        if not _begin_group(spec, state, vector, first_result, now):
            begin(state.since, 0, now)
            break
        counters["operand_stall_cycles"] += end(state.since, 0, now)
        state.begun_at[work["begun"] % depth] = now
        work["begun"] += 1
        counters["busy_cycles"] += 1
        progress = True
    return progress


@kernel
def _step_core(spec: UnifiedSpec, state: UnifiedState, program: Program, links: Any, log: EventLog, now: int) -> bool:
    """One cycle of one core: answers, results, groups, operands, completion."""
    requests, completions, work = links.buffer_requests, links.completions, state.work[0]
    progress = _answers(spec, state, links.buffer_responses, now)
    if work["active"] == 0:
        return _accept(spec, state, links.commands, now) or progress
    vector = program.vectors[work["row"]]
    first_result = MAX_READS
    progress |= _write_results(spec, state, vector, first_result, requests, now)
    progress |= _process(spec, state, vector, first_result, now)
    progress |= _read_operands(spec, state, vector, requests, now)
    if _finished(state, vector, first_result) and can_push(completions, spec.engine, now):
        send_completion(completions, spec.engine, now + 1, work["command"])
        events.record(log, events.PASSED, work["row"], 0, 0, 0)
        work["active"] = 0
        counters = state.counters[vector["operation"]]
        counters["commands"] += 1
        counters["active_cycles"] += now - work["started_at"]
        progress = True
    return progress


@kernel
def step(spec: UnifiedSpec, state: UnifiedState, program: Program, links: Any, log: EventLog, c: int, now: int) -> bool:
    """One cycle of a core."""
    return _step_core(_spec_of(spec, c), _state_of(state, c), program, links, log, now)


@kernel
def next_timer(spec: UnifiedSpec, state: UnifiedState, program: Program, links: Any, log: EventLog, c: int, now: int) -> int:
    """Next cycle in which an answer becomes visible to a core or a group leaves its pipeline."""
    return _next_timer_of_core(_spec_of(spec, c), _state_of(state, c), links, now)


@kernel
def _next_timer_of_core(spec: UnifiedSpec, state: UnifiedState, links: Any, now: int) -> int:
    timer = NEVER
    for s in range(spec.requester.shape[0]):
        timer = sooner(visible_at(links.buffer_responses, spec.requester[s]), now, timer)
    work = state.work[0]
    if work["active"] == 1 and work["done"] < work["begun"]:
        timer = sooner(state.begun_at[work["done"] % state.begun_at.shape[0]] + spec.pipeline_depth, now, timer)
    return timer
