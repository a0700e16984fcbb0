"""Rules of a program's tables: what refers to what, and which addresses it may name."""

from collections.abc import Iterator

import numpy as np

from etasim.program.accesses import executed_by
from etasim.program.commands import BUFFER_AT, MAX_READS, MAX_WRITES, MOVERS, Program, dependencies_of, table_of
from etasim.program.facts import Facts, where

POOLS = {
    "sweep_cycles": ("computes", "sweep_table", "sweep_period"), "sweep_words": ("computes", "word_table", "n_sweeps"),
    "segment_offsets": ("drains", "segment_table", "n_segments"), "taps": ("geometries", "first_tap", "n_taps"),
}  # fmt: skip
"""Pools, with the table, the field and the length of the pieces that refer to them."""

BOUNDS: dict[str, dict[str, tuple[int, int | None]]] = {
    "transfers": {"run_bytes": (1, None), "counts": (1, None)},
    "feeds": {"run_bytes": (1, None), "counts": (1, None), "n_packets": (1, None)},
    "computes": {"n_sweeps": (0, None), "sweep_period": (1, None), "conflict_cycles": (0, None)},
    "drains": {"n_packets": (1, None), "n_segments": (1, None), "segments_per_packet": (1, None)},
    "moves": {"run_bytes": (1, None), "counts": (1, None)},
    "arrivals": {"run_bytes": (1, None), "counts": (1, None)},
    "vectors": {"n_groups": (1, None), "n_reads": (0, MAX_READS), "n_writes": (0, MAX_WRITES), "words": (0, None)},
}  # fmt: skip


def numbering(facts: Facts) -> Iterator[str]:
    """Commands have places of their own, ascending in each engine, execute each row once, and belong to an operation."""
    commands, start, n_operations = facts.program.commands, facts.start, len(facts.limits.segment_bytes)
    if not np.array_equal(np.sort(commands["order"]), facts.first_place + np.arange(len(commands))):
        yield "places in the order of emission are not each taken once"
    for engine in range(len(start) - 1):
        yield from where(f"engine {engine}: emitted before its predecessor, command", np.diff(facts.places(engine), prepend=-1) < 0)
    yield from where("operation of command", (commands["operation"] < 0) | (commands["operation"] >= n_operations))
    for name in dict.fromkeys(map(table_of, facts.engines._fields)):
        own, table = commands[facts.commands_of(name)], getattr(facts.program, name)
        if not np.array_equal(np.sort(own["row"]), np.arange(len(own))):
            yield f"{name}: rows are not executed once each"
        else:
            yield from where(f"{name}: another operation than that of its row, command", table["operation"][own["row"]] != own["operation"])


def dependencies(facts: Facts) -> Iterator[str]:
    """Each dependency is on a command of another engine that was emitted before."""
    program, n = facts.program, np.diff(facts.start)
    commands, d = program.commands, program.dependencies
    first, end = commands["first_dependency"], commands["first_dependency"] + commands["n_dependencies"]
    outside = (first < 0) | (end < first) | (end > len(d))
    yield from where("dependencies outside their table, command", outside)
    known = (d["engine"] >= 0) & (d["engine"] < len(n))
    known &= (d["count"] >= 0) & (d["count"] <= (program.before + n)[np.where(known, d["engine"], 0)])
    yield from where("on no command, dependency", ~known)
    if outside.any() or not known.all():
        return
    command, place = dependencies_of(program)
    on, number = d["engine"][place], d["count"][place] - program.before[d["engine"][place]] - 1
    waited = np.where(number < 0, command, facts.start[on] + number)  # one of an earlier window is not late
    late = (number >= 0) & (commands["order"][waited] >= commands["order"][command])
    same = np.searchsorted(facts.start, command, side="right") == on + 1
    yield from where("waits for one that is not emitted before it, command", np.bincount(command[late | same], minlength=len(commands)) > 0)


