"""The machine: elaboration, the discrete-event engine, and a simulation from inputs to counters.

Names are imported when they are first used, so that reading inputs does not load the compiler.
"""

from etasim.core.lazy import lazy

_HOME = {
    "simulate": "simulation",
    "simulate_inputs": "simulation",
    "Watching": "simulation",
    "Inputs": "inputs",
    "is_compiled": "simulation",
    "start_compiling": "compiling_beside",
    "RunResult": "result",
    "ConservationError": "errors",
    "DeadlockError": "errors",
}

__getattr__, __dir__ = lazy(__name__, _HOME)
