"""Stretches of commands that repeat: written one by one where they are met first, then copied by numpy with what differs filled in.

A copy differs from the first of its kind only by where it stands (`Standing`): fields that count or address something are moved by the
difference, halves change where an odd number of chunks or passes lies between.
"""

from typing import NamedTuple

import numpy as np

from etasim.program.commands import COMPUTE, FEED, MOST_VALUED_CLUSTERS, Engines

WRITTEN = np.dtype([("engine", "i8"), ("row", "i8"), ("operation", "i8"), ("order", "i8")])
"""A command as it is written: its row is one of the table of its engine."""

WAIT = np.dtype([("order", "i8"), ("engine", "i8"), ("count", "i8")])
"""What the command at place ``order`` waits for; many are redundant (`needed`)."""

ORDER, OPERATION, FEED_ROW, COMPUTE_ROW, STREAM_ADDRESS, STATIONARY_ADDRESS, COMPLETED = range(7)
"""Places of a `Standing`; those from ``COMPLETED`` on are by engine, and after these by cluster and scratchpad."""

Standing = list[int]
"""Where a stretch begins: its place in the order of emission, operation, first rows of feeds and chunks, addresses of the pieces of both
operands; commands of each engine before it (of one that loads a piece: the count of the first load), and words that each cluster has
received on both scratchpads."""

REPEATED = {"feeds": FEED, "computes": COMPUTE}
"""Tables whose rows are copied."""


class Stretch(NamedTuple):
    """Feeds and chunks as they were written at ``first``: ``commands`` of WRITTEN, rows of both tables, and ``waits`` of WAIT."""

    first: Standing
    commands: np.ndarray
    rows: dict[str, np.ndarray]
    waits: np.ndarray


class Copied(NamedTuple):
    """All copies of a stretch: commands, waits, and of each table the number and the fields of every row."""

    commands: np.ndarray
    waits: np.ndarray
    rows: dict[str, tuple[np.ndarray, np.ndarray]]


class Repeat:
    """A ``stretch`` and where it stands again (``standings``). ``n_commands`` by engine, ``n_words`` by cluster and scratchpad."""

    def __init__(self, stretch: Stretch, engines: Engines) -> None:
        self.stretch, self.engines = stretch, engines
        self.standings: list[Standing] = []
        own = stretch.commands["engine"]
        self.n_commands = np.bincount(own, minlength=engines.total).tolist()
        n_words = np.zeros((len(engines.computes), 2), np.int64)
        for place, name in enumerate(("stream_words", "stationary_words")):
            np.add.at(n_words[:, place], self._cluster, stretch.rows["computes"][name])
        self.n_words = n_words.tolist()

    @property
    def _cluster(self) -> np.ndarray:
        """Cluster of each chunk."""
        own = self.stretch.commands["engine"]
        return own[own >= self.engines.computes.start] - self.engines.computes.start

    def _reached(self) -> np.ndarray:
        """Clusters that each feed is for, as bits: it waits for their chunks."""
        commands, waits = self.stretch.commands, self.stretch.waits
        is_feed = commands["engine"] < self.engines.computes.start
        cluster = waits["engine"] - self.engines.computes.start
        on_chunk = (cluster >= 0) & (cluster < min(len(self.engines.computes), MOST_VALUED_CLUSTERS))
        bits = np.zeros(len(commands), np.int64)
        place = waits["order"][on_chunk] - self.stretch.first[ORDER]
        np.bitwise_or.at(bits, place, np.left_shift(1, cluster[on_chunk]))
        return bits[is_feed]

    def copies(self) -> Copied:
        """What is written at ``standings``."""
        stretch, n = self.stretch, len(self.standings)
        moved = np.array(self.standings, np.int64).reshape(n, len(stretch.first)) - np.array(stretch.first)
        commands = np.tile(stretch.commands, (n, 1))
        is_chunk = commands["engine"][:1] >= self.engines.computes.start
        commands["row"] += np.where(is_chunk, moved[:, [COMPUTE_ROW]], moved[:, [FEED_ROW]])
        commands["operation"] += moved[:, [OPERATION]]
        commands["order"] += moved[:, [ORDER]]
        waits = np.tile(stretch.waits, (n, 1))
        waits["order"] += moved[:, [ORDER]]
        waits["count"] += moved[:, COMPLETED + stretch.waits["engine"]]
        rows = {
            "feeds": (commands["row"][:, ~is_chunk[0]].ravel(), self._feeds(moved).ravel()),
            "computes": (commands["row"][:, is_chunk[0]].ravel(), self._chunks(moved).ravel()),
        }
        return Copied(commands.ravel(), waits.ravel(), rows)

    def _feeds(self, moved: np.ndarray) -> np.ndarray:
        """Rows of the feeds of each copy."""
        first = self.stretch.rows["feeds"]
        feeds = np.tile(first, (len(moved), 1))
        feeds["buffer_address"] += moved[:, STREAM_ADDRESS + first["stream"]]
        feeds["operation"] += moved[:, [OPERATION]]
        odd = moved[:, COMPLETED + np.array(self.engines.computes[:MOST_VALUED_CLUSTERS], np.int64)] & 1
        feeds["halves"] ^= self._reached() & (odd << np.arange(odd.shape[1])).sum(axis=1)[:, None]
        return feeds

    def _chunks(self, moved: np.ndarray) -> np.ndarray:
        """Rows of the chunks of each copy."""
        chunks, cluster = np.tile(self.stretch.rows["computes"], (len(moved), 1)), self._cluster
        received = COMPLETED + self.engines.total + 2 * cluster
        chunks["stream_base_words"] += moved[:, received]
        chunks["stationary_base_words"] += moved[:, received + 1]
        chunks["operation"] += moved[:, [OPERATION]]
        chunks["operand_half"] ^= moved[:, COMPLETED + self.engines.computes.start + cluster] & 1
        chunks["psum_half"] ^= moved[:, COMPLETED + self.engines.drains.start + cluster] & 1
        return chunks


def needed(waits: np.ndarray, engine_at: np.ndarray, known: np.ndarray, first: int = 0) -> np.ndarray:
    """Of ``waits`` those that an engine does not know from an earlier command, in the order of emission, those of a command in the order
    of the engines; ``engine_at`` [place after ``first``]. ``known`` [engine, engine]: commands of the second that the first knows of; what
    the waits tell is added."""
    own, n_engines = engine_at[waits["order"] - first], len(known)
    told = (waits["count"] > known[own, waits["engine"]]) & (waits["engine"] != own)
    waits, own = waits[told], own[told]
    order, engine, count = (waits[name] for name in WAIT.names or ())
    np.maximum.at(known, (own, engine), count)
    by_pair = np.lexsort((order, own * n_engines + engine))
    highest = (own * n_engines + engine)[by_pair] * (count.max(initial=0) + 1) + count[by_pair]
    new = by_pair[np.diff(np.maximum.accumulate(highest), prepend=-1) > 0]
    return waits[new[np.argsort(order[new] * n_engines + engine[new], kind="stable")]]
