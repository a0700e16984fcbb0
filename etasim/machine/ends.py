"""The instances of the parts, which sleep and wake by themselves, and where they stand at the channels.

An instance is what is stepped: one DMA engine, one DRAM channel, one cluster; a part that a machine lacks has none. The collectors are
one, because a completion of a drain may come from any of them.
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
    host: range
    movers: range


def instances_of(specs: "Specs") -> Instances:
    """The instances of a machine."""
    several = {
        "dma": specs.dma.n_engines, "dram": specs.dram.n_channels, "buffers": len(specs.buffers.n_banks),
        "feeders": len(specs.feeders.engine), "clusters": len(specs.clusters.node), "unified": len(specs.unified.engine),
        "host": len(specs.host.engine), "movers": len(specs.movers.engine),
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
    """Who stands where in a machine whose program is for ``engines``. Nobody waits at a node of the network without cluster or port,
    and nobody for room for an answer: who asks leaves it. The last place in ``wake_at`` is nobody's."""
    at = instances_of(specs)
    wake_at, nobody = np.zeros(at[-1].stop + 1, np.int64), np.array(at[-1].stop)
    executes = np.empty(max(own.stop for own in engines), np.int64)
    executes[specs.dma.engine], executes[specs.feeders.engine], executes[specs.unified.engine] = at.dma, at.feeders, at.unified
    executes[specs.host.engine], executes[specs.movers.engine] = at.host, at.movers
    executes[engines.computes] = executes[engines.drains] = at.clusters
    completes = executes.copy()
    completes[engines.drains] = at.collectors[0]
    controller, network = np.full((2, 1), [[at.controller[0]], [at.noc[0]]])
    requesters = np.array([*at.dma, *at.host])
    channels, masters = np.repeat(at.dram, len(requesters)), np.tile(requesters, len(at.dram))
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
        dram_requests=between(masters, channels), dram_responses=between(nobody, masters),
        buffer_requests=between(asks, serves), buffer_responses=between(nobody, asks),
        inject=between(sends, network), eject=between(network, receives),
    )  # fmt: skip


def _requesters(specs: "Specs", at: Instances) -> tuple[Integers, Integers]:
    """[requester]: the instance that it belongs to, and the buffer that it asks."""
    asks, serves = np.empty((2, len(specs.buffers.members)), np.int64)
    asks[specs.dma.first_port[:, None] + np.arange(specs.dma.n_channels)] = np.array(at.dma)[:, None]
    asks[specs.feeders.requester], asks[specs.collectors.requester] = at.feeders, at.collectors[0]
    asks[specs.unified.requester] = np.array(at.unified)[:, None]
    asks[specs.movers.source] = asks[specs.movers.target] = at.movers
    serves[specs.buffers.members] = np.repeat(at.buffers, np.diff(specs.buffers.first))
    return asks, serves
