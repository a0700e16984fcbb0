"""The watch against endless runs: a machine with work left does a piece of it within a bounded time, and no more pieces than it has.

A machine in which nothing can act is a deadlock, which the engine sees at once. But timers (refresh, an allocator that tries again) can
keep a machine awake that does nothing. The watch counts pieces of work: commands completed, bursts that DRAM served, words that buffers
answered, flits moved, vector groups begun. The program says how many there are, so their number cannot grow for ever; and while it
stands still the machine waits, which lasts no longer than the longest waits of all its parts together.
"""

from functools import cached_property

import numpy as np

from etasim import noc
from etasim.core.errors import PATIENCE
from etasim.machine.elaborate import Machine
from etasim.machine.engine import PARTS
from etasim.machine.traffic import packet_flits
from etasim.memory import dram
from etasim.program.commands import MAX_READS, Program


def longest_wait_cycles(machine: Machine) -> int:
    """Core cycles within which a machine with work left does a piece of it: the longest command of a cluster, the pipelines, an access to a
    buffer, a hop in the network, a wait for DRAM or the host, and a message into and out of every part, one after the other."""
    specs = machine.specs
    dram_ticks = dram.longest_wait_clocks(specs.dram) * specs.dram.dram_ticks
    waits = (
        max(least.longest_cycles for least in machine.least()), specs.clusters.pipeline_depth,
        specs.unified.pipeline_depth, int(specs.buffers.latency_cycles.max()), noc.longest_wait_cycles(specs.noc),
        -(-dram_ticks // specs.dram.core_ticks), specs.host.latency_cycles, specs.host.burst_cycles + 1, 2 * len(PARTS),
    )  # fmt: skip
    return sum(waits)


def work_done(machine: Machine) -> int:
    """Pieces of work that a machine has done so far."""
    s = machine.states
    served = sum(int(s.dram.counters[name].sum()) for name in ("read_bursts", "write_bursts", "forwarded_reads", "merged_writes"))
    words = int(s.buffers.counters["read_words"].sum() + s.buffers.counters["written_words"].sum())
    return int(s.controller.total_done[0]) + served + words + noc.flits_moved(s.noc) + int(s.unified.counters["busy_cycles"].sum())


def most_work(machine: Machine) -> int:
    """Pieces of work that a program can have at the most: every run of a transfer begins and ends inside a burst and inside a word, every
    word of a burst is shared with the next one, no segment of a drain shares a word."""
    return sum(_most_work(machine, program) for program in machine.stretches())


def _most_work(machine: Machine, program: Program) -> int:
    specs = machine.specs
    t, vectors = program.transfers, program.vectors
    runs = t["counts"].prod(axis=1)
    bursts = runs * (t["run_bytes"] // specs.dram.burst_bytes + 2)
    words = 2 * bursts + runs * (t["run_bytes"] // specs.dma.word_bytes + 2)
    moving = program.moves["counts"].prod(axis=1) * (2 * (program.moves["run_bytes"] // specs.dma.word_bytes) + 4)
    arriving = program.arrivals["counts"].prod(axis=1) * (program.arrivals["run_bytes"] // specs.dram.burst_bytes)
    operands = [vectors["words"][:, :MAX_READS], vectors["words"][:, MAX_READS:]]
    flits, network = packet_flits(machine), specs.noc
    moves = 1 + network.route_links + 2 * network.route_copies
    sending = [table[table["n_packets"] > 0] for table in (program.feeds, program.drains)]
    sent = [(table["n_packets"] * (flits[network.route_class] * moves)[table["route"]]).sum() for table in sending]
    pieces = (
        len(program.commands), bursts.sum(), words.sum(), program.feeds["n_packets"].sum(), program.drains["n_segments"].sum(),
        *(o.sum() for o in operands), vectors["n_groups"].sum(), *sent, arriving.sum(), 2 * moving.sum(),
    )  # fmt: skip
    return int(np.sum(pieces))


class Watch:
    """Looks at a running machine now and then. ``patience``: core cycles without a piece of work after which it is given up; ``seen``
    [2]: pieces of work done, and the core cycle, when it looked last."""

    def __init__(self, machine: Machine):
        self._machine = machine
        self.patience = PATIENCE * longest_wait_cycles(machine)
        self.seen = np.zeros(2, np.int64)

    @cached_property
    def _most_work(self) -> int:
        return most_work(self._machine)

    def verdict(self) -> str:
        """Why the machine will not come to an end, empty if it may. Costs nothing until ``patience`` cycles after it was last asked."""
        now, (before, since) = int(self._machine.states.time[0]), self.seen.tolist()
        if now - since < self.patience:
            return ""
        done = work_done(self._machine)
        self.seen[:] = done, now
        if done == before:
            return f"nothing was done for {self.patience} cycles, {PATIENCE} times the longest wait that this machine can need"
        if done > self._most_work:
            return f"{done} pieces of work are done, the program has at most {self._most_work}"
        return ""
