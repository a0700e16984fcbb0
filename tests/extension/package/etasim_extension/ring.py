"""A topology: all routers in one ring, with links both ways. Routing ``shortest`` takes the shorter way, clockwise where both are equal."""

from etasim.core.registry import TOPOLOGIES
from etasim.noc.topology import NocError, Topology, wired

CLOCKWISE, COUNTERCLOCKWISE, FIRST_ENDPOINT = range(3)


def ring(columns: int, rows: int, concentration: int = 1) -> Topology:
    """``columns * rows`` routers with ``concentration`` endpoints each; a picture bends the ring into two rows. Raises NocError for fewer
    than three routers."""
    n = columns * rows
    if n < 3:
        raise NocError(f"a ring needs at least 3 routers, got {n}")
    clockwise = [(router, CLOCKWISE, (router + 1) % n, COUNTERCLOCKWISE) for router in range(n)]
    back = [(neighbour, entry, router, port) for router, port, neighbour, entry in clockwise]
    nodes = [(node // concentration, FIRST_ENDPOINT + node % concentration) for node in range(n * concentration)]
    upper = (n + 1) // 2
    places = [(router, 0) if router < upper else (n - 1 - router, 1) for router in range(n)]
    return wired("ring", clockwise + back, nodes, places, datelines={(n - 1, CLOCKWISE), (0, COUNTERCLOCKWISE)})


TOPOLOGIES.add("ring", ring)
