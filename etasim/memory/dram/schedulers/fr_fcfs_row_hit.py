"""``fr_fcfs`` that does not close a row which an older request hits, as Ramulator 2.1 does with FRFCFSRowHit."""

from typing import Any

from etasim.core.jit import kernel
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram.schedule import KEPT, MAY_CLOSE, offer_bank, row_is_needed
from etasim.memory.dram.scheduler import of_offers
from etasim.memory.dram.spec import HIT, MISS, DramSpec, DramState


@kernel
def offer(spec: DramSpec, state: DramState, channel: int, first_clock: int, slot: int, queue: int, bank: int, limit: int, best: Any) -> Any:
    """A row is not closed while a request has its ACT issued, nor for a request younger than one that hits it."""
    is_hit = state.banks[channel, bank]["oldest_age"][HIT, queue] < state.banks[channel, bank]["oldest_age"][MISS, queue]
    row = KEPT if row_is_needed(state, channel, bank) | is_hit else MAY_CLOSE
    return offer_bank(spec, state, channel, first_clock, slot, queue, bank, limit, row, best)


DRAM_SCHEDULERS.add("fr_fcfs_row_hit", of_offers(offer))
