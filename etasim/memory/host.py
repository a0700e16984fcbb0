"""The host's DMA engine: writes the iteration's inputs into DRAM as they come over the link, while the machine works.

A command asks the host for a piece of a tensor. Its bytes begin to arrive after the host's latency, behind those of the commands before,
a burst in a fixed time; a burst that the DRAM's queue does not take stops the link. A command is complete when the DRAM controller has
accepted its last burst.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.arrays import Records
from etasim.core.channel import NEVER, Channels, can_pop, can_push, n_taken, pop
from etasim.core.interval import OPEN, begin, end
from etasim.core.jit import kernel
from etasim.core.message import command_words, send_access, send_completion
from etasim.memory.dram import channel_of
from etasim.program import events
from etasim.program.commands import Program
from etasim.program.events import EventLog

COUNTERS = np.dtype([("commands", "i8"), ("bursts", "i8"), ("dram_stall_cycles", "i8")])
"""Of an engine. ``dram_stall_cycles``: in which a burst had arrived, and the DRAM's queue was full."""

LINK = np.dtype([("arrives_at", "i8"), ("parts", "i8"), ("active", "i8"), ("run", "i8"), ("offset", "i8")])
"""The burst on the link: it is whole in cycle ``arrives_at`` + ``parts`` / `HostSpec.burst_parts`; where it stands in its command."""

FLIGHT = np.dtype([("command", "i8"), ("row", "i8"), ("ready_at", "i8")])
"""A command, and the cycle in which its first byte may enter the link."""


class HostSpec(NamedTuple):
    """``engine`` [host]: its command queue; ``requester``: its number at each DRAM channel. A burst takes ``burst_cycles`` + ``burst_rest``
    / ``burst_parts`` core cycles on the link."""

    engine: np.ndarray
    requester: int
    n_requesters: int
    n_channels: int
    interleave_bits: int
    burst_bytes: int
    latency_cycles: int
    burst_cycles: int
    burst_rest: int
    burst_parts: int
    window: int
    core_ticks: int


class HostState(NamedTuple):
    """``link`` [host]; ``flight`` [host, window]; ``current``: the command whose bytes are on the link, between ``oldest`` and ``newest``
    [host]; ``target`` [host, window, channel]: bursts pushed to the channel; ``bursts`` [operation, class]."""

    link: np.ndarray
    flight: np.ndarray
    oldest: np.ndarray
    current: np.ndarray
    newest: np.ndarray
    target: np.ndarray
    blocked_since: np.ndarray
    bursts: np.ndarray
    counters: np.ndarray


def init(spec: HostSpec, n_operations: int, n_classes: int) -> HostState:
    """An idle link."""
    n = len(spec.engine)
    oldest, current, newest = np.zeros((3, n), np.int64)
    return HostState(
        np.zeros(n, LINK), np.zeros((n, spec.window), FLIGHT), oldest, current, newest,
        np.zeros((n, spec.window, spec.n_channels), np.int64), np.full(n, OPEN), np.zeros((n_operations, n_classes), np.int64),
        np.zeros(n, COUNTERS),
    )  # fmt: skip


@kernel
def _accept(spec: HostSpec, state: HostState, commands: Channels, h: int, now: int) -> bool:
    """Ask the host for the next piece, if the window has room."""
    if state.newest[h] - state.oldest[h] >= spec.window or not can_pop(commands, spec.engine[h], now):
        return False
    flight = state.flight[h, state.newest[h] % spec.window]
    flight["command"], flight["row"] = command_words(commands, spec.engine[h])
    flight["ready_at"] = now + spec.latency_cycles
    pop(commands, spec.engine[h], now + 1)
    state.newest[h] += 1
    state.counters[h]["commands"] += 1
    return True


@kernel
def _follow(spec: HostSpec, state: HostState, h: int, at: int) -> None:
    """Put the next burst on the link: behind the one before, which left in cycle ``at``, and when its command is ready."""
    link = state.link[h]
    link["active"] = int(state.current[h] < state.newest[h])
    if link["active"] == 0:
        return
    start = max(at, state.flight[h, state.current[h] % spec.window]["ready_at"])
    if start > link["arrives_at"]:
        link["arrives_at"], link["parts"] = start, 0
    link["arrives_at"] += spec.burst_cycles
    link["parts"] += spec.burst_rest
    if link["parts"] >= spec.burst_parts:
        link["parts"] -= spec.burst_parts
        link["arrives_at"] += 1


