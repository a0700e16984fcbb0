"""A DRAM scheduler: first come, first served. Only the oldest request of a queue has commands, and a row stays open until it must close."""

from etasim.core.jit import kernel
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram.schedule import MAY_CLOSE, best_offer, offer_bank, oldest_age
from etasim.memory.dram.scheduler import of_queues


@kernel
def offer(spec, state, channel, first_clock, slot, queue, bank, limit, best):
    """The next command of a bank's oldest requests, whatever younger requests have planned for its row."""
    return offer_bank(spec, state, channel, first_clock, slot, queue, bank, limit, MAY_CLOSE, best)


@kernel
def best_queued(spec, state, channel, first_clock, slot, queue):
    """The next command of the oldest request."""
    return best_offer(offer, spec, state, channel, first_clock, slot, queue, oldest_age(state, channel, queue) + 1)


DRAM_SCHEDULERS.add("first_come", of_queues(best_queued))
