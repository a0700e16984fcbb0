"""etasim: a cycle-level simulator of ETA, an 8-bit DNN training accelerator.

The public interface, loaded on first use so that ``import etasim`` stays cheap:

- ``load_architecture(path_or_name, overrides=()) -> Architecture``
- ``load_network(path_or_name) -> Network``
- ``simulate(architecture, network, *, batch, phases, functional=False, tensors, iterations, seed) -> RunResult``
- ``sweep(path_or_name, folder, *, workers=None, resume=False) -> list of rows``
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_architecture", "load_network", "simulate", "sweep"]

_HOMES = {
    "load_architecture": "etasim.config",
    "load_network": "etasim.workload",
    "simulate": "etasim.machine",
    "sweep": "etasim.explore",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'etasim' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
