"""What a network is (`NocSpec`), what it remembers (`NocState`) and what it counts.

Vocabulary: an *input VC* is one virtual channel of one input port; a *port group* is all input VCs of one port. Groups
``router * n_ports + port`` are router inputs, groups ``n_routers * n_ports + node`` are the ejection buffers of the network
interfaces, so that a router sends to both in the same way. Input VC = group * n_vcs + vc. A *site* is a router, or
(``n_routers + node``) a network interface.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from etasim.noc import columns as col
from etasim.noc.routing import POLICIES, NocError, Route, is_before_dateline, path, port_masks, refuse_deadlock
from etasim.noc.topology import ABSENT, TOPOLOGIES, Topology, positions

MAX_INPUT_VCS = 62
"""Input VCs of one router: they are the bits of one signed word."""

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

LINK_COUNTERS = np.dtype([(name, np.int64) for name in ("flits", "buffer_full_stall_cycles", "crossbar_conflict_stall_cycles")])
"""Counters of one output port of a router."""

LATENCY_BINS = 17
"""Bins of the latency histogram: packets of less than 2**bin cycles, and not of an earlier bin; the last one has the rest."""


class NocSpec(NamedTuple):
    """Immutable description: integers first, then tables.

    ``downstream`` [router * n_ports + port]: port group behind an output port, ABSENT without a link. ``arrival_cycles`` and
    ``credit_cycles`` [group]: from the decision to send until the flit is in the group, and from its departure until the
    sender may reuse the slot. ``group_site``, ``group_first`` [group]: its site, and the bit of its first VC there.
    ``head_cycles``: from the arrival of a head until VC allocation is decided; ``wheel_slots``: power of two beyond every
    scheduling distance. ``route_ports`` [route, router]: output ports as bits; ``route_vcs`` [route, router * n_ports + port]: VCs that may
    be taken there, ``injection_vcs`` [route]: VCs of the injection port, as bits;
    ``route_source`` [route]: the only node that may send on it, ABSENT for any; ``destinations`` [route, copy], padded with ABSENT.
    ``positions`` [router, (x, y)]: for pictures.
    """

    n_nodes: int
    n_routers: int
    n_ports: int
    n_vcs: int
    n_classes: int
    router_vcs: int
    lane_mask: int
    buffer_depth: int
    head_cycles: int
    wheel_slots: int
    vc_allocation_delay: int
    switch_allocation_delay: int
    speculative: int
    ideal: int
    downstream: np.ndarray
    arrival_cycles: np.ndarray
    credit_cycles: np.ndarray
    group_site: np.ndarray
    group_first: np.ndarray
    injection_group: np.ndarray
    route_ports: np.ndarray
    route_vcs: np.ndarray
    injection_vcs: np.ndarray
    route_class: np.ndarray
    route_copies: np.ndarray
    route_links: np.ndarray
    route_source: np.ndarray
    destinations: np.ndarray
    positions: np.ndarray


class NocState(NamedTuple):
    """Mutable state; the columns are named in `etasim.noc.columns`.

    ``vcs`` [input VC], ``slots`` [input VC, slot], ``branches`` [input VC * n_ports + output port], ``ports`` [group],
    ``attention`` [site] input VCs to look at, as bits, ``wheel`` [cycle modulo slots, site] those that join them in that cycle,
    ``interfaces`` [node], ``packets`` [packet], ``free_packets``: a stack whose height is element 0, ``scratch``: values that
    live within one router step, ``counters`` [message class], ``latencies`` [message class, bin] packets by the time from their
    offer to the ejection of their tail, ``links`` [router * n_ports + port].
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
    latencies: np.ndarray
    links: np.ndarray


