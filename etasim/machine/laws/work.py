"""Laws of work: each operation kept every engine as busy as its commands say, moved the words that they touch, at rates that parts have."""

from collections.abc import Iterator

import numpy as np

from etasim.machine.bound import compute_cycles
from etasim.machine.elaborate import Machine
from etasim.machine.laws.compare import at_least, same
from etasim.machine.parts import buffers_of
from etasim.machine.runs import Touched
from etasim.mapping import Mapping
from etasim.memory.buffer import PORTS
from etasim.program.commands import FEED_STREAM, MAX_READS, STORE, Program, engines_of


def by_engine(program: Program, engine: int) -> np.ndarray:
    """Rows of the tables that the commands of an engine execute, in order."""
    return program.commands["row"][program.engine_start[engine] : program.engine_start[engine + 1]]


def _sums(n_operations: int, table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of ``values`` [row] of a table's rows for each operation, in integers."""
    total = np.zeros(n_operations, np.int64)
    np.add.at(total, table["operation"], values)
    return total


def _by_engine(machine: Machine, n_operations: int, table: np.ndarray, values: np.ndarray, engines: range) -> np.ndarray:
    """Sums of ``values`` [row] of the rows that each of ``engines`` executes. Shape [operations, engines]."""
    n = len(engines)
    start = machine.program.engine_start[engines.start : engines.stop + 1]
    rows = machine.program.commands["row"][start[0] : start[-1]]
    total = np.zeros(n_operations * n, np.int64)
    np.add.at(total, table["operation"][rows] * n + np.repeat(np.arange(n), np.diff(start)), values[rows])
    return total.reshape(n_operations, n)


def sweeps(machine: Machine, mapping: Mapping) -> Iterator[str]:
    """Busy and conflict cycles are those of the program's sweeps; they hold the program's products, and these all that the layer has."""
    program, counters, n = machine.program, machine.states.clusters.counters, len(mapping.operations)
    table, a, engines = program.computes, machine.architecture.array, engines_of(program)
    busy, conflicts = counters["busy_cycles"], counters["gather_conflict_cycles"]
    cycles = _by_engine(machine, n, table, compute_cycles(program) - table["fill_cycles"], engines.computes)
    yield from same("busy + conflict cycles, sweeps of the program [operation, cluster]", busy + conflicts, cycles)
    expected = _by_engine(machine, n, table, table["conflict_cycles"], engines.computes)
    yield from same("conflict cycles, of the program [operation, cluster]", conflicts, expected)
    shape = program.geometries[table["geometry"]]
    products = shape["n_samples"] * shape["n_pixels"] * shape["n_taps"] * shape["n_result_blocks"] * shape["n_stream_blocks"]
    products = _by_engine(machine, n, table, products * a.lanes**2, engines.computes)
    rate = a.pes_per_cluster * a.columns * a.lanes
    yield from at_least("MACs that busy cycles hold, of the program [operation, cluster]", busy * rate, products)
    of_layer = np.array([operation.products for operation in mapping.operations])
    yield from at_least("MACs of the program, of the layer without padding [operation]", products.sum(axis=1), of_layer)


def passes(machine: Machine) -> Iterator[str]:
    """Each cluster began, ended and drained the passes of the program, and received the words that its chunks take."""
    program, state, engines = machine.program, machine.states.clusters, engines_of(machine.program)
    chunks = [program.computes[by_engine(program, e)] for e in engines.computes]
    drained = np.diff(program.engine_start)[engines.drains] * (1 - machine.specs.controller.instant[engines.drains])
    expected = np.array([(t["first"].sum(), t["last"].sum(), n) for t, n in zip(chunks, drained, strict=True)])
    counted = state.passes.view(np.int64).reshape(expected.shape)
    yield from same("passes begun, computed, drained, of the program [cluster, stage]", counted, expected)
    words = np.array([(t["stream_words"].sum(), t["stationary_words"].sum()) for t in chunks])
    yield from at_least("words beyond those that a sweep needs when it begins [cluster, scratchpad]", state.spare, np.array(0))
    yield from same("words arrived, of the program's chunks [cluster, scratchpad]", state.arrived, words)


def unified(machine: Machine, n_operations: int) -> Iterator[str]:
    """Each unified core did the program's groups, and moved the words of its operands and results."""
    cores, table = engines_of(machine.program).vectors, machine.program.vectors
    if machine.specs.controller.instant[cores[0]]:
        return
    stream = np.arange(table["words"].shape[1])
    reads = (table["words"] * (stream < table["n_reads"][:, None])).sum(axis=1)
    results = (stream >= MAX_READS) & (stream < MAX_READS + table["n_writes"][:, None])
    said = {"busy_cycles": table["n_groups"], "commands": np.ones(len(table), np.int64), "read_words": reads,
            "written_words": (table["words"] * results).sum(axis=1)}  # fmt: skip
    for name, values in said.items():
        expected = _by_engine(machine, n_operations, table, values, cores)
        yield from same(f"unified core {name}, of the program [operation, core]", machine.states.unified.counters[name], expected)


def movers(machine: Machine, n_operations: int, touched: Touched) -> Iterator[str]:
    """DMA engines, feeders, drains and collectors did the program's commands, words and packets, operation by operation."""
    program, s, instant = machine.program, machine.states, machine.specs.controller.instant
    n_commands, engines = np.diff(program.engine_start), engines_of(program)
    if not instant[STORE]:
        for i, e in enumerate(engines.dma):
            rows = by_engine(program, e)
            words = _sums(n_operations, program.transfers[rows], touched.words[rows])
            yield from same(f"DMA engine {i}: words, of the program [operation]", s.dma.buffer_words[:, i], words)
        yield from same("DMA commands, of the program [engine]", s.dma.engine_counters["commands"], n_commands[list(engines.dma)])
        bursts = np.array([touched.bursts[by_engine(program, e)].sum() for e in engines.dma])
        yield from same("DMA bursts, of the program [engine]", s.dma.engine_counters["bursts"], bursts)
    if not instant[engines.moves].any():
        words = _by_engine(machine, n_operations, program.moves, touched.moved, engines.moves)
        yield from same("movers: words, of the program [operation, engine]", s.movers.moved, words)
        yield from same("movers: words, of all operations [engine]", s.movers.counters["words"], words.sum(axis=0))
        yield from same("movers: commands, of the program [engine]", s.movers.counters["commands"], n_commands[engines.moves])
    if not instant[FEED_STREAM]:
        feeds = program.feeds
        for stream in (0, 1):
            packets = _sums(n_operations, feeds, touched.feed_words * (feeds["stream"] == stream))
            yield from same(f"feeder {stream}: packets, of the program [operation]", s.feeders.counters["packets"][:, stream], packets)
    draining = engines.drains
    if not instant[draining[0]]:
        drains = program.drains
        sent = _by_engine(machine, n_operations, drains, drains["n_packets"], draining)
        yield from same("psum packets, of the program [operation, cluster]", s.clusters.links["psum_packets"], sent)
        for name, values in (("packets", drains["n_packets"] * (drains["member"] == 0)), ("written_words", touched.drain_words)):
            counted = s.collectors.counters[name].sum(axis=1)
            yield from same(f"collectors {name}, of the program [operation]", counted, _sums(n_operations, drains, values))


def banks(machine: Machine, touched: Touched, total_cycles: int) -> Iterator[str]:
    """Each bank of each buffer moved the words that the program's addresses put there, as fast as its ports allow."""
    specs, words = machine.specs, machine.states.buffers.words
    for b, (name, buffer) in enumerate(buffers_of(machine.architecture).items()):
        counted = words[b, : specs.buffers.n_banks[b]].T
        if not specs.controller.instant.any():
            yield from same(f"{name} buffer: words of a bank, of the program [read or written, bank]", counted, touched.banks[b])
        if not specs.buffers.ideal:
            ports = np.array(PORTS[buffer.ports])
            most = machine.states.buffers.most[b, : specs.buffers.n_banks[b]]
            yield from at_least(f"{name} buffer: ports, words of a bank in a cycle [bank, read, written or any]", ports + 0 * most, most)
            limits = total_cycles * specs.buffers.ports[b][:, None] + 0 * counted[:1]
            what = f"{name} buffer: words that ports allow, of a bank [read, written or any, bank]"
            yield from at_least(what, limits, np.vstack([counted, counted.sum(axis=0)]))
    for name, counter in (("read_words", 0), ("written_words", 1)):
        yield from same(f"buffers: {name}, of all banks [buffer]", machine.states.buffers.counters[name], words[:, :, counter].sum(axis=1))


def rates(machine: Machine, total_cycles: int) -> Iterator[str]:
    """No part did more than one thing a cycle where it can do only one: the lower bound of each resource on the total."""
    s, program, specs = machine.states, machine.program, machine.specs
    cycles = compute_cycles(program)
    bounds = [cycles[by_engine(program, e)].sum() for e in engines_of(program).computes]
    yield from at_least("total cycles, cycles of a cluster's sweeps [cluster]", np.full(len(bounds), total_cycles), np.array(bounds))
    if not specs.unified.instant:
        groups = s.unified.counters["busy_cycles"].sum(axis=0)
        yield from at_least("total cycles, groups of a unified core [core]", np.full(len(groups), total_cycles), groups)
    if not specs.noc.ideal:
        yield from at_least("total cycles, flits on a link [link]", np.full(len(s.noc.links), total_cycles), s.noc.link_flits.sum(axis=1))
    yield from at_least("total cycles, end of the last command", np.array(total_cycles), s.controller.times[:, 1].max(initial=-1) + 1)

