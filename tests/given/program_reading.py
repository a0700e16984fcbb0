"""Tile programs read in plain Python: what every command touches, what it knows to be complete, what the buffers hold.

Independent of the kernels: bytes are listed one by one from the fields of a command.
"""

from typing import NamedTuple

import numpy as np

from etasim.program.commands import FEED_STATIONARY, FEED_STREAM, LOAD_ACTIVATION, LOAD_ERROR, LOAD_WEIGHT, MAX_READS, STORE

UNIFIED, FIRST_CLUSTER = 6, 7
"""Engines of a machine with one unified core."""

ACTIVATION, WEIGHT, ERROR, DRAM = "activation", "weight", "error", "dram"
BUFFER_OF = {
    LOAD_ACTIVATION: ACTIVATION,
    LOAD_WEIGHT: WEIGHT,
    LOAD_ERROR: ERROR,
    STORE: ERROR,
    FEED_STREAM: ACTIVATION,
    FEED_STATIONARY: WEIGHT,
}


class Command(NamedTuple):
    """A command in the order of appending; ``count`` is its number within its engine, from 1."""

    engine: int
    count: int
    operation: int
    row: np.void
    dependencies: tuple[tuple[int, int], ...]


def commands(program):
    """All commands in the order in which they were appended."""
    engines = np.repeat(np.arange(len(program.engine_start) - 1), np.diff(program.engine_start))
    n_clusters = (len(program.engine_start) - 1 - FIRST_CLUSTER) // 2
    listed = []
    for index in np.argsort(program.commands["order"]):
        command, engine = program.commands[index], int(engines[index])
        first = command["first_dependency"]
        waits = program.dependencies[first : first + command["n_dependencies"]].tolist()
        row = getattr(program, table_of(engine, n_clusters))[command["row"]]
        listed.append(Command(engine, int(index - program.engine_start[engine] + 1), int(command["operation"]), row, tuple(waits)))
    return listed


def table_of(engine, n_clusters):
    """Name of the table that holds the rows of an engine."""
    if engine <= STORE:
        return "transfers"
    if engine in (FEED_STREAM, FEED_STATIONARY):
        return "feeds"
    if engine == UNIFIED:
        return "vectors"
    return "computes" if engine < FIRST_CLUSTER + n_clusters else "drains"


def _runs(starts, run_bytes):
    return (np.asarray(starts)[:, None] + np.arange(run_bytes)[None, :]).ravel()


def run_starts(row):
    """(DRAM address, buffer address) of every run of a transfer, in order."""
    index = [(i, j, k) for i in range(row["counts"][0]) for j in range(row["counts"][1]) for k in range(row["counts"][2])]
    return [tuple(int(row[f"{side}_address"] + np.dot(row[f"{side}_strides"], at)) for side in ("dram", "buffer")) for at in index]


def transfer_bytes(row):
    """(DRAM bytes, buffer bytes) of a transfer, in the order in which it moves them."""
    return tuple(_runs(starts, row["run_bytes"]) for starts in zip(*run_starts(row), strict=True))


def transfer_bursts(row, burst_bytes):
    """DRAM bursts that a transfer asks for, in order: each run on its own."""
    bursts = []
    for start, _ in run_starts(row):
        bursts += range(start - start % burst_bytes, start + int(row["run_bytes"]), burst_bytes)
    return bursts


def feed_runs(row):
    """Start of every run of a feed, in order."""
    starts = [int(row["buffer_address"])]
    for count, stride in zip(row["counts"], row["strides"], strict=True):
        starts = [start + i * int(stride) for start in starts for i in range(count)]
    return starts


