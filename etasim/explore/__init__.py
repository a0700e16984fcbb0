"""Design-space exploration: sweeps over architectures, Pareto sets, and the comparison with published figures.

The package is also what explores: ``etasim.explore("space.yaml", "found/")`` is `etasim.explore.session.explore`.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from etasim.core.lazy import lazy

if TYPE_CHECKING:
    from etasim.explore.session import Exploration

__all__ = ["explore", "sweep"]

__getattr__, __dir__ = lazy(__name__, {"explore": "exploration", "sweep": "sweeps"})


class _Explore(ModuleType):
    """A package that can be called, because its name is that of what it does."""

    def __call__(self, *arguments: Any, **options: Any) -> "Exploration":
        from etasim.explore.session import explore as explore_now

        return explore_now(*arguments, **options)


sys.modules[__name__].__class__ = _Explore
