"""Closed forms of the network: the oracle of its tests, and its share of the analytical fidelity."""

from collections.abc import Sequence

from etasim.noc.assembly import policy_of, topology_of
from etasim.noc.routing import Route, path


def router_cycles(noc) -> int:
    """Cycles of a head flit in an idle router, from its arrival to its departure: stages, then the switch."""
    router = noc.router
    if router.speculative:
        allocation = max(router.vc_allocation_delay, router.switch_allocation_delay)
    else:
        allocation = router.vc_allocation_delay + router.switch_allocation_delay
    return router.routing_delay + allocation


def zero_load_latency_cycles(noc, routers_visited: int, packet_flits: int) -> int:
    """Packet latency without contention: from the cycle in which the packet is offered to the ejection of its tail.

    The wires at both ends take 2 cycles each, wire and register; so does a link of latency 1.
    """
    if noc.ideal:
        return 1
    links = (routers_visited - 1) * (noc.link_latency + 1)
    return 4 + routers_visited * router_cycles(noc) + links + packet_flits - 1


def tree_links(noc, route: Route) -> set[tuple[int, int]]:
    """(router, output port) of the links between routers that a route uses; a multicast loads each of them once."""
    topology, policy = topology_of(noc), policy_of(noc)
    return {hop for node in route.destinations for hop in path(topology, policy, route.source, node)[:-1]}


def link_loads(noc, routes: Sequence[Route], packets: Sequence[int], packet_flits: Sequence[int]) -> dict[tuple[int, int], int]:
    """Flits on every loaded link when ``packets[i]`` packets of ``packet_flits[i]`` flits go along ``routes[i]``."""
    loads: dict[tuple[int, int], int] = {}
    for route, n_packets, n_flits in zip(routes, packets, packet_flits, strict=True):
        for link in tree_links(noc, route):
            loads[link] = loads.get(link, 0) + n_packets * n_flits
    return loads


def transfer_cycles(noc, routes: Sequence[Route], packets: Sequence[int], packet_flits: Sequence[int]) -> int:
    """Lower bound on the time of these transfers: the busiest of links, injection ports and ejection ports."""
    if noc.ideal:
        return 0
    injected: dict[int, int] = {}
    ejected: dict[int, int] = {}
    for route, n_packets, n_flits in zip(routes, packets, packet_flits, strict=True):
        injected[route.source] = injected.get(route.source, 0) + n_packets * n_flits
        for node in route.destinations:
            ejected[node] = ejected.get(node, 0) + n_packets * n_flits
    loads = link_loads(noc, routes, packets, packet_flits)
    return max((*loads.values(), *injected.values(), *ejected.values()), default=0)
