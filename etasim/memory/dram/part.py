"""The DRAM as a part of the machine: its own clocks, within core cycles."""

from typing import Any

from etasim.core.channel import NEVER
from etasim.core.jit import kernel
from etasim.memory.dram import controller
from etasim.memory.dram.spec import DramSpec, DramState
from etasim.program.commands import Program
from etasim.program.events import EventLog


@kernel
def step(spec: DramSpec, state: DramState, program: Program, links: Any, log: EventLog, now: int) -> bool:
    """All DRAM clocks that begin in core cycle ``now`` and in which a channel can act."""
    progress, requests, end = False, links.dram_requests, (now + 1) * spec.core_ticks
    clock = controller.next_timer(spec, state, requests, state.stepped_at[0])
    while clock < NEVER and clock * spec.dram_ticks < end:
        progress |= controller.step(spec, state, requests, links.dram_responses, clock)
        state.stepped_at[0] = clock
        clock = max(clock + 1, controller.next_timer(spec, state, requests, clock))
    return progress


@kernel
def next_timer(spec: DramSpec, state: DramState, program: Program, links: Any, log: EventLog, now: int) -> int:
    """Core cycle of the first DRAM clock in which a channel can act on a request."""
    clock = controller.next_timer(spec, state, links.dram_requests, state.stepped_at[0])
    return max(clock * spec.dram_ticks // spec.core_ticks, now + 1) if clock < NEVER else NEVER
