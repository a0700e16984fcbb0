"""Normalization by a running scale in integers: beside the formulas in floats, and beside sums written out."""

import numpy as np
import pytest
from small_networks import conv, layer, network

from etasim.numerics.errors import NumericsError
from etasim.numerics.reference import calibrate, convolution, initial_state, quantized, run_iteration
from etasim.numerics.running import (
    RunningScale,
    filter_mean,
    next_radial,
    next_spread,
    normalize_running,
    radial_product,
    running_backward,
    running_share,
    scale_gradient,
)
from etasim.numerics.scheme import Scheme

RANDOM = np.random.default_rng(5)
UNIT_P, UNIT_D, UNIT_PARAMETER = -11, -14, -14
RATIO = np.sqrt(np.pi / 2)
BY = RunningScale(
    spread=np.array([900, 4000, 20000]), unit_spread=-13, radial=np.array([0, -700, 300]), unit_radial=-15,
    scale=np.array([16384, -9000, 30000]), offset=np.array([0, 500, -8000]), unit_parameter=UNIT_PARAMETER,
)  # fmt: skip
P = RANDOM.integers(-9000, 9001, (4, 3, 5, 5))
SPREAD, RADIAL, SCALE = (
    np.ldexp(BY.spread * 1.0, -13)[:, None, None], np.ldexp(BY.radial * 1.0, -15)[:, None, None],
    np.ldexp(BY.scale * 1.0, UNIT_PARAMETER)[:, None, None],
)  # fmt: skip


def test_values_are_those_of_one_product_and_one_sum():
    result = normalize_running(P, UNIT_P, BY)
    x, deviation = np.ldexp(P * 1.0, UNIT_P), RATIO * SPREAD
    expected = SCALE * np.clip(x / deviation, -3, 3) + np.ldexp(BY.offset * 1.0, UNIT_PARAMETER)[:, None, None]
    np.testing.assert_allclose(np.ldexp(result.v * 1.0, result.unit_v), expected, atol=2**-7 * np.abs(SCALE).max() * 3)
    near_a_limit = np.abs(np.abs(x / deviation) - 3) < 0.01
    assert np.array_equal(result.is_inside[~near_a_limit], (np.abs(x / deviation) <= 3)[~near_a_limit])
    assert 0 < result.is_inside.mean() < 1
    assert np.array_equal(result.magnitude, np.rint(np.abs(P).mean((0, 2, 3))))


def test_errors_are_those_of_a_fixed_scale_and_a_radial_gradient():
    d, is_negative = RANDOM.integers(-20000, 20001, P.shape), P < 0
    v, unit = running_backward(d, UNIT_D, is_negative, BY)
    sign = np.where(is_negative, -1, 1)
    expected = (SCALE * np.ldexp(d * 1.0, UNIT_D) - RADIAL * sign) / (RATIO * SPREAD)
    np.testing.assert_allclose(np.ldexp(v * 1.0, unit), expected, rtol=2**-8, atol=2**-9 * np.abs(expected).max())


def test_samples_do_not_depend_on_each_other():
    d = RANDOM.integers(-20000, 20001, P.shape)
    whole, back = normalize_running(P, UNIT_P, BY), running_backward(d, UNIT_D, P < 0, BY)[0]
    for n in range(len(P)):
        assert np.array_equal(whole.v[n : n + 1], normalize_running(P[n : n + 1], UNIT_P, BY).v)
        assert np.array_equal(back[n : n + 1], running_backward(d[n : n + 1], UNIT_D, P[n : n + 1] < 0, BY)[0])


def test_the_product_of_filter_and_gradient_is_the_sum_of_values_times_errors():
    """Exactly: a convolution is linear in its filter, whatever its stride and padding."""
    head = network((3, 6, 6), *NORMED, classes=3).layers[0]
    maps, weights = RANDOM.integers(-4000, 4001, (2, 3, 6, 6)), RANDOM.integers(-4000, 4001, (4, 3, 3, 3))
    sums = convolution.forward(maps, weights, head)
    errors = RANDOM.integers(-4000, 4001, sums.shape)
    gradient = convolution.weight_gradient(maps, errors, head, (3, 3))
    assert np.array_equal(radial_product(weights, gradient), (sums * errors).sum((0, 2, 3)))


def test_the_gradient_of_a_scale_needs_no_values():
    """From sum x dx alone, which is what the weights tell, it is the sum of error times normalized value."""
    result, d = normalize_running(P, UNIT_P, BY), RANDOM.integers(-20000, 20001, P.shape)
    d = d * result.is_inside
    dx, unit_dx = running_backward(d, UNIT_D, P < 0, BY)
    unit, count = int(unit_dx.max()), P.size // P.shape[1]
    product = (np.ldexp(dx * 1.0, unit_dx - unit) * P).sum((0, 2, 3)).astype(np.int64)
    found, of_unit = scale_gradient(BY, product, unit + UNIT_P, result.magnitude, UNIT_P, count)
    y = np.ldexp(P * 1.0, UNIT_P) / (RATIO * SPREAD)
    expected = (np.ldexp(d * 1.0, UNIT_D) * y).sum((0, 2, 3))
    np.testing.assert_allclose(np.ldexp(found * 1.0, of_unit), expected, rtol=0.02, atol=0.02 * np.abs(expected).max())


