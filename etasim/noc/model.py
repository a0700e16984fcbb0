"""Closed forms of the network: the oracle of its tests, and its share of the analytical fidelity."""

from collections.abc import Sequence
from typing import Any

from etasim.noc.assembly import policy_of, topology_of
from etasim.noc.parameters import NocDescription
from etasim.noc.routing import Route, path
from etasim.noc.topology import ABSENT


def router_cycles(noc: NocDescription) -> int:
    """Cycles of a head flit in an idle router, from its arrival to its departure: stages, then the switch."""
    router = noc.router
    if router.speculative:
        allocation = -(-router.vc_allocation_delay // router.switch_allocation_delay) * router.switch_allocation_delay
    else:
        allocation = router.vc_allocation_delay + router.switch_allocation_delay
    return router.routing_delay + allocation


def zero_load_latency_cycles(noc: NocDescription, routers_visited: int, packet_flits: int) -> int:
    """Packet latency without contention: from the cycle in which the packet is offered to the ejection of its tail.

    The wires at both ends take 2 cycles each, wire and register; so does a link of latency 1.
    """
    if noc.ideal:
        return 1
    links = (routers_visited - 1) * (noc.link_latency + 1)
    return 4 + routers_visited * router_cycles(noc) + links + packet_flits - 1


def packet_period_cycles(noc: NocDescription, packet_flits: int) -> float:
    """Cycles from packet to packet on a way that one source has for itself.

    A flit holds a place of a virtual channel's buffer from the grant that sends it until its credit is back: it crosses the link, waits a
    cycle in the buffer, and the credit takes as long as docs/models/noc.md says. A head that does not speculate asks for a virtual channel
    when the packet before has left.
    """
    if noc.ideal:
        return 1.0
    credit_loop = (noc.link_latency + 1) + 1 + (noc.link_latency + 2)
    flit = max(1.0, credit_loop / noc.buffer_depth, noc.router.switch_allocation_delay)
    return max(packet_flits * flit, packet_flits - 1 + router_cycles(noc))


def tree_links(noc: NocDescription, route: Route) -> set[tuple[int, int]]:
    """(router, output port) of the links between routers that a route uses; a multicast loads each of them once."""
    topology, policy = topology_of(noc), policy_of(noc)
    return {hop for node in route.destinations for hop in path(topology, policy, route.source, node)[:-1]}


def reduction_latency_cycles(noc: NocDescription, group: Sequence[Route], packet_flits: int) -> int:
    """Latency of a sum without contention when all sources of ``group`` offer their packet in the same cycle.

    A join waits for whole packets: each one on the way of a source costs it the flits behind the head once more.
    """
    ways = [path(topology_of(noc), policy_of(noc), route.source, *route.destinations) for route in group]
    entered: dict[int, set[Any]] = {}
    for route, way in zip(group, ways, strict=True):
        for before, (router, _) in zip([("source", route.source), *way], way, strict=False):
            entered.setdefault(router, set()).add(before)
    joins = [0 if noc.ideal else sum(len(entered[router]) > 1 for router, _ in way) for way in ways]
    each = [zero_load_latency_cycles(noc, len(way), packet_flits) + n * (packet_flits - 1) for way, n in zip(ways, joins, strict=True)]
    return max(each)


def _own_links(noc: NocDescription, routes: Sequence[Route]) -> dict[Route, set[tuple[int, int]]]:
    """Links that each route loads; those that several of a reduction group share belong to the first of them."""
    own: dict[Route, set[Any]] = {}
    taken: dict[int, set[Any]] = {}
    for route in dict.fromkeys(routes):
        of_group = taken.setdefault(route.reduction, set()) if route.reduction != ABSENT else set()
        own[route] = tree_links(noc, route) - of_group
        of_group |= own[route]
    return own


def link_loads(
    noc: NocDescription, routes: Sequence[Route], packets: Sequence[int], packet_flits: Sequence[int]
) -> dict[tuple[int, int], int]:
    """Flits on every loaded link when ``packets[i]`` packets of ``packet_flits[i]`` flits go along ``routes[i]``; each source of a
    reduction group sends the same."""
    loads: dict[tuple[int, int], int] = {}
    own = _own_links(noc, routes)
    for route, n_packets, n_flits in zip(routes, packets, packet_flits, strict=True):
        for link in own[route]:
            loads[link] = loads.get(link, 0) + n_packets * n_flits
    return loads


def transfer_cycles(noc: NocDescription, routes: Sequence[Route], packets: Sequence[int], packet_flits: Sequence[int]) -> int:
    """Lower bound on the time of these transfers: the busiest of links, injection ports and ejection ports."""
    if noc.ideal:
        return 0
    injected: dict[int, int] = {}
    ejected: dict[int, int] = {}
    leads: dict[int, Route] = {}
    for route, n_packets, n_flits in zip(routes, packets, packet_flits, strict=True):
        injected[route.source] = injected.get(route.source, 0) + n_packets * n_flits
        if route.reduction != ABSENT and leads.setdefault(route.reduction, route) != route:
            continue
        for node in route.destinations:
            ejected[node] = ejected.get(node, 0) + n_packets * n_flits
    loads = link_loads(noc, routes, packets, packet_flits)
    return max((*loads.values(), *injected.values(), *ejected.values()), default=0)
