"""From the section ``noc`` and routes to a `NocSpec`: wiring, route tables, and the refusal of what cannot work."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from etasim.core.registry import ROUTING_POLICIES, TOPOLOGIES, Registry, UnknownNameError
from etasim.noc.flits import class_widths_bits, flit_hop_energies_pj, flits_of, networks_of
from etasim.noc.parameters import NocDescription, refuse_unless_whole
from etasim.noc.reduction import Way, count_links_once, groups_of, reduction_tables, ways, without_groups
from etasim.noc.routing import NocError, Policy, Route, is_before_dateline, path, port_masks, refuse_deadlock
from etasim.noc.spec import MAX_ALLOCATION_CYCLES, NocSpec
from etasim.noc.topology import ABSENT, MAX_INPUT_VCS, Topology, repeated

Item = TypeVar("Item")


def _refuse_bad_parameters(noc: NocDescription, topology: Topology) -> None:
    for key, value, least in (
        ("virtual_channels", noc.virtual_channels, 1),
        ("buffer_depth", noc.buffer_depth, 1),
        ("link_latency", noc.link_latency, 1),
        ("router.routing_delay", noc.router.routing_delay, 0),
        ("router.vc_allocation_delay", noc.router.vc_allocation_delay, 1),
        ("router.switch_allocation_delay", noc.router.switch_allocation_delay, 1),
    ):
        refuse_unless_whole(f"noc.{key}", value, least)
    for key in ("vc_allocation_delay", "switch_allocation_delay"):
        if getattr(noc.router, key) > MAX_ALLOCATION_CYCLES:
            raise NocError(f"noc.router.{key}: must be at most {MAX_ALLOCATION_CYCLES}, got {getattr(noc.router, key)}")
    if topology.n_ports * noc.virtual_channels > MAX_INPUT_VCS:
        size = f"{topology.n_ports} ports times {noc.virtual_channels} VCs"
        raise NocError(f"noc.virtual_channels: {size} exceed the {MAX_INPUT_VCS} input VCs that a router may have")


def topology_of(noc: NocDescription) -> Topology:
    """The wiring that the section ``noc`` asks for. Raises NocError for a parameter that cannot work."""
    make = _named(TOPOLOGIES, "topology", noc.topology)
    for key in ("columns", "rows", "concentration"):
        refuse_unless_whole(f"noc.{key}", getattr(noc, key), 1)
    topology = make(noc.columns, noc.rows, noc.concentration)
    _refuse_bad_parameters(noc, topology)
    return topology


def policy_of(noc: NocDescription) -> Policy:
    """The routing policy that the section ``noc`` names. Raises NocError for an unknown name."""
    return _named(ROUTING_POLICIES, "routing", noc.routing)


def _named(registry: Registry[Item], key: str, name: str) -> Item:
    try:
        return registry[name]
    except UnknownNameError as error:
        raise NocError(f"noc.{key}: {error}") from None


def class_vcs(message_class: int, n_classes: int, n_vcs: int) -> tuple[int, int]:
    """First VC and number of VCs of a message class: an equal share, or one VC shared by classes if there are too few."""
    if n_classes > n_vcs:
        return message_class % n_vcs, 1
    first = message_class * n_vcs // n_classes
    return first, (message_class + 1) * n_vcs // n_classes - first


def _order_keeping_vcs(number: int, message_class: int, n_classes: int, n_vcs: int, topology: Topology) -> tuple[int, int]:
    """The one VC of a route, as a bit, before and after a dateline; the class is one of the ``n_classes`` of its network.

    ``number`` picks it among those of the class: the source, so that no packet can overtake another on the way, or 0 for all routes of a
    reduction group, so that packets meet in buffers that each of them passes in the same order. Raises NocError where a ring would need a
    second VC and there is none.
    """
    first, count = class_vcs(message_class, n_classes, n_vcs)
    if not topology.wraps:
        return 2 * (1 << (first + number % count),)
    half = count // 2
    if not half:
        raise NocError(f"noc.virtual_channels: a {topology.name} needs two VCs for each of {n_classes} message classes, got {n_vcs}")
    return 1 << (first + number % half), 1 << (first + half + number % half)


def hop_vcs(topology: Topology, paths: Iterable[Sequence[tuple[int, int]]], before: int, after: int) -> np.ndarray:
    """VCs of a route at each hop, [router * n_ports + port]: ``before`` where one of its paths has a dateline ahead, else ``after``."""
    vcs = np.full(topology.n_routers * topology.n_ports, after, np.int64)
    for steps in paths:
        for (router, port), is_before in zip(steps, is_before_dateline(topology, steps), strict=True):
            if is_before:
                vcs[router * topology.n_ports + port] = before
    return vcs


def _wiring(noc: NocDescription, topology: Topology, n_networks: int) -> dict[str, Any]:
    """Everything that does not depend on routes; ``topology`` is that of one network."""
    n_nodes, topology = topology.n_nodes, repeated(topology, n_networks)
    n_routers, n_ports, n_interfaces = topology.n_routers, topology.n_ports, topology.n_nodes
    downstream = np.where(topology.link_router == ABSENT, ABSENT, topology.link_router * n_ports + topology.link_port).ravel()
    injection_group = topology.node_router * n_ports + topology.node_port
    # a router decides, traverses the switch in the next cycle, then the wire takes link_latency and a register one more cycle
    hop_cycles = np.full(n_routers * n_ports + n_interfaces, noc.link_latency + 2, np.int64)
    hop_cycles[n_routers * n_ports :] = 3
    arrival, credit = hop_cycles.copy(), hop_cycles.copy()
    arrival[injection_group] = credit[injection_group] = 2
    downstream[injection_group] = n_routers * n_ports + np.arange(n_interfaces)
    routers, interfaces = np.arange(n_routers, dtype=np.int64), np.arange(n_interfaces, dtype=np.int64)
    n_vcs = int(noc.virtual_channels)
    routing, vc_allocation = int(noc.router.routing_delay), int(noc.router.vc_allocation_delay)
    switch_allocation = int(noc.router.switch_allocation_delay)
    horizon = int(hop_cycles.max()) + routing + vc_allocation + switch_allocation
    return {
        "n_nodes": n_nodes, "n_interfaces": n_interfaces, "n_routers": n_routers, "n_ports": n_ports, "n_vcs": n_vcs,
        "router_vcs": n_ports * n_vcs, "lane_mask": (1 << n_vcs) - 1, "buffer_depth": int(noc.buffer_depth), "routing_delay": routing,
        "wheel_slots": 1 << horizon.bit_length(), "group_site": np.concatenate((np.repeat(routers, n_ports), n_routers + interfaces)),
        "group_first": np.concatenate((np.tile(np.arange(n_ports) * n_vcs, n_routers), 0 * interfaces)),
        "vc_allocation_delay": vc_allocation, "switch_allocation_delay": switch_allocation, "speculative": int(noc.router.speculative),
        "ideal": int(noc.ideal),
        "downstream": np.ascontiguousarray(downstream, np.int64), "arrival_cycles": arrival,
        "credit_cycles": credit, "injection_group": np.ascontiguousarray(injection_group, np.int64),
        "interface_node": interfaces % n_nodes, "positions": topology.places,
    }  # fmt: skip


def _class_tables(noc: NocDescription, n_classes: int) -> dict[str, Any]:
    """Width of a flit and energy of its hop, [message class]."""
    energies_pj = flit_hop_energies_pj(noc, n_classes)
    energies_fj = [ABSENT] * n_classes if energies_pj is None else [round(1000 * energy_pj) for energy_pj in energies_pj]
    widths_bits = class_widths_bits(noc, n_classes)
    return {"class_flit_bits": np.array(widths_bits, np.int64), "flit_hop_energy_fj": np.array(energies_fj, np.int64)}


def open_network(noc: NocDescription, topology: Topology, route_tables: dict[str, Any]) -> NocSpec:
    """One network whose finished ``route_tables`` serve a single message class; refuses tables that cannot work."""
    refuse_deadlock(topology, route_tables["route_ports"], route_tables["route_vcs"])
    n_routes = len(route_tables["route_ports"])
    one_class: dict[str, Any] = {"n_classes": 1, "route_class": np.zeros(n_routes, np.int64), "class_interface": np.zeros(1, np.int64)}
    one_class |= _class_tables(noc, 1)
    return NocSpec(**_wiring(noc, topology, 1), **one_class, **without_groups(n_routes)._asdict(), **route_tables)


def refuse_bad_multicast(noc: NocDescription, n_destinations: int, n_flits: int) -> None:
    """Raises NocError for packets of ``n_flits`` to ``n_destinations`` that the section ``noc`` does not let through."""
    if n_destinations > 1 and not noc.multicast:
        raise NocError(f"a packet with {n_destinations} destinations needs noc.multicast: true")
    if n_destinations > 1 and n_flits > noc.buffer_depth:
        raise NocError(f"a multicast packet must fit noc.buffer_depth, {noc.buffer_depth} flits, and has {n_flits}")


class RoutePaths(NamedTuple):
    """Where the packets of one route go: ports, VCs of every hop and of the injection port in the numbers of its own network, and its
    ways in those of all."""

    ports: np.ndarray
    hop_vcs: np.ndarray
    injection_vcs: int
    ways: list[Way]


def source_vcs(noc: NocDescription, topology: Topology, source: int, message_class: int, n_classes: int) -> tuple[int, int]:
    """VCs that the packets of a class take from ``source`` (0 for all of a reduction group), as bits, before and after a dateline; of
    ``n_classes`` that all networks carry. Raises NocError as `build` does."""
    network = next(n for n in networks_of(noc, n_classes) if message_class in n.message_classes)
    carried = [c for c in network.message_classes if c < n_classes]
    return _order_keeping_vcs(source, carried.index(message_class), len(carried), noc.virtual_channels, topology)


def _route_paths(noc: NocDescription, topology: Topology, policy: Policy, index: int, route: Route, network: int, n_classes: int,
                 is_reduced: bool) -> RoutePaths:  # fmt: skip
    """The table row of a route over ``network``; ``is_reduced``: it belongs to a group of several."""
    ports = port_masks(topology, policy, [route], index)[0]
    tree = [path(topology, policy, route.source, node) for node in route.destinations]
    before, after = source_vcs(noc, topology, 0 if is_reduced else route.source, route.message_class, n_classes)
    vcs = hop_vcs(topology, tree, before, after)
    return RoutePaths(ports, vcs, before, list(ways(topology, policy, noc.virtual_channels, network, route, vcs, before)))


def build(noc_config: NocDescription, routes: Sequence[Route]) -> NocSpec:
    """The network of ``architecture.noc`` with one table row per route; the index of a route is its id in a packet.

    Raises NocError (a ValueError) for parameters, routes or destinations that cannot work, CyclicRoutesError for routes that
    could block each other for ever.
    """
    topology, policy = topology_of(noc_config), policy_of(noc_config)
    routes = [Route(*route) for route in routes]
    n_classes = 1 + max((route.message_class for route in routes), default=0)
    networks = networks_of(noc_config, n_classes)
    of_class = [next(i for i, network in enumerate(networks) if c in network.message_classes) for c in range(n_classes)]
    classes = _class_tables(noc_config, n_classes)
    n_routers, n_links = topology.n_routers, topology.n_routers * topology.n_ports
    masks = np.zeros((len(routes), n_routers * len(networks)), np.int64)
    vcs = np.empty((len(routes), n_links * len(networks)), np.int64)
    route_flits = [flits_of(route.packet_bits, int(classes["class_flit_bits"][route.message_class])) for route in routes]
    groups = groups_of(noc_config, routes, route_flits)
    reduced = {index for group in groups for index in group}
    found = []
    for index, route in enumerate(routes):
        network = of_class[route.message_class]
        try:
            refuse_bad_multicast(noc_config, len(route.destinations), route_flits[index])
        except NocError as error:
            raise NocError(f"route {index}: {error}") from None
        found.append(_route_paths(noc_config, topology, policy, index, route, network, n_classes, index in reduced))
        masks[index, network * n_routers : (network + 1) * n_routers] = found[-1].ports
        vcs[index] = found[-1].injection_vcs  # never asked for in the other networks
        vcs[index, network * n_links : (network + 1) * n_links] = found[-1].hop_vcs
    refuse_deadlock(repeated(topology, len(networks)), masks, vcs)
    route_ways = [row.ways for row in found]
    destinations = np.full((len(routes), max((len(route.destinations) for route in routes), default=1)), ABSENT, np.int64)
    for index, route in enumerate(routes):
        destinations[index, : len(route.destinations)] = route.destinations
    return NocSpec(
        **_wiring(noc_config, topology, len(networks)),
        **reduction_tables(routes, groups, route_ways, n_routers * len(networks))._asdict(),
        n_classes=n_classes,
        route_ports=masks,
        route_vcs=vcs,
        injection_vcs=np.array([row.injection_vcs for row in found], np.int64),
        route_class=np.array([route.message_class for route in routes], np.int64),
        class_interface=np.array(of_class, np.int64) * topology.n_nodes,
        **classes,
        route_copies=np.array([len(route.destinations) for route in routes], np.int64),
        route_links=count_links_once(route_ways, groups),
        route_source=np.array([route.source for route in routes], np.int64),
        destinations=destinations,
    )
