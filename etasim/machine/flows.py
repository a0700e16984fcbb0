"""What became of what was loaded: arrows between the commands of a layer, from load to compute to store."""

from collections.abc import Iterator

import numpy as np

from etasim.machine.elaborate import Machine
from etasim.machine.intervals import executions
from etasim.mapping import Mapping
from etasim.mapping.mapper import limits_of
from etasim.program.commands import engines_of, waits_of
from etasim.program.facts import Facts

MOST_ARROWS = 20_000


def arrows(machine: Machine, mapping: Mapping, layer: str) -> Iterator[tuple[int, int, int, int]]:
    """(engine, last cycle of its command, engine, first cycle of the command that goes on with it) of all commands of ``layer``: what waits
    for another, the chunk that a feed is for, the drain of what was computed. The first ones, if they are many."""
    program = machine.program
    own = np.array([operation.layer == layer for operation in mapping.operations])[program.commands["operation"]]
    engine_of = np.repeat(np.arange(len(program.engine_start) - 1), np.diff(program.engine_start))
    target, source = (np.concatenate(pair) for pair in zip(waits_of(program), _fed(machine, mapping), _drained(machine), strict=True))
    shown = np.flatnonzero(own[source] & own[target] & (engine_of[source] != engine_of[target]))
    times = executions(machine)
    shown = shown[np.argsort(times.begin[target[shown]], kind="stable")][:MOST_ARROWS]
    for a, b in zip(source[shown].tolist(), target[shown].tolist(), strict=True):
        last = max(int(times.end[a]) - 1, int(times.begin[a]))
        yield int(engine_of[a]), last, int(engine_of[b]), max(int(times.begin[b]), last)


def _fed(machine: Machine, mapping: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """(command of a cluster, feed whose words it multiplies), by index into the commands."""
    facts = Facts(machine.program, limits_of(machine.architecture, mapping))
    start = machine.program.engine_start
    chunks, feeds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for c, multiplies, _ in facts.clusters():
        for feeder in engines_of(machine.program).feeds:
            fed, chunk = facts.chunk_of_feed(feeder, c)
            feeds.append(start[feeder] + fed)
            chunks.append(np.minimum(start[multiplies] + chunk, start[multiplies + 1] - 1))
    return np.concatenate(chunks), np.concatenate(feeds)


def _drained(machine: Machine) -> tuple[np.ndarray, np.ndarray]:
    """(drain, last chunk of the pass that it drains), by index into the commands."""
    program, engines = machine.program, engines_of(machine.program)
    start, drains, chunks = program.engine_start, [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for multiplies, drain in zip(engines.computes, engines.drains, strict=True):
        rows = program.commands["row"][start[multiplies] : start[multiplies + 1]]
        chunks.append(start[multiplies] + np.flatnonzero(program.computes["last"][rows]))
        drains.append(np.arange(start[drain], start[drain + 1]))
    return np.concatenate(drains), np.concatenate(chunks)
