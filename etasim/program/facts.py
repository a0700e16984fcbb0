"""What the rules of a valid program read: the program, what it must keep to, and what follows from it, worked out once."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from etasim.program.accesses import accesses, executed_by
from etasim.program.commands import Engines, Program, engines_of, table_of
from etasim.program.hazards import History, Scan, scan

MOST_PLACES = 3
"""That a broken rule names."""


class Limits(NamedTuple):
    """What a program must keep to.

    ``buffer_bytes`` [buffer], both halves; ``tensors`` [tensor, (first byte, end, class)] in DRAM, ascending; ``segment_bytes``
    [operation]: a row of lanes that is drained; ``receivers`` [route, cluster]: whether the route ends there; ``instant_feeds``: words
    need no time to arrive, so clusters do not count them.
    """

    buffer_bytes: tuple[int, ...]
    word_bytes: int
    tensors: np.ndarray
    segment_bytes: np.ndarray
    receivers: np.ndarray
    instant_feeds: bool


@dataclass
class Earlier:
    """What the windows before leave for the rules of the next one. By cluster: ``passes`` begun, whether the last chunk ``ends`` a pass,
    ``words`` sent [cluster, stream]; ``barrier`` [drain, in the order of the engines]: its commands before the end of the last sums that
    the network adds."""

    history: History
    passes: np.ndarray
    ends: np.ndarray
    words: np.ndarray
    barrier: np.ndarray


def at_the_beginning(engines: Engines) -> Earlier:
    """Nothing was before."""
    n = len(engines.computes)
    passes, barrier = np.zeros((2, n), np.int64)
    return Earlier(History(engines), passes, np.ones(n, bool), np.zeros((n, 2), np.int64), barrier)


class Facts:
    """A program and what follows from it; the tables have the rows that commands execute, no other. ``is_last``: no window follows; others
    are ``earlier``."""

    def __init__(self, program: Program, limits: Limits, earlier: Earlier | None = None, is_last: bool = True) -> None:
        self.limits, self.start = limits, program.engine_start
        self.engines = engines_of(program)
        self.earlier, self.is_last = earlier or at_the_beginning(self.engines), is_last
        names = {table_of(group) for group in self.engines._fields}
        self.program = program._replace(**{name: getattr(program, name)[: len(self.commands_of(name))] for name in names})

    def commands_of(self, table: str) -> np.ndarray:
        """Commands whose rows are in ``table``."""
        parts = [np.arange(self.start[engine], self.start[engine + 1]) for engine in self.engines.executing(table)]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def rows(self, engine: int) -> np.ndarray:
        """Rows that the commands of an engine execute, in order."""
        return self.program.commands["row"][self.start[engine] : self.start[engine + 1]]

    def places(self, engine: int) -> np.ndarray:
        """Places of the commands of an engine in the order of emission."""
        return self.program.commands["order"][self.start[engine] : self.start[engine + 1]]

    @property
    def first_place(self) -> int:
        """Place of the first command in the order of emission."""
        return int(self.program.before.sum())

    def clusters(self) -> Iterator[tuple[int, int, int]]:
        """(cluster, engine that multiplies, engine that drains)."""
        yield from zip(range(len(self.engines.drains)), self.engines.computes, self.engines.drains, strict=True)

    @cached_property
    def scan(self) -> Scan:
        """What commands know of each other, and hazards."""
        limits = self.limits
        found = accesses(self.program, limits.buffer_bytes, limits.word_bytes, limits.segment_bytes)
        return scan(self.program, found, self.earlier.history)

    def known(self, engine: int) -> np.ndarray:
        """What the commands of an engine know of each engine."""
        return self.scan.known[self.places(engine) - self.first_place]

    def leave(self) -> Earlier:
        """What the next window needs."""
        earlier, program, limits = self.earlier, self.program, self.limits
        earlier.history.keep(program, self.scan.known)
        adds = program.drains["partners"] > 0
        end = 0
        if adds.any():
            place = executed_by(program, "drains")[1][adds]
            end = int((place - program.drains["member"][adds] + program.drains["partners"][adds] + 1).max())
        for c, engine, drain in self.clusters():
            chunks = program.computes[self.rows(engine)]
            earlier.passes[c] += chunks["clears"].sum()
            if len(chunks):
                earlier.ends[c] = limits.instant_feeds or chunks["last"][-1] == 1
            earlier.words[c] += chunks["stream_words"].sum(), chunks["stationary_words"].sum()
            if end:
                earlier.barrier[c] = program.before[drain] + np.searchsorted(self.places(drain), end)
        return earlier

    def chunk_of_feed(self, feeder: int, c: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the feeds of engine ``feeder`` that reach cluster ``c``: their numbers on that engine, and those of the chunks that they are
        for, the next ones to be emitted; both count from the beginning of the window."""
        reached = np.flatnonzero(self.limits.receivers[self.program.feeds["route"][self.rows(feeder)], c])
        return reached, np.searchsorted(self.places(self.engines.computes[c]), self.places(feeder)[reached])


def where(what: str, wrong: np.ndarray) -> Iterator[str]:
    """``what`` with the first places of a table that are wrong."""
    if wrong.any():
        places = np.flatnonzero(wrong)
        more = f" and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
        yield f"{what} {', '.join(map(str, places[:MOST_PLACES]))}{more}"
