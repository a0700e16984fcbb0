"""Which buffers and parts a machine has, and how many ports each part has at its buffer (`etasim.program.commands.PORTS`)."""

from typing import Any

from etasim.config import Architecture
from etasim.program.commands import BUFFERS, FILL, FIXED_ENGINES, MAX_READS, MAX_WRITES, N_DMA, parts_at
from etasim.schedule.array import present_of


def buffers_of(architecture: Architecture) -> dict[str, Any]:
    """Sections of the buffers by name, in the order of their numbers."""
    names = BUFFERS + ("second",) * present_of(architecture).second
    return {name: getattr(architecture.buffers, name) for name in names}


def port_counts(architecture: Architecture) -> dict[str, int]:
    """Ports of each part at a buffer: a DMA engine has one for each DRAM channel, the collectors one each, a unified core one for each
    stream, a mover one at each of its buffers."""
    present = present_of(architecture)
    engines = dict.fromkeys(FIXED_ENGINES[:N_DMA] + (FILL,) * present.second, architecture.dram.channels)
    others = {"feed.stream": 1, "feed.stationary": 1, "collectors": len(architecture.noc.placement.error)}
    n_cores = architecture.unified_core.n_cores
    streams = {"unified operands": n_cores * MAX_READS, "unified results": n_cores * MAX_WRITES}
    return engines | others | streams | {mover.name: 1 for mover in present.movers}


def writers_and_readers(architecture: Architecture, buffer: str) -> tuple[int, int]:
    """Ports that write ``buffer``, and ports that read it."""
    counts, number = port_counts(architecture), [*BUFFERS, "second"].index(buffer)
    writers, readers = (sum(counts[part] for part in parts_at(number, writes, counts)) for writes in (True, False))
    return writers, readers
