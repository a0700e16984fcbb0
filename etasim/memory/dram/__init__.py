"""DRAM channels: standards as tables, controller kernels, energy, replay of traces, an independent timing checker.

Names are imported when they are first used, so that reading a standard's name does not load the compiler.
"""

from etasim.core.lazy import lazy

_HOME = {
    "COUNTERS": "spec",
    "DramSpec": "spec",
    "DramState": "spec",
    "build": "spec",
    "init": "spec",
    "longest_wait_clocks": "spec",
    "channel_of": "address",
    "next_timer": "controller",
    "settle": "controller",
    "step": "controller",
    "data_buses": "pins",
    "peak_bytes_per_clock": "pins",
    "peak_bytes_per_s": "pins",
    "Figures": "statistics",
    "figures": "statistics",
    "together": "statistics",
}

__getattr__, __dir__ = lazy(__name__, _HOME)
