"""etasim: a cycle-level simulator of ETA, an 8-bit DNN training accelerator.

The public interface, loaded on first use so that ``import etasim`` stays cheap:

- ``load_architecture(path_or_name, overrides=()) -> Architecture``
- ``load_network(path_or_name) -> Network``
- ``simulate(architecture, network, *, batch, phases, functional=False, tensors, iterations, seed) -> Result``
- ``read(folder) -> result, exploration or rows of a sweep``
- ``compare(a, b) -> what differs, and where the cycles went``
- ``progress() -> bars for simulate(..., progress=bars.add(name))``
- ``explore(path_or_name, folder, *, method, budget, seed, ...) -> Exploration``
- ``sweep(path_or_name, folder, *, workers=None, resume=False) -> list of rows``

A result prints as a screen and draws itself: ``result.plot("bandwidth")``. docs/session.md walks through it.
"""

from typing import TYPE_CHECKING

from etasim.core.lazy import lazy

if TYPE_CHECKING:
    from etasim import explore as explore
    from etasim.config import InputError as InputError
    from etasim.config import load_architecture as load_architecture
    from etasim.core.errors import InfeasibleError as InfeasibleError
    from etasim.explore.session import compare as compare
    from etasim.explore.session import read as read
    from etasim.explore.sweeps import sweep as sweep
    from etasim.report.progress import progress as progress
    from etasim.report.simulated import simulate as simulate
    from etasim.workload import load_network as load_network

__version__ = "0.2.0"
__all__ = [
    "InfeasibleError", "InputError", "compare", "explore", "load_architecture", "load_network", "progress", "read", "simulate", "sweep",
]  # fmt: skip

_HOME = {
    "InfeasibleError": "core.errors", "InputError": "config", "load_architecture": "config", "load_network": "workload",
    "simulate": "report.simulated", "progress": "report.progress", "read": "explore.session", "compare": "explore.session",
    "sweep": "explore.sweeps", "explore": "explore",
}  # fmt: skip
__getattr__, __dir__ = lazy(__name__, _HOME)
