"""Design-space exploration: sweeps over architectures, Pareto sets, and the comparison with published figures."""

from etasim.explore.sweep import sweep

__all__ = ["sweep"]
