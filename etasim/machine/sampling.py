"""Samples of a machine's counters, taken between two cycles while it runs.

A sample is what the counters hold before a cycle, with what is open then booked up to it; differences of samples are what happened between
them, and add up to the counters of the whole run. Taking one changes no counter. When all room is used, every other sample goes: the
samples are twice as long then.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etasim.core import frame
from etasim.core.arrays import Integers, Records
from etasim.core.frame import Frame, call
from etasim.core.jit import kernel, procedure
from etasim.machine.bound import compute_cycles
from etasim.machine.ends import instances_of
from etasim.machine.engine import RUNNING, Loop, cycles_to
from etasim.machine.engine import is_compiled as engine_is_compiled
from etasim.memory.dma import DmaSpec, DmaState
from etasim.memory.dram.spec import COUNTERS as DRAM_COUNTERS
from etasim.memory.dram.spec import N_READS, N_WRITES, OCCUPANCY_AT, DramSpec, DramState
from etasim.noc.topology import ABSENT
from etasim.pe.causes import BUSY, CAUSES, GATHER_CONFLICT
from etasim.pe.cluster import ClusterState
from etasim.program.commands import TENSOR_CLASSES, Program
from etasim.program.events import EventLog, is_full

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

MOST_SAMPLES = 4_096
"""That are kept."""

LEAST_SAMPLES, SHORT_CYCLES, FEWEST_SAMPLES = 1_250, 1_000, 400
"""That the shortest possible run would have; unless they are shorter than so many core cycles, when that is their length; unless they are
so few then. A run takes about half as long again."""

READ, WRITTEN, BUSY_CYCLES, VECTOR_CYCLES = range(4)
WORK = ("read_bursts", "write_bursts", "busy_cycles", "vector_cycles")
"""What an operation did, by number."""

(_ENTRIES_READ, _ENTRIES_WRITTEN, _OCCUPANCY, _OPEN_RANKS) = (
    DRAM_COUNTERS.names.index(name)  # type: ignore[union-attr]  # it has names
    for name in ("read_queue_entry_clocks", "write_queue_entry_clocks", "occupancy_clocks", "open_rank_clocks")
)


class Tallies(NamedTuple):
    """``progress``: samples taken, core cycles of one, the cycle before which the next is due. All others are [sample, ...], what was
    counted before the core cycle ``ends``: ``dram`` [channel, counter], ``turns`` [channel], ``classes`` [read or written, tensor class]
    in bursts, ``operations`` [operation, `WORK`], ``noc`` [class, counter], ``links`` [link, class], ``buffers`` [buffer, counter],
    ``causes`` [cause], ``arrived`` [scratchpad], ``unified`` [core, counter], and words through ports: ``dma`` [engine], ``fed`` [stream],
    ``collected`` [collector], ``moved`` [mover]; ``host`` [1]: bursts."""

    progress: Integers
    ends: Integers
    dram: Integers
    turns: Integers
    classes: Integers
    operations: Integers
    noc: Integers
    links: Integers
    buffers: Integers
    causes: Integers
    arrived: Integers
    unified: Integers
    dma: Integers
    fed: Integers
    collected: Integers
    moved: Integers
    host: Integers


class Counted(NamedTuple):
    """Counters as tables of numbers, and the states with what is open."""

    samples: Tallies
    dram: DramState
    dma: DmaState
    clusters: ClusterState
    dram_counters: Integers
    noc: Integers
    links: Integers
    buffers: Integers
    packets: Integers
    collected: Integers
    unified: Integers
    moved: Integers
    host: Integers


class SamplingSpec(NamedTuple):
    """``links``: those with a wire."""

    dma: DmaSpec
    dram: DramSpec
    links: Integers


@kernel
def _copy(to: Integers, table: Integers) -> None:
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            to[i, j] = table[i, j]


@kernel
def _sample_dram(spec: DramSpec, dram: DramState, counters: Integers, to: Integers, turns: Integers, now: int) -> None:
    """Counters of the channels, queues and open rows booked to the last clock that begins before ``now``."""
    _copy(to, counters)
    clock = (now * spec.core_ticks - 1) // spec.dram_ticks
    for channel in range(to.shape[0]):
        elapsed = clock - dram.registers[channel, OCCUPANCY_AT]
        to[channel, _OCCUPANCY] += elapsed
        to[channel, _ENTRIES_READ] += elapsed * dram.registers[channel, N_READS]
        to[channel, _ENTRIES_WRITTEN] += elapsed * dram.registers[channel, N_WRITES]
        for rank in range(spec.n_ranks):
            if dram.open_banks[channel, rank, 0] > 0:
                to[channel, _OPEN_RANKS] += clock - dram.open_banks[channel, rank, 1]
        turns[channel] = dram.turns[channel, 0]


@kernel
def _sample_dma(spec: DmaSpec, dma: DmaState, transfers: Records, host: Integers, samples: Tallies, n: int) -> None:
    """Bursts that are there (read) or that DRAM has taken (written): those started, but for those under way."""
    classes, operations, words = samples.classes[n], samples.operations[n], samples.dma[n]
    for tensor in range(classes.shape[1]):
        classes[READ, tensor] = 0
        classes[WRITTEN, tensor] = 0
    samples.host[n, 0] = 0
    for e in range(spec.n_engines):
        words[e] = 0
    for o in range(operations.shape[0]):
        read, written = 0, 0
        for tensor in range(classes.shape[1]):
            started, brought = dma.counters[o, tensor], host[o, tensor]
            classes[READ, tensor] += started["read_bursts"]
            classes[WRITTEN, tensor] += started["write_bursts"] + brought
            read += started["read_bursts"]
            written += started["write_bursts"] + brought
            samples.host[n, 0] += brought
        operations[o, READ] = read
        operations[o, WRITTEN] = written
        for e in range(spec.n_engines):
            words[e] += dma.buffer_words[o, e]
    for e in range(spec.n_engines):
        way = WRITTEN if spec.is_store[e] == 1 else READ
        for s in range(spec.n_slots):
            slot = dma.slots[e, s]
            waits = slot["words_left"] > 0 if spec.is_store[e] == 1 else slot["n_words"] > 0 and slot["words_sent"] == 0
            if waits:
                row = transfers[dma.flight[e, slot["window"]]["row"]]
                classes[way, row["tensor_class"]] -= 1
                operations[row["operation"], way] -= 1


@kernel
def _swept_cycles(program: Program, row: int, sweep: int) -> int:
    """Cycles of the first ``sweep`` sweeps of a chunk."""
    command, cycles = program.computes[row], 0
    for i in range(sweep):
        cycles += program.sweep_cycles[command["sweep_table"] + i % command["sweep_period"]]
    return cycles


@kernel
def _conflicts_so_far(state: ClusterState, program: Program, c: int, now: int) -> int:
    """Of the conflict cycles of a chunk, which are booked at its end: the share of those that its sweeps have taken."""
    work = state.work[c]
    command = program.computes[work["row"]]
    conflicts = command["conflict_cycles"]
    if work["active"] == 0 or conflicts == 0:
        return 0
    all_swept = _swept_cycles(program, work["row"], command["n_sweeps"])
    swept = _swept_cycles(program, work["row"], work["sweep"] + work["sweeping"])
    if work["sweeping"] == 1:
        swept -= max(work["sweep_ends_at"] - now, 0)
    return conflicts * swept // all_swept


@kernel
def _sample_clusters(state: ClusterState, program: Program, samples: Tallies, n: int, now: int) -> None:
    """Cycles by cause, the open interval of each cluster booked to ``now``."""
    causes, operations, arrived, cycles = samples.causes[n], samples.operations[n], samples.arrived[n], state.cycles
    for cause in range(causes.shape[0]):
        causes[cause] = 0
    for o in range(cycles.shape[0]):
        busy = 0
        for c in range(cycles.shape[1]):
            busy += cycles[o, c, BUSY]
            for cause in range(causes.shape[0]):
                causes[cause] += cycles[o, c, cause]
        operations[o, BUSY_CYCLES] = busy
    arrived[0] = 0
    arrived[1] = 0
    for c in range(cycles.shape[1]):
        booked = state.booked[c]
        open_cycles = now - booked["since"]
        causes[booked["cause"]] += open_cycles
        conflicts = _conflicts_so_far(state, program, c, now)
        causes[BUSY] -= conflicts
        causes[GATHER_CONFLICT] += conflicts
        if booked["cause"] == BUSY:
            operations[booked["operation"], BUSY_CYCLES] += open_cycles
        if conflicts > 0:
            operations[program.computes[state.work[c]["row"]]["operation"], BUSY_CYCLES] -= conflicts
        arrived[0] += state.arrived[c, 0]
        arrived[1] += state.arrived[c, 1]


@kernel
def _sample_vectors(counters: Integers, samples: Tallies, n: int) -> None:
    """Counters of the unified cores [operation, core, counter], of which number 1 is the busy cycles."""
    unified, operations = samples.unified[n], samples.operations[n]
    for core in range(unified.shape[0]):
        for i in range(unified.shape[1]):
            unified[core, i] = 0
    for o in range(counters.shape[0]):
        operations[o, VECTOR_CYCLES] = 0
        for core in range(counters.shape[1]):
            operations[o, VECTOR_CYCLES] += counters[o, core, 1]
            for i in range(counters.shape[2]):
                unified[core, i] += counters[o, core, i]


@kernel
def _sum_over_operations(table: Integers, to: Integers) -> None:
    """Of a table [operation, each]."""
    for i in range(to.shape[0]):
        to[i] = 0
    for o in range(table.shape[0]):
        for i in range(to.shape[0]):
            to[i] += table[o, i]


@kernel
def step(spec: SamplingSpec, state: Counted, program: Program, links: int, log: int, _: int, now: int) -> bool:
    """Take a sample of all that was before cycle ``now``."""
    samples = state.samples
    n = samples.progress[0]
    samples.ends[n] = now
    _sample_dram(spec.dram, state.dram, state.dram_counters, samples.dram[n], samples.turns[n], now)
    _sample_dma(spec.dma, state.dma, program.transfers, state.host, samples, n)
    _sample_clusters(state.clusters, program, samples, n, now)
    _sample_vectors(state.unified, samples, n)
    _copy(samples.noc[n], state.noc)
    _copy(samples.buffers[n], state.buffers)
    for i in range(spec.links.shape[0]):
        for message_class in range(state.links.shape[1]):
            samples.links[n, i, message_class] = state.links[spec.links[i], message_class]
    _sum_over_operations(state.packets, samples.fed[n])
    _sum_over_operations(state.collected, samples.collected[n])
    _sum_over_operations(state.moved, samples.moved[n])
    samples.progress[0] = n + 1
    return True


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
    s, n = machine.states, MOST_SAMPLES

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros((n, *shape), np.int64)

    return Tallies(
        progress=np.zeros(3, np.int64), ends=zeros(), dram=zeros(*_numbers(s.dram.counters).shape), turns=zeros(len(s.dram.counters)),
        classes=zeros(2, len(TENSOR_CLASSES)), operations=zeros(len(s.clusters.cycles), len(WORK)),
        noc=zeros(*_numbers(s.noc.counters).shape), links=zeros(n_links, s.noc.link_flits.shape[1]),
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
    spec, first, n = machine.specs.dram, machine.specs.clusters.first_engine, len(machine.specs.clusters.node)
    busy, moved_bytes = np.zeros(n, np.int64), 0
    for program in machine.stretches():
        start, chunks = program.engine_start, compute_cycles(program)
        busy += [chunks[program.commands["row"][start[e] : start[e + 1]]].sum() for e in range(first, first + n)]
        moved_bytes += (program.transfers["run_bytes"] * program.transfers["counts"].prod(axis=1)).sum()
    clocks = moved_bytes / spec.burst_bytes * spec.burst_clocks / spec.n_channels
    return max(int(max(busy)), int(clocks * spec.dram_ticks / spec.core_ticks))


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
        self.samples.progress[:] = 0, cycles, cycles
        s = machine.states
        sources = Counted(
            samples=self.samples, dram=s.dram, dma=s.dma, clusters=s.clusters, dram_counters=_numbers(s.dram.counters),
            noc=_numbers(s.noc.counters), links=s.noc.link_flits, buffers=_numbers(s.buffers.counters),
            packets=_numbers(s.feeders.counters)[..., 0], collected=_numbers(s.collectors.counters)[..., 1],
            unified=_numbers(s.unified.counters), moved=s.movers.moved, host=s.host.bursts,
        )  # fmt: skip
        spec = SamplingSpec(machine.specs.dma, machine.specs.dram, used)
        frames = [Frame(spec, sources, machine.program, 0, 0)]  # a sample looks into no channel, and records no event
        self._calls, instances = frame.bind([step], frames, [1]), instances_of(machine.specs)
        places = (np.array(own, np.int64) for own in (instances.noc, instances.dram))
        self.loop = Loop(run_sampled, (*places, self._calls.table, self.samples.progress, self.samples.ends))
        """What runs the machine and takes the samples that are due, until there is no room for more."""

    def taken(self, n: int | None = None) -> Tallies:
        """The room of the first ``n`` samples: of those taken so far."""
        progress, *tables = self.samples
        n = int(progress[0]) if n is None else n
        return Tallies(progress, *(table[:n] for table in tables))

    def finish(self, total_cycles: int) -> None:
        """Take the last sample, of a machine whose books are closed."""
        progress, ends = self.samples.progress, self.samples.ends
        progress[0] = np.searchsorted(ends[: progress[0]], total_cycles)
        frame.bound(self._calls.table, 0)(total_cycles)

    def makes_room(self) -> bool:
        """If all room is used, forget every other sample; whether it was."""
        progress, *tables = self.samples
        if progress[0] < MOST_SAMPLES:
            return False
        half = MOST_SAMPLES // 2
        for table in tables:
            table[:half] = table[1::2]
        progress[:2] = half, 2 * progress[1]
        progress[2] += progress[1]
        return True
