"""Memories: DRAM channels, buffers, DMA engines."""


def replay(*args, **kwargs):
    """Replay a request trace through one DRAM channel; see :func:`etasim.memory.dram.replay.replay`."""
    from etasim.memory.dram.replay import replay as run

    return run(*args, **kwargs)
