"""From operations to a tile program: loop nests, tiles, DRAM layout, routes."""

from etasim.mapping.iteration import Operation
from etasim.mapping.mapper import Mapping, map_iteration
from etasim.schedule.array import InfeasibleError

__all__ = ["InfeasibleError", "Mapping", "Operation", "map_iteration"]
