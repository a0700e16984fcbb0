"""``fr_fcfs`` as in Ramulator 2.0: where the oldest ready command is a PRE of a row that is still needed, nothing younger issues."""

from typing import Any

from etasim.core.channel import NEVER
from etasim.core.jit import kernel
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram.schedule import BLOCKS, MAY_CLOSE, NO_CHOICE, best_offer, offer_bank, row_is_needed
from etasim.memory.dram.scheduler import of_queues
from etasim.memory.dram.spec import DramSpec, DramState


@kernel
def offer(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, queue: int, bank: int, limit: int, best: Any) -> Any:
    """The PRE of a row that a request with an issued ACT needs is offered too, as one that blocks."""
    row = BLOCKS if row_is_needed(state, channel, bank) else MAY_CLOSE
    return offer_bank(spec, state, channel, first_clock, slot, queue, bank, limit, row, best)


@kernel
def best_queued(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, queue: int) -> Any:
    """A choice that blocks keeps all younger ones from issuing from its clock on, so then only older ones are left to look at."""
    limit, choice, is_blocked = NEVER, NO_CHOICE, True
    while is_blocked:
        choice = best_offer(offer, spec, state, channel, first_clock, slot, queue, limit)
        is_blocked, limit = (choice[0] < NEVER) & (choice[2] >= 2 * spec.n_banks), choice[1]
    return choice


DRAM_SCHEDULERS.add("fr_fcfs_blocking", of_queues(best_queued))
