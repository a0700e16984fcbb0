"""The instances of the parts, which sleep and wake by themselves, and where they stand at the channels.

An instance is what is stepped: one DMA engine, one DRAM channel, one cluster. The collectors are one, because a completion of a drain may
come from any of them.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.channel import Ends
from etasim.program.commands import Engines

if TYPE_CHECKING:
    from etasim.machine.elaborate import Specs


class Instances(NamedTuple):
    """Numbers of the instances of each part, in the order of the parts; all of them together are 0, 1, 2, ..."""

    controller: range
    dma: range
    dram: range
    buffers: range
    feeders: range
    noc: range
    clusters: range
    collectors: range
    unified: range


def instances_of(specs: "Specs") -> Instances:
    """The instances of a machine."""
    several = {
        "dma": specs.dma.n_engines, "dram": specs.dram.n_channels, "buffers": len(specs.buffers.n_banks),
        "feeders": len(specs.feeders.engine), "clusters": len(specs.clusters.node), "unified": len(specs.unified.engine),
    }  # fmt: skip
    counts = [several.get(part, 1) for part in Instances._fields]
    ends = np.cumsum(counts).tolist()
    return Instances(*(range(end - count, end) for count, end in zip(counts, ends, strict=True)))


class BankEnds(NamedTuple):
    """The ends of the banks of channels, by the names of the banks."""

    commands: Ends
    completions: Ends
    dram_requests: Ends
    dram_responses: Ends
    buffer_requests: Ends
    buffer_responses: Ends
    inject: Ends
    eject: Ends


def ends_of(specs: "Specs", engines: Engines) -> BankEnds:
    """Who stands where in a machine whose program is for ``engines``. Nobody waits at a node of the network without cluster or port."""
    at = instances_of(specs)
    wake_at = np.zeros(at[-1].stop, np.int64)
    executes = np.array([*at.dma, *at.feeders, *at.unified, *at.clusters, *at.clusters])
    completes = executes.copy()
    completes[engines.drains] = at.collectors[0]
    controller, network = np.full((2, 1), [[at.controller[0]], [at.noc[0]]])
    channels, movers = np.repeat(at.dram, len(at.dma)), np.tile(at.dma, len(at.dram))
    asks, serves = _requesters(specs, at)
    sends, receives = np.full((2, specs.noc.n_nodes), at.noc[0])
    sends[specs.clusters.node] = receives[specs.clusters.node] = at.clusters
    sends[specs.feeders.node] = at.feeders
    receives[specs.collectors.node] = at.collectors[0]

    def between(sender: Integers, receiver: Integers) -> Ends:
        of_each = np.array(np.broadcast_arrays(sender, receiver), np.int64)
        return Ends(of_each[0], of_each[1], wake_at)

    return BankEnds(
        commands=between(controller, executes), completions=between(completes, controller),
        dram_requests=between(movers, channels), dram_responses=between(channels, movers),
        buffer_requests=between(asks, serves), buffer_responses=between(serves, asks),
        inject=between(sends, network), eject=between(network, receives),
    )  # fmt: skip


def _requesters(specs: "Specs", at: Instances) -> tuple[Integers, Integers]:
    """[requester]: the instance that it belongs to, and the buffer that it asks."""
    asks = np.concatenate([
        np.repeat(at.dma, specs.dma.n_channels), at.feeders, np.full(len(specs.collectors.requester), at.collectors[0]),
        np.repeat(at.unified, specs.unified.requester.shape[1]),
    ])  # fmt: skip
    serves = np.empty(len(asks), np.int64)
    serves[specs.buffers.members] = np.repeat(at.buffers, np.diff(specs.buffers.first))
    return asks, serves
