"""Which parts ask which buffer, and what for: the table that elaboration wires and the board counts."""

from typing import NamedTuple

from etasim.config import Architecture
from etasim.program.commands import MAX_READS, MAX_WRITES


class Ports(NamedTuple):
    """The ports of one part at a buffer."""

    part: str
    writes: bool


BUFFER_PORTS = {
    "activation": (Ports("load.activation", True), Ports("feed.stream", False)),
    "weight": (Ports("load.weight", True), Ports("feed.stationary", False)),
    "error": (
        Ports("load.error", True), Ports("store", False), Ports("collectors", True),
        Ports("unified operands", False), Ports("unified results", True),
    ),
}  # fmt: skip
"""By buffer, in the order in which it numbers its requesters."""


def port_counts(architecture: Architecture) -> dict[str, int]:
    """Ports of each part: a DMA engine has one for each DRAM channel, the collectors one each, the unified core one for each stream."""
    engines = dict.fromkeys(("load.activation", "load.weight", "load.error", "store"), architecture.dram.channels)
    others = {"feed.stream": 1, "feed.stationary": 1, "collectors": len(architecture.noc.placement.error)}
    return engines | others | {"unified operands": MAX_READS, "unified results": MAX_WRITES}


def writers_and_readers(architecture: Architecture, buffer: str) -> tuple[int, int]:
    """Ports that write ``buffer``, and ports that read it."""
    counts, ports = port_counts(architecture), BUFFER_PORTS[buffer]
    writers, readers = (sum(counts[port.part] for port in ports if port.writes == writes) for writes in (True, False))
    return writers, readers
