"""First come, first served: commands for the oldest request alone."""

from typing import Any

from etasim.core.jit import kernel
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram.schedule import best_offer, oldest_age
from etasim.memory.dram.scheduler import of_queues
from etasim.memory.dram.schedulers.fr_fcfs import offer
from etasim.memory.dram.spec import DramSpec, DramState


@kernel
def best_queued(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, queue: int) -> Any:
    """The next command of the oldest request."""
    return best_offer(offer, spec, state, channel, first_clock, slot, queue, oldest_age(state, channel, queue) + 1)


DRAM_SCHEDULERS.add("fcfs", of_queues(best_queued, is_in_order=True))
