"""An address map: bursts that follow each other lie in different bank groups, and then in one row."""

from etasim.core.registry import ADDRESS_MAPS
from etasim.memory.dram.address_maps import in_order


def group_first(bits) -> str:
    """Row, rank, bank, column, group."""
    return in_order(bits, "ro", "ra", "ba", "co", "bg")


ADDRESS_MAPS.add("group_first", group_first)
