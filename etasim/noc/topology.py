"""Wiring of a network: which output port of which router feeds which input port, and where the endpoints sit.

Ports are numbered per router and the same on both sides: output port ``p`` of a router leads to the neighbour whose own
port towards this router is its input port. A mesh uses +x, -x, +y, -y, then one port for each endpoint, in this order.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from etasim.core.registry import TOPOLOGIES

EAST, WEST, NORTH, SOUTH, LOCAL = range(5)
ABSENT = -1
MAX_INPUT_VCS = 62
"""Input VCs of one router: they are the bits of one signed word. So a router has no more ports either."""


class NocError(ValueError):
    """A network that cannot be built, with the key and the rule that it breaks."""


class Topology(NamedTuple):
    """Wiring tables.

    ``link_router``, ``link_port`` [router, output port]: the neighbour and its input port, ABSENT where no link leaves.
    ``node_router``, ``node_port`` [node]: the router of an endpoint and the port that it uses in both directions.
    ``columns``, ``rows``: extent of a mesh or torus in routers, 0 where the network is no grid.
    ``dateline`` [router, output port]: the link closes a ring; packets change to other VCs there, so that a ring cannot deadlock.
    ``places`` [router, (x, y)]: where a picture may put the routers.
    """

    name: str
    columns: int
    rows: int
    link_router: np.ndarray
    link_port: np.ndarray
    node_router: np.ndarray
    node_port: np.ndarray
    dateline: np.ndarray
    places: np.ndarray

    @property
    def n_routers(self) -> int:
        return len(self.link_router)

    @property
    def n_ports(self) -> int:
        return self.link_router.shape[1]

    @property
    def n_nodes(self) -> int:
        return len(self.node_router)

    @property
    def wraps(self) -> bool:
        """Whether there are rings."""
        return bool(self.dateline.any())


Link = tuple[int, int, int, int]
"""Router, its output port, the neighbour, its input port."""


def wired(
    name: str,
    links: Iterable[Link],
    nodes: Sequence[tuple[int, int]],
    places: Sequence[tuple[int, int]],
    datelines: Collection[tuple[int, int]] = (),
    columns: int = 0,
    rows: int = 0,
) -> Topology:
    """The tables of a topology of one router for each of ``places``, from its ``links``, which are one way, and the (router, port) of each
    endpoint; ``datelines``: (router, output port) of the links that close rings.

    Raises NocError for a router or port that is not there or has two uses, and for more ports of a router than it may have.
    """
    links = list(links)
    n_routers, n_ports = len(places), 1 + max([port for _, port in nodes] + [port for link in links for port in link[1::2]])
    if n_ports > MAX_INPUT_VCS:
        raise NocError(f"{n_ports} ports of a {name} exceed the {MAX_INPUT_VCS} input VCs that a router may have")
    for ends in ([link[:2] for link in links] + list(nodes), [link[2:] for link in links] + list(nodes)):
        wrong = [end for end in ends if not (0 <= end[0] < n_routers and end[1] >= 0)]
        if wrong or len(set(ends)) < len(ends):
            router, port = wrong[0] if wrong else next(end for i, end in enumerate(ends) if end in ends[:i])
            raise NocError(f"router {router} port {port} of a {name} {'is not there' if wrong else 'has two uses'}")
    link_router, link_port = (np.full((n_routers, n_ports), ABSENT, np.int64) for _ in range(2))
    dateline = np.zeros((n_routers, n_ports), np.bool_)
    for router, port, neighbour, entry in links:
        link_router[router, port], link_port[router, port] = neighbour, entry
        dateline[router, port] = (router, port) in datelines
    node_router, node_port = np.array(nodes, np.int64).T.copy()
    return Topology(name, columns, rows, link_router, link_port, node_router, node_port, dateline, np.array(places, np.int64))


def _grid(name: str, columns: int, rows: int, concentration: int, wraps: bool) -> Topology:
    def links() -> Iterator[tuple[Link, bool]]:
        """Each link, and whether it closes a ring."""
        for router in range(columns * rows):
            y, x = divmod(router, columns)
            for port, (to_x, to_y) in enumerate(((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1))):
                inside = 0 <= to_x < columns and 0 <= to_y < rows
                if inside or (wraps and (columns if port in (EAST, WEST) else rows) > 1):
                    yield (router, port, (to_y % rows) * columns + to_x % columns, port ^ 1), not inside

    found = list(links())
    nodes = [divmod(node, concentration) for node in range(columns * rows * concentration)]
    return wired(
        name, (link for link, _ in found), [(router, LOCAL + i) for router, i in nodes],
        [(router % columns, router // columns) for router in range(columns * rows)],
        {link[:2] for link, closes in found if closes}, columns, rows,
    )  # fmt: skip


def mesh(columns: int, rows: int, concentration: int = 1) -> Topology:
    """Two-dimensional mesh, routers row by row, ``concentration`` endpoints a router (more than one: a hierarchical mesh)."""
    return _grid("mesh", columns, rows, concentration, wraps=False)


def torus(columns: int, rows: int, concentration: int = 1) -> Topology:
    """Two-dimensional torus: a mesh whose rows and columns close to rings."""
    return _grid("torus", columns, rows, concentration, wraps=True)


def crossbar(columns: int, rows: int, concentration: int = 1) -> Topology:
    """One router with a port for each of ``columns * rows * concentration`` endpoints."""
    return wired("crossbar", (), [(0, node) for node in range(columns * rows * concentration)], [(0, 1)])


def tree(columns: int, rows: int, concentration: int = 1) -> Topology:
    """A root router over ``rows`` leaf routers with ``columns * concentration`` endpoints each."""
    columns *= concentration
    down = [(0, leaf, leaf + 1, columns) for leaf in range(rows)]
    up = [(neighbour, entry, router, port) for router, port, neighbour, entry in down]
    nodes = [(node // columns + 1, node % columns) for node in range(columns * rows)]
    return wired("tree", down + up, nodes, [(rows - 1, 1), *((2 * leaf, 0) for leaf in range(rows))])


for _topology in (mesh, torus, tree, crossbar):
    TOPOLOGIES.add(_topology.__name__, _topology)


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
        dateline=np.tile(topology.dateline, (n_networks, 1)),
        places=np.tile(topology.places, (n_networks, 1)),
    )


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
