"""A DRAM standard: GDDR5 as JEDEC JESD212 constrains it. Its part is in ``inputs/configs/dram``.

A data pin moves four bits in a clock CK (two edges of the word clock, which runs at twice CK). Of 32 activates in a row the last one is
at least t32AW after the first, because of what the supply can give in the long run. A timing's name is a name: ``AW32``.
"""

from etasim.core.registry import DRAM_STANDARDS
from etasim.memory.dram.standards import (
    BANK_GROUP_ROWS,
    BANK_ROWS,
    PRECHARGE_ROWS,
    RANK_ROWS,
    RANK_SWITCH_ROWS,
    Constraint,
    Standard,
    data_bus_rows,
)

ACTIVATES = (Constraint("rank", ("ACT",), ("ACT",), "AW32", window=32),)

GDDR5 = Standard(
    "GDDR5",
    data_bus_rows("channel") + RANK_ROWS + RANK_SWITCH_ROWS + BANK_GROUP_ROWS + BANK_ROWS + PRECHARGE_ROWS + ACTIVATES,
    transfers_per_clock=4,
)

DRAM_STANDARDS.add(GDDR5.name, GDDR5)
