"""The machine: elaboration, the discrete-event engine, and a simulation from inputs to counters.

Names are imported when they are first used, so that reading inputs does not load the compiler.
"""

from importlib import import_module

_HOME = {
    "simulate": "simulation",
    "is_compiled": "simulation",
    "RunResult": "result",
    "ConservationError": "errors",
    "DeadlockError": "errors",
}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
