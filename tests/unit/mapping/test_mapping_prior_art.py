"""Mechanisms of prior art: zeros inserted for strides, statistics over the batch."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_reading import UNIFIED, commands
from small_networks import TINY, architecture, conv, layer, network, one_convolution

from etasim.config import load_architecture
from etasim.machine import simulate
from etasim.mapping import InfeasibleError, map_iteration
from etasim.ops.passes import all_passes
from etasim.schedule.patterns import backward, forward, inserted_backward, inserted_gradient
from etasim.workload.layer import Layer

SHORTCUT = one_convolution((4, 8, 8), conv("c", 8, kernel=3, stride=2, padding=1))
NORMALISED = network(
    (4, 8, 8), conv("stem", 8), layer("n", "norm"), layer("r", "relu"), conv("c", 8), layer("m", "norm"), layer("q", "relu"), classes=3
)


@st.composite
def strided(draw):
    kernel, pad, dilation = draw(st.integers(1, 4)), draw(st.integers(0, 2)), draw(st.integers(1, 2))
    size = draw(st.integers(max(dilation * (kernel - 1) + 1 - 2 * pad, 1), 11))
    return Layer(
        "c", "conv", ("input",), 1, 1, size, size + draw(st.integers(0, 3)), kernel, kernel,
        draw(st.integers(1, 3)), draw(st.integers(1, 3)), pad, pad, dilation, dilation,
    )  # fmt: skip


def pairs(pattern):
    """(result pixel, operand pixel, tap) of every product of a pattern that lies inside the maps."""
    found = set()
    for i, j, tap in product(range(pattern.rows), range(pattern.cols), pattern.taps):
        y, x = i * pattern.in_step_y + tap.dy, j * pattern.in_step_x + tap.dx
        if 0 <= y < pattern.in_height and 0 <= x < pattern.in_width:
            found.add(((pattern.origin_y + i * pattern.out_step_y, pattern.origin_x + j * pattern.out_step_x), (y, x), tap.index))
    return found


@settings(max_examples=80)
@given(strided())
def test_stretched_bp_makes_the_same_products_and_multiplies_zeros(shape):
    (stretched,) = inserted_backward(shape)
    down, across = shape.stride_height, shape.stride_width
    real = {(pixel, (y // down, x // across), tap) for pixel, (y, x), tap in pairs(stretched) if y % down == 0 and x % across == 0}
    assert real == set().union(*(pairs(pattern) for pattern in backward(shape)))


@settings(max_examples=80)
@given(strided())
def test_stretched_wg_makes_the_same_products_and_multiplies_zeros(shape):
    stretched = inserted_gradient(shape)
    down, across = shape.stride_height, shape.stride_width
    real = {
        ((i // down, j // across), pixel, tap) for (i, j), pixel, tap in pairs(stretched) if i % down == 0 and j % across == 0
    }  # fmt: skip
    assert real == pairs(forward(shape))


@settings(max_examples=80)
@given(strided())
def test_the_slots_of_stretched_patterns_are_those_of_the_metric(shape):
    pattern = inserted_gradient(shape)
    assert pattern.rows * pattern.cols * len(pattern.taps) == shape.zero_insertion_macs_per_sample("wg")


def multiply_cycles(result, phase):
    return sum(row["cluster_busy_cycles"] for row in result.layers if row["phase"] == phase and row["layer"] == "c")


@pytest.fixture(scope="module")
def with_and_without_zeros():
    return [simulate(architecture(array__zero_insertion=zeros), SHORTCUT, batch=2) for zeros in (True, False)]


def test_zeros_cost_cycles_and_traffic_but_are_not_useful(with_and_without_zeros):
    inserted, plain = with_and_without_zeros
    assert [row["macs"] for row in inserted.layers] == [row["macs"] for row in plain.layers]
    assert [row["zero_insertion_macs"] for row in inserted.layers] == [row["zero_insertion_macs"] for row in plain.layers]
    assert multiply_cycles(inserted, "ff") == multiply_cycles(plain, "ff")
    assert multiply_cycles(inserted, "bp") == 4 * multiply_cycles(plain, "bp")
    assert multiply_cycles(inserted, "wg") == 4 * multiply_cycles(plain, "wg")
    for name in ("dram_write_error_bytes", "dram_read_error_bytes"):
        assert sum(row[name] for row in inserted.layers) > sum(row[name] for row in plain.layers)
    assert inserted.total_cycles > plain.total_cycles


def test_stretched_errors_take_the_stride_in_both_directions():
    sizes = []
    for zeros in (True, False):
        tensors = map_iteration(architecture(array__zero_insertion=zeros), SHORTCUT, 2).tensors
        sizes.append(next(tensor.n_bytes for tensor in tensors if tensor.name == "c.error"))
    assert sizes[0] == 4 * sizes[1]


def test_without_strides_zero_insertion_changes_nothing():
    programs = [map_iteration(architecture(array__zero_insertion=zeros), NORMALISED, 2).program for zeros in (True, False)]
    assert all(np.array_equal(first, second) for first, second in zip(*programs, strict=True))


def passes(mapping, unit_name):
    """Kinds of the unified core's commands of a unit, in order."""
    unit = next(unit.index for unit in mapping.layout.units if unit.name == unit_name)
    return [all_passes()[c.row["kind"]].name for c in commands(mapping.program) if c.engine == UNIFIED and c.row["unit"] == unit]


