"""Memories: DRAM channels, buffers, DMA engines."""

from typing import Any


def replay(*args: Any, **kwargs: Any) -> Any:
    """Replay a request trace through one DRAM channel; see :func:`etasim.memory.dram.replay.replay`."""
    from etasim.memory.dram.replay import replay as run

    return run(*args, **kwargs)
