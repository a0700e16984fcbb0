"""A hand-driven memory for tests: push requests, run clocks, read answers. One tick is one DRAM clock."""

from fractions import Fraction

import numpy as np

from etasim.core.channel import NEVER, channels, push
from etasim.core.clock import Clocks
from etasim.core.jit import entry
from etasim.memory.dram import build, init, next_timer, settle, step
from etasim.memory.dram.replay import COMMAND_RECORD, reference_parameters, replay_config
from etasim.memory.dram.spec import COUNTERS

MAPPINGS = {"DDR3_1866M": "ro:16,ba:3,bg:0,co:7", "DDR4_2400R": "ro:16,ba:2,bg:2,co:7", "HBM2_2000": "ro:14,ba:2,bg:2,co:5"}


@entry
def run(spec, state, requests, responses, first, end, every_clock):
    """Step from clock ``first`` until ``end`` or until nothing can happen; returns the clock after the last step."""
    clock = first
    while clock < end:
        step(spec, state, requests, responses, clock)
        timer = next_timer(spec, state, requests, clock)
        if timer == NEVER and not every_clock:
            return clock + 1
        clock = clock + 1 if every_clock else timer
    return end


class Memory:
    """Channels of a reference part with room for every answer."""

    def __init__(self, part: str = "DDR3_1866M", n_requesters: int = 1, log_capacity: int = 4096, depth: int = 512, **choices):
        mapping = choices.pop("mapping", MAPPINGS[part])
        config = replay_config(reference_parameters(part), mapping, **choices)
        self.spec = build(config, Clocks(1, 1, Fraction(1, 10**9)), n_requesters, log_capacity)
        self.state = init(self.spec)
        n = self.spec.n_channels * n_requesters
        self.requests, self.responses = channels(n, depth), channels(n, depth)
        self.clock = 0

    def push(self, address: int, write: bool = False, *, at: int = 0, tag: int = 0, requester: int = 0) -> None:
        channel = address >> self.spec.interleave_bits & self.spec.n_channels - 1
        port = channel * self.spec.n_requesters + requester
        push(self.requests, port, at, address, int(write), tag, 7)

    def run(self, end: int = 1 << 40, every_clock: bool = False) -> "Memory":
        self.clock = int(run(self.spec, self.state, self.requests, self.responses, np.int64(self.clock), np.int64(end), every_clock))
        return self

    def settle(self, clock: int) -> "Memory":
        """Run on and book everything up to the end of ``clock``."""
        self.run(clock)
        self.clock = clock
        self.run(clock + 1)
        settle(self.spec, self.state, clock)
        return self

    def answers(self, port: int = 0) -> list[tuple[int, int, int]]:
        """(visible at, byte address, tag) of the answers on a port, oldest first; they stay there."""
        count = int(self.responses.pushes[port] - self.responses.pops[port])
        return [tuple(int(word) for word in self.responses.slots[port, i, [0, 2, 4]]) for i in range(count)]

    def commands(self, channel: int = 0) -> np.ndarray:
        logged = self.state.log[channel, : self.state.registers[channel]["logged"]]
        return np.ascontiguousarray(logged).view(COMMAND_RECORD)[:, 0]

    def counters(self, channel: int = 0) -> dict[str, int]:
        return {name: int(self.state.counters[channel][name]) for name in COUNTERS.names}
