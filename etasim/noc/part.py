"""The network as a part of the machine: packets of psums are messages whose last two words are their drain and their number."""

from etasim.core.jit import kernel
from etasim.noc import network
from etasim.program.events import REDUCED, record


@kernel
def step(spec, state, program, links, log, now):
    """One cycle, and a record of the packets that were added to others."""
    progress = network.step(spec, state, links.inject, links.eject, now)
    absorbed = state.absorbed
    for i in range(1, absorbed[0, 0] + 1):
        record(log, REDUCED, absorbed[i, 0], absorbed[i, 1], absorbed[i, 2], absorbed[i, 3])
    return progress


@kernel
def next_timer(spec, state, program, links, log, now):
    """Next cycle in which the network can act."""
    return network.next_timer(spec, state, links.inject, links.eject, now)
