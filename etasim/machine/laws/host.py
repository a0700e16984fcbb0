"""Laws of the host: what it sent is what the program asks for and what DRAM took from it, at the rate of its link, after its latency."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from etasim.machine.elaborate import Machine
from etasim.machine.laws.compare import at_least, same
from etasim.machine.laws.order import COMPLETION, QUEUE
from etasim.machine.laws.said import Said, by_engine
from etasim.machine.runs import Touched
from etasim.program.commands import Program, engines_of

ACCEPTANCE = 2
"""Cycles from the push of a burst to the news that the controller of the DRAM has taken it."""


def _burst_cycles(machine: Machine) -> Fraction:
    """Core cycles of a burst on the host's link, if there is one."""
    link = machine.architecture.host
    return link.burst_cycles(machine.specs.host.burst_bytes, machine.architecture.core.clock_hz) if link else Fraction(0)


def commands(machine: Machine, program: Program, touched: Touched) -> Iterator[str]:
    """No command was complete before its bursts could be."""
    spec, cycles = machine.specs.host, _burst_cycles(machine)
    for engine in engines_of(program).arrivals:
        times = machine.times_of(program)[program.engine_start[engine] : program.engine_start[engine + 1]]
        n_bursts = touched.arrived[by_engine(program, engine)]
        on_link = np.array([int(-(-n * cycles // 1)) for n in n_bursts.tolist()], np.int64)
        least = QUEUE + spec.latency_cycles + on_link + ACCEPTANCE + COMPLETION
        yield from at_least("host: cycles of a command, latency and bursts on the link [command]", times[:, 1] - times[:, 0], least)


def arrivals(machine: Machine, said: Said, total_cycles: int) -> Iterator[str]:
    """Bursts by operation and class, and in time."""
    spec, state = machine.specs.host, machine.states.host
    engines = engines_of(machine.program).arrivals
    for engine, counters, n_bursts in zip(engines, state.counters, said["arrived_bursts"], strict=True):
        n_commands = said["commands"][engine]
        yield from same("host commands, of the program", counters["commands"], n_commands)
        yield from same("host bursts, of its commands", counters["bursts"], n_bursts)
        if n_commands:
            all_on_link = np.array(spec.latency_cycles + int(n_bursts * _burst_cycles(machine)))
            yield from at_least("total cycles, latency of the host and its bursts on the link", np.array(total_cycles), all_on_link)
    yield from same("host bursts, of the program [operation, class]", state.bursts, said["arrived"])
