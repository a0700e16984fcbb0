"""A sample of a machine's counters: what it holds and how it is taken, between two cycles.

It has what the counters hold before a cycle, with what is open then booked up to it. Taking one changes no counter.
"""

from typing import NamedTuple

from etasim.core.arrays import Integers, Records
from etasim.core.jit import kernel
from etasim.machine.controller import ControllerState
from etasim.memory.dma import DmaSpec, DmaState
from etasim.memory.dram.spec import COUNTERS as DRAM_COUNTERS
from etasim.memory.dram.spec import READS, WRITES, DramSpec, DramState
from etasim.pe.causes import BUSY, GATHER_CONFLICT
from etasim.pe.cluster import ClusterState
from etasim.program.commands import Program

READ, WRITTEN, BUSY_CYCLES, VECTOR_CYCLES = range(4)
WORK = ("read_bursts", "write_bursts", "busy_cycles", "vector_cycles")
"""What an operation did, by number."""

NOW, BEFORE = range(2)
N_ENTRIES = 3
"""Place in ``progress``."""

(_ENTRIES_READ, _ENTRIES_WRITTEN, _OCCUPANCY, _OPEN_RANKS) = (
    DRAM_COUNTERS.names.index(name)  # type: ignore[union-attr]  # it has names
    for name in ("read_queue_entry_clocks", "write_queue_entry_clocks", "occupancy_clocks", "open_rank_clocks")
)


class Tallies(NamedTuple):
    """``progress``: samples taken, core cycles of one, the cycle before which the next is due, entries of ``work``.

    Few operations are under way at a time, so what they did has an entry for each sample and operation in which it is not all 0: ``work``
    [entry, (sample, operation, each of `WORK`)]; ``operations`` [(now, at the last sample), operation, `WORK`]: what was counted.

    All others are [sample, ...], what was counted before the core cycle ``ends``: ``dram`` [channel, counter], ``turns`` [channel],
    ``classes`` [read or written, tensor class] in bursts, ``noc`` [class, counter], ``links`` [link, class], ``buffers`` [buffer, counter],
    ``causes`` [cause], ``arrived`` [scratchpad], ``unified`` [core, counter], and words through ports: ``dma`` [engine], ``fed`` [stream],
    ``collected`` [collector], ``moved`` [mover]; ``host`` [1]: bursts."""

    progress: Integers
    work: Integers
    operations: Integers
    ends: Integers
    dram: Integers
    turns: Integers
    classes: Integers
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
    controller: ControllerState
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
    """``links``: those with a wire; ``n_commands`` of the whole program."""

    dma: DmaSpec
    dram: DramSpec
    links: Integers
    n_commands: int


@kernel
def _copy(to: Integers, table: Integers) -> None:
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            to[i, j] = table[i, j]


@kernel
def _begun(spec: SamplingSpec, controller: ControllerState) -> int:
    """Operations up to the last one that has begun: nothing is counted of the others. All, when all commands are done: what is idle at the
    end is booked to the last one."""
    n = controller.counters.shape[0]
    if controller.total_done[0] < spec.n_commands:
        while n > 0 and controller.counters[n - 1]["first_issue_at"] < 0:
            n -= 1
    return n


@kernel
def _sample_dram(spec: DramSpec, dram: DramState, counters: Integers, to: Integers, turns: Integers, now: int) -> None:
    """Counters of the channels, queues and open rows booked to the last clock that begins before ``now``."""
    _copy(to, counters)
    clock = (now * spec.core_ticks - 1) // spec.dram_ticks
    for channel in range(to.shape[0]):
        elapsed = clock - dram.registers[channel]["occupancy_at"]
        to[channel, _OCCUPANCY] += elapsed
        to[channel, _ENTRIES_READ] += elapsed * dram.registers[channel]["n_queued"][READS]
        to[channel, _ENTRIES_WRITTEN] += elapsed * dram.registers[channel]["n_queued"][WRITES]
        for rank in range(spec.n_ranks):
            if dram.open_banks[channel, rank, 0] > 0:
                to[channel, _OPEN_RANKS] += clock - dram.open_banks[channel, rank, 1]
        turns[channel] = dram.turns[channel, 0]