def _refuse_bad_parameters(noc, topology: Topology) -> None:
    for key, value, least in (
        ("virtual_channels", noc.virtual_channels, 1),
        ("buffer_depth", noc.buffer_depth, 1),
        ("concentration", noc.concentration, 1),
        ("link_latency", noc.link_latency, 1),
        ("router.routing_delay", noc.router.routing_delay, 0),
        ("router.vc_allocation_delay", noc.router.vc_allocation_delay, 1),
        ("router.switch_allocation_delay", noc.router.switch_allocation_delay, 1),
    ):
        if value < least:
            raise NocError(f"noc.{key}: must be at least {least}, got {value}")
    if topology.n_ports * noc.virtual_channels > MAX_INPUT_VCS:
        size = f"{topology.n_ports} ports times {noc.virtual_channels} VCs"
        raise NocError(f"noc.virtual_channels: {size} exceed the {MAX_INPUT_VCS} input VCs that a router may have")


def topology_of(noc) -> Topology:
    """The wiring that the section ``noc`` asks for. Raises NocError for an unknown name or an empty grid."""
    if noc.topology not in TOPOLOGIES:
        raise NocError(f"noc.topology: unknown {noc.topology!r}, known are {sorted(TOPOLOGIES)}")
    if noc.columns < 1 or noc.rows < 1:
        raise NocError(f"noc.columns, noc.rows: must be at least 1, got {noc.columns} x {noc.rows}")
    return TOPOLOGIES[noc.topology](noc.columns, noc.rows, max(noc.concentration, 1))


def policy_of(noc):
    """The routing policy that the section ``noc`` names. Raises NocError for an unknown name."""
    if noc.routing not in POLICIES:
        raise NocError(f"noc.routing: unknown {noc.routing!r}, known are {sorted(POLICIES)}")
    return POLICIES[noc.routing]


def class_vcs(message_class: int, n_classes: int, n_vcs: int) -> tuple[int, int]:
    """First VC and number of VCs of a message class: an equal share, or one VC shared by classes if there are too few."""
    if n_classes > n_vcs:
        return message_class % n_vcs, 1
    first = message_class * n_vcs // n_classes
    return first, (message_class + 1) * n_vcs // n_classes - first


def _order_keeping_vcs(route: Route, n_classes: int, n_vcs: int, has_dateline: bool) -> tuple[int, int]:
    """The one VC of a route, as a bit, before and after a dateline.

    It depends on class and source only, so no packet can overtake another on the way. Raises NocError where a ring would need a
    second VC and there is none.
    """
    first, count = class_vcs(route.message_class, n_classes, n_vcs)
    if not has_dateline:
        return 2 * (1 << (first + route.source % count),)
    half = count // 2
    if not half:
        raise NocError(f"noc.virtual_channels: a torus needs two VCs for each of {n_classes} message classes, got {n_vcs}")
    return 1 << (first + route.source % half), 1 << (first + half + route.source % half)


def hop_vcs(topology: Topology, paths, before: int, after: int) -> np.ndarray:
    """VCs of a route at each hop, [router * n_ports + port]: ``before`` where one of its paths has a dateline ahead, else ``after``."""
    vcs = np.full(topology.n_routers * topology.n_ports, after, np.int64)
    for steps in paths:
        for (router, port), is_before in zip(steps, is_before_dateline(topology, steps), strict=True):
            if is_before:
                vcs[router * topology.n_ports + port] = before
    return vcs


