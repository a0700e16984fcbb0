"""The controller: issues each engine's commands in order once their dependencies have completed, and keeps the score.

An instant engine (everything on its way is ideal) has its commands completed by the controller itself in the cycle in which they could
start.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.channel import NEVER, Channels, can_pop, can_push, pop
from etasim.core.jit import kernel
from etasim.core.message import send_command
from etasim.program import events
from etasim.program.commands import Program
from etasim.program.events import EventLog
from etasim.program.windows import NOT_THERE

COUNTERS = np.dtype([("first_issue_at", "i8"), ("last_completion_at", "i8"), ("commands", "i8")])
"""Per operation, in core cycles; ``first_issue_at`` is -1 before the first command."""


NOWHERE = -1


class ControllerSpec(NamedTuple):
    """``instant`` [engine]: commands complete when they could start; ``n_instant`` engines; ``start`` [engine, and the end of the last]:
    where the times of its commands begin."""

    instant: np.ndarray
    n_instant: int
    start: np.ndarray


class ControllerState(NamedTuple):
    """``issued`` and ``done`` [engine]: commands; ``waits`` [engine]: the next one cannot be ready before another command completes;
    ``total_done`` [1]; ``times`` [command, (issued at, completed at)] in core cycles.

    ``wanted`` [engine]: the next one could be issued, but its window is not there (`etasim.machine.loaded`), since cycle ``wanted_at`` [1],
    `NOWHERE` if none is wanted; then ``until`` [1], the cycle to which the machine runs, is set back.
    """

    issued: np.ndarray
    done: np.ndarray
    waits: np.ndarray
    total_done: np.ndarray
    times: np.ndarray
    counters: np.ndarray
    wanted: np.ndarray
    wanted_at: np.ndarray
    until: np.ndarray


def init(n_engines: int, n_operations: int, n_commands: int) -> ControllerState:
    """Nothing issued."""
    counters = np.zeros(n_operations, COUNTERS)
    counters["first_issue_at"] = -1
    issued, done, waits, wanted = np.zeros((4, n_engines), np.int64)
    total_done, until = np.zeros((2, 1), np.int64)
    return ControllerState(
        issued, done, waits, total_done, np.full((n_commands, 2), -1), counters, wanted, np.full(1, NOWHERE), until
    )


@kernel
def _complete(spec: ControllerSpec, state: ControllerState, program: Program, e: int, now: int) -> None:
    """Score the next command of engine ``e`` as done."""
    index = program.engine_start[e] + state.done[e] - program.before[e]
    state.times[spec.start[e] + state.done[e], 1] = now
    counters = state.counters[program.commands[index]["operation"]]
    counters["last_completion_at"] = now
    counters["commands"] += 1
    state.done[e] += 1
    state.total_done[0] += 1


@kernel
def _ready(state: ControllerState, program: Program, index: int) -> bool:
    """Whether the dependencies of a command have completed."""
    first = program.commands[index]["first_dependency"]
    for d in range(first, first + program.commands[index]["n_dependencies"]):
        if state.done[program.dependencies[d]["engine"]] < program.dependencies[d]["count"]:
            return False
    return True


@kernel
def _issue(spec: ControllerSpec, state: ControllerState, program: Program, channels: Channels, log: EventLog, e: int, now: int) -> bool:
    """Issue the next command of engine ``e`` if it may start."""
    index = program.engine_start[e] + state.issued[e] - program.before[e]
    state.waits[e] = index == program.engine_start[e + 1] or not _ready(state, program, index)
    if state.waits[e]:
        return False
    if spec.instant[e] == 0 and not can_push(channels, e, now):
        return False
    if program.commands[index]["row"] == NOT_THERE:
        state.wanted[e] = 1
        state.wanted_at[0] = now
        state.until[0] = now
        return False
    state.wanted[e] = 0
    operation = program.commands[index]["operation"]
    if state.counters[operation]["first_issue_at"] < 0:
        state.counters[operation]["first_issue_at"] = now
    state.times[spec.start[e] + state.issued[e], 0] = now
    state.issued[e] += 1
    if spec.instant[e] == 1:
        events.record(log, events.COMPLETED, e, program.commands[index]["row"], 0, 0)
        _complete(spec, state, program, e, now)
    else:
        send_command(channels, e, now + 1, index, program.commands[index]["row"])
    return True


@kernel
def step(spec: ControllerSpec, state: ControllerState, program: Program, links: Any, log: EventLog, _: int, now: int) -> bool:
    """One cycle: take completions, complete what instant engines can, then issue at most one command to each other engine; in a cycle that
    is stepped again, to those that wanted one."""
    progress, commands, completions = False, links.commands, links.completions
    n_engines, n_done, again_for_wanted = state.done.shape[0], state.total_done[0], state.wanted_at[0] == now
    for e in range(n_engines):
        if can_pop(completions, e, now):
            pop(completions, e, now + 1)
            _complete(spec, state, program, e, now)
            progress = True
    again = spec.n_instant > 0
    while again:
        again = False
        for e in range(n_engines):
            while spec.instant[e] == 1 and _issue(spec, state, program, commands, log, e, now):
                again = True
                progress = True
    completed = state.total_done[0] > n_done
    for e in range(n_engines):
        if spec.instant[e] == 0 and (state.wanted[e] == 1 if again_for_wanted else completed or state.waits[e] == 0):
            progress |= _issue(spec, state, program, commands, log, e, now)
    return progress


@kernel
def next_timer(spec: ControllerSpec, state: ControllerState, program: Program, links: Any, log: EventLog, _: int, now: int) -> int:
    """NEVER: completions and room for commands come with the steps of others."""
    return NEVER
