"""Rules of the order in which a program fills and empties its double buffers."""

from collections.abc import Iterator

import numpy as np

from etasim.program.accesses import executed_by
from etasim.program.commands import FEED_STATIONARY, FEED_STREAM, MOST_VALUED_CLUSTERS
from etasim.program.facts import Facts, where

STREAMS = (("stream", FEED_STREAM), ("stationary", FEED_STATIONARY))
SHARED = (
    "n_packets", "n_segments", "segments_per_packet", "segment_table", "buffer_address", "engine", "partners", "engine_stride", "sum_bytes",
)  # fmt: skip
"""Fields that drains have in common whose sums the network adds."""


def hazards(facts: Facts) -> Iterator[str]:
    """No command touches bytes of a buffer or of DRAM that an earlier one may still write, or, to write them, may still read."""
    yield from facts.scan.hazards


def unwritten(facts: Facts) -> Iterator[str]:
    """Stores and feeds read bytes of buffers that something wrote."""
    yield from facts.scan.unwritten


def halves(facts: Facts) -> Iterator[str]:
    """Chunks take the halves of the scratchpads in turn, passes those of the psum memory; feeds and drains name the same ones."""
    program = facts.program
    for c, engine, drain in facts.clusters():
        chunks, drained = program.computes[facts.rows(engine)], program.drains[facts.rows(drain)]
        number, n_drains = program.before[engine] + np.arange(len(chunks)), program.before[drain] + np.arange(len(drained))
        begun = facts.earlier.passes[c] + np.cumsum(chunks["clears"])
        yield from where(f"cluster {c}: half of the scratchpads, chunk", chunks["operand_half"] != number % 2)
        yield from where(f"cluster {c}: half of the psum memory, chunk", chunks["psum_half"] != (begun - 1) % 2)
        yield from where(f"cluster {c}: half of the psum memory, drain", drained["psum_half"] != n_drains % 2)
        for name, feeder in STREAMS if c < MOST_VALUED_CLUSTERS else ():
            feeds, chunk = facts.chunk_of_feed(feeder, c)
            half = program.feeds["halves"][facts.rows(feeder)[feeds]] >> c & 1
            wrong = half != (program.before[engine] + chunk) % 2
            yield from where(f"cluster {c}: half of the scratchpads, {name} feed of chunk", _marked(chunk, wrong))


