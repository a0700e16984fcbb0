"""Convolutions, pooling and loss of the reference in integers."""

import numpy as np
import pytest

from etasim.numerics.reference import convolution, loss, pooling
from etasim.workload import Layer


def square(kind, size=3, **keys):
    """A layer of one channel on square maps."""
    return Layer("layer", kind, ("input",), 1, 1, in_height=size, in_width=size, **keys)


THREE_BY_THREE = square("conv", kernel_height=3, kernel_width=3, pad_height=1, pad_width=1)


def of_python(maps, weights, pad):
    """FF of one map and one kernel at stride 1 in Python's integers."""
    padded = np.pad(maps.astype(object), pad)
    size, kernel = padded.shape[0], weights.shape[0]
    return [
        [(padded[p : p + kernel, q : q + kernel] * weights.astype(object)).sum() for q in range(size - kernel + 1)]
        for p in range(size - kernel + 1)
    ]


@pytest.mark.parametrize("greatest", [2**12, 2**22, 2**26, 2**29])
def test_sums_of_integers_are_exact(greatest):
    """The last two leave float64's 53 bits."""
    random = np.random.default_rng(0)
    maps, weights = random.integers(greatest - 9, greatest, (3, 3)), random.integers(greatest - 9, greatest, (3, 3))
    ours = convolution.forward(maps[None, None], weights[None, None], THREE_BY_THREE)[0, 0]
    assert ours.tolist() == of_python(maps, weights, 1)


def test_sums_past_64_bits_are_refused():
    maps = np.full((1, 1, 3, 3), 2**30)
    with pytest.raises(OverflowError, match="9 products"):
        convolution.forward(maps, maps * 2, THREE_BY_THREE)


def test_types_follow_the_arguments():
    maps = np.ones((1, 1, 3, 3), np.float32)
    assert convolution.forward(maps, maps, THREE_BY_THREE).dtype == np.float32
    assert convolution.forward(maps.astype(np.int32), maps.astype(np.int64), THREE_BY_THREE).dtype == np.int64


def test_the_first_of_equals_is_the_greatest():
    pool = square("maxpool", kernel_height=2, kernel_width=2)
    best, position = pooling.greatest(np.array([[[[1, 1, 0], [1, 1, 2], [-3, 1, 2]]]]), pool)
    assert best[0, 0].tolist() == [[1, 2], [1, 2]]
    assert position[0, 0].tolist() == [[0, 3], [0, 1]]


def test_padding_is_never_the_greatest_but_counts_as_zero_in_a_mean():
    maps = np.full((1, 1, 2, 2), -5)
    window = {"kernel_height": 2, "kernel_width": 2, "stride_height": 2, "stride_width": 2, "pad_height": 1, "pad_width": 1}
    best, position = pooling.greatest(maps, square("maxpool", 2, **window))
    assert best[0, 0].tolist() == [[-5, -5], [-5, -5]]
    assert position[0, 0].tolist() == [[3, 2], [1, 0]]
    assert pooling.window_sums(maps, square("avgpool", 2, **window))[0, 0].tolist() == [[-5, -5], [-5, -5]]


def test_overlapping_windows_add_up_their_errors():
    pool = square("maxpool", kernel_height=2, kernel_width=2)
    errors, position = np.array([[[[1, 2], [4, 8]]]]), np.array([[[[3, 2], [1, 0]]]])
    assert pooling.spread_to_greatest(errors, position, pool, (3, 3))[0, 0].tolist() == [[0, 0, 0], [0, 15, 0], [0, 0, 0]]
    means = pooling.spread_to_windows(errors, square("avgpool", kernel_height=2, kernel_width=2), (3, 3))
    assert means[0, 0].tolist() == [[1, 3, 2], [5, 15, 10], [4, 12, 8]]


def test_a_shortcut_takes_every_second_pixel_and_adds_zeros():
    layer = Layer("shortcut", "shortcut", ("input",), 1, 3, in_height=3, in_width=4, stride_height=2, stride_width=2)
    maps = np.arange(12).reshape(1, 1, 3, 4)
    output = pooling.shortcut(maps, layer)
    assert output[0].tolist() == [[[0, 2], [8, 10]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]]
    gradient = pooling.shortcut_gradient(output + 1, layer, (3, 4))
    assert gradient[0].tolist() == [[[1, 0, 3, 0], [0, 0, 0, 0], [9, 0, 11, 0]]]


def test_equal_logits_share_the_probability():
    gradient = loss.gradient(np.array([[7, 7]]), -3, np.array([1]))
    assert gradient.tolist() == [[2**14, -(2**14)]]


@pytest.mark.parametrize("unit", [-76, -12, 0, 51])
def test_probabilities_add_up_whatever_the_unit(unit):
    random = np.random.default_rng(0)
    gradient = loss.gradient(random.integers(-4032, 4033, (50, 10)), unit, random.integers(0, 10, 50))
    assert np.abs(gradient.sum(axis=1)).max() <= 5  # each of ten is rounded by at most 1/2
    assert gradient.min() >= -(2**15)
    assert gradient.max() <= 2**15


def test_loss_and_accuracy():
    value, accuracy = loss.loss_and_accuracy(np.array([[4, 0], [0, 4]]), -2, np.array([0, 0]))
    assert value == pytest.approx(np.mean([np.log1p(np.exp(-1)), np.log1p(np.exp(1))]))
    assert accuracy == 0.5
