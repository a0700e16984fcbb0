"""The DRAM as a part of the machine: its own clocks, within core cycles."""

from typing import Any

from etasim.core.channel import NEVER
from etasim.core.jit import kernel
from etasim.memory.dram.controller import channel_timer, step_channel
from etasim.memory.dram.spec import DramSpec, DramState
from etasim.program.commands import Program
from etasim.program.events import EventLog


@kernel
def step(spec: DramSpec, state: DramState, program: Program, links: Any, log: EventLog, channel: int, now: int) -> bool:
    """All DRAM clocks that begin in core cycle ``now`` and in which the channel can act on a request.

    Refreshes that fell due while nobody wanted anything happen as well, at their own clocks; they are no progress.
    """
    progress, requests, end = False, links.dram_requests, (now + 1) * spec.core_ticks
    while True:
        after = state.stepped_at[channel]
        asked = max(after + 1, channel_timer(spec, state, requests, channel, after))
        clock = min(asked, max(after + 1, state.registers[channel]["wake"]))
        if clock == NEVER or clock * spec.dram_ticks >= end:
            return progress
        progress |= step_channel(spec, state, requests, links.dram_responses, channel, clock) and clock == asked
        state.stepped_at[channel] = clock


@kernel
def next_timer(spec: DramSpec, state: DramState, program: Program, links: Any, log: EventLog, channel: int, now: int) -> int:
    """Core cycle of the first DRAM clock in which the channel can act on a request."""
    clock = channel_timer(spec, state, links.dram_requests, channel, state.stepped_at[channel])
    return max(clock * spec.dram_ticks // spec.core_ticks, now + 1) if clock < NEVER else NEVER
