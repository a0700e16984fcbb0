"""Reduction groups: routes from several sources to one destination whose packets are added where their ways meet.

Everything here is known before cycle 0; `etasim.noc.joins` adds. Routing looks at the destination only, so the ways of a group form a tree
towards it. A *join* is a router that the group enters through several input VCs.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from etasim.noc.parameters import NocDescription
from etasim.noc.routing import NocError, Policy, Route, path
from etasim.noc.topology import ABSENT, Topology


class ReductionTables(NamedTuple):
    """``reduces``: whether there is a group of several routes. ``join_inputs`` [route, router]: input VCs of the router whose packets are
    added, as bits; 0 where nothing is. ``route_group`` [route]: ABSENT if its packets are not added to others. ``group_sources`` [group,
    member]: nodes, padded with ABSENT.
    """

    reduces: int
    join_inputs: np.ndarray
    route_group: np.ndarray
    group_sources: np.ndarray


class Way(NamedTuple):
    """The path of a route to one of its destinations: ``hops`` (router, output port), and the (router, bit of the input VC) that it
    enters on the way, in the numbers of all networks."""

    hops: list[tuple[int, int]]
    inputs: list[tuple[int, int]]


def without_groups(n_routes: int) -> ReductionTables:
    """The tables of routes that are not reduced."""
    return ReductionTables(0, np.zeros((1, 1), np.int64), np.full(n_routes, ABSENT), np.full((1, 1), ABSENT))


def groups_of(noc: NocDescription, routes: Sequence[Route], route_flits: Sequence[int]) -> list[list[int]]:
    """Routes of each group, by number. A group of one is none: its packets travel as any others.

    ``route_flits``: the longest packet of each route on its links. Raises NocError for routes that cannot be a group.
    """
    members: dict[int, list[int]] = {}
    for index, route in enumerate(routes):
        if route.reduction != ABSENT:
            members.setdefault(route.reduction, []).append(index)
    groups = [group for group in members.values() if len(group) > 1]
    for group in groups:
        for index in group:
            _refuse_bad_member(noc, routes, group, index, route_flits[index])
    return groups


def _refuse_bad_member(noc: NocDescription, routes: Sequence[Route], group: list[int], index: int, n_flits: int) -> None:
    route, first = routes[index], routes[group[0]]
    if not noc.reduction:
        raise NocError(f"route {index}: belongs to a reduction group of {len(group)} routes, which needs noc.reduction: true")
    if len(route.destinations) != 1 or route[1:3] != first[1:3]:
        raise NocError(f"route {index}: routes of a reduction group need one destination and one message class, the same for all")
    if [routes[other].source for other in group].count(route.source) > 1:
        raise NocError(f"route {index}: a reduction group needs different sources, node {route.source} is there twice")
    if n_flits > noc.buffer_depth:
        raise NocError(f"route {index}: a packet that is reduced must fit noc.buffer_depth, {noc.buffer_depth} flits, and has {n_flits}")


def _bit_index(bit: int) -> int:
    return bit.bit_length() - 1


def ways(topology: Topology, policy: Policy, n_vcs: int, network: int, route: Route, hop_vcs: np.ndarray, first_vcs: int) -> Iterator[Way]:
    """The ways of a route in physical network ``network``; ``hop_vcs`` [router * n_ports + port] and ``first_vcs`` name one VC each."""
    first = network * topology.n_routers
    for node in route.destinations:
        hops = path(topology, policy, route.source, node)
        port, vcs, inputs = int(topology.node_port[route.source]), first_vcs, []
        for router, output in hops:
            inputs.append((first + router, port * n_vcs + _bit_index(int(vcs))))
            vcs, port = hop_vcs[router * topology.n_ports + output], int(topology.link_port[router, output])
        yield Way([(first + router, output) for router, output in hops], inputs)


def _joins(ways_of_group: list[Way]) -> dict[int, int]:
    """Input VCs, as bits, by router, of the routers that a group enters through several."""
    entered: dict[int, int] = {}
    for way in ways_of_group:
        for router, index in way.inputs:
            entered[router] = entered.get(router, 0) | 1 << index
    return {router: inputs for router, inputs in entered.items() if inputs.bit_count() > 1}


def _waiting_room(ways_of_group: list[Way], joins: dict[int, int]) -> set[tuple[int, int]]:
    """Input VCs in which packets of a group may wait for others of it: all up to the last join."""
    room: set[tuple[int, int]] = set()
    for way in ways_of_group:
        last = max((i for i, (router, _) in enumerate(way.inputs) if router in joins), default=-1)
        room.update(way.inputs[: last + 1])
    return room


def _refuse_strangers(routes: Sequence[Route], route_ways: list[list[Way]], group: list[int], room: set[tuple[int, int]]) -> None:
    """A packet of another class must not stand behind one that waits: what the group waits for could depend on it."""
    for index, route in enumerate(routes):
        if route.message_class != routes[group[0]].message_class:
            shared = sorted(room & {entered for way in route_ways[index] for entered in way.inputs})
            if shared:
                raise NocError(
                    f"noc.virtual_channels: reduction needs VCs of its own, but route {index} of class {route.message_class} shares one "
                    f"at router {shared[0][0]}; give at least as many VCs as message classes, or noc.networks"
                )


def reduction_tables(routes: Sequence[Route], groups: list[list[int]], route_ways: list[list[Way]], n_routers: int) -> ReductionTables:
    """The tables of ``groups``. Raises NocError where packets of another class could stand behind one that waits."""
    if not groups:
        return without_groups(len(routes))
    join_inputs, route_group = np.zeros((len(routes), n_routers), np.int64), np.full(len(routes), ABSENT)
    sources = np.full((len(groups), max(map(len, groups))), ABSENT)
    for number, group in enumerate(groups):
        ways_of_group = [route_ways[index][0] for index in group]
        joins = _joins(ways_of_group)
        _refuse_strangers(routes, route_ways, group, _waiting_room(ways_of_group, joins))
        for index, way in zip(group, ways_of_group, strict=True):
            for router, _ in way.inputs:
                join_inputs[index, router] = joins.get(router, 0)
        route_group[group] = number
        sources[number, : len(group)] = [routes[index].source for index in group]
    return ReductionTables(1, join_inputs, route_group, sources)


def count_links_once(route_ways: list[list[Way]], groups: list[list[int]]) -> np.ndarray:
    """Links between routers of each route, [route]; one that routes of a group share counts with the first of them only, so that the sum
    over a group is what its packets load."""
    links = [{hop for way in route for hop in way.hops[:-1]} for route in route_ways]
    for group in groups:
        taken: set[Any] = set()
        for index in group:
            links[index] -= taken
            taken |= links[index]
    return np.array([len(of_route) for of_route in links], np.int64)
