"""DMA engines against a plain-Python enumeration, with a memory that answers late and out of order; one burst by its closed form."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hand_made import Script, times, transfer
from hypothesis import given, settings
from hypothesis import strategies as st
from part_bench import fields
from program_reading import run_starts, transfer_bursts
from small_networks import architecture

from etasim.core.channel import can_pop, can_push, channels, peek, pop, push
from etasim.core.clock import clocks
from etasim.memory import dma, dram
from etasim.program.commands import LOAD_ACTIVATION, STORE, TRANSFER
from etasim.program.events import event_log

LOAD_ENGINE, STORE_ENGINE, N_ENGINES, N_CHANNELS = 0, 1, 2, 2
WORD_BYTES, BURST_BYTES, CORE_TICKS = 16, 64, 4


class Bench:
    """A load engine and a store engine between a buffer that answers in order and a DRAM that answers reads in a random order."""

    def __init__(self, transfers, n_slots=5, window=2, seed=0):
        self.rows = np.array([tuple(t) for t in transfers], TRANSFER)
        self.dram_spec = dram.build(architecture(dram__channels=N_CHANNELS).dram, clocks(200 * 10**6, 800 * 10**6), N_ENGINES)
        self.spec = dma.DmaSpec(
            np.arange(N_ENGINES), N_CHANNELS * np.arange(N_ENGINES), np.array([0, 1]), N_ENGINES, N_ENGINES, N_CHANNELS,
            self.dram_spec.interleave_bits, BURST_BYTES, WORD_BYTES, n_slots, window, CORE_TICKS,
        )
        self.state = dma.init(self.spec, 1, 1)
        n_ports = N_ENGINES * N_CHANNELS
        self.commands, self.completions = channels(N_ENGINES, len(transfers) + 1), channels(N_ENGINES, 4)
        self.to_dram, self.from_dram = channels(n_ports, 4), channels(n_ports, n_slots + 2)
        self.to_buffer, self.from_buffer = channels(n_ports, 4), channels(n_ports, n_slots + 2)
        self.links = fields(
            commands=self.commands, completions=self.completions, dram_requests=self.to_dram, dram_responses=self.from_dram,
            buffer_requests=self.to_buffer, buffer_responses=self.from_buffer,
        )  # fmt: skip
        self.random = np.random.default_rng(seed)
        self.bursts, self.words, self.done, self.waiting = [], [], [], []

    def run(self, engine, n_cycles=4000):
        """Execute all transfers on ``engine``; returns when the last is reported."""
        for i in range(len(self.rows)):
            push(self.commands, engine, 0, i, i, 0, 0)
        for now in range(n_cycles):
            self._memory(now)
            self._buffer(now)
            if can_pop(self.completions, engine, now):
                self.done.append(int(peek(self.completions, engine, 0)))
                pop(self.completions, engine, now + 1)
            for e in range(N_ENGINES):
                dma.step(self.spec, self.state, fields(transfers=self.rows), self.links, event_log(0, 0), e, now)
            if len(self.done) == len(self.rows):
                return self
        raise AssertionError("not all transfers were reported")

    def _memory(self, now):
        """Take requests and answer one of the reads that wait, any of them."""
        for port in range(N_ENGINES * N_CHANNELS):
            if can_pop(self.to_dram, port, now * CORE_TICKS):
                address, is_write, tag = (int(peek(self.to_dram, port, word)) for word in range(3))
                assert address % BURST_BYTES == 0
                assert dram.channel_of(self.dram_spec, address) == port // N_ENGINES
                self.bursts.append((address, is_write))
                pop(self.to_dram, port, (now + 1) * CORE_TICKS)
                if not is_write:
                    self.waiting.append((port, address, tag))
        if self.waiting and self.random.random() < 0.5:
            port, address, tag = self.waiting.pop(self.random.integers(len(self.waiting)))
            assert can_push(self.from_dram, port, now * CORE_TICKS)
            push(self.from_dram, port, (now + 1) * CORE_TICKS, address, 0, tag, 0)

    def _buffer(self, now):
        for port in range(N_ENGINES * N_CHANNELS):
            if can_pop(self.to_buffer, port, now):
                word, is_write, tag, extra = (int(peek(self.to_buffer, port, i)) for i in range(4))
                self.words.append((word, is_write))
                pop(self.to_buffer, port, now + 1)
                push(self.from_buffer, port, now + 2, word, is_write, tag, extra)


def words_of(row):
    """Words that each burst of a transfer touches in the buffer, burst by burst."""
    words = []
    for source, target in run_starts(row):
        at, left = source, int(row["run_bytes"])
        while left:
            n = min(BURST_BYTES - at % BURST_BYTES, left)
            first = target + at - source
            words += range(first // WORD_BYTES, (first + n - 1) // WORD_BYTES + 1)
            at, left = at + n, left - n
    return words


@st.composite
def transfers(draw):
    """A strided transfer; strides may be anything."""
    fields = {"dram_address": 2000, "buffer_address": 700, "run_bytes": 200}
    values = {name: draw(st.integers(name == "run_bytes", most)) for name, most in fields.items()}
    for name, most in {"dram_strides": (4000, 1500, 300), "buffer_strides": (2000, 900, 250)}.items():
        values[name] = tuple(draw(st.integers(0, largest)) for largest in most)
    return transfer(counts=tuple(draw(st.integers(1, largest)) for largest in (2, 3, 4)), **values)[1]


@settings(max_examples=40)
@given(st.lists(transfers(), min_size=1, max_size=4), st.integers(1, 8), st.integers(1, 3), st.integers(0, 9))
def test_a_load_reads_the_bursts_and_writes_the_words_of_its_runs(rows, n_slots, window, seed):
    bench = Bench(rows, n_slots, window, seed).run(LOAD_ENGINE)
    assert sorted(bench.bursts) == sorted((burst, 0) for row in bench.rows for burst in transfer_bursts(row, BURST_BYTES))
    assert sorted(bench.words) == sorted((word, 1) for row in bench.rows for word in words_of(row))
    assert bench.done == list(range(len(rows)))
    assert bench.state.n_free.tolist() == [n_slots, n_slots]
    assert bench.state.counters["read_bursts"].sum() == len(bench.bursts)
    assert bench.state.buffer_words.sum() == len(bench.words)


@settings(max_examples=40)
@given(st.lists(transfers(), min_size=1, max_size=4), st.integers(1, 8), st.integers(1, 3))
def test_a_store_reads_the_words_and_writes_the_bursts_of_its_runs(rows, n_slots, window):
    bench = Bench(rows, n_slots, window).run(STORE_ENGINE)
    assert sorted(bench.bursts) == sorted((burst, 1) for row in bench.rows for burst in transfer_bursts(row, BURST_BYTES))
    assert sorted(bench.words) == sorted((word, 0) for row in bench.rows for word in words_of(row))
    assert bench.done == list(range(len(rows)))


def test_a_store_is_complete_only_when_the_memory_has_taken_its_bursts():
    bench = Bench([transfer(run_bytes=64)[1]])
    bench._memory = lambda now: None
    with pytest.raises(AssertionError, match="not all"):
        bench.run(STORE_ENGINE, n_cycles=200)
    assert bench.to_dram.pushes.sum() == 1


def test_no_more_bursts_are_under_way_than_there_are_slots():
    bench = Bench([transfer(run_bytes=64 * 30)[1]], n_slots=3)
    bench._memory = lambda now: None
    with pytest.raises(AssertionError, match="not all"):
        bench.run(LOAD_ENGINE, n_cycles=100)
    assert bench.state.engine_counters["bursts"][LOAD_ENGINE] == 3
    assert bench.state.slots_blocked_since[LOAD_ENGINE] >= 0


@pytest.mark.parametrize(("first_byte", "run_bytes", "n_words"), [(0, 16, 1), (0, 64, 4), (8, 64, 5), (12, 8, 2)])
@pytest.mark.parametrize("clock_hz", [200 * 10**6, 250 * 10**6, 333 * 10**6])
def test_one_burst_from_an_idle_memory(first_byte, run_bytes, n_words, clock_hz):
    """Queue 1, request seen 1: the first DRAM clock at or after core cycle 2 accepts it.

    One clock later ACT, after RCD the read, after CL + BL its last data beat, after the controller's latency the answer, in core
    cycle D = the first at or after it. Then the words one after the other, each 1 + read latency cycles; report 1, completion 1.
    """
    chosen = architecture(core__clock=f"{clock_hz // 10**6} MHz")
    part = chosen.dram.part
    core_per_clock = Fraction(clock_hz) / Fraction(part.clock_hz)
    accepted = ceil(2 / core_per_clock)
    timing = part.timing_clocks
    answered = accepted + 1 + timing.RCD + timing.CL + timing.BL + chosen.dram.controller_latency
    expected = ceil(answered * core_per_clock) + n_words * (1 + chosen.buffers.activation.read_latency) + 2
    command = transfer(run_bytes=run_bytes, buffer_address=first_byte)
    machine = Script(chosen).add(LOAD_ACTIVATION, command).run()
    assert times(machine, LOAD_ACTIVATION) == (0, expected)


@pytest.mark.parametrize("n_words", [1, 4])
def test_one_burst_into_an_idle_memory(n_words):
    """Queue 1, first word at the bank 1, the words one after the other; the DRAM accepts the burst in the clock in which it sees it.

    W = 1 + n x (1 + latency) is the cycle of the last word. The request is seen at W + 1, its slot is free in the next DRAM clock,
    which a core cycle later is the past: report W + 2, completion 1.
    """
    chosen = architecture()
    machine = Script(chosen).add(STORE, transfer(run_bytes=16 * n_words)).run()
    last_word = 1 + n_words * (1 + chosen.buffers.error.read_latency)
    assert times(machine, STORE) == (0, last_word + 2 + 1)
