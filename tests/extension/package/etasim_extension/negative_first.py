"""A routing policy: packets go west and south as far as they must, then east and north (Glass and Ni, "The turn model for adaptive
routing", 1992). No packet turns from a positive into a negative direction, so that no cycle of waiting packets can close."""

from etasim.core.registry import ROUTING_POLICIES
from etasim.noc.topology import EAST, NORTH, SOUTH, WEST, Topology


def negative_first(topology: Topology, router: int, node: int) -> int:
    """The output port of ``router`` on the way to endpoint ``node`` of a mesh."""
    target = topology.node_router[node]
    dx, dy = target % topology.columns - router % topology.columns, target // topology.columns - router // topology.columns
    for port, is_ahead in ((WEST, dx < 0), (SOUTH, dy < 0), (EAST, dx > 0), (NORTH, dy > 0)):
        if is_ahead:
            return port
    return int(topology.node_port[node])


ROUTING_POLICIES.add("negative_first", negative_first)
