"""etasim: a cycle-level simulator of ETA, an 8-bit DNN training accelerator.

The public interface, loaded on first use so that ``import etasim`` stays cheap:

- ``load_architecture(path_or_name, overrides=()) -> Architecture``
- ``load_network(path_or_name) -> Network``
- ``simulate(architecture, network, *, batch, phases, functional=False, tensors, iterations, seed) -> RunResult``
- ``sweep(path_or_name, folder, *, workers=None, resume=False) -> list of rows``
"""

from etasim.core.lazy import lazy

__version__ = "0.2.0"
__all__ = ["load_architecture", "load_network", "simulate", "sweep"]

_HOME = {"load_architecture": "config", "load_network": "workload", "simulate": "machine", "sweep": "explore"}
__getattr__, __dir__ = lazy(__name__, _HOME)
