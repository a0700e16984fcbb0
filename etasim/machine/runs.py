"""What a tile program touches, run by run: words, banks, bursts, channels. The machine must have touched the same."""

from math import gcd
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etasim.program.accesses import executed_by, runs_of
from etasim.program.commands import BUFFER_AT, MAX_READS, MOVERS, STORE, Program, engines_of

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

READ, WRITTEN = range(2)


class Touched(NamedTuple):
    """``bursts`` and ``words`` [transfer]; ``arrived`` [arrival]: bursts; ``moved`` [move]: words; ``feed_words`` [feed]; ``drain_words``
    [drain]: words that a collector writes; ``banks`` [buffer][read or written, bank]: words; ``channels`` [read or written, channel]:
    bursts."""

    bursts: np.ndarray
    words: np.ndarray
    arrived: np.ndarray
    moved: np.ndarray
    feed_words: np.ndarray
    drain_words: np.ndarray
    banks: tuple[np.ndarray, ...]
    channels: np.ndarray


def spread(first: np.ndarray, n: np.ndarray, ways: int, width: int = 1) -> np.ndarray:
    """How many of the places ``first ... first + n - 1`` fall to each way, ``place // width % ways``, in all. Shape [ways]."""

    def below(ends: np.ndarray) -> np.ndarray:
        whole, rest = np.divmod(ends, ways * width)
        way, part = np.divmod(rest, width) if width > 1 else (rest, None)
        last = np.bincount(way, minlength=ways)
        counts = whole.sum() * width + width * (last[::-1].cumsum()[::-1] - last)
        return counts if part is None else counts + np.bincount(way, weights=part, minlength=ways).astype(np.int64)

    return below(first + n) - below(first)


