"""DRAM channels: standards as tables, controller kernels, energy, replay of traces, an independent timing checker."""

from etasim.memory.dram.address import channel_of
from etasim.memory.dram.controller import next_timer, settle, step
from etasim.memory.dram.spec import COUNTERS, DramSpec, DramState, build, init

__all__ = ["COUNTERS", "DramSpec", "DramState", "build", "channel_of", "init", "next_timer", "settle", "step"]
