"""What a replay measures: latency, distance and accepted rate of packets, as they leave the network."""

from dataclasses import dataclass

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.channel import NEVER, Channels, can_pop, pop
from etasim.core.jit import kernel
from etasim.core.message import packet_bits, packet_words
from etasim.noc.flits import flit_hop_energies_pj
from etasim.noc.parameters import NocDescription

HISTOGRAM_CYCLES = 1024
"""Latencies from here on share the last bin of the histogram."""

# Elements of Measurement.sums
PACKETS, LATENCY, HOPS, LEAST, MOST, RECORDED_IN_FLIGHT, IN_FLIGHT, MADE_AT = range(8)


@dataclass(frozen=True)
class ReplayResult:
    """What a replay measured; None where its mode does not measure it.

    ``status`` is "ok" or "unstable"; with several replications counts are sums and rates are means.
    Latency runs from the cycle in which the source made the packet to the ejection of its tail;
    ``average_hops`` counts routers visited; ``run_to_run_percent``: standard deviation of the measured quantity (latency, accepted
    rate or batch time) among the replications in percent of its mean, i.e. the noise of a single run; ``histogram`` [cycle] counts
    packets by latency, the last bin those beyond; ``counters`` [message class] and ``links`` [output port] as in
    `etasim.noc.spec`, over all cycles; ``energy_pj``: flit hops times ``energy_per_flit_hop_pj``, None if that is not known.
    """

    status: str
    average_packet_latency_cycles: float | None
    minimum_packet_latency_cycles: int | None
    maximum_packet_latency_cycles: int | None
    average_hops: float | None
    accepted_flits_per_node_per_cycle: float | None
    minimum_node_accepted: float | None
    maximum_node_accepted: float | None
    batch_cycles: int | None
    run_to_run_percent: float | None
    total_cycles: int
    histogram: np.ndarray
    counters: np.ndarray
    links: np.ndarray
    energy_pj: float | None = None

    @property
    def link_utilization(self) -> np.ndarray:
        """Share of all cycles in which each output port sent a flit, [router * ports + port]."""
        return self.links["flits"] / max(self.total_cycles, 1)


@dataclass
class Measurement:
    """Accumulators: ``sums`` as named above, ``accepted`` [node] flits of complete packets, ``histogram`` [cycle]."""

    sums: np.ndarray
    accepted: np.ndarray
    histogram: np.ndarray

    @classmethod
    def of(cls, n_nodes: int) -> "Measurement":
        """Nothing measured yet."""
        return cls(np.zeros(8, np.int64), np.zeros(n_nodes, np.int64), np.zeros(HISTOGRAM_CYCLES + 1, np.int64))

    def clear(self) -> None:
        """Forget what was measured, not what is in flight."""
        self.sums[[PACKETS, LATENCY, HOPS, MOST]] = 0
        self.sums[LEAST] = NEVER
        self.accepted[:] = 0
        self.histogram[:] = 0


def energy_pj(parameters: NocDescription, counters: np.ndarray) -> float | None:
    """Energy of all flit hops in ``counters`` [message class], None if that of one is not known."""
    each_pj = flit_hop_energies_pj(parameters, len(counters))
    return None if each_pj is None else float(np.dot(counters["flit_hops"], each_pj))


@kernel
def take_packets(
    eject: Channels,
    flit_bits: int,
    routers_visited: Integers,
    sums: Integers,
    accepted: Integers,
    histogram: Integers,
    now: int,
    count_all: int,
) -> None:
    """Empty the ejection channels; a message seen at ``now + 1`` left the network at ``now``.

    A message, whole flits of ``flit_bits``, carries the cycle in which its packet was made, and twice its source, plus one if the
    packet is recorded.
    """
    for node in range(len(accepted)):
        while can_pop(eject, node, now + 1):
            n_flits = packet_bits(eject, node) // flit_bits
            made_at, mark = packet_words(eject, node)
            is_recorded = mark & 1
            pop(eject, node, now + 1)
            accepted[node] += n_flits
            sums[IN_FLIGHT] -= 1
            sums[MADE_AT] -= made_at
            sums[RECORDED_IN_FLIGHT] -= is_recorded
            if is_recorded or count_all:
                latency = now - made_at
                sums[PACKETS] += 1
                sums[LATENCY] += latency
                sums[HOPS] += routers_visited[mark >> 1, node]
                sums[LEAST] = min(sums[LEAST], latency)
                sums[MOST] = max(sums[MOST], latency)
                histogram[min(latency, len(histogram) - 1)] += 1
