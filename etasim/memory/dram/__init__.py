"""DRAM channels: standards as tables, controller kernels, energy, replay of traces, an independent timing checker."""

from etasim.memory.dram.address import channel_of
from etasim.memory.dram.controller import next_timer, settle, step
from etasim.memory.dram.pins import data_buses, peak_bytes_per_clock, peak_bytes_per_s
from etasim.memory.dram.spec import COUNTERS, DramSpec, DramState, build, init, longest_wait_clocks
from etasim.memory.dram.statistics import Figures, figures, together

__all__ = [
    "COUNTERS", "DramSpec", "DramState", "Figures", "build", "channel_of", "data_buses", "figures", "init", "longest_wait_clocks",
    "next_timer", "peak_bytes_per_clock", "peak_bytes_per_s", "settle", "step", "together",
]  # fmt: skip
