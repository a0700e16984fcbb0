"""Laws of the host: what it sent is what the program asks for and what DRAM took from it, at the rate of its link, after its latency."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from etasim.machine.elaborate import Machine
from etasim.machine.laws.compare import at_least, same
from etasim.machine.laws.order import COMPLETION, QUEUE
from etasim.machine.laws.work import by_engine
from etasim.machine.runs import Touched
from etasim.program.commands import TENSOR_CLASSES, engines_of

ACCEPTANCE = 2
"""Cycles from the push of a burst to the news that the controller of the DRAM has taken it."""


def arrivals(machine: Machine, n_operations: int, touched: Touched, total_cycles: int) -> Iterator[str]:
    """Bursts by operation and class, by command, and in time."""
    spec, state, program, link = machine.specs.host, machine.states.host, machine.program, machine.architecture.host
    asked = np.zeros((n_operations, len(TENSOR_CLASSES)), np.int64)
    cycles = link.burst_cycles(spec.burst_bytes, machine.architecture.core.clock_hz) if link else Fraction(0)
    for engine, counters in zip(engines_of(program).arrivals, state.counters, strict=True):
        rows = by_engine(program, engine)
        table, n_bursts = program.arrivals[rows], touched.arrived[rows]
        np.add.at(asked, (table["operation"], table["tensor_class"]), n_bursts)
        yield from same("host commands, of the program", counters["commands"], np.array(len(rows)))
        yield from same("host bursts, of its commands", counters["bursts"], n_bursts.sum())
        times = machine.states.controller.times[program.engine_start[engine] : program.engine_start[engine + 1]]
        on_link = np.array([int(-(-n * cycles // 1)) for n in n_bursts.tolist()], np.int64)
        least = QUEUE + spec.latency_cycles + on_link + ACCEPTANCE + COMPLETION
        yield from at_least("host: cycles of a command, latency and bursts on the link [command]", times[:, 1] - times[:, 0], least)
        if len(rows):
            all_on_link = np.array(spec.latency_cycles + int(n_bursts.sum() * cycles))
            yield from at_least("total cycles, latency of the host and its bursts on the link", np.array(total_cycles), all_on_link)
    yield from same("host bursts, of the program [operation, class]", state.bursts, asked)
