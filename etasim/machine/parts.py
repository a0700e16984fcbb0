"""How many ports each part of the machine has at its buffer (`etasim.program.commands.PORTS`)."""

from etasim.config import Architecture
from etasim.program.commands import BUFFERS, FIXED_ENGINES, MAX_READS, MAX_WRITES, N_DMA, parts_at


def port_counts(architecture: Architecture) -> dict[str, int]:
    """Ports of each part: a DMA engine has one for each DRAM channel, the collectors one each, a unified core one for each stream."""
    engines = dict.fromkeys(FIXED_ENGINES[:N_DMA], architecture.dram.channels)
    others = {"feed.stream": 1, "feed.stationary": 1, "collectors": len(architecture.noc.placement.error)}
    n_cores = architecture.unified_core.n_cores
    return engines | others | {"unified operands": n_cores * MAX_READS, "unified results": n_cores * MAX_WRITES}


def writers_and_readers(architecture: Architecture, buffer: str) -> tuple[int, int]:
    """Ports that write ``buffer``, and ports that read it."""
    counts = port_counts(architecture)
    writers, readers = (sum(counts[part] for part in parts_at(BUFFERS.index(buffer), writes)) for writes in (True, False))
    return writers, readers
