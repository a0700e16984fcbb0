"""The discrete-event loop: steps every instance of a part in the cycles in which it can act, and no other.

Parts meet only in channels, whose messages are seen a cycle later, so the order of the parts within a cycle changes nothing. What happens
at the other end of its channels wakes an instance (`etasim.core.channel`). Each part is compiled by itself (`etasim.core.frame`).
"""

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etasim.core import frame, jit
from etasim.core.arrays import Integers
from etasim.core.channel import NEVER
from etasim.core.frame import GOES_ON, NOTHING, Calls, Frame, call
from etasim.core.jit import Kernel, kernel, prepared, procedure
from etasim.machine import controller
from etasim.machine.ends import Instances, instances_of
from etasim.memory import buffer, collector, dma, feeder, host, mover
from etasim.memory.dram import part as dram_part
from etasim.noc import part as noc_part
from etasim.pe import cluster, unified
from etasim.program.events import EventLog, is_full

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

PARTS: dict[str, ModuleType] = {
    "controller": controller, "dma": dma, "dram": dram_part, "buffers": buffer, "feeders": feeder, "noc": noc_part,
    "clusters": cluster, "collectors": collector, "unified": unified, "host": host, "movers": mover,
}  # fmt: skip
"""By the names of their descriptions and states. Each has two kernels of (spec, state, program, links, log, instance, now): ``step``, one
cycle of an instance (`etasim.machine.ends`), returns whether anything happened (`etasim.core.frame`: NOTHING, GOES_ON, WAITS);
``next_timer``, the first cycle after ``now`` in which it can act by itself, or NEVER.
"""

OF_SOME_MACHINES = ("host", "movers")
"""Parts that are compiled when a machine has them."""

RUNNING, FINISHED, DEADLOCK = range(3)

ORDER = np.arange(len(PARTS))
"""The order of the parts that a simulation uses; any permutation gives the same results."""


class Engine(NamedTuple):
    """The kernels of all parts, bound to a machine; ``instances`` by part, and as arrays. ``loops``: by the order of the parts, and the
    procedure that runs up to cycle ``until`` [1]. ``settle_network``: makes the network's arrays true; ``step_dram``: a step of each
    channel."""

    steps: Calls
    timers: Calls
    instances: Instances
    numbers: tuple[np.ndarray, ...]
    until: np.ndarray
    loops: dict[tuple[bytes, Callable[..., int]], Callable[[], int]]
    settle_network: tuple[Callable[[int], int], ...]
    step_dram: tuple[Callable[[int], int], ...]


def _kernels(name: str) -> dict[str, Kernel]:
    return {part: getattr(module, name) for part, module in PARTS.items()}


def _frames(machine: "Machine") -> list[Frame]:
    shared = machine.program, machine.links, machine.log
    return [Frame(getattr(machine.specs, name), getattr(machine.states, name), *shared) for name in PARTS]


def bind(machine: "Machine") -> Engine:
    """The engine of a machine; compiled, if it is not yet."""
    frames, instances = _frames(machine), instances_of(machine.specs)
    counts = [len(getattr(instances, name)) for name in PARTS]
    steps, timers = (frame.bind([*_kernels(name).values()], frames, counts) for name in ("step", "next_timer"))
    numbers = tuple(np.array(own, np.int64) for own in instances)
    settle_network = tuple(frame.bound(timers.table, place) for place in instances.noc)
    step_dram = tuple(frame.bound(steps.table, place) for place in instances.dram)
    return Engine(steps, timers, instances, numbers, machine.states.controller.until, {}, settle_network, step_dram)


def parts_of(machine: "Machine") -> list[tuple[Kernel, Frame]]:
    """The kernels that `bind` compiles, and what they see."""
    own = [*zip(PARTS, _frames(machine), instances_of(machine.specs), strict=True)]
    return [(_kernels(name)[part], each) for name in ("step", "next_timer") for part, each, instances in own if instances]


