"""From operations to a tile program: loop nests, tiles, DRAM layout, routes."""

from etasim.mapping.array import InfeasibleError
from etasim.mapping.mapper import Mapping, Operation, map_iteration

__all__ = ["InfeasibleError", "Mapping", "Operation", "map_iteration"]
