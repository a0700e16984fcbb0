"""The DRAM as a part of the machine: its own clocks, within core cycles."""

from etasim.core.channel import NEVER
from etasim.core.jit import kernel
from etasim.memory.dram import controller


@kernel
def step(spec, state, program, links, log, now):
    """All DRAM clocks that begin in core cycle ``now`` and in which a channel can act."""
    progress, requests, end = False, links.dram_requests, (now + 1) * spec.core_ticks
    clock = controller.next_timer(spec, state, requests, state.stepped_at[0])
    while clock < NEVER and clock * spec.dram_ticks < end:
        progress |= controller.step(spec, state, requests, links.dram_responses, clock)
        state.stepped_at[0] = clock
        clock = max(clock + 1, controller.next_timer(spec, state, requests, clock))
    return progress


@kernel
def next_timer(spec, state, program, links, log, now):
    """Core cycle of the first DRAM clock in which a channel can act on a request."""
    clock = controller.next_timer(spec, state, links.dram_requests, state.stepped_at[0])
    return max(clock * spec.dram_ticks // spec.core_ticks, now + 1) if clock < NEVER else NEVER
