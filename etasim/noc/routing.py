"""Routes: a routing policy fills a table of output ports, and a table that could deadlock is refused.

A policy is a function ``(topology, router, node) -> output port``: the next step from ``router`` towards endpoint ``node``.
It is called before cycle 0 only; the routers read tables. A multicast route is the union of the unicast paths.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from etasim.core.registry import ROUTING_POLICIES
from etasim.noc.topology import ABSENT, EAST, NORTH, SOUTH, WEST, Topology, distances
from etasim.noc.topology import NocError as NocError


class CyclicRoutesError(NocError):
    """The routes make a cycle of channels that wait for each other."""


DeadlockError = CyclicRoutesError
"""The name by which `etasim.noc` has always given it."""


class Route(NamedTuple):
    """Where packets of one kind go: from a node to one or several nodes, in a message class.

    Packets of one class between the same two nodes keep their order. ``packet_bits`` is the longest message. Routes with the same number
    ``reduction`` are a group, whose packets are added where they meet (`etasim.noc.reduction`); ABSENT: those of this route are not.
    """

    source: int
    destinations: tuple[int, ...]
    message_class: int
    packet_bits: int = 1
    reduction: int = ABSENT


Policy = Callable[[Topology, int, int], int]


def _shorter_way(offset: int, extent: int, wraps: bool) -> int:
    """Signed number of steps along a row, or the shorter way round a ring (upwards where both are equal)."""
    if not wraps:
        return offset
    upwards = offset % extent
    return upwards if 2 * upwards <= extent else upwards - extent


def _dimension_order(topology: Topology, router: int, node: int, x_first: bool) -> int:
    if not topology.columns:
        return shortest(topology, router, node)
    target = int(topology.node_router[node])
    dx = _shorter_way(target % topology.columns - router % topology.columns, topology.columns, topology.wraps)
    dy = _shorter_way(target // topology.columns - router // topology.columns, topology.rows, topology.wraps)
    along_x, along_y = EAST if dx > 0 else WEST, NORTH if dy > 0 else SOUTH
    if dx and (x_first or not dy):
        return along_x
    return along_y if dy else int(topology.node_port[node])


def xy(topology: Topology, router: int, node: int) -> int:
    """Dimension order, x first; the only path where the network is no grid."""
    return _dimension_order(topology, router, node, x_first=True)


def yx(topology: Topology, router: int, node: int) -> int:
    """Dimension order, y first; the only path where the network is no grid."""
    return _dimension_order(topology, router, node, x_first=False)


def shortest(topology: Topology, router: int, node: int) -> int:
    """A shortest path, the lowest port first; on a tree or a crossbar this is the only path."""
    target = int(topology.node_router[node])
    if router == target:
        return int(topology.node_port[node])
    distance = distances(topology)[:, target]
    for port, neighbour in enumerate(topology.link_router[router]):
        if neighbour != ABSENT and distance[neighbour] == distance[router] - 1:
            return port
    raise NocError(f"node {node} cannot be reached from router {router} of the {topology.name}")


for _policy in (xy, yx, shortest):
    ROUTING_POLICIES.add(_policy.__name__, _policy)


def path(topology: Topology, policy: Policy, source: int, destination: int) -> list[tuple[int, int]]:
    """(router, output port) from node ``source`` to node ``destination``, the ejection included.

    Raises NocError if the policy names a port that is not there, or walks in circles.
    """
    router, steps = int(topology.node_router[source]), []
    while True:
        port = policy(topology, router, destination)
        steps.append((router, port))
        if router == topology.node_router[destination] and port == topology.node_port[destination]:
            return steps
        if not 0 <= port < topology.n_ports or topology.link_router[router, port] == ABSENT:
            raise NocError(f"routing: from node {source} to node {destination}, router {router} is left by port {port}, which has no link")
        if len(steps) > topology.n_routers:
            raise NocError(f"routing: the route from node {source} to node {destination} goes round router {router} and never arrives")
        router = int(topology.link_router[router, port])


def port_masks(topology: Topology, policy: Policy, routes: Sequence[Route], first: int = 0) -> np.ndarray:
    """Output ports of each route at each router as bit masks, [route, router]; messages number the routes from ``first``.

    Raises NocError for a node that is not there, no destination, or paths of one route that part and meet again.
    """
    masks = np.zeros((len(routes), topology.n_routers), np.int64)
    for row, route in enumerate(routes):
        index = first + row
        if not route.destinations or len(set(route.destinations)) != len(route.destinations):
            raise NocError(f"route {index}: needs one or several different destinations, got {route.destinations}")
        for node in (route.source, *route.destinations):
            if not 0 <= node < topology.n_nodes:
                raise NocError(f"route {index}: node {node} is not in the network, allowed are 0..{topology.n_nodes - 1}")
        entered_by: dict[int, tuple[int, int]] = {}
        for destination in route.destinations:
            steps = path(topology, policy, route.source, destination)
            for (router, port), (following, _) in pairwise(steps):
                if entered_by.setdefault(following, (router, port)) != (router, port):
                    raise NocError(f"route {index}: paths to {route.destinations} part and meet again at router {following}, no tree")
            for router, port in steps:
                masks[row, router] |= 1 << port
    return masks


def destination_masks(topology: Topology, policy: Policy) -> np.ndarray:
    """Output port of every router towards every node as bit masks, [node, router]: routes that start anywhere."""
    ports = [[policy(topology, router, node) for router in range(topology.n_routers)] for node in range(topology.n_nodes)]
    return np.left_shift(1, np.array(ports, np.int64))


def is_before_dateline(topology: Topology, steps: Sequence[tuple[int, int]]) -> list[bool]:
    """For each hop of a path: whether the packet will still cross the dateline of the ring that it is on."""
    crossing_ports = [port if topology.dateline[router, port] else ABSENT for router, port in steps]
    return [port in crossing_ports[index + 1 :] for index, (_, port) in enumerate(steps)]


def _channel_successors(topology: Topology, masks: np.ndarray, vc_masks: np.ndarray) -> dict[tuple[int, int, int], set[Any]]:
    """Channel dependency graph: (router, output port, VC group) to the channels that a packet in it may ask for next.

    VC sets that overlap count as one group: a packet may move between the VCs of its set at each hop.
    """
    groups: list[int] = []
    vc_sets = sorted(set(vc_masks.ravel().tolist()))
    for mask in vc_sets:
        for other in [group for group in groups if group & mask]:
            groups.remove(other)
            mask |= other
        groups.append(mask)
    group_of = {mask: next(index for index, group in enumerate(groups) if group & mask) for mask in vc_sets}
    hops_of = {mask: [port for port in range(topology.n_ports) if mask >> port & 1] for mask in set(masks.ravel().tolist())}
    successors: dict[tuple[int, int, int], set[Any]] = {}
    for ports, vcs in zip(masks.tolist(), vc_masks.reshape(len(masks), topology.n_routers, topology.n_ports).tolist(), strict=True):
        for router in range(topology.n_routers):
            for port in hops_of[ports[router]]:
                following = int(topology.link_router[router, port])
                if following != ABSENT:
                    asked = {(following, p, group_of[vcs[following][p]]) for p in hops_of[ports[following]]}
                    successors.setdefault((router, port, group_of[vcs[router][port]]), set()).update(asked)
    return successors


def refuse_deadlock(topology: Topology, masks: np.ndarray, vc_masks: np.ndarray) -> None:
    """Raises CyclicRoutesError naming a cycle of the channel dependency graph (Dally and Seitz, 1987), if there is one.

    ``masks`` [route, router] output ports; ``vc_masks`` [route, router * n_ports + port] the VCs that a route may take there.
    """
    successors = _channel_successors(topology, masks, vc_masks)
    finished: set[Any] = set()
    for start in sorted(successors):
        trail, iterators = [start], [iter(sorted(successors[start]))]
        while trail and start not in finished:
            channel = next(iterators[-1], None)
            if channel is None:
                finished.add(trail.pop())
                iterators.pop()
            elif channel in trail:
                cycle = [*trail[trail.index(channel) :], channel]
                names = " -> ".join(f"router {router} port {port}" for router, port, _ in cycle)
                raise CyclicRoutesError(f"routing: the routes can deadlock, these channels wait for each other: {names}")
            elif channel not in finished:
                trail.append(channel)
                iterators.append(iter(sorted(successors.get(channel, ()))))
