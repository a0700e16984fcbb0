"""What a network is (`NocSpec`), what it remembers (`NocState`) and what it counts.

Vocabulary: an *input VC* is one virtual channel of one input port; a *port group* is all input VCs of one port. Groups
``router * n_ports + port`` are router inputs, groups ``n_routers * n_ports + interface`` are the ejection buffers of the network
interfaces, so that a router sends to both in the same way. Input VC = group * n_vcs + vc. A *site* is a router, or
(``n_routers + interface``) a network interface. A node has one interface in each physical network; interface =
network * n_nodes + node, and the routers of the networks follow each other in the same way.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.channel import NEVER
from etasim.noc import columns as col
from etasim.noc.flits import flits_of
from etasim.noc.memo import Memo, memo_of
from etasim.noc.topology import ABSENT, MAX_INPUT_VCS

MAX_ALLOCATION_CYCLES = 31
"""Of either allocator: as far back as `etasim.noc.buffers.was_free` remembers."""

COUNTERS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "packets_injected", "flits_injected", "flits_expected", "flits_ejected", "packets_ejected", "flit_hops",
            "buffer_busy_stall_cycles", "buffer_conflict_stall_cycles", "buffer_full_stall_cycles", "crossbar_conflict_stall_cycles",
            "ejection_stall_cycles", "source_queue_cycles", "buffer_flit_cycles", "refused_packets",
        )
    ]
)  # fmt: skip
"""Counters of a message class. ``flits_expected``: copies that must be ejected; ``flit_hops``: traversals of links between
routers; ``source_queue_cycles``: packets waiting in front of the network; ``buffer_flit_cycles``: flits times cycles in buffers;
stalls are cycles of head-of-line flits, booked when the wait ends, under BookSim's names: ``buffer_busy`` every output VC was
taken, ``buffer_conflict`` lost VC allocation, ``buffer_full`` no credit, ``crossbar_conflict`` lost the switch; and ``ejection``: the
receiver's channel was full. ``refused_packets`` is 1 once a multicast
longer than a buffer was offered; it blocks its source."""

REDUCTION_COUNTERS = np.dtype([(name, np.int64) for name in ("packets_reduced", "flits_reduced", "join_stall_cycles")])
"""Counters of a message class where packets are added: those that ended in another packet, their flits, and the cycles in which whole
packets waited for those that they are added to."""

LINK_STALLS = np.dtype([(name, np.int64) for name in ("buffer_full_stall_cycles", "crossbar_conflict_stall_cycles")])
LINK_COUNTERS = np.dtype([("flits", np.int64), *LINK_STALLS.descr])
"""Counters of one output port of a router."""

GIVEN_BY_PACKETS = ("packets_injected", "flits_expected", "packets_ejected", "source_queue_cycles", "refused_packets")
"""Counters to which a packet adds as it enters or leaves; the others follow from what the network does with it."""

ACCEPTED, HANDED_OVER = range(2)
"""What an interface did with a packet."""

LATENCY_BINS = 17
"""Bins of the latency histogram: packets of less than 2**bin cycles, and not of an earlier bin; the last one has the rest."""


class NocSpec(NamedTuple):
    """Immutable description: integers first, then tables.

    ``downstream`` [router * n_ports + port]: port group behind an output port, ABSENT without a link. ``arrival_cycles`` and
    ``credit_cycles`` [group]: from the decision to send until the flit is in the group, and from its departure until the
    sender may reuse the slot. ``group_site``, ``group_first`` [group]: its site, and the bit of its first VC there.
    ``routing_delay``: from the arrival of a head until VC allocation begins; ``wheel_slots``: power of two beyond every
    scheduling distance. ``route_ports`` [route, router]: output ports as bits; ``route_vcs`` [route, router * n_ports + port]: VCs that may
    be taken there, ``join_inputs``, ``route_group``, ``group_sources``: as in `etasim.noc.reduction`, ``reduces``: whether they are of
    use; ``injection_vcs`` [route]: VCs of the injection port, as bits;
    ``injection_group``, ``interface_node`` [interface]; ``class_interface`` [class]: the first interface of its network;
    ``class_flit_bits`` [class]: width of the links of its network; ``flit_hop_energy_fj`` [class]: ABSENT where it is not known;
    ``route_source`` [route]: the only node that may send on it, ABSENT for any; ``destinations`` [route, copy], padded with ABSENT.
    ``positions`` [router, (x, y)]: for pictures.
    """

    n_nodes: int
    n_interfaces: int
    n_routers: int
    n_ports: int
    n_vcs: int
    n_classes: int
    router_vcs: int
    lane_mask: int
    buffer_depth: int
    routing_delay: int
    wheel_slots: int
    vc_allocation_delay: int
    switch_allocation_delay: int
    speculative: int
    ideal: int
    reduces: int
    downstream: np.ndarray
    arrival_cycles: np.ndarray
    credit_cycles: np.ndarray
    group_site: np.ndarray
    group_first: np.ndarray
    injection_group: np.ndarray
    interface_node: np.ndarray
    route_ports: np.ndarray
    route_vcs: np.ndarray
    join_inputs: np.ndarray
    route_group: np.ndarray
    group_sources: np.ndarray
    injection_vcs: np.ndarray
    route_class: np.ndarray
    class_interface: np.ndarray
    class_flit_bits: np.ndarray
    flit_hop_energy_fj: np.ndarray
    route_copies: np.ndarray
    route_links: np.ndarray
    route_source: np.ndarray
    destinations: np.ndarray
    positions: np.ndarray


class NocState(NamedTuple):
    """Mutable state; the columns are named in `etasim.noc.columns`.

    ``vcs`` [input VC], ``slots`` [input VC, slot], ``branches`` [input VC * n_ports + output port], ``ports`` [group],
    ``attention`` [site] input VCs to look at, as bits, ``wheel`` [cycle modulo slots, site] those that join them in that cycle,
    ``interfaces`` [interface], ``packets`` [packet], ``free_packets``: a stack whose height is element 0, ``scratch``: values that
    live within one router step, ``counters`` and ``reductions`` [message class], ``absorbed`` [1 + packet, 4]: words 2 and 3 of a packet,
    and those of another that it absorbed in the cycle stepped last, element [0, 0] of them; ``latencies`` [message class, bin] packets
    by the time from their offer to the ejection of their tail, ``links`` [router * n_ports + port]: stalls, ``link_flits``
    [router * n_ports + port, message class], ``handed`` [1 + event, 2]: what
    interfaces did in the cycle stepped last, element [0, 0] of it: interface * 4 + what, packet; ``memo``: steps that were taken before.
    Of the arrays, ``vcs`` to ``interfaces`` are true when they were settled (`etasim.noc.canonical`), all others always.
    """

    vcs: np.ndarray
    slots: np.ndarray
    branches: np.ndarray
    ports: np.ndarray
    attention: np.ndarray
    wheel: np.ndarray
    interfaces: np.ndarray
    packets: np.ndarray
    free_packets: np.ndarray
    scratch: np.ndarray
    counters: np.ndarray
    reductions: np.ndarray
    absorbed: np.ndarray
    latencies: np.ndarray
    links: np.ndarray
    link_flits: np.ndarray
    handed: np.ndarray
    memo: Memo


def init(spec: NocSpec, memo_words: int = 0) -> NocState:
    """The empty network at cycle 0, with a memory of ``memo_words`` (`etasim.noc.memo`)."""
    n_groups = spec.n_routers * spec.n_ports + spec.n_interfaces
    n_input_vcs = n_groups * spec.n_vcs
    n_packets = spec.n_interfaces + n_input_vcs * spec.buffer_depth
    vcs = np.zeros((n_input_vcs, 15), np.int64)
    vcs[:, [col.INPUT_GRANT, col.OUTPUT_GRANT, col.TAKEN_CHANGED]] = -1
    ports = np.zeros((n_groups, 3), np.int64)
    ports[:, [col.OUTPUT_OF_INPUT, col.INPUT_OF_OUTPUT]] = -1
    n_sites = spec.n_routers + spec.n_interfaces
    interfaces = np.zeros((spec.n_interfaces, 4), np.int64)
    interfaces[:, [col.CURRENT, col.INJECTION_VC, col.EJECTION_VC]] = -1
    n_links = spec.n_routers * spec.n_ports
    counters, links = np.zeros(spec.n_classes, COUNTERS), np.zeros(n_links, LINK_STALLS)
    link_flits = np.zeros((n_links, spec.n_classes), np.int64)
    return NocState(
        vcs=vcs,
        slots=np.zeros((n_input_vcs, spec.buffer_depth, 3), np.int64),
        branches=np.zeros((n_input_vcs * spec.n_ports, 4), np.int64),
        ports=ports,
        attention=np.zeros(n_sites, np.int64),
        wheel=np.zeros((spec.wheel_slots, n_sites), np.int64),
        interfaces=interfaces,
        packets=np.zeros((n_packets, 8), np.int64),
        free_packets=np.concatenate(([n_packets], np.arange(n_packets, dtype=np.int64))),
        scratch=np.zeros((8, MAX_INPUT_VCS), np.int64),
        counters=counters,
        reductions=np.zeros(spec.n_classes, REDUCTION_COUNTERS),
        absorbed=np.zeros((1 + spec.reduces * n_input_vcs, 4), np.int64),
        latencies=np.zeros((spec.n_classes, LATENCY_BINS), np.int64),
        links=links,
        link_flits=link_flits,
        handed=np.zeros((1 + 2 * spec.n_interfaces, 2), np.int64),
        memo=memo_of(spec, n_packets, (counters, links, link_flits), GIVEN_BY_PACKETS, memo_words),
    )


def check(spec: NocSpec, state: NocState) -> list[str]:
    """The invariants that an empty network violates, in words; none if all holds."""
    violated = []
    for index, counters in enumerate(state.counters):
        if counters["flits_ejected"] != counters["flits_expected"]:
            violated.append(f"class {index}: {counters['flits_ejected']} flits ejected, {counters['flits_expected']} expected")
        if counters["refused_packets"]:
            violated.append(f"class {index}: packets longer than a buffer of {spec.buffer_depth} flits were to be multicast or reduced")
    n_ejected, n_booked = int(state.counters["packets_ejected"].sum()), int(state.latencies.sum())
    if n_ejected != n_booked:
        violated.append(f"{n_ejected} packets ejected, but {n_booked} in the latency histogram")
    inner = (spec.downstream != ABSENT) & (spec.downstream < spec.n_routers * spec.n_ports)
    link_flits = state.link_flits[inner].sum(axis=0)
    for index, hops in enumerate(state.counters["flit_hops"].tolist()):
        if not spec.ideal and hops != link_flits[index]:
            violated.append(f"class {index}: {hops} flit hops, but {link_flits[index]} flits on the links")
    leftovers = {"flits": col.COUNT, "a packet without a VC": col.PENDING, "an unfinished packet": col.ACTIVE, "an owner": col.TAKEN}
    for name, column in leftovers.items():
        n_wrong = int(np.count_nonzero(state.vcs[:, column]))
        if n_wrong:
            violated.append(f"{n_wrong} input VCs still have {name}")
    n_lost = int(np.count_nonzero(state.slots[:, :, col.FREE] == NEVER))
    if n_lost:
        violated.append(f"{n_lost} credits did not come back")
    if state.free_packets[0] != len(state.packets):
        violated.append(f"{len(state.packets) - state.free_packets[0]} packets are still in the network")
    return violated


def longest_wait_cycles(spec: NocSpec) -> int:
    """Cycles within which some flit of a network that holds one moves on, whatever came before, unless a receiver is full: a way through
    a router, in which each allocator may have to begin again, over a wire, and the credit's way back."""
    allocation = 2 * (spec.vc_allocation_delay + spec.switch_allocation_delay)
    return spec.routing_delay + allocation + int(spec.arrival_cycles.max(initial=0)) + int(spec.credit_cycles.max(initial=0)) + 2


def link_counters(state: NocState) -> np.ndarray:
    """`LINK_COUNTERS` of all output ports, [router * n_ports + port]."""
    counters = np.zeros(len(state.links), LINK_COUNTERS)
    counters["flits"] = state.link_flits.sum(axis=1)
    for name in LINK_STALLS.names or ():
        counters[name] = state.links[name]
    return counters


def flits_moved(state: NocState) -> int:
    """Flits that entered the network, crossed a link or left, in all."""
    return int(state.link_flits.sum() + state.counters["flits_injected"].sum() + state.counters["flits_ejected"].sum())


def class_flits(spec: NocSpec, message_bits: int) -> np.ndarray:
    """Flits that a packet of ``message_bits`` has on the links of its network, [message class]."""
    return flits_of(message_bits, spec.class_flit_bits)
