"""From operations to a tile program: loop nests, tiles, DRAM layout, routes."""

from etasim.core.errors import InfeasibleError
from etasim.mapping.iteration import Operation
from etasim.mapping.mapper import Mapping, map_iteration

__all__ = ["InfeasibleError", "Mapping", "Operation", "map_iteration"]
