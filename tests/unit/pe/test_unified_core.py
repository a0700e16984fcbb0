"""The unified core alone: the latency of docs/models/unified_core.md, exactly; operands in time and in proportion."""

from itertools import pairwise

import pytest
from hand_made import Script, row, times
from hypothesis import given, settings
from hypothesis import strategies as st
from program_reading import UNIFIED
from small_networks import architecture

RESULT = 4  # first result stream


def command(n_groups, reads=(), writes=(), first_word=0):
    """A pass whose streams lie in different banks as long as they are in step: stream i begins in bank i."""
    address, words, at = [0] * 7, [0] * 7, first_word
    for stream, n_words in (*enumerate(reads), *enumerate(writes, RESULT)):
        address[stream], words[stream] = at + stream, n_words
        at += -(-n_words // 8) * 8 + 8
    return "vectors", row("vectors", n_groups=n_groups, n_reads=len(reads), n_writes=len(writes), address=address, words=words)


def latency_cycles(chosen, n_groups, reads, writes):
    """Issue to completion without contention, at most one word of a stream for each group.

    Operands: queue 1, accept 1, bank 1, latency. Groups: one a cycle, then the pipeline. Results: next cycle 1, bank 1, latency.
    Completion 1.
    """
    access = chosen.buffers.error.read_latency
    operands = 1 + access if reads else 0
    results = 2 + access if writes else 0
    return 2 + operands + (n_groups - 1) + chosen.unified_core.pipeline_depth + results + 1


@settings(max_examples=40)
@given(st.data(), st.integers(1, 20), st.integers(0, 2), st.integers(0, 2))
def test_latency_of_a_pass(data, n_groups, n_reads, n_writes):
    chosen = architecture()
    reads = [data.draw(st.sampled_from([n_groups, 1])) for _ in range(n_reads)]
    writes = [n_groups for _ in range(n_writes)]
    machine = Script(chosen).add(UNIFIED, command(n_groups, reads, writes)).run()
    assert times(machine, UNIFIED) == (0, latency_cycles(chosen, n_groups, reads, writes))
    counters = machine.states.unified.counters[0]
    assert (counters["read_words"], counters["written_words"], counters["busy_cycles"]) == (sum(reads), sum(writes), n_groups)
    assert machine.states.buffers.counters["bank_conflict_cycles"].sum() == 0


@pytest.mark.parametrize("depth", [1, 4, 7])
def test_the_pipeline_depth_adds_once(depth):
    chosen = architecture(unified_core__pipeline_depth=depth)
    machine = Script(chosen).add(UNIFIED, command(12, [12], [12])).run()
    assert times(machine, UNIFIED)[1] == latency_cycles(chosen, 12, [12], [12]) == 12 + depth + 2 * 2 + 5


def test_a_pipeline_deeper_than_the_fifo_does_not_throttle_results():
    """The result FIFO holds what is in the pipeline besides its own words, so one group a cycle enters at any depth."""
    chosen = architecture(unified_core__pipeline_depth=9)
    machine = Script(chosen).add(UNIFIED, command(12, [12], [12])).run()
    assert times(machine, UNIFIED)[1] == latency_cycles(chosen, 12, [12], [12])


@pytest.mark.parametrize("words_per_group", [2, 3])
def test_an_operand_of_several_words_a_group_sets_the_pace(words_per_group):
    """A stream brings one word a cycle: n groups of w words begin every w cycles, and the other cycles are operand stalls."""
    chosen, n_groups = architecture(), 10
    machine = Script(chosen).add(UNIFIED, command(n_groups, [n_groups * words_per_group])).run()
    last_word = 2 + 1 + chosen.buffers.error.read_latency + n_groups * words_per_group - 1
    assert times(machine, UNIFIED)[1] == last_word + chosen.unified_core.pipeline_depth + 1
    counters = machine.states.unified.counters[0]
    assert counters["busy_cycles"] + counters["operand_stall_cycles"] == last_word - 2 + 1


def test_the_queue_is_served_in_order_and_one_at_a_time():
    chosen = architecture()
    script = Script(chosen)
    for n in range(3):
        script.add(UNIFIED, command(5, [5], [5], first_word=64 * n))
    machine = script.run()
    done = [times(machine, UNIFIED, n)[1] for n in (1, 2, 3)]
    alone = latency_cycles(chosen, 5, [5], [5])
    assert done[0] == alone
    assert [b - a for a, b in pairwise(done)] == [alone - 1] * 2


def test_ideal_lanes_do_all_groups_at_once():
    chosen = architecture(unified_core__ideal=True)
    machine = Script(chosen).add(UNIFIED, command(200)).run()
    assert times(machine, UNIFIED)[1] <= 2 + 1 + 1
    assert machine.states.unified.counters["busy_cycles"][0] == 200
