"""First ready, first come, first served, as in Ramulator 2.1: the oldest request whose next command is ready."""

from typing import Any

from etasim.core.jit import kernel
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram.schedule import KEPT, MAY_CLOSE, offer_bank, row_is_needed
from etasim.memory.dram.scheduler import of_offers
from etasim.memory.dram.spec import DramSpec, DramState


@kernel
def offer(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, queue: int, bank: int, limit: int, best: Any) -> Any:
    """A row is not closed while a request has its ACT issued."""
    row = KEPT if row_is_needed(state, channel, bank) else MAY_CLOSE
    return offer_bank(spec, state, channel, first_clock, slot, queue, bank, limit, row, best)


DRAM_SCHEDULERS.add("fr_fcfs", of_offers(offer))