def _wiring(noc, topology: Topology) -> dict:
    n_routers, n_ports, n_nodes = topology.n_routers, topology.n_ports, topology.n_nodes
    downstream = np.where(topology.link_router == ABSENT, ABSENT, topology.link_router * n_ports + topology.link_port).ravel()
    injection_group = topology.node_router * n_ports + topology.node_port
    # a router decides, traverses the switch in the next cycle, then the wire takes link_latency and a register one more cycle
    hop_cycles = np.full(n_routers * n_ports + n_nodes, noc.link_latency + 2, np.int64)
    hop_cycles[n_routers * n_ports :] = 3
    arrival, credit = hop_cycles.copy(), hop_cycles.copy()
    arrival[injection_group] = credit[injection_group] = 2
    downstream[injection_group] = n_routers * n_ports + np.arange(n_nodes)
    routers, nodes = np.arange(n_routers, dtype=np.int64), np.arange(n_nodes, dtype=np.int64)
    n_vcs, allocation = int(noc.virtual_channels), int(noc.router.vc_allocation_delay)
    if noc.router.speculative:
        allocation = max(allocation, int(noc.router.switch_allocation_delay))
    head_cycles = int(noc.router.routing_delay) + allocation - 1
    horizon = int(hop_cycles.max()) + head_cycles + int(noc.router.switch_allocation_delay)
    return {
        "n_nodes": n_nodes, "n_routers": n_routers, "n_ports": n_ports, "n_vcs": n_vcs, "router_vcs": n_ports * n_vcs,
        "lane_mask": (1 << n_vcs) - 1, "buffer_depth": int(noc.buffer_depth), "head_cycles": head_cycles,
        "wheel_slots": 1 << horizon.bit_length(), "group_site": np.concatenate((np.repeat(routers, n_ports), n_routers + nodes)),
        "group_first": np.concatenate((np.tile(np.arange(n_ports) * n_vcs, n_routers), 0 * nodes)),
        "vc_allocation_delay": int(noc.router.vc_allocation_delay),
        "switch_allocation_delay": int(noc.router.switch_allocation_delay), "speculative": int(noc.router.speculative),
        "ideal": int(noc.ideal), "downstream": np.ascontiguousarray(downstream, np.int64), "arrival_cycles": arrival,
        "credit_cycles": credit, "injection_group": np.ascontiguousarray(injection_group, np.int64),
        "positions": positions(topology),
    }  # fmt: skip


def assemble(noc, topology: Topology, route_tables: dict) -> NocSpec:
    """A network from its parameters, wiring and finished route tables; refuses parameters and tables that cannot work."""
    _refuse_bad_parameters(noc, topology)
    refuse_deadlock(topology, route_tables["route_ports"], route_tables["route_vcs"])
    return NocSpec(**_wiring(noc, topology), **route_tables)


def build(noc_config, routes: Sequence[Route]) -> NocSpec:
    """The network of ``architecture.noc`` with one table row per route; the index of a route is its id in a packet.

    Raises NocError (a ValueError) for parameters, routes or destinations that cannot work, DeadlockError for routes that
    could block each other for ever.
    """
    topology, policy, n_vcs = topology_of(noc_config), policy_of(noc_config), noc_config.virtual_channels
    routes = [Route(*route) for route in routes]
    n_classes = 1 + max((route.message_class for route in routes), default=0)
    for index, route in enumerate(routes):
        if len(route.destinations) > 1 and not noc_config.multicast:
            raise NocError(f"route {index}: has {len(route.destinations)} destinations, which needs noc.multicast: true")
        if len(route.destinations) > 1 and route.packet_flits > noc_config.buffer_depth:
            depth = noc_config.buffer_depth
            raise NocError(f"route {index}: a multicast packet must fit noc.buffer_depth, {depth} flits, and has {route.packet_flits}")
    most = max((len(route.destinations) for route in routes), default=1)
    destinations = np.full((len(routes), most), ABSENT, np.int64)
    for index, route in enumerate(routes):
        destinations[index, : len(route.destinations)] = route.destinations
    masks = port_masks(topology, policy, routes)
    paths = [[path(topology, policy, route.source, node) for node in route.destinations] for route in routes]
    links = [len({hop for steps in tree for hop in steps[:-1]}) for tree in paths]
    vcs = [_order_keeping_vcs(route, n_classes, n_vcs, topology.wraps) for route in routes]
    n_links = topology.n_routers * topology.n_ports
    return assemble(
        noc_config,
        topology,
        {
            "n_classes": n_classes,
            "route_ports": masks,
            "route_vcs": np.array([hop_vcs(topology, tree, *v) for tree, v in zip(paths, vcs, strict=True)], np.int64).reshape(-1, n_links),
            "injection_vcs": np.array([before for before, _ in vcs], np.int64),
            "route_class": np.array([route.message_class for route in routes], np.int64),
            "route_copies": np.array([len(route.destinations) for route in routes], np.int64),
            "route_links": np.array(links, np.int64),
            "route_source": np.array([route.source for route in routes], np.int64),
            "destinations": destinations,
        },
    )


