"""What a program touches, beside the same said byte by byte in plain Python."""

from types import SimpleNamespace

import numpy as np
import pytest
from hand_made import row
from hypothesis import given
from hypothesis import strategies as st
from program_reading import FIRST_CLUSTER, UNIFIED, commands, feed_words, run_starts, transfer_bursts

from etasim.machine import runs
from etasim.machine.runs import READ, WRITTEN, spread, touched_by
from etasim.program.commands import (
    ACTIVATION,
    BUFFER_OF,
    ERROR,
    FEED_STATIONARY,
    FEED_STREAM,
    MAX_READS,
    N_DMA,
    STORE,
    TRANSFER,
    WEIGHT,
    Engines,
)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 200)), max_size=8), st.integers(1, 9), st.integers(1, 5))
def test_places_are_spread_over_ways(spans, ways, width):
    expected = [0] * ways
    for first, n in spans:
        for place in range(first, first + n):
            expected[place // width % ways] += 1
    first, n = (np.array(column, np.int64) for column in (zip(*spans, strict=True) if spans else ([], [])))
    assert spread(first, n, ways, width).tolist() == expected


def pieces_of(transfer, burst_bytes):
    """(first byte in the buffer, bytes) of each burst's part of a transfer."""
    for dram, into in run_starts(transfer):
        at, end = dram, dram + int(transfer["run_bytes"])
        while at < end:
            stop = min(at - at % burst_bytes + burst_bytes, end)
            yield into + at - dram, stop - at
            at = stop


def words_of(transfer, burst_bytes, word_bytes):
    """Words that the bursts of a transfer touch, one by one."""
    return [word for into, n in pieces_of(transfer, burst_bytes) for word in range(into // word_bytes, (into + n - 1) // word_bytes + 1)]


ROWS = st.fixed_dictionaries({
    "dram_address": st.integers(0, 300), "buffer_address": st.integers(0, 300), "run_bytes": st.integers(1, 300),
    "counts": st.tuples(*[st.integers(1, 3)] * 3), "dram_strides": st.tuples(*[st.integers(0, 400)] * 3),
    "buffer_strides": st.tuples(*[st.integers(0, 400)] * 3),
})  # fmt: skip


@given(st.lists(ROWS, min_size=1, max_size=4), st.sampled_from([16, 64]), st.sampled_from([8, 12, 16, 64, 96]), st.integers(0, N_DMA - 1),
       st.sampled_from([1, 2, 4]))  # fmt: skip
def test_transfers_touch_bursts_and_words_as_listed(rows, burst_bytes, word_bytes, engine, n_channels):
    transfers = np.array([row("transfers", **fields) for fields in rows], TRANSFER)
    start = np.where(np.arange(N_DMA + 1) > engine, len(rows), 0)
    program = SimpleNamespace(transfers=transfers, commands={"row": np.arange(len(rows))}, engine_start=start,
                              first_engine=np.array([0, *[N_DMA] * len(Engines._fields)]))  # fmt: skip
    found = runs.Touched(*(np.zeros(len(rows), np.int64) for _ in range(6)), tuple(np.zeros((2, n), np.int64) for n in (4, 3, 8)),
                         np.zeros((2, n_channels), np.int64))  # fmt: skip
    runs._transfers(program, found, burst_bytes, word_bytes, interleave_bytes=2 * burst_bytes)
    words = [words_of(transfer, burst_bytes, word_bytes) for transfer in transfers]
    bursts = [transfer_bursts(transfer, burst_bytes) for transfer in transfers]
    assert found.words.tolist() == [len(each) for each in words]
    assert found.bursts.tolist() == [len(each) for each in bursts]
    banks, access = found.banks[BUFFER_OF[engine]], READ if engine == STORE else WRITTEN
    assert banks[access].tolist() == np.bincount([w % banks.shape[1] for each in words for w in each], minlength=banks.shape[1]).tolist()
    channel = [burst // (2 * burst_bytes) % n_channels for each in bursts for burst in each]
    assert found.channels[int(engine == STORE)].tolist() == np.bincount(channel, minlength=n_channels).tolist()


@pytest.fixture(scope="module")
def listed(iteration):
    """(machine, its commands in plain Python)."""
    return iteration[1], commands(iteration[0].program)


def test_words_and_banks_of_an_iteration(listed):
    """Every engine's words, listed from the fields of its commands, fall into the banks that are found."""
    machine, all_commands = listed
    program, word, burst = machine.program, machine.specs.dma.word_bytes, machine.specs.dram.burst_bytes
    words = {(b, access): [] for b in (ACTIVATION, WEIGHT, ERROR) for access in (READ, WRITTEN)}
    for command in all_commands:
        engine, fields = command.engine, command.row
        if engine <= STORE:
            words[BUFFER_OF[engine], READ if engine == STORE else WRITTEN] += words_of(fields, burst, word)
        elif engine in (FEED_STREAM, FEED_STATIONARY):
            words[BUFFER_OF[engine], READ] += feed_words(fields, word)
        elif engine == UNIFIED:
            for access, first, n in ((READ, 0, fields["n_reads"]), (WRITTEN, MAX_READS, fields["n_writes"])):
                for i in range(first, first + n):
                    words[ERROR, access] += range(fields["address"][i], fields["address"][i] + fields["words"][i])
        elif engine >= FIRST_CLUSTER + 2:
            offsets = program.segment_offsets[fields["segment_table"] : fields["segment_table"] + fields["n_segments"]]
            at = ((fields["buffer_address"] + offsets) // word).tolist()
            size = int(fields["segments_per_packet"])
            packets = [at[i : i + size] for i in range(0, len(at), size)]
            words[ERROR, WRITTEN] += [w for packet in packets for i, w in enumerate(packet) if i == 0 or w != packet[i - 1]]
    found = touched_by(machine, machine.program)
    for (buffer, access), each in words.items():
        n_banks = found.banks[buffer].shape[1]
        assert found.banks[buffer][access].tolist() == np.bincount(np.array(each) % n_banks, minlength=n_banks).tolist()