BATCH = {"numerics__normalization": "batch", "buffers__error__size": "4 KiB", "buffers__error__banks": 2}


@pytest.mark.parametrize(("first", "then"), [("norm_spread", "norm_apply"), ("norm_error_sums", "norm_error_apply")])
def test_statistics_of_the_batch_come_before_anything_is_applied(first, then):
    """More samples than a tile holds: a pass over all planes of a block, then another; per sample they alternate."""
    batch = 24
    kinds = passes(map_iteration(architecture(**BATCH), NORMALISED, batch), "stem")
    runs = [kind for kind in kinds if kind in (first, then)]
    changes = sum(a != b for a, b in pairwise(runs))
    assert runs.count(first) == runs.count(then) > 4
    assert changes == 2 * 4 - 1  # four channel blocks of two channels
    by_sample = passes(map_iteration(architecture(**{**BATCH, "numerics__normalization": "sample"}), NORMALISED, batch), "stem")
    alternating = [kind for kind in by_sample if kind in (first, then)]
    assert sum(a != b for a, b in pairwise(alternating)) == len(alternating) - 1


def test_apply_waits_for_the_last_sample():
    """What the first apply reads was loaded after every spread of its block was issued: the unified core runs in order."""
    mapping = map_iteration(architecture(**BATCH), NORMALISED, 24)
    kinds = passes(mapping, "stem")
    n_spread = kinds.index("norm_apply") - kinds.index("norm_spread")
    assert n_spread == kinds.count("norm_spread") // 4


def test_statistics_of_the_batch_are_one_plane():
    planes = {}
    for kind in ("sample", "batch"):
        tensors = map_iteration(architecture(numerics__normalization=kind), NORMALISED, 3).tensors
        planes[kind] = next(tensor.n_planes for tensor in tensors if tensor.name == "stem.statistic")
    assert planes == {"sample": 3, "batch": 1}


def test_waiting_for_the_batch_costs_time_and_traffic():
    results = [simulate(architecture(numerics__normalization=kind), NORMALISED, batch=4) for kind in ("batch", "sample")]
    batch, sample = (sum(row["dram_read_pre_normalization_bytes"] for row in result.layers) for result in results)
    assert batch > sample
    assert results[0].total_cycles > results[1].total_cycles


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_both_together_obey_all_laws(batch):
    chosen = architecture(array__zero_insertion=True, numerics__normalization="batch")
    assert sum(row["macs"] for row in simulate(chosen, TINY, batch=batch).layers) == TINY.useful_macs(batch)


@pytest.mark.parametrize(("key", "value"), [("array__zero_insertion", True), ("numerics__normalization", "batch")])
def test_values_are_refused(key, value):
    with pytest.raises(InfeasibleError, match=f"values: {key.replace('__', '.')}"):
        simulate(architecture(**{key: value}), TINY, batch=1, functional=True)


def test_large_planes_are_cut_into_pieces_with_their_zeros():
    """A map beyond the error buffer's share: rows of the stretched error meet the rows it is made from."""
    chosen = load_architecture("eta_small", {"array.zero_insertion": True, "buffers.error.size": "8 KiB"})
    layers = [conv("stem", 2), layer("n", "norm"), conv("c", 2, stride=2), layer("m", "norm"), layer("p", "avgpool", kernel=32)]
    net = network((2, 64, 64), *layers, classes=2)
    result = simulate(chosen, net, batch=1)
    assert sum(row["macs"] for row in result.layers) == net.useful_macs(1)
