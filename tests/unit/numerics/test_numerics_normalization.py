"""Normalizations in integers against their formulas in float64, within a bound derived from every rounding on the way.

Notation: mu, A: exact mean and spread of a group (k A stands for its standard deviation); delta, alpha: how far the stored integers may
be from them; tau: relative error of 1 / (k a). Then that is wrong by rho = A / (A - alpha) (1 + tau) - 1 of 1 / (k A).
"""

from math import log, pi, sqrt
from typing import NamedTuple

import numpy as np
import pytest

from etasim.numerics import NORMALIZATIONS, normalize, normalize_backward
from etasim.numerics.normalization import RECIPROCALS, inverse_by_shift, inverse_by_table, nearest_root

K = sqrt(pi / 2)
TAU = {"table": 2**-9 + 2**-15, "shift": sqrt(2) - 1 + 2**-12}


class Formula(NamedTuple):
    """A normalization in reals: standard deviation of the rows ``x`` [groups, count], and its derivative times ``count``."""

    deviation: object
    slope: object


def range_slope(x):
    slope = np.zeros_like(x)
    rows = np.arange(len(x))
    slope[rows, x.argmax(1)] += x.shape[1] / sqrt(2 * log(x.shape[1]))
    slope[rows, x.argmin(1)] -= x.shape[1] / sqrt(2 * log(x.shape[1]))
    return slope


def mean(x):
    return x.mean(1, keepdims=True)


def sign_slope(x):
    sign = np.sign(x - mean(x))
    return K * (sign - mean(sign))


L2 = Formula(lambda x: x.std(1, keepdims=True), lambda x: (x - mean(x)) / x.std(1, keepdims=True))
FORMULAS = {
    "l1_group": Formula(lambda x: K * mean(np.abs(x - mean(x))), sign_slope),
    "range": Formula(lambda x: np.ptp(x, 1, keepdims=True) / sqrt(2 * log(x.shape[1])), range_slope),
    "l2_group": L2,
    "batch": L2,
}


def forward(kind, x):
    """xh of the rows ``x``."""
    return (x - mean(x)) / FORMULAS[kind].deviation(x)


def backward(kind, x, g):
    """Gradient of the rows ``x`` from that of xh."""
    through_spread = FORMULAS[kind].slope(x) * mean(g * forward(kind, x))
    return (g - mean(g) - through_spread) / FORMULAS[kind].deviation(x)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_the_gradient_formula_is_the_derivative(kind):
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 12)), rng.normal(size=(2, 12))
    for i in range(12):
        step = np.zeros_like(x)
        step[:, i] = 1e-6
        slope = (g * (forward(kind, x + step) - forward(kind, x - step))).sum(1) / 2e-6
        assert slope == pytest.approx(backward(kind, x, g)[:, i], abs=1e-7)


class Bounds:
    """How far integers may be from the formulas for the rows ``p`` of one normalization."""

    def __init__(self, kind, p, reciprocal):
        self.kind, self.x, self.count = kind, p, p.shape[1]
        self.xh, self.deviation = forward(kind, p), FORMULAS[kind].deviation(p)
        spread = self.deviation / K
        # A division rounds to half a unit and by 2^-16 of the value; alpha covers delta, two more roundings, root and constants.
        self.delta = 0.5 + np.abs(mean(p)) * 2**-16
        alpha = 2.5 + spread * 2**-14
        assert (spread > 2 * alpha).all()
        self.rho = spread / (spread - alpha) * (1 + TAU[reciprocal]) - 1

    def of_xh(self):
        offset = self.delta / self.deviation
        return (np.abs(self.xh) + offset) * self.rho + offset + 2**-13

    def of_gradient(self, g):
        """For a gradient ``g`` of xh in units of G."""
        xh, error = np.abs(self.xh), self.of_xh()
        g_error = 1 + np.abs(mean(g)) * 2**-16 + 0.5
        through = np.abs(mean(g * self.xh))
        through_error = mean((np.abs(g) + 0.5) * error + 0.5 * xh) + 0.5 / self.count + through * 2**-16 + 0.5
        slope, slope_error = np.abs(FORMULAS[self.kind].slope(self.x)), {
            "l1_group": 2**-11,  # k, and the mean of the signs to 12 bits
            "range": self.count * 2**-15,  # 1 / sqrt(2 ln n)
        }.get(self.kind, error)
        through_spread_error = (slope + slope_error) * through_error + slope_error * through + 0.5
        total = np.abs(g - mean(g) - FORMULAS[self.kind].slope(self.x) * mean(g * self.xh))
        error = 0.5 + g_error + through_spread_error
        return (error * (1 + self.rho) + total * self.rho) / self.deviation


def groups_of(values, kind, channels):
    """Rows of one group of ``values`` [N, C, H, W]."""
    rows = values[:, channels]
    return rows.reshape(1, -1) if kind == "batch" else rows.reshape(len(values), -1)