def _marked(chunk: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """[chunk]: whether one of its feeds is wrong."""
    return np.bincount(chunk[wrong]) > 0


def scratchpads(facts: Facts) -> Iterator[str]:
    """What is sent to a cluster may overwrite what the chunk before the last one used: it waits for that one."""
    for c, engine, _ in facts.clusters():
        for name, feeder in STREAMS:
            feeds, chunk = facts.chunk_of_feed(feeder, c)
            late = facts.known(feeder)[feeds, engine] < facts.program.before[engine] + chunk - 1
            yield from where(f"cluster {c}: sent while its half may be in use, {name} feed of chunk", _marked(chunk, late))


def words(facts: Facts) -> Iterator[str]:
    """A chunk counts the words that were sent for it, and its sweeps wait for no more; where words are not counted it waits for the
    feeds."""
    program = facts.program
    extremes = _extremes(program.sweep_words, program.computes["word_table"], program.computes["n_sweeps"])
    for c, engine, _ in facts.clusters():
        chunks = program.computes[facts.rows(engine)]
        for i, (name, feeder) in enumerate(STREAMS):
            feeds, chunk = facts.chunk_of_feed(feeder, c)
            if facts.limits.instant_feeds:
                known = facts.known(engine)[chunk[chunk < len(chunks)], feeder]
                late = known <= program.before[feeder] + feeds[: len(known)]
                yield from where(f"cluster {c}: does not wait for its {name} feed, chunk", _marked(chunk, late))
                continue
            sent = np.bincount(chunk, program.feeds["n_packets"][facts.rows(feeder)[feeds]], minlength=len(chunks))
            counted = chunks[f"{name}_words"]
            yield from where(f"cluster {c}: {name} words that are not those sent, chunk", sent[: len(chunks)] != counted)
            yield from where(f"cluster {c}: {name} words that are sent to no chunk, feed", chunk == len(chunks))
            base = facts.earlier.words[c, i] + np.cumsum(counted) - counted
            yield from where(f"cluster {c}: {name} words before, chunk", chunks[f"{name}_base_words"] != base)
            least, most = (wanted[facts.rows(engine), i] for wanted in extremes)
            yield from where(f"cluster {c}: {name} words of a sweep, chunk", (least < 0) | (most > counted))


def _extremes(pool: np.ndarray, first: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest rows of pieces of a pool; the row at their start for empty ones. Shape [pieces, columns] each."""
    pieces, piece = np.unique(first * (len(pool) + 1) + n, return_inverse=True)
    start, size = np.divmod(pieces, len(pool) + 1)
    ends = np.column_stack([start, start + size]).ravel()
    padded = np.vstack([pool, pool[-1:]])
    return np.minimum.reduceat(padded, ends)[::2][piece], np.maximum.reduceat(padded, ends)[::2][piece]


def passes(facts: Facts) -> Iterator[str]:
    """Each pass begins with psums of zero, ends once and is drained once, in the order of emission."""
    program, instant = facts.program, facts.limits.instant_feeds
    for c, engine, drain in facts.clusters():
        chunks = program.computes[facts.rows(engine)]
        begun = facts.earlier.passes[c] + np.cumsum(chunks["clears"])
        number = program.before[drain] + np.searchsorted(facts.places(drain), facts.places(engine))
        yield from where(f"cluster {c}: not of the pass that is drained next, chunk", begun != number + 1)
        n_passes, n_drains = facts.earlier.passes[c] + chunks["clears"].sum(), program.before[drain] + len(facts.places(drain))
        if facts.is_last and n_passes != n_drains:
            yield f"cluster {c}: {n_passes} passes, {n_drains} drains"
        follows = 1 if facts.is_last else chunks["last"][-1:]  # the next window begins with a new pass, or does not
        first, last = chunks["clears"], np.append(chunks["clears"][1:], follows)[: len(chunks)]
        flags = (0, 0) if instant else (first, last)
        yield from where(f"cluster {c}: first or last of a pass, chunk", (chunks["first"] != flags[0]) | (chunks["last"] != flags[1]))
        if len(chunks) and facts.earlier.ends[c] != first[0] and not instant:
            yield f"cluster {c}: first or last of a pass, chunk 0 or the one before the window"


def groups(facts: Facts) -> Iterator[str]:
    """Drains whose sums the network adds are on the engines that they say, in rows that follow each other, and alike."""
    d = facts.program.drains
    engine = np.zeros(len(d), np.int64)
    for _, _, own in facts.clusters():
        engine[facts.rows(own)] = own
    yield from where("drains: engine of row", engine != d["engine"] + d["member"] * d["engine_stride"])
    yield from where("drains: member of row", (d["member"] < 0) | (d["member"] > d["partners"]))
    follows = d["member"] > 0
    before = np.roll(d, 1)
    alike = np.logical_and.reduce([d[name] == before[name] for name in SHARED]) & (d["member"] == before["member"] + 1)
    yield from where("drains: unlike the member before, row", follows & ~alike)
    complete = np.append(d["member"][1:], 0) == np.where(d["member"] < d["partners"], d["member"] + 1, 0)
    yield from where("drains: member after row", ~complete[: len(d)])


def reductions(facts: Facts) -> Iterator[str]:
    """While the network adds sums, no other psums are under way: they could stand in a buffer behind what waits for them."""
    d, place = facts.program.drains, executed_by(facts.program, "drains")[1]
    adds = d["partners"] > 0
    if not adds.any() and not facts.earlier.barrier.any():
        return
    emitted = np.argsort(place)
    group = place - d["member"]
    ends = np.zeros(len(d), np.int64)
    ends[emitted] = np.maximum.accumulate(np.where(adds, group + d["partners"] + 1, 0)[emitted])
    barrier, known, wrong = np.where(adds, group, ends), facts.scan.known[place - facts.first_place], np.zeros(len(d), bool)
    for c, _, drain in facts.clusters():
        before = facts.program.before[drain] + np.searchsorted(facts.places(drain), barrier)
        late = known[:, drain] < np.where(barrier > 0, before, facts.earlier.barrier[c])
        late[facts.rows(drain)] = False
        wrong |= late
    yield from where("drains: sent while other sums may be under way, row", wrong)
