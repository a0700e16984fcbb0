"""A mapper: of all mappings that fit, those that move the fewest bytes between DRAM and the buffers; of these the fastest."""

from etasim.core.registry import MAPPERS
from etasim.schedule.plan import best_plans

MOST = 4096
"""Mappings that are looked at, the fastest first."""


def least_traffic(array, problem, n_best, pins):
    """The first ``n_best`` by their traffic."""
    return sorted(best_plans(array, problem, MOST, pins), key=lambda plan: (plan.dram_bytes, plan.cycles))[:n_best]


MAPPERS.add("least_traffic", least_traffic)
