"""Normalization by a running scale of each channel, in the integers of the unified core (`docs/models/arithmetic.md`).

The scale is the mean absolute value of the iterations before, so that no value waits for others of its plane, sample or batch. Filters
are kept at zero mean in place of a mean of their sums. The part of the gradient that goes through the scale comes from a controller: the
radial gradient e of a channel, which the products of the filter with its gradient move until they are zero on the mean.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.arrays import Numbers
from etasim.numerics.arithmetic import DEVIATION_RATIO, add, bit_length, clip, common, div, normal, reciprocal, round_clip, round_shift
from etasim.numerics.normalization import FRACTION_BITS, INTEGER_LIMIT, NORMALIZED_LIMIT, RECIPROCALS

KEPT_BY_A_SAMPLE = 0.99
"""Share of itself that a running value keeps when a sample passes; that of a batch is its power."""

CLAMP = 3
"""Normalized values are limited to so many standard deviations."""

SHARE_BITS = 16
RADIAL_LIMIT = 2**18
"""Of a radial gradient in the unit of scaled errors, as great as these."""

LEAST_SCALE_EXPONENT = -6
"""The gradient of a scale nearer to zero than 2^-6 is that of 2^-6: it is a quotient by the scale, and rounding would be all of it."""

PRODUCT_LIMIT = 2**46
TERM_LIMIT = 2**60
"""Of products of a filter and its gradient, and of what is added to such a product, so that sums stay in 64 bits."""

QUOTIENT_BITS = 31
"""Of a dividend whose quotient becomes the gradient of a scale."""

_CLAMP_FACTOR = round(CLAMP * DEVIATION_RATIO * 2**FRACTION_BITS)


class RunningScale(NamedTuple):
    """What a channel is normalized with in an iteration, all but the units [C]: ``spread``, the running mean absolute value, ``radial``,
    the radial gradient, ``scale`` and ``offset``. ``reciprocal``: 1 / (k spread) by "table" or by "shift"."""

    spread: np.ndarray
    unit_spread: int
    radial: np.ndarray
    unit_radial: int
    scale: np.ndarray
    offset: np.ndarray
    unit_parameter: int
    reciprocal: str = "table"

    @property
    def inverse(self) -> tuple[np.ndarray, np.ndarray]:
        """(m, s) [C] of 1 / (k spread), in the inverse unit of the spread."""
        return RECIPROCALS[self.reciprocal](np.maximum(self.spread, 1))


class RunningResult(NamedTuple):
    """``v`` [N, C, H, W] in ``unit_v``; ``is_inside``: where errors pass; ``is_negative``: side of the value; ``magnitude`` [C]: mean
    absolute value of the batch in the unit of P."""

    v: np.ndarray
    unit_v: int
    is_inside: np.ndarray
    is_negative: np.ndarray
    magnitude: np.ndarray


def running_share(batch: int) -> float:
    """Share of a running value that ``batch`` samples replace."""
    return 1 - KEPT_BY_A_SAMPLE**batch


def normalize_running(p: np.ndarray, unit_p: int, by: RunningScale) -> RunningResult:
    """Normalize, clamp, scale and shift the 16-bit integers ``p`` [N, C, H, W] of ``unit_p``: one product and one sum a value."""
    m, s = by.inverse
    limit = round_clip(_CLAMP_FACTOR * by.spread, FRACTION_BITS + unit_p - by.unit_spread, INTEGER_LIMIT)[:, None, None]
    factor, shift = (by.scale * m)[:, None, None], (s + by.unit_spread - unit_p - FRACTION_BITS)[:, None, None]
    v = round_shift(factor * clip(p, limit), shift) + (by.offset << FRACTION_BITS)[:, None, None]
    magnitude = clip(div(np.abs(p).sum((0, 2, 3)), p.size // p.shape[1]), INTEGER_LIMIT)
    return RunningResult(v, by.unit_parameter - FRACTION_BITS, np.abs(p) <= limit, p < 0, magnitude)


def running_backward(d: np.ndarray, unit_d: int, is_negative: np.ndarray, by: RunningScale) -> tuple[np.ndarray, np.ndarray]:
    """The gradient [N, C, H, W] of what was normalized and its unit [C, 1, 1], from the error ``d`` where errors pass, 0 elsewhere."""
    m, s = by.inverse
    unit_g = by.unit_parameter + unit_d + FRACTION_BITS
    g = round_shift(by.scale[:, None, None] * d, FRACTION_BITS)
    radial = round_clip(by.radial, unit_g - by.unit_radial, RADIAL_LIMIT)[:, None, None]
    v = (g - np.where(is_negative, -radial, radial)) * m[:, None, None]
    return v, (unit_g - s - by.unit_spread)[:, None, None]


def filter_mean(gradient: np.ndarray) -> np.ndarray:
    """Mean [K] of the integers of a weight gradient [K, ...] over each filter, in their unit."""
    sums = gradient.reshape(len(gradient), -1)
    return clip(div(sums.sum(1), sums.shape[1]), INTEGER_LIMIT)


def radial_product(weight: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Products [K] of filters with their gradients: sums of x dx over samples and pixels, for a convolution is linear in its filter."""
    return (weight * gradient).reshape(len(weight), -1).sum(1)


def next_spread(by: RunningScale, magnitude: np.ndarray, unit_p: int, batch: int) -> tuple[Numbers, int]:
    """The running mean absolute value after an iteration whose mean is ``magnitude``."""
    share = round(running_share(batch) * 2**SHARE_BITS)
    return add(((2**SHARE_BITS - share) * by.spread, by.unit_spread - SHARE_BITS), (share * magnitude, unit_p - SHARE_BITS))


def next_radial(by: RunningScale, product: np.ndarray, unit_product: int, batch: int, count: int) -> tuple[Numbers, int]:
    """The radial gradient after an iteration with the `radial_product` ``product``, a sum over ``count`` values of a channel."""
    m, s = normal(running_share(batch) / count)
    return _limited_sum((by.radial, by.unit_radial), (m * clip(product, PRODUCT_LIMIT), unit_product - s))


def scale_gradient(
    by: RunningScale, product: np.ndarray, unit_product: int, magnitude: np.ndarray, unit_p: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of the scale and its unit, both [C]: (sum x dx + e sum |x| / (k spread)) / scale."""
    m, s = by.inverse
    normalized = clip(round_shift(magnitude * m, s + by.unit_spread - unit_p - FRACTION_BITS), NORMALIZED_LIMIT)
    dividend, unit = _limited_sum((product, unit_product), (by.radial * normalized * count, by.unit_radial - FRACTION_BITS))
    excess = np.maximum(bit_length(np.abs(dividend)) - QUOTIENT_BITS, 0)
    least = max(round(2.0 ** (LEAST_SCALE_EXPONENT - by.unit_parameter)), 1)
    inverse, shift = reciprocal(np.maximum(np.abs(by.scale), least))
    quotient = round_shift(dividend, excess) * inverse
    return np.where(by.scale < 0, -quotient, quotient), unit + excess - shift - by.unit_parameter


def _limited_sum(*terms: tuple[np.ndarray, int]) -> tuple[np.ndarray, int]:
    """The sum of terms (v, unit) in their common unit, each limited to TERM_LIMIT."""
    target = common(*(unit for _, unit in terms))
    first, second = (round_clip(v, target - unit, TERM_LIMIT) for v, unit in terms)
    return first + second, target