@kernel
def _sample_dma(spec: DmaSpec, dma: DmaState, transfers: Records, host: Integers, samples: Tallies, n: int, begun: int) -> None:
    """Bursts that are there (read) or that DRAM has taken (written): those started, but for those under way."""
    classes, operations, words = samples.classes[n], samples.operations[NOW], samples.dma[n]
    for tensor in range(classes.shape[1]):
        classes[READ, tensor] = 0
        classes[WRITTEN, tensor] = 0
    samples.host[n, 0] = 0
    for e in range(spec.n_engines):
        words[e] = 0
    for o in range(begun):
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
def _sample_clusters(state: ClusterState, program: Program, samples: Tallies, n: int, begun: int, now: int) -> None:
    """Cycles by cause, the open interval of each cluster booked to ``now``."""
    causes, operations, arrived, cycles = samples.causes[n], samples.operations[NOW], samples.arrived[n], state.cycles
    for cause in range(causes.shape[0]):
        causes[cause] = 0
    for o in range(begun):
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
def _sample_vectors(counters: Integers, samples: Tallies, n: int, begun: int) -> None:
    """Counters of the unified cores [operation, core, counter], of which number 1 is the busy cycles."""
    unified, operations = samples.unified[n], samples.operations[NOW]
    for core in range(unified.shape[0]):
        for i in range(unified.shape[1]):
            unified[core, i] = 0
    for o in range(begun):
        operations[o, VECTOR_CYCLES] = 0
        for core in range(counters.shape[1]):
            operations[o, VECTOR_CYCLES] += counters[o, core, 1]
            for i in range(counters.shape[2]):
                unified[core, i] += counters[o, core, i]


@kernel
def _note_work(samples: Tallies, n: int, begun: int) -> None:
    """Enter what each operation did since the last sample."""
    operations, work, entry = samples.operations, samples.work, samples.progress[N_ENTRIES]
    for o in range(begun):
        is_at_work = False
        for i in range(operations.shape[2]):
            added = operations[NOW, o, i] - operations[BEFORE, o, i]
            work[entry, 2 + i] = added
            operations[BEFORE, o, i] = operations[NOW, o, i]
            is_at_work = is_at_work or added != 0
        if is_at_work:
            work[entry, 0] = n
            work[entry, 1] = o
            entry += 1
    samples.progress[N_ENTRIES] = entry


@kernel
def _sum_over_operations(table: Integers, to: Integers, begun: int) -> None:
    """Of a table [operation, each]."""
    for i in range(to.shape[0]):
        to[i] = 0
    for o in range(begun):
        for i in range(to.shape[0]):
            to[i] += table[o, i]


@kernel
def step(spec: SamplingSpec, state: Counted, program: Program, links: int, log: int, _: int, now: int) -> bool:
    """Take a sample of all that was before cycle ``now``."""
    samples = state.samples
    n, begun = samples.progress[0], _begun(spec, state.controller)
    samples.ends[n] = now
    _sample_dram(spec.dram, state.dram, state.dram_counters, samples.dram[n], samples.turns[n], now)
    _sample_dma(spec.dma, state.dma, program.transfers, state.host, samples, n, begun)
    _sample_clusters(state.clusters, program, samples, n, begun, now)
    _sample_vectors(state.unified, samples, n, begun)
    _note_work(samples, n, begun)
    _copy(samples.noc[n], state.noc)
    _copy(samples.buffers[n], state.buffers)
    for i in range(spec.links.shape[0]):
        for message_class in range(state.links.shape[1]):
            samples.links[n, i, message_class] = state.links[spec.links[i], message_class]
    _sum_over_operations(state.packets, samples.fed[n], begun)
    _sum_over_operations(state.collected, samples.collected[n], begun)
    _sum_over_operations(state.moved, samples.moved[n], begun)
    samples.progress[0] = n + 1
    return True
