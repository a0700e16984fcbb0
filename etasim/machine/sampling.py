"""Samples of a machine's counters (`etasim.machine.tallies`), taken while it runs.

Differences of samples are what happened between them, and add up to the counters of the whole run. When all room is used, every other
sample goes: the samples are twice as long then.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from etasim.core import frame
from etasim.core.arrays import Integers
from etasim.core.frame import Frame, call
from etasim.core.jit import procedure
from etasim.machine.ends import instances_of
from etasim.machine.engine import RUNNING, Loop, cycles_to
from etasim.machine.engine import is_compiled as engine_is_compiled
from etasim.machine.tallies import N_ENTRIES, WORK, Counted, SamplingSpec, Tallies, step
from etasim.memory.dram.spec import DramSpec
from etasim.noc.topology import ABSENT
from etasim.pe.causes import CAUSES
from etasim.program.commands import TENSOR_CLASSES
from etasim.program.events import EventLog, is_full

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

MOST_SAMPLES = 4_096
"""That are kept."""

MOST_LINK_BYTES = 128 * 2**20
"""Of what all samples keep of the network's links: of one of tens of thousands of links fewer samples are kept."""

LEAST_SAMPLES, SHORT_CYCLES, FEWEST_SAMPLES = 1_250, 1_000, 400
"""That the shortest possible run would have; unless they are shorter than so many core cycles, when that is their length; unless they are
so few then. A run takes about half as long again."""


@procedure
def run_sampled(
    steps: Any, timers: Any, wake_at: Integers, awake: Integers, time: Integers, log: EventLog, order: Integers, until: Integers,
    network: Integers, channels: Integers, samples: Any, progress: Integers, ends: Integers,
) -> int:  # fmt: skip
    """As `engine.run_cycles`, taking each sample that is due when all cycles before it are done, until there is no room for another.

    ``network`` and ``channels``: instances that are brought up to date before: the arrays of the network, and refreshes of idle channels
    that nobody waited for.
    """
    status, last = RUNNING, until[0]
    while status == RUNNING and time[0] < last and progress[0] < ends.shape[0] and not is_full(log):
        status = cycles_to(steps, timers, wake_at, awake, time, log, order, until, progress[2])
        if until[0] < last:  # a part is to be stepped in this cycle again
            return status
        for i in range(network.shape[0]):
            call(timers, network[i], time[0])
        while progress[2] <= time[0] and progress[0] < ends.shape[0]:
            for i in range(channels.shape[0]):
                call(steps, channels[i], progress[2] - 1)
            call(samples, 0, progress[2])
            if progress[0] < ends.shape[0]:
                progress[2] += progress[1]
    return status


def is_compiled() -> bool:
    """Whether nothing need be compiled for a simulation that is sampled; its first run compiles it otherwise."""
    return engine_is_compiled(run_sampled) and frame.are_cached([step])


def _numbers(counters: np.ndarray) -> np.ndarray:
    """Records of integers as a table of them, a view [..., field]."""
    return counters.view(np.int64).reshape(*counters.shape, -1)


