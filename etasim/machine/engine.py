"""The discrete-event loop: steps every part in each cycle in which something can happen, and skips the others.

Parts meet only in channels, whose messages are seen a cycle later, so the order of the parts within a cycle changes nothing. Each part is
compiled by itself (`etasim.core.frame`).
"""

from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etasim.core import frame, jit
from etasim.core.arrays import Integers
from etasim.core.channel import NEVER, Channels
from etasim.core.frame import Calls, Frame, call
from etasim.core.jit import Kernel, entry
from etasim.machine import controller
from etasim.memory import buffer, collector, dma, dram, feeder, host, mover
from etasim.memory.dram import part as dram_part
from etasim.memory.dram.spec import DramSpec, DramState
from etasim.noc import part as noc_part
from etasim.pe import cluster, unified
from etasim.program.events import EventLog, is_full

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

PARTS: dict[str, ModuleType] = {
    "controller": controller, "dma": dma, "dram": dram_part, "buffers": buffer, "feeders": feeder, "noc": noc_part,
    "clusters": cluster, "collectors": collector, "unified": unified, "host": host, "movers": mover,
}  # fmt: skip
"""By the names of their descriptions and states. Each has two kernels of (spec, state, program, links, log, now): ``step``, one cycle,
returns whether anything happened; ``next_timer``, the first cycle after ``now`` in which the part can act by itself, or NEVER.
"""

RUNNING, FINISHED, DEADLOCK = range(3)

ORDER = np.arange(len(PARTS))
"""The order of the parts that a simulation uses; any permutation gives the same results."""


class Engine(NamedTuple):
    """The kernels of all parts, bound to a machine; ``present``: numbers of the parts that it has."""

    steps: Calls
    timers: Calls
    present: np.ndarray


def _kernels(name: str) -> list[Kernel]:
    return [getattr(part, name) for part in PARTS.values()]


def bind(machine: "Machine") -> Engine:
    """The engine of a machine; compiled, if it is not yet."""
    shared = machine.program, machine.links, machine.log
    frames = [Frame(getattr(machine.specs, name), getattr(machine.states, name), *shared) for name in PARTS]
    absent = {"host": not len(machine.specs.host.engine), "movers": not len(machine.specs.movers.engine)}
    present = np.array([i for i, name in enumerate(PARTS) if not absent.get(name)])
    steps, timers = (frame.bind(_kernels(name), frames) for name in ("step", "next_timer"))
    return Engine(steps, timers, present)


def is_compiled() -> bool:
    """Whether nothing need be compiled for a simulation."""
    return jit.is_cached(run_cycles) and all(frame.are_cached(_kernels(name)) for name in ("step", "next_timer"))


def run(engine: Engine, machine: "Machine", order: np.ndarray, until: int) -> int:
    """Simulate to core cycle ``until``, to the end, or until the log of events must be emptied. ``order`` [parts]: the order of the parts
    within a cycle.

    Returns RUNNING, FINISHED (all commands done, nothing under way) or DEADLOCK (work left and nothing can act).
    """
    order = order[np.isin(order, engine.present)]
    status = run_cycles(engine.steps.table, engine.timers.table, machine.states.time, machine.log, order, until)
    if status == FINISHED and machine.states.controller.total_done[0] < len(machine.program.commands):
        return DEADLOCK
    return status


@entry
def run_cycles(steps: Any, timers: Any, time: Integers, log: EventLog, order: Integers, until: int) -> int:
    """RUNNING, or FINISHED when nothing can act any more."""
    now = time[0]
    while now < until and not is_full(log):
        progress = 0
        for i in range(order.shape[0]):
            progress |= call(steps, order[i], now)
        if progress:
            time[1] = now
            now += 1
            continue
        timer = NEVER
        for i in range(order.shape[0]):
            timer = min(timer, call(timers, order[i], now))
        if timer == NEVER:
            time[0] = now
            return FINISHED
        now = max(now + 1, timer)  # whatever a part says, time goes on
    time[0] = now
    return RUNNING


@entry
def catch_up_dram(spec: DramSpec, state: DramState, requests: Channels, responses: Channels, clock: int) -> None:
    """Bring idle DRAM channels to the end of a simulation: refreshes that nobody waited for still happen."""
    dram.step(spec, state, requests, responses, clock)
