"""Words of a chunk's weights in the planner's closed form, beside the runs that the mapping sends."""

from math import prod
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import architecture

from etasim.mapping.result_stationary import tap_dimensions, tap_groups
from etasim.schedule.array import array_of
from etasim.schedule.array_time import weight_words
from etasim.schedule.patterns import PATTERN, backward, forward
from etasim.schedule.problem import TileShape
from etasim.workload.layer import Layer

WORD_BYTES = 1 << 30
"""So many that a run touches one word, wherever it begins."""


class Weights(NamedTuple):
    """What is read of a problem."""

    stationary_vector_bits: int


@st.composite
def patterns(draw):
    """A pattern with taps of FF or BP of a convolution, and the width of its kernel."""
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    reach = max(height, width) * dilation
    layer = Layer(
        "c", "conv", ("input",), 4, 4, reach + 4, reach + 4, kernel_height=height, kernel_width=width, stride_height=stride,
        stride_width=stride, dilation_height=dilation, dilation_width=dilation,
    )  # fmt: skip
    every = [forward(layer), *(pattern for pattern in backward(layer) if pattern.taps)]
    return draw(st.sampled_from(every)), width


@settings(max_examples=200)
@given(patterns(), st.data())
def test_words_of_a_chunk_are_those_of_its_runs(drawn, data):
    """In groups of taps that are all as large: of others the closed form has the mean."""
    pattern, kernel_width = drawn
    columns = sum(tap.dy == pattern.taps[0].dy for tap in pattern.taps)
    rows = len(pattern.taps) // columns
    even = [n for n in range(1, columns) if columns % n == 0] + [columns * n for n in range(1, rows + 1) if rows % n == 0]
    shape = TileShape(1, 1, 1, data.draw(st.sampled_from(even)), 0)
    groups = tap_groups(pattern.taps, shape.taps_per_chunk, kernel_width)
    (n_runs,) = {prod(count for count, _ in tap_dimensions(group, kernel_width, 1)[2]) for group in groups}
    (record,) = np.array([pattern.numbers], PATTERN)
    machine = array_of(architecture()).numbers._replace(word_bytes=WORD_BYTES)
    planned = weight_words(machine, Weights(8 * machine.lanes), record, shape, 1, 1.0)
    assert planned == pytest.approx(n_runs * (machine.pes // machine.lanes), rel=1e-6)