def _room(machine: "Machine", n_links: int) -> Tallies:
    """Room for all samples; pages that nobody writes take no memory."""
    s, n_operations, n_classes = machine.states, len(machine.states.clusters.cycles), machine.states.noc.link_flits.shape[1]
    n = max(min(MOST_SAMPLES, MOST_LINK_BYTES // (16 * n_links * n_classes + 1) * 2), 2)

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros((n, *shape), np.int64)

    return Tallies(
        progress=np.zeros(4, np.int64), work=np.zeros(((n + 1) * n_operations + 1, 2 + len(WORK)), np.int64),
        operations=np.zeros((2, n_operations, len(WORK)), np.int64), ends=zeros(),
        dram=zeros(*_numbers(s.dram.counters).shape), turns=zeros(len(s.dram.counters)),
        classes=zeros(2, len(TENSOR_CLASSES)),
        noc=zeros(*_numbers(s.noc.counters).shape), links=zeros(n_links, n_classes),
        buffers=zeros(*_numbers(s.buffers.counters).shape),
        causes=zeros(len(CAUSES)), arrived=zeros(2), unified=zeros(*_numbers(s.unified.counters).shape[1:]),
        dma=zeros(s.dma.buffer_words.shape[1]), fed=zeros(s.feeders.counters.shape[1]), collected=zeros(s.collectors.counters.shape[1]),
        moved=zeros(s.movers.moved.shape[1]), host=zeros(1),
    )  # fmt: skip


def usual_cycles(machine: "Machine") -> int:
    """Core cycles of a sample that nobody chose: a long run has about 2,000, a short one about as many as a picture shows, because a sample
    costs as much in both."""
    least = least_cycles(machine)
    return max(least // LEAST_SAMPLES, min(SHORT_CYCLES, least // FEWEST_SAMPLES))


def least_cycles(machine: "Machine") -> int:
    """Core cycles that a machine cannot do without: the busiest cluster's, or those of its DRAM pins."""
    spec, each = machine.specs.dram, machine.least()
    busy = sum(least.busy_cycles for least in each)
    clocks = sum(least.dram_bytes for least in each) / spec.burst_bytes * spec.burst_clocks / spec.n_channels
    return max(int(np.max(busy)), int(clocks * spec.dram_ticks / spec.core_ticks))


def whole_bursts_cycles(spec: DramSpec) -> int:
    """The least number of core cycles that is a whole number of burst lengths: no sample has more bursts than its pins carry."""
    burst_ticks = spec.burst_clocks * spec.dram_ticks
    return int(burst_ticks // np.gcd(burst_ticks, spec.core_ticks))


class Sampler:
    """Takes the samples of a machine. ``every``: core cycles of one, made whole bursts; 0: `usual_cycles`."""

    def __init__(self, machine: "Machine", every: int):
        unit = whole_bursts_cycles(machine.specs.dram)
        used = np.flatnonzero(machine.specs.noc.downstream[: len(machine.states.noc.links)] != ABSENT)
        self.samples, self.links = _room(machine, len(used)), used
        cycles = -(-(every or usual_cycles(machine)) // unit) * unit or unit
        self.samples.progress[:] = 0, cycles, cycles, 0
        s = machine.states
        sources = Counted(
            samples=self.samples, controller=s.controller, dram=s.dram, dma=s.dma, clusters=s.clusters, links=s.noc.link_flits,
            dram_counters=_numbers(s.dram.counters), noc=_numbers(s.noc.counters), buffers=_numbers(s.buffers.counters),
            packets=_numbers(s.feeders.counters)[..., 0], collected=_numbers(s.collectors.counters)[..., 1],
            unified=_numbers(s.unified.counters), moved=s.movers.moved, host=s.host.bursts,
        )  # fmt: skip
        spec = SamplingSpec(machine.specs.dma, machine.specs.dram, used, machine.n_commands)
        frames = [Frame(spec, sources, machine.program, 0, 0)]  # a sample looks into no channel, and records no event
        self._calls, instances = frame.bind([step], frames, [1]), instances_of(machine.specs)
        places = (np.array(own, np.int64) for own in (instances.noc, instances.dram))
        self.loop = Loop(run_sampled, (*places, self._calls.table, self.samples.progress, self.samples.ends))
        """What runs the machine and takes the samples that are due, until there is no room for more."""

    def taken(self, progress: Integers | None = None) -> Tallies:
        """The room of what was taken so far, or was when ``progress`` was this."""
        own, work, operations, *tables = self.samples
        n, _, _, n_entries = (own if progress is None else progress).tolist()
        return Tallies(own, work[:n_entries], operations, *(table[:n] for table in tables))

    def finish(self, total_cycles: int) -> None:
        """Take the last sample, of a machine whose books are closed."""
        progress, ends = self.samples.progress, self.samples.ends
        progress[0] = np.searchsorted(ends[: progress[0]], total_cycles)
        frame.bound(self._calls.table, 0)(total_cycles)

    def makes_room(self) -> bool:
        """If all room is used, forget every other sample; whether it was."""
        progress, work, _, *tables = self.samples
        half = len(self.samples.ends) // 2
        if progress[0] < 2 * half:
            return False
        for table in tables:
            table[:half] = table[1::2]
        entries = work[: progress[N_ENTRIES]]
        entries[:, 0] //= 2
        added = added_up(entries)
        work[: len(added)] = added
        progress[:2] = half, 2 * progress[1]
        progress[2] += progress[1]
        progress[N_ENTRIES] = len(added)
        return True


def added_up(work: np.ndarray) -> np.ndarray:
    """Entries of work in the order of samples and operations, one for each of these in which not all is 0."""
    order = np.lexsort((work[:, 1], work[:, 0]))
    places = work[order, :2]
    first = np.flatnonzero((np.diff(places, axis=0, prepend=-1) != 0).any(axis=1))
    sums = np.add.reduceat(work[order, 2:], first, axis=0)
    return np.hstack([places[first], sums])[sums.any(axis=1)]