def examples():
    """Values of both signs that keep away from the mean, where the sign of the deviation is a matter of rounding."""
    rng = np.random.default_rng(5)
    for shape, group, segments in [
        ((3, 5, 4, 3), 2, None),  # counts 24 and 12
        ((2, 8, 1, 1), 8, None),  # 1x1 maps
        ((1, 7, 3, 3), 4, (3, 4)),
        ((2, 3, 16, 16), 16, None),
    ]:
        side = np.resize([1, -1], shape)
        p = side * rng.integers(6000, 12000, shape) + rng.integers(-500, 500)
        yield p, rng.integers(-32767, 32768, shape[1]), rng.integers(-32767, 32768, shape), group, segments


SLICES = [[(0, 2), (2, 4), (4, 5)], [(0, 8)], [(0, 3), (3, 7)], [(0, 3)]]
CASES = list(zip(examples(), SLICES, strict=True))


@pytest.mark.parametrize("reciprocal", RECIPROCALS)
@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_forward_and_backward_are_the_formulas_within_the_bound(kind, reciprocal, case):
    (p, scale, d, group, segments), slices = CASES[case]
    unit_p, unit_parameter, unit_d = -7, -13, -21
    result = normalize(p, unit_p, scale, scale[::-1], unit_parameter, kind, group, reciprocal, segments)
    gradients = normalize_backward(d, unit_d, result)
    g = scale[:, None, None] * d * 2.0**-12
    for channels in (slice(*pair) for pair in slices):
        rows = groups_of(p, kind, channels).astype(float)
        bounds = Bounds(kind, rows, reciprocal)
        xh = groups_of(result.xh, kind, channels) / 4096
        assert (np.abs(xh - bounds.xh) <= bounds.of_xh()).all()
        unit_g = unit_parameter + unit_d + 12
        real = np.ldexp(gradients.v.astype(float), (gradients.unit - unit_g + unit_p)[..., None, None])
        g_rows = groups_of(g, kind, channels)
        error = np.abs(groups_of(real, kind, channels) - backward(kind, rows, g_rows))
        assert (error <= bounds.of_gradient(g_rows)).all()
    assert (result.v == scale[:, None, None] * result.xh + scale[::-1, None, None] * 4096).all()
    assert gradients.dscale.tolist() == (d * result.xh).sum((0, 2, 3)).tolist()
    assert gradients.doffset.tolist() == d.sum((0, 2, 3)).tolist()
    assert (result.unit_v, gradients.unit_dscale, gradients.unit_doffset) == (-25, -33, -21)


def test_the_bound_is_tight_enough_to_mean_something():
    (p, *_), _ = CASES[3]
    bounds = Bounds("l1_group", groups_of(p, "l1_group", slice(0, 3)).astype(float), "table")
    assert bounds.of_xh().max() < 0.005


def test_the_inverse_by_table_is_wrong_by_less_than_stated():
    spreads = np.arange(1, 2**15)
    m, s = inverse_by_table(spreads)
    assert np.abs(np.ldexp(m.astype(float), -s) * K * spreads - 1).max() < TAU["table"]


def test_the_inverse_by_shift_is_the_nearest_power_of_two():
    spreads = np.arange(1, 2**15)
    m, s = inverse_by_shift(spreads)
    assert np.abs(np.log2(np.ldexp(m.astype(float), -s) * 5134 / 4096 * spreads)).max() <= 0.5
    assert np.ldexp(m.astype(float), -s)[[0, 1, 3, 32766]].tolist() == [2.0**-r for r in (0, 1, 2, 15)]


def test_roots_are_rounded_to_nearest():
    squares = np.unique(np.concatenate([np.arange(2000), (np.arange(1, 2**26, 9973)[:, None] ** 2 + [-1, 0, 1]).ravel()]))
    roots = nearest_root(squares)
    assert (((2 * roots - 1) ** 2 <= 4 * squares) | (roots == 0)).all()
    assert ((2 * roots + 1) ** 2 > 4 * squares).all()


@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (1, 1, 1, 1), (2, 2, 1, 1)])
def test_equal_values_become_the_offset_and_pass_the_deviation_of_the_error(kind, shape):
    """The spread is 0 and stored as 1."""
    n_channels = shape[1]
    result = normalize(np.full(shape, -77), 0, np.full(n_channels, 4096), np.arange(n_channels), 0, kind, 1)
    assert not result.xh.any()
    assert (result.v == np.arange(n_channels)[:, None, None] * 4096).all()
    assert (result.mean == -77).all()
    assert (result.spread == 1).all()
    d = np.arange(np.prod(shape)).reshape(shape) * 16
    gradients = normalize_backward(d, 0, result)
    axes = (0, 2, 3) if kind == "batch" else (2, 3)
    deviation = d - d.mean(axes, keepdims=True)
    passed = gradients.v * np.ldexp(1.0, gradients.unit - 12)[..., None, None] * K
    assert np.abs(passed - deviation).max() <= 1 + np.abs(deviation).max() * TAU["table"]