@kernel
def _whole_at(state: HostState, h: int) -> int:
    """Cycle from which on the burst on the link is whole."""
    return state.link[h]["arrives_at"] + int(state.link[h]["parts"] > 0)


@kernel
def _advance(spec: HostSpec, state: HostState, arrivals: Records, h: int) -> None:
    """Go on to the next burst of the command, or to the next command."""
    link, flight = state.link[h], state.flight[h, state.current[h] % spec.window]
    link["offset"] += spec.burst_bytes
    if link["offset"] < arrivals[flight["row"]]["run_bytes"]:
        return
    link["offset"] = 0
    link["run"] += 1
    if link["run"] == arrivals[flight["row"]]["counts"][0]:
        link["run"] = 0
        state.current[h] += 1


@kernel
def _deliver(spec: HostSpec, state: HostState, arrivals: Records, requests: Channels, log: EventLog, h: int, now: int) -> bool:
    """Hand the bursts that have arrived to the DRAM, at most one for each channel in a cycle."""
    progress, link, counters = False, state.link[h], state.counters[h]
    for _ in range(spec.n_channels):
        if link["active"] == 0 or _whole_at(state, h) > now:
            return progress
        w = state.current[h] % spec.window
        row = state.flight[h, w]["row"]
        address = arrivals[row]["dram_address"] + link["run"] * arrivals[row]["dram_strides"][0] + link["offset"]
        channel = channel_of(spec, address)
        port = channel * spec.n_requesters + spec.requester
        if not can_push(requests, port, now * spec.core_ticks):
            begin(state.blocked_since, h, now)
            return progress
        waited = end(state.blocked_since, h, now)
        counters["dram_stall_cycles"] += waited
        counters["bursts"] += 1
        state.bursts[arrivals[row]["operation"], arrivals[row]["tensor_class"]] += 1
        send_access(requests, port, (now + 1) * spec.core_ticks, address, 1, 0, 0)
        events.record(log, events.ARRIVED, address, spec.burst_bytes, 0, 0)
        state.target[h, w, channel] = requests.pushes[port]
        _advance(spec, state, arrivals, h)
        _follow(spec, state, h, now if waited > 0 else 0)
        progress = True
    return progress


@kernel
def _retire(spec: HostSpec, state: HostState, requests: Channels, completions: Channels, h: int, now: int) -> bool:
    """Report the oldest command once the DRAM controller has taken all its bursts."""
    if state.oldest[h] == state.current[h] or not can_push(completions, spec.engine[h], now):
        return False
    w = state.oldest[h] % spec.window
    for channel in range(spec.n_channels):
        if n_taken(requests, channel * spec.n_requesters + spec.requester, now * spec.core_ticks) < state.target[h, w, channel]:
            return False
    send_completion(completions, spec.engine[h], now + 1, state.flight[h, w]["command"])
    state.oldest[h] += 1
    return True


@kernel
def step(spec: HostSpec, state: HostState, program: Program, links: Any, log: EventLog, h: int, now: int) -> bool:
    """One core cycle of host ``h``: report, deliver, ask."""
    progress = _retire(spec, state, links.dram_requests, links.completions, h, now)
    progress |= _deliver(spec, state, program.arrivals, links.dram_requests, log, h, now)
    if _accept(spec, state, links.commands, h, now):
        progress = True
        if state.link[h]["active"] == 0:
            _follow(spec, state, h, now)
    return progress


@kernel
def next_timer(spec: HostSpec, state: HostState, program: Program, links: Any, log: EventLog, h: int, now: int) -> int:
    """Next core cycle in which a burst is whole, or a freed slot of a DRAM queue becomes visible."""
    timer = NEVER
    if state.link[h]["active"] == 1 and _whole_at(state, h) > now:
        timer = _whole_at(state, h)
    for channel in range(spec.n_channels):
        port = channel * spec.n_requesters + spec.requester
        if n_taken(links.dram_requests, port, now * spec.core_ticks) < links.dram_requests.pops[port]:
            timer = min(timer, now + 1)
    return timer