def tables(facts: Facts) -> Iterator[str]:
    """Numbers are in their ranges, and pieces of pools inside them."""
    program = facts.program
    for pool, (table, at, length) in POOLS.items():
        first, n = getattr(program, table)[at], getattr(program, table)[length]
        yield from where(f"{table}: {at} of row", (n > 0) & ((first < 0) | (first + n > len(getattr(program, pool)))))
    for table, fields in BOUNDS.items():
        for field, (least, most) in fields.items():
            values = getattr(program, table)[field]
            wrong = (values < least) | (values > (np.iinfo(np.int64).max if most is None else most))
            yield from where(f"{table}: {field} of row", wrong.any(axis=tuple(range(1, wrong.ndim))))
    computes, drains, n_routes = program.computes, program.drains, len(facts.limits.receivers)
    for table in ("feeds", "drains"):
        route = getattr(program, table)["route"]
        yield from where(f"{table}: route of row", (route < 0) | (route >= n_routes))
    yield from where("computes: geometry of row", (computes["geometry"] < 0) | (computes["geometry"] >= len(program.geometries)))
    yield from where("computes: sweeps not in whole periods, row", computes["n_sweeps"] % np.maximum(computes["sweep_period"], 1) > 0)
    packets = -(-drains["n_segments"] // np.maximum(drains["segments_per_packet"], 1))
    yield from where("drains: packets that do not hold the segments, row", drains["n_packets"] != packets)


def _extent(table: np.ndarray, address: str, strides: str) -> tuple[np.ndarray, np.ndarray]:
    """First byte and end of what a row of strided runs touches."""
    reach = (table["counts"] - 1) * table[strides]
    return table[address] + np.minimum(reach, 0).sum(axis=1), table[address] + np.maximum(reach, 0).sum(axis=1) + table["run_bytes"]


def _outermost_segments(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest address of the segments of each drain; drains of equal tables have equal segments."""
    drains, offsets = program.drains, program.segment_offsets
    kinds, kind = np.unique(drains["segment_table"] * (len(offsets) + 1) + drains["n_segments"], return_inverse=True)
    pieces = [offsets[table : table + n] if n else offsets[:1] for table, n in zip(*np.divmod(kinds, len(offsets) + 1), strict=True)]
    least, most = (np.array([of(piece) for piece in pieces], np.int64) for of in (np.min, np.max))
    return drains["buffer_address"] + least[kind], drains["buffer_address"] + most[kind]


def addresses(facts: Facts) -> Iterator[str]:
    """Transfers stay in one tensor of their class; these, feeds, drained segments and operands of passes stay in their buffers."""
    program, limits = facts.program, facts.limits
    buffer_bytes = np.array(limits.buffer_bytes)
    buffer_of = facts.engines.buffer_of
    met = {("transfers", "buffer_address", "buffer_strides"): buffer_of, ("feeds", "buffer_address", "strides"): buffer_of}
    for end_of in ("source", "target"):
        moved = {engine: getattr(MOVERS[n], end_of) for engine, n in zip(facts.engines.moves, facts.engines.movers, strict=True)}
        met["moves", f"{end_of}_address", f"{end_of}_strides"] = buffer_of | moved
    for (name, address, strides), buffers in met.items():
        first, end = _extent(getattr(program, name), address, strides)
        size = np.array([buffer_bytes[buffers.get(e, 0)] for e in range(facts.engines.total)])[executed_by(program, name)[0]]
        yield from where(f"{name}: outside the buffer, row", (first < 0) | (end > size))
    for name in ("transfers", "arrivals"):
        table = getattr(program, name)
        first, end = _extent(table, "dram_address", "dram_strides")
        tensor = limits.tensors[np.maximum(np.searchsorted(limits.tensors[:, 0], first, side="right") - 1, 0)]
        inside = (tensor[:, 0] <= first) & (end <= tensor[:, 1]) & (tensor[:, 2] == table["tensor_class"])
        yield from where(f"{name}: outside any tensor of the class, row", ~inside)
    first, last = _outermost_segments(program)
    end = last + limits.segment_bytes[program.drains["operation"]]
    outside = (program.drains["n_segments"] > 0) & ((first < 0) | (end > buffer_bytes[BUFFER_AT["collectors"]]))
    yield from where("drains: outside the buffer, row", outside)
    at, end = program.vectors["address"], program.vectors["address"] + program.vectors["words"]
    outside = (at < 0) | (end * limits.word_bytes > buffer_bytes[BUFFER_AT["unified operands"]])
    yield from where("vectors: outside the buffer, row", outside.any(axis=1))