def is_compiled(loop: Callable[..., int]) -> bool:
    """Whether nothing need be compiled for a simulation, by ``loop`` (`run_cycles` or what does as it), of a machine with the parts that
    all have."""
    needed = [kernel for name in ("step", "next_timer") for part, kernel in _kernels(name).items() if part not in OF_SOME_MACHINES]
    return jit.is_cached(loop) and frame.are_cached(needed)


class Loop(NamedTuple):
    """A procedure that does what `run_cycles` does, and what it is given besides."""

    procedure: Callable[..., int]
    arguments: tuple[Any, ...]


def run(engine: Engine, machine: "Machine", order: np.ndarray, until: int, loop: Loop | None = None) -> int:
    """Simulate to core cycle ``until``, to the end, or until the log of events must be emptied. ``order`` [parts]: the order of the parts
    within a cycle. ``loop``: in the place of `run_cycles`.

    Returns RUNNING, FINISHED (all commands done, nothing under way) or DEADLOCK (work left and nothing can act).
    """
    procedure, besides = loop or Loop(run_cycles, ())
    key = order.tobytes(), procedure
    if key not in engine.loops:
        instances = np.concatenate([engine.numbers[part] for part in order])
        wake_at, scratch = machine.links.commands.wake_at, np.empty_like(instances)
        calls = engine.steps.table, engine.timers.table
        shared = machine.states.time, machine.log, instances, engine.until
        engine.loops[key] = prepared(procedure, *calls, wake_at, scratch, *shared, *besides)
    engine.until[0] = until
    status = engine.loops[key]()
    for settle in engine.settle_network:
        settle(int(machine.states.time[0]))
    if status == FINISHED and machine.states.controller.total_done[0] < machine.n_commands:
        return DEADLOCK
    return status


@procedure
def run_cycles(
    steps: Any, timers: Any, wake_at: Integers, awake: Integers, time: Integers, log: EventLog, order: Integers, until: Integers
) -> int:
    """`cycles_to` the cycle that ``until`` [1] holds."""
    return cycles_to(steps, timers, wake_at, awake, time, log, order, until, NEVER)


@kernel
def cycles_to(
    steps: Any, timers: Any, wake_at: Integers, awake: Integers, time: Integers, log: EventLog, order: Integers, until: Integers, stop: int
) -> int:
    """Simulate to cycle ``stop``, or to that which ``until`` [1] holds: a part may set it back on the way.

    RUNNING, or FINISHED when nothing can act any more. ``awake`` is scratch: who is stepped in a cycle.

    All are awake in cycle 0, which changes nothing: where an instance cannot act, a step leaves everything as it is. Who sleeps sleeps on
    when the loop is left and entered again. Who wakes in a cycle is settled before the first of them is stepped, so that what they do to
    each other is for later cycles.
    """
    now, n_instances = time[0], order.shape[0]
    while now < until[0] and now < stop and not is_full(log):
        n_awake = 0
        for i in range(n_instances):
            if wake_at[order[i]] <= now:
                wake_at[order[i]] = NEVER
                awake[n_awake] = order[i]
                n_awake += 1
        for i in range(n_awake):
            place = awake[i]
            at, done = now + 1, call(steps, place, now)
            if done != NOTHING:
                time[1] = now
            if done != GOES_ON:
                at = call(timers, place, now)
            wake_at[place] = min(wake_at[place], at)
        soonest = NEVER
        for place in range(n_instances):
            soonest = min(soonest, wake_at[place])
        if soonest == NEVER:
            time[0] = now
            return FINISHED
        now = max(now + 1, soonest)  # whatever a part says, time goes on
    time[0] = now
    return RUNNING


def catch_up_dram(engine: Engine, now: int) -> None:
    """Bring idle DRAM channels to the end of core cycle ``now``: refreshes that nobody waited for still happen."""
    for step in engine.step_dram:
        step(now)
