"""Design-space exploration: sweeps over architectures, Pareto sets, and the comparison with published figures."""

from etasim.core.lazy import lazy

__all__ = ["explore", "sweep"]

__getattr__, __dir__ = lazy(__name__, {"explore": "exploration", "sweep": "sweeps"})