def test_a_group_of_one_value_has_no_gradient():
    result = normalize([[[[5]], [[-9]]]], 0, [100, 100], [1, 2], 0, "l1_group", 1)
    assert not normalize_backward(np.full((1, 2, 1, 1), 999), 0, result).v.any()


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_the_widest_values_do_not_overflow(kind):
    """Values, error, scale and offset at their limits, one group of 2^18 values; in Python's integers the sums are the same."""
    p = np.resize([32767, -32767, 32767], (1, 1, 512, 512))
    d = np.resize([-32767, 32767, -32767, 32767, 1], p.shape)
    result = normalize(p, 0, [32767], [-32767], 0, kind)
    gradients = normalize_backward(d, 0, result)
    rows = p.reshape(1, -1).astype(float)
    bounds = Bounds(kind, rows, "table")
    assert (np.abs(result.xh.reshape(1, -1) / 4096 - bounds.xh) <= bounds.of_xh()).all()
    assert gradients.dscale.tolist() == [sum(int(a) * int(b) for a, b in zip(d.ravel(), result.xh.ravel(), strict=True))]
    if kind != "range":  # whose greatest value is anywhere among equal ones
        g = d.reshape(1, -1) * 32767 / 4096
        real = gradients.v.reshape(1, -1) * 2.0 ** (gradients.unit[0, 0] - 12)
        assert (np.abs(real - backward(kind, rows, g)) <= bounds.of_gradient(g)).all()


def test_batch_normalization_of_one_sample_is_l2_group_normalization():
    p = np.random.default_rng(0).integers(-3000, 3000, (1, 4, 3, 3))
    batch, group = (normalize(p, 0, [1] * 4, [0] * 4, 0, kind, 2) for kind in ("batch", "l2_group"))
    assert (batch.xh == group.xh).all()
    assert (normalize_backward(p, 0, batch).v == normalize_backward(p, 0, group).v).all()


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_no_group_spans_two_joined_maps(kind):
    p = np.random.default_rng(0).integers(-3000, 3000, (2, 7, 3, 3))
    joined = normalize(p, 0, np.arange(7), np.arange(7), 0, kind, 4, segments=[5, 2])
    parts = [normalize(p[:, part], 0, np.arange(7)[part], np.arange(7)[part], 0, kind, 4) for part in (slice(5), slice(5, 7))]
    assert (joined.v == np.concatenate([part.v for part in parts], 1)).all()
    v = [normalize_backward(p[:, part], 0, result).v for part, result in zip((slice(5), slice(5, 7)), parts, strict=True)]
    assert (normalize_backward(p, 0, joined).v == np.concatenate(v, 1)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "layer"}, "allowed: batch, l1_group, l2_group, range"),
        ({"reciprocal": "divide"}, "allowed: shift, table"),
        ({"group": 0}, "at least 1"),
        ({"segments": (3, 2)}, "add up to 4"),
        ({"segments": (4, 0)}, "add up to 4"),
        ({"scale": [1, 2]}, "for 4 channels"),
        ({"offset": [1, 2, 3, 32768]}, "offset: 32768 exceeds 16 bits"),
        ({"p": np.zeros((1, 4))}, r"allowed: \[samples"),
        ({"p": np.full((1, 4, 1, 1), -32768)}, "values: 32768 exceeds"),
        ({"p": np.zeros((1, 4, 1024, 257)), "group": 4}, "at most 1048576"),
    ],
)
def test_what_the_registers_cannot_hold_is_refused(changed, message):
    arguments = {"p": np.zeros((1, 4, 2, 2)), "unit_p": 0, "scale": [1] * 4, "offset": [0] * 4, "unit_parameter": 0}
    with pytest.raises(ValueError, match=message):
        normalize(**(arguments | changed))


def test_an_error_of_another_shape_or_width_is_refused():
    result = normalize(np.zeros((1, 4, 2, 2)), 0, [1] * 4, [0] * 4, 0)
    with pytest.raises(ValueError, match="error of shape"):
        normalize_backward(np.zeros((1, 4, 2, 1)), 0, result)
    with pytest.raises(ValueError, match="error: 40000 exceeds"):
        normalize_backward(np.full((1, 4, 2, 2), 40000), 0, result)


def test_normalization_of_normal_values_has_unit_variance():
    """What the constants are for; the range underestimates by up to a factor of 2, as its authors state."""
    p = np.round(np.random.default_rng(0).normal(500, 4000, (1, 1, 256, 256))).astype(int)
    spread = {kind: (normalize(p, 0, [1], [0], 0, kind).xh / 4096).std() for kind in NORMALIZATIONS}
    assert spread.pop("range") == pytest.approx(0.5, abs=0.1)
    assert spread == pytest.approx(dict.fromkeys(spread, 1), abs=0.01)
