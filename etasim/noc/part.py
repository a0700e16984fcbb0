"""The network as a part of the machine: packets of psums are messages whose last two words are their drain and their number."""

from typing import Any

from etasim.core.jit import kernel
from etasim.noc import network
from etasim.noc.spec import NocSpec, NocState
from etasim.program.commands import Program
from etasim.program.events import REDUCED, EventLog, record


@kernel
def step(spec: NocSpec, state: NocState, program: Program, links: Any, log: EventLog, _: int, now: int) -> int:
    """One cycle, and a record of the packets that were added to others."""
    progress = network.step(spec, state, links.inject, links.eject, now)
    absorbed = state.absorbed
    for i in range(1, absorbed[0, 0] + 1):
        record(log, REDUCED, absorbed[i, 0], absorbed[i, 1], absorbed[i, 2], absorbed[i, 3])
    return progress


@kernel
def next_timer(spec: NocSpec, state: NocState, program: Program, links: Any, log: EventLog, _: int, now: int) -> int:
    """Next cycle in which the network can act."""
    return network.next_timer(spec, state, links.inject, links.eject, now)
