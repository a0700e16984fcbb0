"""Convolutions, pooling and loss of the reference in float64 equal PyTorch and its autograd."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from etasim.numerics.reference import convolution, loss, pooling
from etasim.workload import Layer

TOLERANCE = 1e-9
N_LAYERS = 60


def random_convolution(rng):
    """A layer with rectangular kernel, stride, padding, dilation and groups, on maps that it fits."""
    groups = int(rng.choice([1, 1, 2, 3]))
    per_group = int(rng.integers(1, 4))
    kernel, dilation, padding = rng.integers(1, 8, 2), rng.integers(1, 4, 2), rng.integers(0, 4, 2)
    size = np.maximum(dilation * (kernel - 1) + 1 - 2 * padding, 1) + rng.integers(0, 7, 2)
    stride = rng.integers(1, 4, 2)
    end = padding + rng.integers(0, 3, 2) if rng.integers(2) else padding
    return layer("conv", groups * per_group, groups * int(rng.integers(1, 4)), size, kernel, stride, padding, dilation, groups, end)


def layer(kind, in_channels, out_channels, size, kernel, stride, padding, dilation=(1, 1), groups=1, end=None):
    both = ("height", "width")
    end = padding if end is None else end
    fields = {"in": size, "kernel": kernel, "stride": stride, "pad": padding, "pad_end": end, "dilation": dilation}
    pairs = {f"{name}_{axis}": int(value[i]) for name, value in fields.items() for i, axis in enumerate(both)}
    return Layer("layer", kind, ("input",), in_channels, out_channels, groups=groups, **pairs)


def strides(of):
    return (of.stride_height, of.stride_width)


def padded(maps, of, fill=0.0):
    """``maps`` with the border of ``of``, which PyTorch's layers have alike on opposite sides only."""
    return functional.pad(maps, (of.pad_width, of.pad_end_width, of.pad_height, of.pad_end_height), value=fill)


def leaf(rng, *shape):
    return torch.tensor(rng.standard_normal(shape), dtype=torch.float64, requires_grad=True)


def assert_equal(ours, theirs):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(N_LAYERS))
def test_convolution(seed):
    rng = np.random.default_rng(seed)
    check_convolution(random_convolution(rng), rng)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_convolution(multiplier):
    check_convolution(layer("conv", 6, 6 * multiplier, (7, 5), (3, 3), (2, 1), (1, 1), groups=6), np.random.default_rng(0))


def check_convolution(conv, rng):
    kernel = (conv.kernel_height, conv.kernel_width)
    maps = leaf(rng, 2, *conv.in_shape)
    weights = leaf(rng, conv.out_channels, conv.in_channels // conv.groups, *kernel)
    dilation = (conv.dilation_height, conv.dilation_width)
    output = functional.conv2d(padded(maps, conv), weights, dilation=dilation, groups=conv.groups, stride=strides(conv))
    errors = rng.standard_normal(output.shape)
    output.backward(torch.tensor(errors))
    maps_array, weights_array = maps.detach().numpy(), weights.detach().numpy()
    assert_equal(convolution.forward(maps_array, weights_array, conv), output)
    assert_equal(convolution.input_gradient(errors, weights_array, conv, maps_array.shape[2:]), maps.grad)
    assert_equal(convolution.weight_gradient(maps_array, errors, conv, kernel), weights.grad)


def test_linear_is_a_convolution_over_whole_maps():
    rng = np.random.default_rng(1)
    linear = Layer("fc", "linear", ("input",), 3 * 4 * 5, 7)
    maps, weights = leaf(rng, 2, 3, 4, 5), leaf(rng, 7, 60)
    output = functional.linear(maps.flatten(1), weights)
    errors = rng.standard_normal((2, 7))
    output.backward(torch.tensor(errors))
    maps_array, kernels, errors = maps.detach().numpy(), weights.detach().numpy().reshape(7, 3, 4, 5), errors[..., None, None]
    assert_equal(convolution.forward(maps_array, kernels, linear)[..., 0, 0], output)
    assert_equal(convolution.input_gradient(errors, kernels, linear, (4, 5)), maps.grad)
    assert_equal(convolution.weight_gradient(maps_array, errors, linear, (4, 5)).reshape(7, 60), weights.grad)


def random_pool(kind, rng):
    kernel = rng.integers(1, 6, 2)
    padding = np.array([rng.integers(0, k // 2 + 1) for k in kernel])
    size = np.maximum(kernel - 2 * padding, 1) + rng.integers(0, 6, 2)
    stride = rng.integers(1, 4, 2)
    end = [whole_windows(*axis) if rng.integers(2) else axis[3] for axis in zip(size, kernel, stride, padding, strict=True)]
    return layer(kind, 3, 3, size, kernel, stride, padding, end=end)


def whole_windows(size, kernel, stride, pad):
    """Padding at the end that lets the last pixel begin or join a window, as ``ceil_mode`` does."""
    last = (size + pad - 1) // stride * stride
    return max(last + kernel - size - pad, 0)


@pytest.mark.parametrize("seed", range(20))
def test_maxpool(seed):
    rng = np.random.default_rng(seed)
    pool = random_pool("maxpool", rng)
    maps = leaf(rng, 2, *pool.in_shape)
    output = functional.max_pool2d(padded(maps, pool, -torch.inf), (pool.kernel_height, pool.kernel_width), strides(pool))
    errors = rng.standard_normal(output.shape)
    output.backward(torch.tensor(errors))
    ours, position = pooling.greatest(maps.detach().numpy(), pool)
    assert_equal(ours, output)
    assert_equal(pooling.spread_to_greatest(errors, position, pool, maps.shape[2:]), maps.grad)


@pytest.mark.parametrize("seed", range(20))
def test_avgpool(seed):
    rng = np.random.default_rng(seed)
    pool = random_pool("avgpool", rng)
    pixels = pool.kernel_height * pool.kernel_width
    maps = leaf(rng, 2, *pool.in_shape)
    output = functional.avg_pool2d(padded(maps, pool), (pool.kernel_height, pool.kernel_width), strides(pool))
    errors = rng.standard_normal(output.shape)
    output.backward(torch.tensor(errors))
    assert_equal(pooling.window_sums(maps.detach().numpy(), pool) / pixels, output)
    assert_equal(pooling.spread_to_windows(errors, pool, maps.shape[2:]) / pixels, maps.grad)


def test_loss_gradient_within_the_resolution_of_its_tables():
    """The exponent is rounded to 1/256 of a power of two, so a probability p is wrong by at most p (2^(1/256) - 1), and by its unit."""
    rng = np.random.default_rng(0)
    integers, unit, labels = rng.integers(-4000, 4001, (8, 10)), -9, rng.integers(0, 10, 8)
    logits = torch.tensor(np.ldexp(integers.astype(np.float64), unit), requires_grad=True)
    value = functional.cross_entropy(logits, torch.tensor(labels), reduction="sum")
    value.backward()
    ours = np.ldexp(loss.gradient(integers, unit, labels).astype(np.float64), loss.CONTRIBUTION_UNIT)
    np.testing.assert_allclose(ours, logits.grad.numpy(), rtol=0, atol=2 ** (1 / 256) - 1)
    mean, _ = loss.loss_and_accuracy(integers, unit, labels)
    assert mean == pytest.approx(value.item() / 8, rel=1e-12)
