"""What the rules of a valid program read: the program, what it must keep to, and what follows from it, worked out once."""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from etasim.program.accesses import accesses
from etasim.program.commands import Program, engines_of, table_of
from etasim.program.hazards import Scan, scan

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


class Facts:
    """A program and what follows from it; the tables have the rows that commands execute, no other."""

    def __init__(self, program: Program, limits: Limits) -> None:
        self.limits, self.start = limits, program.engine_start
        self.engines = engines_of(program)
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

    def clusters(self) -> Iterator[tuple[int, int, int]]:
        """(cluster, engine that multiplies, engine that drains)."""
        yield from zip(range(len(self.engines.drains)), self.engines.computes, self.engines.drains, strict=True)

    @cached_property
    def scan(self) -> Scan:
        """What commands know of each other, and hazards."""
        limits = self.limits
        return scan(self.program, accesses(self.program, limits.buffer_bytes, limits.word_bytes, limits.segment_bytes))

    def chunk_of_feed(self, feeder: int, c: int) -> tuple[np.ndarray, np.ndarray]:
        """Of the feeds of engine ``feeder`` that reach cluster ``c``: their numbers on that engine, and those of the chunks that they are
        for, the next ones to be emitted."""
        reached = np.flatnonzero(self.limits.receivers[self.program.feeds["route"][self.rows(feeder)], c])
        return reached, np.searchsorted(self.places(self.engines.computes[c]), self.places(feeder)[reached])


def where(what: str, wrong: np.ndarray) -> Iterator[str]:
    """``what`` with the first places of a table that are wrong."""
    if wrong.any():
        places = np.flatnonzero(wrong)
        more = f" and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
        yield f"{what} {', '.join(map(str, places[:MOST_PLACES]))}{more}"