def _cuts_inside_words(dram: np.ndarray, into: np.ndarray, n_bursts: np.ndarray, burst_bytes: int, word_bytes: int) -> np.ndarray:
    """Of the burst boundaries inside each run, those that cut a word in two, which is then touched twice."""
    first = into - dram + (dram // burst_bytes + 1) * burst_bytes
    n_cuts, step = n_bursts - 1, gcd(burst_bytes, word_bytes)
    period = word_bytes // step
    whole = np.where(first % step, n_cuts + 1, -(first // step) * pow(burst_bytes // step, -1, period) % period)
    return n_cuts - np.maximum((n_cuts - 1 - whole) // period + 1, 0)


def _transfers(program: Program, touched: Touched, burst_bytes: int, word_bytes: int, interleave_bytes: int) -> None:
    """Enter what the DMA engines move."""
    t, engines = program.transfers, engines_of(program)
    engine = np.full(len(t), -1)
    for e in engines.dma:
        engine[program.commands["row"][program.engine_start[e] : program.engine_start[e + 1]]] = e
    used = np.flatnonzero((engine >= 0) & (t["run_bytes"] > 0))
    table, engine = t[used], engine[used]
    starts, strides = (table["dram_address"], table["buffer_address"]), (table["dram_strides"], table["buffer_strides"])
    for row, dram, into in runs_of(table, starts, strides):
        last = table["run_bytes"][row] - 1
        burst, word = dram // burst_bytes, into // word_bytes
        n_bursts, n_words = (dram + last) // burst_bytes - burst + 1, (into + last) // word_bytes - word + 1
        n_shared = _cuts_inside_words(dram, into, n_bursts, burst_bytes, word_bytes)
        np.add.at(touched.bursts, used[row], n_bursts)
        np.add.at(touched.words, used[row], n_words + n_shared)
        cut = np.repeat(np.arange(len(row)), np.where(n_shared > 0, n_bursts - 1, 0))
        boundary = (burst[cut] + 1 + np.arange(len(cut)) - np.searchsorted(cut, cut)) * burst_bytes - dram[cut] + into[cut]
        for e in engines.dma:
            own, banks = engine[row] == e, touched.banks[engines.buffer_of[e]][READ if e == STORE else WRITTEN]
            banks += spread(word[own], n_words[own], len(banks))
            twice = boundary[(engine[row[cut]] == e) & (boundary % word_bytes > 0)] // word_bytes
            banks += np.bincount(twice % len(banks), minlength=len(banks))
        for is_store in (READ, WRITTEN):
            own, channels = (engine[row] == STORE) == is_store, touched.channels[is_store]
            channels += spread(burst[own], n_bursts[own], len(channels), interleave_bytes // burst_bytes)


def _moves(program: Program, touched: Touched, word_bytes: int) -> None:
    """Enter what the movers copy: a word of one buffer that falls into two of the other is touched for each."""
    m, (engine, _) = program.moves, executed_by(program, "moves")
    used = np.flatnonzero((engine >= 0) & (m["run_bytes"] > 0))
    engines = engines_of(program)
    table, mover = m[used], engine[used] - engines.moves.start + engines.movers.start
    places, strides = (table["source_address"], table["target_address"]), (table["source_strides"], table["target_strides"])
    for row, *ends in runs_of(table, places, strides):
        last, inside = table["run_bytes"][row] - 1, [at % word_bytes for at in ends]
        first = [at // word_bytes for at in ends]
        n_words = [(at + last) // word_bytes - word + 1 for at, word in zip(ends, first, strict=True)]
        cuts = [np.where(inside[0] == inside[1], 0, n - 1) for n in n_words]  # by the words of the other end
        np.add.at(touched.moved, used[row], n_words[0] + cuts[1])
        for e, name in enumerate(("source", "target")):
            other = 1 - e
            cut_word = (ends[e] + word_bytes - inside[other]) // word_bytes
            for number in sorted(set(mover[row].tolist())):
                own, banks = mover[row] == number, touched.banks[getattr(MOVERS[number], name)][(READ, WRITTEN)[e]]
                banks += spread(first[e][own], n_words[e][own], len(banks)) + spread(cut_word[own], cuts[other][own], len(banks))


def _arrivals(program: Program, touched: Touched, burst_bytes: int, interleave_bytes: int) -> None:
    """Enter what the host brings."""
    used = np.flatnonzero(program.arrivals["run_bytes"] > 0)
    table, channels = program.arrivals[used], touched.channels[WRITTEN]
    for row, dram in runs_of(table, (table["dram_address"],), (table["dram_strides"],)):
        n_bursts = table["run_bytes"][row] // burst_bytes
        np.add.at(touched.arrived, used[row], n_bursts)
        channels += spread(dram // burst_bytes, n_bursts, len(channels), interleave_bytes // burst_bytes)


def _feeds(program: Program, touched: Touched, word_bytes: int) -> None:
    """Enter what the feeders read."""
    engines = engines_of(program)
    used = np.flatnonzero(program.feeds["n_packets"] > 0)
    table = program.feeds if len(used) == len(program.feeds) else program.feeds[used]
    for row, start in runs_of(table, (table["buffer_address"],), (table["strides"],)):
        word, last = start // word_bytes, (start + table["run_bytes"][row] - 1) // word_bytes
        np.add.at(touched.feed_words, used[row], last - word + 1)
        for stream, engine in enumerate(engines.feeds):
            own, banks = table["stream"][row] == stream, touched.banks[engines.buffer_of[engine]][READ]
            banks += spread(word[own], (last - word + 1)[own], len(banks))


def _drains(program: Program, touched: Touched, word_bytes: int) -> None:
    """Enter what the collectors write: segments of a packet that follow each other in a word go into it together. Drains that differ by
    whole words are looked at once."""
    used = np.flatnonzero((program.drains["n_packets"] > 0) & (program.drains["member"] == 0))
    table, banks = program.drains[used], touched.banks[BUFFER_AT["collectors"]][WRITTEN]
    first_word, inside = np.divmod(table["buffer_address"], word_bytes)
    tables, of_table = np.unique(table["segment_table"], return_inverse=True)  # few: the numbers below stay within 64 bits
    columns = of_table, table["n_segments"], table["segments_per_packet"], inside
    extent = [1 + int(column.max(initial=0)) for column in columns]
    shapes, shape_of = np.unique(np.ravel_multi_index(columns, extent), return_inverse=True)
    place = np.arange(len(banks))
    turned = (place[:, None] - place) % len(banks)
    for number, (which, n, per_packet, byte) in enumerate(zip(*np.unravel_index(shapes, extent), strict=True)):
        offsets = program.segment_offsets[tables[which] : tables[which] + n]
        word, own = (byte + offsets) // word_bytes, shape_of == number
        begins = np.arange(n) % per_packet == 0
        begins[1:] |= word[1:] != word[:-1]
        touched.drain_words[used[own]] = np.count_nonzero(begins)
        in_bank = np.bincount(word[begins] % len(banks), minlength=len(banks))
        banks += in_bank[turned] @ np.bincount(first_word[own] % len(banks), minlength=len(banks))


def _vectors(program: Program, touched: Touched) -> None:
    """Enter what the passes of the unified core read and write."""
    v = program.vectors
    stream = np.arange(v["words"].shape[1])
    reads = stream < v["n_reads"][:, None]
    writes = (stream >= MAX_READS) & (stream < MAX_READS + v["n_writes"][:, None])
    for access, part, used in ((READ, "unified operands", reads), (WRITTEN, "unified results", writes)):
        banks = touched.banks[BUFFER_AT[part]][access]
        banks += spread(v["address"][used], v["words"][used], len(banks))


def touched_by(machine: "Machine", program: Program) -> Touched:
    """Everything that ``program``, a window of that of ``machine`` or all of it, touches."""
    word_bytes, dram = machine.specs.dma.word_bytes, machine.architecture.dram
    tables = program.transfers, program.transfers, program.arrivals, program.moves, program.feeds, program.drains
    bursts, words, arrived, moved, feed_words, drain_words = (np.zeros(len(table), np.int64) for table in tables)
    found = Touched(
        bursts, words, arrived, moved, feed_words, drain_words,
        tuple(np.zeros((2, n), np.int64) for n in machine.specs.buffers.n_banks), np.zeros((2, dram.channels), np.int64),
    )  # fmt: skip
    burst_bytes = dram.part.organisation.burst_bytes
    _transfers(program, found, burst_bytes, word_bytes, dram.channel_interleave_bytes)
    _arrivals(program, found, burst_bytes, dram.channel_interleave_bytes)
    _moves(program, found, word_bytes)
    _feeds(program, found, word_bytes)
    _drains(program, found, word_bytes)
    _vectors(program, found)
    return found
