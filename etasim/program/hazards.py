"""Hazards: commands that may touch bytes before an earlier command is done with them, whatever the machine's timing.

What has certainly completed when a command starts follows from dependencies and from the order within an engine alone (vector clocks).
A compiled scan, because it visits every run of every command: in numpy its sorts would cost ten times as much.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from etasim.core.arrays import Integers, Numbers, Records
from etasim.core.jit import is_cached, procedure
from etasim.program.accesses import Accesses
from etasim.program.cells import CellPages
from etasim.program.commands import Engines, Program, engine_names, engines_of
from etasim.program.packed import Shelf

MOST_FOUND = 64
KNOWN_BYTES = 4 * 2**20
"""Of what the commands of earlier windows know, as it is: four windows of eta_vc709; that of the others is packed."""

READS, OVERWRITES, OVERTAKES, UNWRITTEN = range(4)
ENGINE, COUNT, READERS = range(3)
"""Numbers of a cell: of who wrote it last, and from the third on of who read it last."""
WORDS = ("reads what may not be there yet, written by", "overwrites what may be written later by", "overwrites what may still be read by")


class Scan(NamedTuple):
    """``known`` [place in the order of emission, engine]: commands of each engine that have certainly completed when a command of the
    window starts. ``hazards`` and ``unwritten``: lines."""

    known: np.ndarray
    hazards: list[str]
    unwritten: list[str]


@procedure
def _know(known: Numbers, last: Integers, engine_at: Integers, commands: Records, dependencies: Records, waited: Integers) -> None:
    """Fill ``known``: a command knows what the one before it on its engine knows, what it waits for, and what these know. ``last`` [engine]
    and ``waited`` [dependency]: rows of ``known``, of which those after the commands are filled already; -1 for none."""
    n_engines = known.shape[1]
    for i in range(commands.shape[0]):
        for e in range(n_engines):
            known[i, e] = known[last[engine_at[i]], e]
        first = commands[i]["first_dependency"]
        for d in range(first, first + commands[i]["n_dependencies"]):
            if waited[d] >= 0:
                engine = dependencies[d]["engine"]
                for e in range(n_engines):
                    known[i, e] = max(known[i, e], known[waited[d], e])
                known[i, engine] = max(known[i, engine], dependencies[d]["count"])
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
    reading: Integers,
    touched: Numbers,
    found: Integers,
) -> int:
    """Enter (kind, engine and count of a command, and of the other one) of each run that meets a hazard into ``found``; returns how many
    there are in all.

    ``whole_words`` [engine]: reads words of which something has written a part. ``touched`` [number, cell]: engine and count of the last
    command that wrote it, then the count of the last that read it by slot of its engine, 0 for none. What an earlier writer met is known to
    the later ones, so that readers need not be forgotten.
    """
    n_found = 0
    for a in range(command.shape[0]):
        i, kind, engine, count = command[a], -1, -1, -1
        own = engine_at[i]
        for cell in range(first_cell[a], end_cell[a]):
            by, w = touched[ENGINE, cell], touched[COUNT, cell]
            if w > 0 and by != own and known[i, by] < w:
                kind, engine, count = OVERWRITES if writes[a] else READS, by, w
            elif w == 0 and not writes[a] and cell < n_in_buffers and not whole_words[own]:
                kind = UNWRITTEN
            if not writes[a]:
                touched[READERS + slot_of[own], cell] = count_at[i]
                continue
            touched[ENGINE, cell] = own
            touched[COUNT, cell] = count_at[i]
            for s in range(reading.shape[0]):
                r = touched[READERS + s, cell]
                if r > 0 and reading[s] != own and known[i, reading[s]] < r:
                    kind, engine, count = OVERTAKES, reading[s], r
        if kind >= 0:
            if n_found < found.shape[0]:
                found[n_found, 0], found[n_found, 1], found[n_found, 2] = kind, own, count_at[i]
                found[n_found, 3], found[n_found, 4] = engine, count
            n_found += 1
    return n_found


def is_compiled() -> bool:
    """Whether the scan is on disk; the first program compiles it otherwise."""
    return is_cached(_know) and is_cached(_scan)


class History:
    """What is left of the windows that were scanned: what their commands know, and who touched which bytes last."""

    def __init__(self, engines: Engines) -> None:
        n, reads = engines.total, ("transfers", "feeds", "vectors", "moves")
        self.reading = np.array(sorted({engine for table in reads for engine in engines.executing(table)}), np.int64)
        self.slot_of = np.zeros(n, np.int64)
        self.slot_of[self.reading] = np.arange(len(self.reading))
        self._last = np.zeros((n, n), np.int32)
        self._known = Shelf(KNOWN_BYTES)
        self._starts: list[np.ndarray] = []
        self._ends = np.zeros((0, n), np.int64)
        self.cells = CellPages(READERS + len(self.reading))

    def known(self, program: Program) -> np.ndarray:
        """What each command of the next window, by place, and then each engine before it, and other commands, know."""
        n, n_engines = len(program.commands), len(self._last)
        place_of, engine_at = places_of(program)
        d = program.dependencies
        in_window = d["count"] > program.before[d["engine"]]
        waited = np.full(len(d), -1)
        own = d[in_window]
        waited[in_window] = place_of[program.engine_start[own["engine"]] + own["count"] - 1 - program.before[own["engine"]]]
        earlier, which = np.unique(d[~in_window & (d["count"] > 0)], return_inverse=True)
        waited[~in_window & (d["count"] > 0)] = n + n_engines + which
        known = np.zeros((n + n_engines + len(earlier), n_engines), np.int32)
        known[n : n + n_engines], known[n + n_engines :] = self._last, self._known_by(earlier)
        last = n + np.arange(n_engines)
        _know(known, last, engine_at, program.commands[np.argsort(place_of)], d, waited)
        self._last = known[last]
        return known[:n]

    def keep(self, program: Program, known: np.ndarray) -> None:
        """Keep what the commands of a window know for the next ones."""
        self._known[len(self._starts)] = known[places_of(program)[0]]
        self._starts.append(program.engine_start[:-1] - program.before)
        self._ends = np.vstack([self._ends, program.before + np.diff(program.engine_start)])

    def _known_by(self, commands: np.ndarray) -> np.ndarray:
        """What commands (engine, count) of earlier windows know."""
        known = np.zeros((len(commands), len(self._last)), np.int32)
        window = np.array([np.searchsorted(self._ends[:, engine], count) for engine, count in commands.tolist()], np.int64)
        for number in sorted(set(window.tolist())):
            own = commands[window == number]
            known[window == number] = self._known[number][self._starts[number][own["engine"]] + own["count"] - 1]
        return known


def places_of(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """Of a window: the place of each command in the order of emission, by index; the engine of each, by place."""
    place = program.commands["order"] - program.before.sum()
    engine_at = np.empty(len(place), np.int64)
    engine_at[place] = np.repeat(np.arange(len(program.before)), np.diff(program.engine_start))
    return place, engine_at


def scan(program: Program, found: Iterable[Accesses], history: History) -> Scan:
    """Everything that commands know and every hazard of a program whose tables and dependencies are in order, or of the window that comes
    after those of ``history``."""
    place_of, engine_at = places_of(program)
    by_place = np.argsort(place_of)
    count_at = by_place - program.engine_start[engine_at] + program.before[engine_at] + 1
    known, n_before = history.known(program), program.before.sum()
    whole_words = np.isin(np.arange(len(program.before)), engines_of(program).vectors)
    hazards = np.zeros((MOST_FOUND, 5), np.int64)
    lines: tuple[list[str], list[str]] = ([], [])
    names = engine_names(engines_of(program))
    for each in found:
        edges, touched = history.cells.opened(each.first, each.end)
        n_found = _scan(
            known, engine_at, count_at, each.command - n_before, np.searchsorted(edges, each.first), np.searchsorted(edges, each.end),
            each.writes, np.searchsorted(edges, each.base[-1]), whole_words, history.slot_of, history.reading, touched, hazards,
        )  # fmt: skip
        history.cells.closed(edges, touched)
        for kind, own, count, engine, other in hazards[:n_found].tolist():
            text = f"{names[own]}, command {count}"
            if kind == UNWRITTEN:
                lines[1].append(f"{text} reads what nothing wrote")
            else:
                lines[0].append(f"{text} {WORDS[kind]} {names[engine]}, command {other}")
    return Scan(known, *lines)