def feed_words(row, word_bytes):
    """Words that a feed reads, in order; a word shared by two runs is read for each."""
    run = int(row["run_bytes"])
    return [word for start in feed_runs(row) for word in range(start // word_bytes, (start + run - 1) // word_bytes + 1)]


def accesses(command, program, array, segment_bytes):
    """(memory, bytes read), (memory, bytes written): lists of what one command touches. Drains whose sums the network adds write once: the
    first of them stands for all."""
    row, engine = command.row, command.engine
    if engine <= STORE:
        in_dram, in_buffer = transfer_bytes(row)
        buffer = BUFFER_OF[engine]
        return ([(ERROR, in_buffer)], [(DRAM, in_dram)]) if engine == STORE else ([(DRAM, in_dram)], [(buffer, in_buffer)])
    if engine in (FEED_STREAM, FEED_STATIONARY):
        return [(BUFFER_OF[engine], _runs(feed_runs(row), row["run_bytes"]))], []
    if engine == UNIFIED:
        word = array.word_bytes
        spans = [np.arange(a * word, (a + n) * word) for a, n in zip(row["address"].tolist(), row["words"].tolist(), strict=True)]
        return [(ERROR, span) for span in spans[: row["n_reads"]]], [
            (ERROR, span) for span in spans[MAX_READS : MAX_READS + row["n_writes"]]
        ]
    if engine >= FIRST_CLUSTER + array.clusters:
        if row["member"]:
            return [], []
        first = row["segment_table"]
        offsets = program.segment_offsets[first : first + row["n_segments"]]
        return [], [(ERROR, _runs(row["buffer_address"] + offsets, segment_bytes))]
    return [], []


def known_complete(listed, n_engines):
    """[command, engine]: commands of each engine that are certainly complete when a command starts, from dependencies alone."""
    known = np.zeros((len(listed), n_engines), np.int64)
    place, last = {}, {}
    for i, command in enumerate(listed):
        if command.engine in last:
            known[i] = known[last[command.engine]]
        for engine, count in command.dependencies:
            known[i] = np.maximum(known[i], known[place[engine, count]])
            known[i, engine] = max(known[i, engine], count)
        place[command.engine, command.count] = last[command.engine] = i
    return known


def memory_sizes(array, mapping):
    """Bytes of each memory: both halves of the buffers, and the part of DRAM that tensors occupy."""
    used = max((t.address + t.n_blocks * t.pitch_bytes for t in mapping.tensors), default=0)
    return {ACTIVATION: 2 * array.activation_bytes, WEIGHT: 2 * array.weight_bytes, ERROR: 2 * array.error_bytes, DRAM: used}


def hazards(mapping, array, segment_bytes):
    """Commands that may touch bytes before an earlier command is done with them, as text."""
    program, listed = mapping.program, commands(mapping.program)
    n_engines = len(program.engine_start) - 1
    known = known_complete(listed, n_engines)
    sizes = memory_sizes(array, mapping)
    writer = {name: np.zeros((size, 2), np.int64) for name, size in sizes.items()}
    readers = {name: np.zeros((size, n_engines), np.int32) for name, size in sizes.items()}
    found = []
    for i, command in enumerate(listed):
        reads, writes = accesses(command, program, array, segment_bytes)
        for memory, at in reads:
            pairs = np.unique(writer[memory][at], axis=0)
            found += [
                (command, "reads", memory, tuple(p)) for p in pairs.tolist() if p[1] and p[0] != command.engine and known[i, p[0]] < p[1]
            ]
        for memory, at in writes:
            pairs = np.unique(writer[memory][at], axis=0)
            found += [
                (command, "writes over", memory, tuple(p))
                for p in pairs.tolist()
                if p[1] and p[0] != command.engine and known[i, p[0]] < p[1]
            ]
            latest = readers[memory][at].max(axis=0)
            late = [e for e in range(n_engines) if e != command.engine and latest[e] > known[i, e]]
            found += [(command, "overwrites what is read by", memory, (e, int(latest[e]))) for e in late]
        for memory, at in reads:
            readers[memory][at, command.engine] = command.count
        for memory, at in writes:
            writer[memory][at] = command.engine, command.count
            readers[memory][at] = 0
    return [f"engine {c.engine} command {c.count} {what} {memory}: engine {e} command {n}" for c, what, memory, (e, n) in found]
