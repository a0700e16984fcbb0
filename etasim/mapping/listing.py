"""A tile program as text: the loops of each operation, then one command per line in the order in which it was emitted."""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import yaml

from etasim.mapping.mapper import Mapping
from etasim.ops.passes import all_passes
from etasim.program.commands import BUFFERS, MAX_READS, TENSOR_CLASSES, Program, engine_names, engines_of, table_of
from etasim.schedule.nest import nest_lines


def _copied(row: np.void, one: str, other: str) -> str:
    """A strided copy between memories that fields of the row name."""
    places = " ".join(f"{name} 0x{row[f'{name}_address']:x}" for name in (one, other))
    text = f"{TENSOR_CLASSES[row['tensor_class']]} {places} {row['run_bytes']} B"
    dims = zip(row["counts"], row[f"{one}_strides"], row[f"{other}_strides"], strict=True)
    return text + "".join(reversed([f" x {n} (strides {one} {first}, {other} {second})" for n, first, second in dims if n > 1]))


def _transfer(row: np.void, _: Mapping) -> str:
    return _copied(row, "dram", "buffer")


def _move(row: np.void, _: Mapping) -> str:
    return _copied(row, "source", "target")


def _feed(row: np.void, mapping: Mapping) -> str:
    route = mapping.routes[row["route"]]
    dims = [f" x {n} (stride {s})" for n, s in zip(row["counts"], row["strides"], strict=True) if n > 1]
    where = f"node {route.source} -> {', '.join(map(str, route.destinations))}"
    return f"{where} buffer 0x{row['buffer_address']:x} {row['run_bytes']} B{''.join(reversed(dims))} = {row['n_packets']} packets"


def _compute(row: np.void, mapping: Mapping) -> str:
    start = row["sweep_table"]
    cycles = mapping.program.sweep_cycles[start : start + row["sweep_period"]]
    total = int(cycles.sum()) * int(row["n_sweeps"]) // max(int(row["sweep_period"]), 1)
    ends = ("first " if row["first"] else "") + ("last " if row["last"] else "")
    return f"{ends}{row['n_sweeps']} sweeps, {total} cycles, needs {row['stream_words']} + {row['stationary_words']} words"


def _drain(row: np.void, mapping: Mapping) -> str:
    route = mapping.routes[row["route"]]
    where = f"node {route.source} -> {route.destinations[0]}"
    text = f"{where} {row['n_segments']} segments in {row['n_packets']} packets to buffer 0x{row['buffer_address']:x}"
    return f"{text}, sum {row['member'] + 1} of {row['partners'] + 1}, {row['sum_bytes']} B each" if row["partners"] else text


def _vector(row: np.void, _: Mapping) -> str:
    words = row["words"]
    reads, writes = words[:MAX_READS][: row["n_reads"]].tolist(), words[MAX_READS:][: row["n_writes"]].tolist()
    return f"{all_passes()[row['kind']].name} {row['n_groups']} groups, reads {reads}, writes {writes} words"


def _arrival(row: np.void, _: Mapping) -> str:
    text = f"{TENSOR_CLASSES[row['tensor_class']]} host to dram 0x{row['dram_address']:x} {row['run_bytes']} B"
    return text + (f" x {row['counts'][0]} (stride {row['dram_strides'][0]})" if row["counts"][0] > 1 else "")


TEXTS = {
    "transfers": _transfer, "feeds": _feed, "vectors": _vector, "computes": _compute, "drains": _drain, "moves": _move,
    "arrivals": _arrival,
}  # fmt: skip
"""What prints a row, by its table."""


def nests(mapping: Mapping) -> Iterator[str]:
    """The loops of each operation on the PE array, as comments: results and streams in channel blocks, taps in kernel positions. Below
    them the plan as an architecture's ``mapping`` pins it."""
    for operation in mapping.operations:
        if operation.nest is not None:
            name = f"{operation.layer}.{operation.phase}"
            yield f"# {name}"
            yield from (f"#   {line}" for line in nest_lines(operation.nest))
            text = yaml.safe_dump({name: operation.pins}, default_flow_style=True, width=sys.maxsize, sort_keys=False)
            yield f"#   mapping: {text.strip()}"


def homes(mapping: Mapping) -> Iterator[str]:
    """Where each tensor lives, as comments, where results are forwarded: DRAM, or never stored; bytes of a buffer from the operation that
    begins to write it there to the last that reads it there."""
    names = [f"{operation.layer}.{operation.phase}" for operation in mapping.operations]
    if not mapping.lives:
        return
    yield "# where tensors live"
    for tensor in mapping.tensors:
        places = ["never stored" if tensor.name in mapping.residences.never_stored else "DRAM"]
        for held, (first, last) in mapping.lives.items():
            if held.name == tensor.name:
                places.append(f"{BUFFERS[held.buffer]} buffer 0x{held.address:x}, {names[first]} to {names[last]}")
        yield f"#   {tensor.name} ({tensor.tensor_class}, {tensor.n_bytes} B): {'; '.join(places)}"


def lines(mapping: Mapping) -> Iterator[str]:
    """The program's text, line by line: number, layer.phase, engine#count, what, dependencies as engine#count."""
    for program in mapping.stretches():
        yield from _lines(mapping, program)


def _lines(mapping: Mapping, program: Program) -> Iterator[str]:
    """Those of one window."""
    engines = engines_of(program)
    names, tables = engine_names(engines), [table_of(group) for group, own in engines._asdict().items() for _ in own]
    engine_of = np.repeat(np.arange(len(names)), np.diff(program.engine_start))
    for index in np.argsort(program.commands["order"], kind="stable"):
        command, engine = program.commands[index], int(engine_of[index])
        table = tables[engine]
        operation = mapping.operations[command["operation"]]
        first = command["first_dependency"]
        waits = program.dependencies[first : first + command["n_dependencies"]]
        after = "".join(f" after {names[e]}#{count}" for e, count in waits.tolist())
        what = TEXTS[table](getattr(program, table)[command["row"]], mapping)
        name = f"{names[engine]}#{index - program.engine_start[engine] + program.before[engine] + 1}"
        yield f"{command['order']:7d} {operation.layer}.{operation.phase} {name}: {what}{after}"


def write_listing(mapping: Mapping, path: Path) -> None:
    """Write the program to ``path``."""
    with path.open("w", encoding="utf-8") as file:
        for line in chain(homes(mapping), nests(mapping), lines(mapping)):
            file.write(line + "\n")