def init(spec: NocSpec) -> NocState:
    """The empty network at cycle 0."""
    n_groups = spec.n_routers * spec.n_ports + spec.n_nodes
    n_input_vcs = n_groups * spec.n_vcs
    n_packets = spec.n_nodes + n_input_vcs * spec.buffer_depth
    vcs = np.zeros((n_input_vcs, 13), np.int64)
    vcs[:, [col.INPUT_GRANT, col.OUTPUT_GRANT, col.TAKEN_CHANGED]] = -1
    ports = np.zeros((n_groups, 3), np.int64)
    ports[:, [col.OUTPUT_OF_INPUT, col.INPUT_OF_OUTPUT]] = -1
    n_sites = spec.n_routers + spec.n_nodes
    interfaces = np.zeros((spec.n_nodes, 4), np.int64)
    interfaces[:, [col.CURRENT, col.INJECTION_VC, col.EJECTION_VC]] = -1
    return NocState(
        vcs=vcs,
        slots=np.zeros((n_input_vcs, spec.buffer_depth, 3), np.int64),
        branches=np.zeros((n_input_vcs * spec.n_ports, 4), np.int64),
        ports=ports,
        attention=np.zeros(n_sites, np.int64),
        wheel=np.zeros((spec.wheel_slots, n_sites), np.int64),
        interfaces=interfaces,
        packets=np.zeros((n_packets, 7), np.int64),
        free_packets=np.concatenate(([n_packets], np.arange(n_packets, dtype=np.int64))),
        scratch=np.zeros((8, MAX_INPUT_VCS), np.int64),
        counters=np.zeros(spec.n_classes, COUNTERS),
        latencies=np.zeros((spec.n_classes, LATENCY_BINS), np.int64),
        links=np.zeros(spec.n_routers * spec.n_ports, LINK_COUNTERS),
    )


def check(spec: NocSpec, state: NocState) -> list[str]:
    """The invariants that an empty network violates, in words; none if all holds."""
    violated = []
    for index, counters in enumerate(state.counters):
        if counters["flits_ejected"] != counters["flits_expected"]:
            violated.append(f"class {index}: {counters['flits_ejected']} flits ejected, {counters['flits_expected']} expected")
        if counters["refused_packets"]:
            violated.append(f"class {index}: multicast packets longer than a buffer of {spec.buffer_depth} flits were sent")
    n_ejected, n_booked = int(state.counters["packets_ejected"].sum()), int(state.latencies.sum())
    if n_ejected != n_booked:
        violated.append(f"{n_ejected} packets ejected, but {n_booked} in the latency histogram")
    inner = (spec.downstream != ABSENT) & (spec.downstream < spec.n_routers * spec.n_ports)
    hops, link_flits = int(state.counters["flit_hops"].sum()), int(state.links["flits"][inner].sum())
    if not spec.ideal and hops != link_flits:
        violated.append(f"{hops} flit hops, but {link_flits} flits on the links")
    leftovers = {"flits": col.COUNT, "a packet without a VC": col.PENDING, "an unfinished packet": col.ACTIVE, "an owner": col.TAKEN}
    for name, column in leftovers.items():
        n_wrong = int(np.count_nonzero(state.vcs[:, column]))
        if n_wrong:
            violated.append(f"{n_wrong} input VCs still have {name}")
    if state.free_packets[0] != len(state.packets):
        violated.append(f"{len(state.packets) - state.free_packets[0]} packets are still in the network")
    return violated
