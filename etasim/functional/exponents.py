"""Which tensors of an iteration have one exponent."""

from collections.abc import Sequence

from etasim.functional.packing import Key
from etasim.ops import JOINED
from etasim.workload.lowering import Unit


def exponent_owner(units: Sequence[Unit], key: Key) -> Key:
    """The tensor whose exponent tensor ``key`` has: itself, unless it is an output in a concatenation (the first that reads it), or of an
    operation that keeps the exponent of what it reads."""
    index, role = key
    if role != "output" or index < 0:
        return key
    unit = units[index]
    joined = next((reader for reader in unit.consumers if units[reader].head.schema.channels == JOINED), None)
    if joined is not None:
        return exponent_owner(units, (joined, role))
    return exponent_owner(units, (unit.inputs[0], role)) if unit.head.schema.keeps_exponent else key
