"""The discrete-event loop: steps every part in each cycle in which something can happen, and skips the others.

Parts meet only in channels, whose messages are seen a cycle later, so the order of the parts within a cycle changes nothing.
"""

import numpy as np

from etasim.core.channel import NEVER
from etasim.core.jit import entry, kernel
from etasim.machine import controller
from etasim.memory import buffer, collector, dma, dram, feeder
from etasim.noc import network
from etasim.pe import cluster, unified
from etasim.program.events import REDUCED, is_full, record

PARTS = ("controller", "dma", "dram", "buffers", "feeders", "noc", "clusters", "collectors", "unified")
CONTROLLER, DMA, DRAM, BUFFERS, FEEDERS, NOC, CLUSTERS, COLLECTORS, UNIFIED = range(9)
RUNNING, FINISHED, DEADLOCK = range(3)


@kernel
def _step_dram(specs, states, links, now):
    """All DRAM clocks that begin in core cycle ``now`` and in which a channel can act."""
    progress = False
    end = (now + 1) * specs.core_ticks
    clock = dram.next_timer(specs.dram, states.dram, links.dram_requests, states.time[1])
    while clock < NEVER and clock * specs.dram.dram_ticks < end:
        progress |= dram.step(specs.dram, states.dram, links.dram_requests, links.dram_responses, clock)
        states.time[1] = clock
        clock = max(clock + 1, dram.next_timer(specs.dram, states.dram, links.dram_requests, clock))
    return progress


@kernel
def _step_network(specs, states, links, log, now):
    """The network, and a record of the packets that it has added to others: words 2 and 3 of a psum packet are its drain and number."""
    progress = network.step(specs.noc, states.noc, links.inject, links.eject, now)
    absorbed = states.noc.absorbed
    for i in range(1, absorbed[0, 0] + 1):
        record(log, REDUCED, absorbed[i, 0], absorbed[i, 1], absorbed[i, 2], absorbed[i, 3])
    return progress


@kernel
def _step_part(part, specs, states, links, log, program, now):
    if part == CONTROLLER:
        return controller.step(specs.controller, states.controller, program, links.commands, links.completions, log, now)
    if part == DMA:
        return dma.step(
            specs.dma, states.dma, specs.dram, program.transfers, links.commands, links.completions,
            links.dram_requests, links.dram_responses, links.buffer_requests, links.buffer_responses, log, now,
        )  # fmt: skip
    if part == DRAM:
        return _step_dram(specs, states, links, now)
    if part == BUFFERS:
        return buffer.step(specs.buffers, states.buffers, links.buffer_requests, links.buffer_responses, now)
    if part == FEEDERS:
        return feeder.step(
            specs.feeders, states.feeders, program.feeds, links.commands, links.completions,
            links.buffer_requests, links.buffer_responses, links.inject, log, now,
        )  # fmt: skip
    if part == NOC:
        return _step_network(specs, states, links, log, now)
    if part == CLUSTERS:
        return cluster.step(
            specs.clusters, states.clusters, program.computes, program.drains, program.sweep_cycles, program.sweep_words,
            links.commands, links.completions, links.inject, links.eject, log, now,
        )  # fmt: skip
    if part == COLLECTORS:
        return collector.step(
            specs.collectors, states.collectors, program.drains, program.segment_offsets,
            links.completions, links.eject, links.buffer_requests, links.buffer_responses, log, now,
        )  # fmt: skip
    return unified.step(
        specs.unified,
        states.unified,
        program.vectors,
        links.commands,
        links.completions,
        links.buffer_requests,
        links.buffer_responses,
        log,
        now,
    )


@kernel
def _next_cycle(specs, states, links, now):
    """Earliest cycle after ``now`` in which a part can act by itself."""
    clock = dram.next_timer(specs.dram, states.dram, links.dram_requests, states.time[1])
    timer = NEVER
    if clock < NEVER:
        timer = max(clock * specs.dram.dram_ticks // specs.core_ticks, now + 1)
    timer = min(timer, dma.next_timer(specs.dma, links.dram_responses, links.buffer_responses, links.dram_requests, now))
    timer = min(timer, buffer.next_timer(specs.buffers, links.buffer_requests, now))
    timer = min(timer, feeder.next_timer(specs.feeders, links.buffer_responses, now))
    timer = min(timer, network.next_timer(specs.noc, states.noc, links.inject, links.eject, now))
    timer = min(timer, cluster.next_timer(specs.clusters, states.clusters, links.eject, now))
    timer = min(timer, collector.next_timer(specs.collectors, links.eject, links.buffer_responses, now))
    return min(timer, unified.next_timer(specs.unified, states.unified, links.buffer_responses, now))


@entry
def run_cycles(specs, states, links, log, program, order, until):
    """Simulate to core cycle ``until``, to the end, or until the log of events must be emptied. ``order`` [parts]: the order of the parts
    within a cycle.

    Returns RUNNING, FINISHED (all commands done, nothing under way) or DEADLOCK (work left and nothing can act).
    """
    now = states.time[0]
    while now < until and not is_full(log):
        progress = False
        for i in range(order.shape[0]):
            progress |= _step_part(order[i], specs, states, links, log, program, now)
        if progress:
            states.time[2] = now
            now += 1
            continue
        timer = _next_cycle(specs, states, links, now)
        if timer == NEVER:
            states.time[0] = now
            return FINISHED if states.controller.total_done[0] == program.commands.shape[0] else DEADLOCK
        now = max(now + 1, timer)  # whatever a part says, time goes on
    states.time[0] = now
    return RUNNING


@entry
def catch_up_dram(spec, state, requests, responses, clock):
    """Bring idle DRAM channels to the end of a simulation: refreshes that nobody waited for still happen."""
    dram.step(spec, state, requests, responses, clock)


ORDER = np.arange(len(PARTS))
"""The order of the parts that a simulation uses; any permutation gives the same results."""
