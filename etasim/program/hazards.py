"""Hazards: commands that may touch bytes before an earlier command is done with them, whatever the machine's timing.

What has certainly completed when a command starts follows from dependencies and from the order within an engine alone (vector clocks).
A compiled scan, because it visits every run of every command: in numpy its sorts would cost ten times as much.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.arrays import Integers, Numbers, Records
from etasim.core.jit import is_cached, procedure
from etasim.program.accesses import Accesses
from etasim.program.commands import Program, engine_names, engines_of

MOST_FOUND = 64
READS, OVERWRITES, OVERTAKES, UNWRITTEN = range(4)
WORDS = ("reads what may not be there yet, written by", "overwrites what may be written later by", "overwrites what may still be read by")


class Scan(NamedTuple):
    """``known`` [place in the order of emission, engine]: commands of each engine that have certainly completed when a command starts.
    ``hazards`` and ``unwritten``: lines."""

    known: np.ndarray
    hazards: list[str]
    unwritten: list[str]


@procedure
def _know(
    known: Numbers,
    last: Integers,
    engine_at: Integers,
    commands: Records,
    dependencies: Records,
    place_of: Integers,
    engine_start: Integers,
) -> None:
    """Fill ``known``: a command knows what the one before it on its engine knows, what it waits for, and what these know."""
    n_engines = known.shape[1]
    for i in range(known.shape[0]):
        before = last[engine_at[i]]
        if before >= 0:
            for e in range(n_engines):
                known[i, e] = known[before, e]
        first = commands[i]["first_dependency"]
        for d in range(first, first + commands[i]["n_dependencies"]):
            engine, count = dependencies[d]["engine"], dependencies[d]["count"]
            other = place_of[engine_start[engine] + count - 1]
            for e in range(n_engines):
                known[i, e] = max(known[i, e], known[other, e])
            known[i, engine] = max(known[i, engine], count)
        last[engine_at[i]] = i


@procedure
def _scan(
    known: Numbers,
    engine_at: Integers,
    count_at: Integers,
    command: Integers,
    first_cell: Integers,
    end_cell: Integers,
    writes: Integers,
    n_in_buffers: int,
    whole_words: Numbers,
    slot_of: Integers,
    writer: Integers,
    readers: Integers,
    found: Integers,
) -> int:
    """Enter (kind, command, other command or -1) of each run that meets a hazard into ``found``; returns how many there are in all.

    ``whole_words`` [engine]: reads words of which something has written a part. ``writer`` [cell] and ``readers`` [cell, slot of an
    engine that reads]: 1 + the last command. What an earlier writer met is known to the later ones, so that readers need not be
    forgotten.
    """
    n_found = 0
    for a in range(command.shape[0]):
        i, kind, other = command[a], -1, -1
        own = engine_at[i]
        for cell in range(first_cell[a], end_cell[a]):
            w = writer[cell] - 1
            if w >= 0 and engine_at[w] != own and known[i, engine_at[w]] < count_at[w]:
                kind, other = OVERWRITES if writes[a] else READS, w
            elif w < 0 and not writes[a] and cell < n_in_buffers and not whole_words[own]:
                kind = UNWRITTEN
            if not writes[a]:
                readers[cell, slot_of[own]] = i + 1
                continue
            writer[cell] = i + 1
            for s in range(readers.shape[1]):
                r = readers[cell, s] - 1
                if r >= 0 and engine_at[r] != own and known[i, engine_at[r]] < count_at[r]:
                    kind, other = OVERTAKES, r
        if kind >= 0:
            if n_found < found.shape[0]:
                found[n_found, 0], found[n_found, 1], found[n_found, 2] = kind, i, other
            n_found += 1
    return n_found


def is_compiled() -> bool:
    """Whether the scan is on disk; the first program compiles it otherwise."""
    return is_cached(_know) and is_cached(_scan)


def scan(program: Program, accesses: Accesses) -> Scan:
    """Everything that commands know and every hazard of a program whose tables and dependencies are in order."""
    n_engines = len(program.engine_start) - 1
    place_of = program.commands["order"]
    by_place = np.argsort(place_of)
    engine_at = np.repeat(np.arange(n_engines), np.diff(program.engine_start))[by_place]
    count_at = by_place - program.engine_start[engine_at] + 1
    known = np.zeros((len(by_place), n_engines), np.int32)
    _know(known, np.full(n_engines, -1), engine_at, program.commands[by_place], program.dependencies, place_of, program.engine_start)
    edges = np.sort(np.concatenate([accesses.first, accesses.end]))
    edges = edges[np.diff(edges, prepend=-1) > 0]
    reading = np.unique(engine_at[accesses.command[~accesses.writes]])
    slot_of = np.zeros(n_engines, np.int64)
    slot_of[reading] = np.arange(len(reading))
    whole_words = np.isin(np.arange(n_engines), engines_of(program).vectors)
    found = np.zeros((MOST_FOUND, 3), np.int64)
    n_found = _scan(
        known, engine_at, count_at, accesses.command, np.searchsorted(edges, accesses.first), np.searchsorted(edges, accesses.end),
        accesses.writes, np.searchsorted(edges, accesses.base[-1]), whole_words, slot_of,
        np.zeros(len(edges), np.int32), np.zeros((len(edges), len(reading)), np.int32), found,
    )  # fmt: skip
    names = engine_names(engines_of(program))
    lines: tuple[list[str], list[str]] = ([], [])
    for kind, command, other in found[:n_found].tolist():
        text = f"{names[engine_at[command]]}, command {count_at[command]}"
        if kind == UNWRITTEN:
            lines[1].append(f"{text} reads what nothing wrote")
        else:
            lines[0].append(f"{text} {WORDS[kind]} {names[engine_at[other]]}, command {count_at[other]}")
    return Scan(known, *lines)
