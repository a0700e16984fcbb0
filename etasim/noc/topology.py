"""Wiring of a network: which output port of which router feeds which input port, and where the endpoints sit.

Ports are numbered per router and the same on both sides: output port ``p`` of a router leads to the neighbour whose own
port towards this router is its input port. A mesh uses +x, -x, +y, -y, then one port for each endpoint, in this order.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

EAST, WEST, NORTH, SOUTH, LOCAL = range(5)
ABSENT = -1


class Topology(NamedTuple):
    """Wiring tables.

    ``link_router``, ``link_port`` [router, output port]: the neighbour and its input port, ABSENT where no link leaves.
    ``node_router``, ``node_port`` [node]: the router of an endpoint and the port that it uses in both directions.
    ``columns``, ``rows``: extent of a mesh or torus in routers, 0 where the network is no grid. ``wraps``: a torus.
    """

    name: str
    columns: int
    rows: int
    wraps: bool
    link_router: np.ndarray
    link_port: np.ndarray
    node_router: np.ndarray
    node_port: np.ndarray

    @property
    def n_routers(self) -> int:
        return len(self.link_router)

    @property
    def n_ports(self) -> int:
        return self.link_router.shape[1]

    @property
    def n_nodes(self) -> int:
        return len(self.node_router)


def _unwired(n_routers: int, n_ports: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((n_routers, n_ports), ABSENT, np.int64), np.full((n_routers, n_ports), ABSENT, np.int64)


def _grid(name: str, columns: int, rows: int, concentration: int, wraps: bool) -> Topology:
    n_routers = columns * rows
    link_router, link_port = _unwired(n_routers, LOCAL + concentration)
    for y in range(rows):
        for x in range(columns):
            for port, (to_x, to_y) in enumerate(((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1))):
                extent = columns if port in (EAST, WEST) else rows
                inside = 0 <= to_x < columns and 0 <= to_y < rows
                if inside or (wraps and extent > 1):
                    link_router[y * columns + x, port] = (to_y % rows) * columns + to_x % columns
                    link_port[y * columns + x, port] = port ^ 1
    nodes = np.arange(n_routers * concentration, dtype=np.int64)
    return Topology(name, columns, rows, wraps, link_router, link_port, nodes // concentration, LOCAL + nodes % concentration)


def mesh(columns: int, rows: int, concentration: int = 1) -> Topology:
    """Two-dimensional mesh, routers row by row, ``concentration`` endpoints a router (more than one: a hierarchical mesh)."""
    return _grid("mesh", columns, rows, concentration, wraps=False)


def torus(columns: int, rows: int, concentration: int = 1) -> Topology:
    """Two-dimensional torus: a mesh whose rows and columns close to rings."""
    return _grid("torus", columns, rows, concentration, wraps=True)


def crossbar(columns: int, rows: int, concentration: int = 1) -> Topology:
    """One router with a port for each of ``columns * rows * concentration`` endpoints."""
    n_nodes = columns * rows * concentration
    nodes = np.arange(n_nodes, dtype=np.int64)
    return Topology("crossbar", 0, 0, False, *_unwired(1, n_nodes), np.zeros(n_nodes, np.int64), nodes)


def tree(columns: int, rows: int, concentration: int = 1) -> Topology:
    """A root router over ``rows`` leaf routers with ``columns * concentration`` endpoints each."""
    columns *= concentration
    n_ports = max(rows, columns + 1)
    link_router, link_port = _unwired(rows + 1, n_ports)
    for leaf in range(rows):
        link_router[0, leaf], link_port[0, leaf] = leaf + 1, columns
        link_router[leaf + 1, columns], link_port[leaf + 1, columns] = 0, leaf
    nodes = np.arange(columns * rows, dtype=np.int64)
    return Topology("tree", 0, 0, False, link_router, link_port, nodes // columns + 1, nodes % columns)


TOPOLOGIES = {"mesh": mesh, "torus": torus, "crossbar": crossbar, "tree": tree}
"""Topologies by name: functions of (columns, rows, concentration)."""


def repeated(topology: Topology, n_networks: int) -> Topology:
    """``n_networks`` separate networks of one kind as one: routers and endpoints of the first, then of the second, ..."""
    first_router = np.arange(n_networks, dtype=np.int64).repeat(topology.n_routers)[:, None] * topology.n_routers
    link_router = np.tile(topology.link_router, (n_networks, 1))
    node_router = np.arange(n_networks, dtype=np.int64).repeat(topology.n_nodes) * topology.n_routers
    return topology._replace(
        link_router=np.where(link_router == ABSENT, ABSENT, link_router + first_router),
        link_port=np.tile(topology.link_port, (n_networks, 1)),
        node_router=node_router + np.tile(topology.node_router, n_networks),
        node_port=np.tile(topology.node_port, n_networks),
    )


def crosses_dateline(topology: Topology, router: int, port: int) -> bool:
    """Whether this link closes a ring: it leads from the last router of a row or column to the first, or back."""
    if not topology.wraps or port > SOUTH:
        return False
    row, column = divmod(router, topology.columns)
    ends = {EAST: column == topology.columns - 1, WEST: column == 0, NORTH: row == topology.rows - 1, SOUTH: row == 0}
    return ends[port]


def positions(topology: Topology) -> np.ndarray:
    """Where a picture may put the routers: columns and rows of a grid, else in a line under the first one; [router, (x, y)]."""
    routers = np.arange(topology.n_routers, dtype=np.int64)
    if topology.columns:
        return np.stack([routers % topology.columns, routers // topology.columns], axis=1)
    leaves = topology.n_routers - 1
    return np.stack([np.where(routers > 0, 2 * (routers - 1), max(leaves - 1, 0)), (routers == 0).astype(np.int64)], axis=1)


def distances(topology: Topology) -> np.ndarray:
    """Links on a shortest path, [from router, to router]; ABSENT where there is no path."""
    result = np.full((topology.n_routers, topology.n_routers), ABSENT, np.int64)
    for source in range(topology.n_routers):
        result[source, source] = 0
        queue = deque([source])
        while queue:
            router = queue.popleft()
            for neighbour in topology.link_router[router]:
                if neighbour != ABSENT and result[source, neighbour] == ABSENT:
                    result[source, neighbour] = result[source, router] + 1
                    queue.append(int(neighbour))
    return result


def routers_between(topology: Topology) -> np.ndarray:
    """Routers on a shortest path, both ends included, [source node, destination node]."""
    return distances(topology)[np.ix_(topology.node_router, topology.node_router)] + 1
