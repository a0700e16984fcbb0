"""What rows cost a run of bursts: the address map decides how often a bank must open another, and the queue how many it can take together.

docs/models/analytical.md derives it; a test holds it beside replays.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from etasim.config.dram_part import field_sizes
from etasim.core.registry import DRAM_SCHEDULERS
from etasim.memory.dram.address import gather_table, gathered, slices_of

RUN_BURSTS = 1024
"""Of a channel, one after the other: a few rows."""

Place = tuple[int, int]
"""Bank of a channel, and row of it."""


def _places(config: Any) -> Iterator[Place]:
    """Where each burst of a run lies."""
    sizes = field_sizes(config.part.organisation, config.ranks)
    slices = slices_of(config.mapping, sizes)
    banks, rows = (gathered(gather_table(slices, fields, sizes), np.arange(RUN_BURSTS)) for fields in (("ra", "bg", "ba"), ("ro",)))
    return zip(banks.tolist(), rows.tolist(), strict=True)


def _opened(places: Sequence[Place], window: int) -> Counter[int]:
    """Rows that each bank opens in a run, of which ``window`` bursts wait at a time: those of a row are taken together."""
    opened, open_rows = Counter[int](), dict[int, int]()
    for first in range(0, len(places), window):
        for bank, row in dict.fromkeys(places[first : first + window]):
            opened[bank] += open_rows.get(bank) != row
            open_rows[bank] = row
    return opened


def _one_by_one(places: Sequence[Place], same_bank: int, other_bank: int) -> int:
    """Clocks of the rows that are opened in order, none before the burst of the one before has been asked for."""
    clocks, open_rows, before = 0, dict[int, int](), -1
    for bank, row in places:
        clocks += (same_bank if bank == before else other_bank) * (open_rows.get(bank) != row)
        open_rows[bank], before = row, bank
    return clocks


@lru_cache(maxsize=256)
def rows_per_burst(config: Any) -> Fraction:
    """Rows that are opened for each burst of a long run that is read."""
    return Fraction(sum(_opened(list(_places(config)), _window(config)).values()), RUN_BURSTS)


def _is_in_order(config: Any) -> bool:
    return bool(DRAM_SCHEDULERS[config.scheduler].is_in_order)


def _window(config: Any, is_store: bool = False) -> int:
    """Bursts among which those of a row are taken together."""
    return 1 if _is_in_order(config) else config.write_queue if is_store else config.read_queue


@lru_cache(maxsize=256)
def row_clocks_per_burst(config: Any, is_store: bool) -> Fraction:
    """Clocks that the rows which its banks open take of a channel for each burst of a long run. ``config``: a ``dram`` section."""
    timing, places = config.part.timing_clocks, list(_places(config))
    used = timing.RCD + timing.CWL + timing.BL + timing.WR if is_store else timing.RCD + timing.RTP
    row_clocks = max(timing.RC, max(timing.RAS, used) + timing.RP)
    if _is_in_order(config):
        return Fraction(_one_by_one(places, row_clocks, timing.RCD + 1), RUN_BURSTS)
    opened = _opened(places, _window(config, is_store))
    apart = max(timing.RRDS, Fraction(timing.FAW, 4)) / config.ranks
    return max(max(opened.values()) * row_clocks, sum(opened.values()) * apart) / Fraction(RUN_BURSTS)