def test_a_scale_of_zero_has_a_finite_gradient():
    zero = BY._replace(scale=np.zeros(3, np.int64))
    found, of_unit = scale_gradient(zero, np.array([1, -1, 0]) << 20, -28, np.array([100, 100, 100]), UNIT_P, 100)
    radial = np.ldexp(BY.radial * 1.0, -15) * 100 * np.ldexp(100.0, UNIT_P) / (RATIO * SPREAD[:, 0, 0])
    np.testing.assert_allclose(np.ldexp(found * 1.0, of_unit), 64 * (np.array([1, -1, 0]) * 2.0**-8 + radial), rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("batch", [1, 32, 4096])
def test_running_values_move_by_the_share_of_the_batch(batch):
    magnitude, product = np.array([2000, 3, 30000]), np.array([10**9, -(10**6), 0])
    share = running_share(batch)
    assert share == pytest.approx(1 - 0.99**batch)
    v, unit = next_spread(BY, magnitude, UNIT_P, batch)
    spread = np.ldexp(BY.spread * 1.0, -13)
    np.testing.assert_allclose(np.ldexp(v * 1.0, unit), spread + share * (np.ldexp(magnitude * 1.0, UNIT_P) - spread), atol=2**-13)
    v, unit = next_radial(BY, product, -40, batch, 25 * batch)
    np.testing.assert_allclose(
        np.ldexp(v * 1.0, unit), np.ldexp(BY.radial * 1.0, -15) + share * product * 2.0**-40 / (25 * batch), rtol=1e-4, atol=2**-24
    )


def test_sums_past_every_limit_saturate():
    v, unit = next_radial(BY, np.array([2**62, -(2**62), 1]), 10, 1, 1)
    assert v[0] > 2**59
    assert v[1] < -(2**59)
    assert unit < 10
    found, _ = scale_gradient(BY._replace(unit_radial=60), np.array([2**62, 1, -(2**62)]), -60, np.array([2**15 - 1] * 3), 20, 2**20)
    assert np.abs(found).max() < 2**62


NORMED = (conv("c", 4, kernel=3, stride=2, padding=1), layer("n", "norm"), layer("r", "relu"))
SCHEME = Scheme(normalization="running_l1", learning_rate=0.1)


def _iteration(net, seed=0, batch=4):
    state = initial_state(net, SCHEME, seed)
    inputs = quantized(RANDOM.standard_normal((batch, *net.input_shape)), SCHEME.activation)
    labels = RANDOM.integers(net.classes, size=batch)
    return state, run_iteration(net, SCHEME, state, inputs, labels, calibrate(net, SCHEME, state, inputs, labels))


def test_filters_begin_and_stay_at_zero_mean():
    state, values = _iteration(network((3, 6, 6), *NORMED, classes=3))
    for found in (state, values.state):
        weights = found.tensors["c", "master_weight"].real()
        assert np.abs(weights.mean((1, 2, 3))).max() < 2**-12 * np.abs(weights).max()
    gradient = values.tensors["c", "weight_gradient"].integers
    assert np.array_equal(values.tensors["c", "filter_mean"].integers, filter_mean(gradient))
    assert np.abs(filter_mean(gradient)).max() > 16  # that of the gradients is not


def test_an_iteration_moves_the_running_values():
    state, values = _iteration(network((3, 6, 6), *NORMED, classes=3))
    magnitude = np.abs(values.tensors["c", "pre_normalization"].real()).mean((0, 2, 3))
    before, after = (found.tensors["c", "spread"].real() for found in (state, values.state))
    np.testing.assert_allclose(after, before + running_share(4) * (magnitude - before), rtol=2**-12)
    product = (state.tensors["c", "master_weight"].real() * values.tensors["c", "weight_gradient"].real()).sum((1, 2, 3))
    radial = running_share(4) * product / values.tensors["c", "pre_normalization"].real()[:, 0].size
    np.testing.assert_allclose(values.state.tensors["c", "radial"].real(), radial, rtol=1e-3, atol=2**-14 * np.abs(radial).max())


def test_a_normalization_without_filters_before_it_is_refused():
    net = network((3, 6, 6), NORMED[0], NORMED[2], NORMED[1], classes=3)
    with pytest.raises(NumericsError, match="n: follows no convolution or linear layer"):
        _iteration(net)
