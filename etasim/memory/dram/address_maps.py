"""Address maps that have a name: from the bits that a part needs for each field to the text of ``dram.mapping``
(`etasim.memory.dram.address`). The names say what lies above what in an address."""

from collections.abc import Mapping

from etasim.core.registry import ADDRESS_MAPS


def in_order(bits: Mapping[str, int], *fields: str) -> str:
    """The text of a mapping with ``fields`` from the most to the least significant, each whole."""
    return ",".join(f"{field}:{bits[field]}" for field in fields)


def row_bank_column(bits: Mapping[str, int]) -> str:
    """A stream stays in a row as long as there is one."""
    return in_order(bits, "ro", "ra", "bg", "ba", "co")


def row_column_bank(bits: Mapping[str, int]) -> str:
    """Bursts that follow each other lie in different bank groups, then banks, then ranks."""
    return in_order(bits, "ro", "co", "ra", "ba", "bg")


for _map in (row_bank_column, row_column_bank):
    ADDRESS_MAPS.add(_map.__name__, _map)
