"""Any small network maps to a program that is safe, complete and local; a bigger buffer is never planned slower."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_reading import accesses, commands, feed_words, hazards, memory_sizes, transfer_bursts
from random_networks import graphs, single_layers
from small_networks import architecture

from etasim.mapping import InfeasibleError, map_iteration
from etasim.mapping.context import words_touched
from etasim.mapping.iteration import Iteration
from etasim.program.commands import FEED_STATIONARY, FEED_STREAM, STORE, TENSOR_CLASSES
from etasim.schedule.array import array_of
from etasim.schedule.plan import plan
from etasim.workload.lowering import PHASES

NETWORKS = st.one_of(single_layers(), graphs())


@settings(max_examples=40)
@given(NETWORKS, st.integers(1, 5))
def test_programs_are_safe_and_stay_in_bounds(sketch, batch):
    net, chosen = sketch.build(), architecture()
    mapping, array = map_iteration(chosen, net, batch), array_of(chosen)
    sizes = memory_sizes(array, mapping)
    done = Counter()
    for command in commands(mapping.program):
        assert all(done[engine] >= count for engine, count in command.dependencies)
        done[command.engine] += 1
        reads, writes = accesses(command, mapping.program, array, 4)
        assert all(at.size and at.min() >= 0 and at.max() < sizes[memory] for memory, at in (*reads, *writes))
        if command.engine in (FEED_STREAM, FEED_STATIONARY):
            assert command.row["n_packets"] == len(feed_words(command.row, array.word_bytes))
    assert hazards(mapping, array, 4) == []
    assert sum(operation.macs for operation in mapping.operations) == net.useful_macs(batch)


def planned(chosen, net, batch):
    """Cycles that the planner expects of each convolution, and whether it cuts rows for want of room."""
    iteration = Iteration(chosen, net, batch, PHASES)
    asked = [iteration.problem(unit, phase) for unit in iteration.units if unit.is_convolution for phase in ("ff", "bp", "wg")]
    plans = [plan(iteration.array, problem) for problem in asked]
    return [(own.cycles, any(shape.by_row for shape in own.shapes)) for own in plans]


def moved_at_least_the_compulsory(mapping):
    moved = Counter()
    for command in commands(mapping.program):
        if command.engine <= STORE:
            access = "write" if command.engine == STORE else "read"
            moved[command.operation, f"dram_{access}_{TENSOR_CLASSES[command.row['tensor_class']]}_bytes"] += 64 * len(
                transfer_bursts(command.row, 64)
            )
    return all(moved[i, column] >= n for i, operation in enumerate(mapping.operations) for column, n in operation.compulsory_bytes.items())


SIZES = {
    "buffers__activation__size": ["128 B", "256 B", "512 B", "1 KiB", "16 KiB"],
    "buffers__weight__size": ["128 B", "256 B", "512 B", "1 KiB", "16 KiB"],
    "buffers__error__size": ["256 B", "512 B", "2 KiB", "32 KiB"],
    "array__stream_scratchpad": ["64 B", "128 B", "256 B", "1 KiB"],
    "array__stationary_scratchpad": ["32 B", "64 B", "128 B", "512 B"],
}


@pytest.mark.parametrize("key", SIZES)
@settings(max_examples=25)
@given(sketch=NETWORKS, batch=st.integers(1, 4))
def test_a_plan_for_a_bigger_buffer_is_never_slower(key, sketch, batch):
    """One memory step by step; sizes in which nothing fits come first and cost nothing; what fits a scratchpad fits a larger one. Where
    rows that were cut fit whole now, nothing is said."""
    net, before = sketch.build(), None
    for size in SIZES[key]:
        chosen = architecture(**{key: size})
        try:
            now = planned(chosen, net, batch)
        except InfeasibleError:
            assert before is None
            continue
        for (cycles, cuts), (cycles_before, cut_before) in zip(now, before or now, strict=True):
            assert cuts <= cut_before
            assert cycles <= cycles_before or cuts < cut_before, f"{key} = {size}"
        before = now
    assert before is not None
    assert moved_at_least_the_compulsory(map_iteration(chosen, net, batch))


@settings(max_examples=150)
@given(
    st.integers(0, 200), st.integers(1, 70),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 100)), min_size=4, max_size=4),
    st.sampled_from([16, 64]),
)  # fmt: skip
def test_words_touched_counts_the_words_of_every_run(address, run, dims, word_bytes):
    counts, strides = zip(*dims, strict=True)
    row = np.zeros(1, [("buffer_address", "i8"), ("run_bytes", "i8"), ("counts", "i8", 4), ("strides", "i8", 4)])[0]
    row["buffer_address"], row["run_bytes"], row["counts"], row["strides"] = address, run, counts, strides
    assert words_touched(address, run, counts, strides, word_bytes) == len(feed_words(row, word_bytes))
