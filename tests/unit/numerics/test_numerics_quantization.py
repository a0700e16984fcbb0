"""Exponents of tensors, channels and samples, and exponents that follow values over time."""

from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etasim.numerics import CodeFormat, TrackedExponent, data_format, exponent_of, quantize, representable

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite)
def test_the_exponent_is_the_least_power_of_two_that_holds_the_value(value):
    exponent = exponent_of([0.0, value])
    if value == 0:
        assert exponent is None
    else:
        numerator, denominator = abs(value).as_integer_ratio()
        assert numerator << max(-exponent, 0) <= denominator << max(exponent, 0)
        assert numerator << max(1 - exponent, 0) > denominator << max(exponent - 1, 0)


@pytest.mark.parametrize(("value", "exponent"), [(1, 0), (1 + 2**-52, 1), (-0.5, -1), (4032, 12), (2.0**63, 63), (5e-324, -1074)])
def test_exponents_at_powers_of_two(value, exponent):
    assert exponent_of(np.array([value])) == exponent
    assert exponent_of(value) == exponent == (ceil(log2(abs(value))) if value != 1 + 2**-52 else 1)


def test_exponents_along_an_axis_keep_it_and_zeros_have_exponent_0():
    values = np.array([[0, 0], [3, -5], [0.1, 0]])
    assert exponent_of(values, 1).tolist() == [[0], [3], [-3]]
    assert exponent_of(values, (0, 1)).tolist() == [[3]]
    assert exponent_of(values) == 3
    assert exponent_of(np.zeros((2, 2))) is exponent_of([]) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_have_no_exponent(bad):
    with pytest.raises(ValueError, match=r"at \[1, 0\] has no code"):
        exponent_of(np.array([[1, 2], [bad, 0]]))
    with pytest.raises(ValueError, match="has no code"):
        exponent_of(np.array([[1, 2], [bad, 0]]), axis=0)


@pytest.mark.parametrize(("granularity", "shape"), [("tensor", (1, 1, 1)), ("channel", (1, 4, 1)), ("sample", (3, 1, 1))])
def test_each_tensor_channel_or_sample_has_the_exponent_of_its_own_values(granularity, shape):
    values = np.random.default_rng(0).normal(size=(3, 4, 5)) * 10.0 ** np.arange(-2, 2)[:, None]
    quantized = quantize(values, CodeFormat(), granularity)
    assert quantized.exponents.shape == shape
    for place in np.ndindex(shape):
        part = tuple(slice(None) if size == 1 else i for size, i in zip(shape, place, strict=True))
        assert quantized.exponents[place] == exponent_of(values[part])
    steps = np.ldexp(np.where(np.abs(quantized.integers()) < 64, 1.0, 64.0), quantized.units)
    saturated = np.abs(values) > np.ldexp(float(quantized.format.greatest), quantized.units)
    assert (np.abs(quantized.real() - values) <= np.where(saturated, 1, 0.5) * steps).all()
    assert (quantized.real() == np.ldexp(quantized.integers(), quantized.units)).all()


def test_axes_may_lie_elsewhere():
    values = np.random.default_rng(0).normal(size=(3, 4))
    last, moved = quantize(values, CodeFormat(), "channel", channel_axis=-1), quantize(values.T, CodeFormat(), "channel", channel_axis=0)
    assert (last.codes == moved.codes.T).all()


def test_exponents_end_where_the_register_does():
    assert quantize([1e-30], CodeFormat()).real().tolist() == [0]
    assert quantize([1e30], CodeFormat()).real().tolist() == [float(np.ldexp(4032, 51))]
    with pytest.raises(ValueError, match="allowed: tensor, channel, sample"):
        quantize([1.0], CodeFormat(), "layer")


def test_values_as_a_format_holds_them():
    values = np.array([0.3, -1.7, 2.0])
    assert representable(values, data_format("fp32")) is values
    assert representable(values, data_format("bfp4")).tolist() == [0.25, -1.75, 1.75]
    assert representable(values, data_format("dfx4"), exponent=0).tolist() == [0.25, -0.875, -0.875 * -1]
    assert set(representable(np.full(99, 0.3), data_format("bfp4"), 1, "stochastic").tolist()) == {0.25, 0.5}


class TestTrackedExponent:
    """The rule of Courbariaux et al.: one step by the overflow rates at E and E - 1."""

    def test_it_climbs_to_the_values_one_step_at_a_time_and_stays(self):
        values, tracked, seen = np.linspace(-10, 10, 1001), TrackedExponent(0), []
        for _ in range(7):
            tracked = tracked.observed(values).updated()
            seen.append(tracked.exponent)
        assert seen == [1, 2, 3, 4, 4, 4, 4]

    def test_it_falls_to_the_values_one_step_at_a_time_and_stays(self):
        values, tracked, seen = np.array([0.3, -0.2]), TrackedExponent(2), []
        for _ in range(5):
            tracked = tracked.observed(values).updated()
            seen.append(tracked.exponent)
        assert seen == [1, 0, -1, -1, -1]

    @pytest.mark.parametrize(("n_over", "exponent"), [(1, 0), (2, 1)])
    def test_as_many_overflows_as_tolerated_do_not_move_it(self, n_over, exponent):
        values = np.full(100, 0.75)
        values[:n_over] = 1.5
        tracked = TrackedExponent(0, max_overflow_rate=0.01).observed(values[:50]).observed(values[50:])
        assert (tracked.n_values, tracked.n_over, tracked.n_over_half) == (100, n_over, 100)
        assert tracked.updated() == TrackedExponent(exponent, 0.01)

    def test_zeros_and_silence_tell_nothing(self):
        tracked = TrackedExponent(3)
        assert tracked.updated() == tracked.observed(np.zeros(5)).updated() == tracked

    def test_it_stays_in_its_range(self):
        assert TrackedExponent(63).observed([1e30]).updated().exponent == 63
        assert TrackedExponent(-64).observed([1e-30]).updated().exponent == -64

    def test_impossible_states_are_refused(self):
        with pytest.raises(ValueError, match="overflow rate"):
            TrackedExponent(0, 1.0)
        with pytest.raises(ValueError, match="exponent 64"):
            TrackedExponent(64)
        with pytest.raises(ValueError, match="has no code"):
            TrackedExponent().observed([np.nan])
