"""Normalization layers in the integer arithmetic of the unified core, forward and backward (`docs/models/arithmetic.md`).

Four kinds behind one interface. They agree in everything but how a group's spread is measured, and how the measure depends on each value:

- ``l1_group``: mean absolute deviation, no square and no square root; the default.
- ``range``: greatest minus least value (Banner et al., "Scalable methods for 8-bit training of neural networks", 2018).
- ``l2_group``: root mean square deviation (Wu and He, "Group normalization", 2018).
- ``batch``: the same over all samples (Ioffe and Szegedy, "Batch normalization", 2015, is ``group`` = 1). It keeps no running statistics.

A spread a stands for the standard deviation k a, k = sqrt(pi / 2), whatever it was measured by. So 1 / (k a) is one table for all kinds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import log, sqrt
from typing import NamedTuple

import numpy as np

from etasim.numerics.arithmetic import DEVIATION_RATIO, bit_length, clip, div, floor_log2, reciprocal, reciprocal_table, round_shift
from etasim.numerics.scheme import CHANNELS_OF_A_GROUP

FRACTION_BITS = 12
"""Normalized values have the unit -12; a scale of 1 is not special."""

INTEGER_LIMIT = 2**15 - 1
"""Sums before normalization, errors, parameters and statistics are 16 bit, symmetric."""

NORMALIZED_LIMIT = 2**23 - 1
GREATEST_COUNT = 2**20
_RATIO = round(DEVIATION_RATIO * 2**FRACTION_BITS)
_SQUARED_RATIO = round(2**16 / DEVIATION_RATIO**2)
_TABLE = reciprocal_table()


class Kind(NamedTuple):
    """What distinguishes a normalization. Rows are groups, columns the ``count`` values of each.

    ``spread(centred, count) -> a``: from the deviations [groups, count] to [groups, 1], before it is limited.
    ``slope(centred, xh, total, count)``: the part of the gradient [groups, count] that goes through the spread, where ``total`` [groups, 1]
    is the sum of G * xh in the unit of G. ``across_samples``: groups span all samples.
    """

    spread: Callable[[np.ndarray, int], np.ndarray]
    slope: Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]
    across_samples: bool


class NormalizationResult(NamedTuple):
    """What `normalize` returns, and all that `normalize_backward` needs.

    ``xh`` [N, C, H, W]: normalized values, unit -12. ``v`` [N, C, H, W]: scale * xh + offset, unit ``unit_v``. ``mean``, ``spread`` [N, C]:
    16-bit statistics in the unit of P, equal for the channels of a group. The rest are the arguments.
    """

    xh: np.ndarray
    v: np.ndarray
    unit_v: int
    mean: np.ndarray
    spread: np.ndarray
    p: np.ndarray
    unit_p: int
    scale: np.ndarray
    unit_parameter: int
    kind: str
    group: int
    reciprocal: str
    segments: tuple[int, ...]


class NormalizationGradients(NamedTuple):
    """``v`` [N, C, H, W]: gradient of P in ``unit`` [N, C], equal for the channels of a group. ``dscale``, ``doffset`` [C]: exact sums over
    samples and pixels in ``unit_dscale`` and ``unit_doffset``."""

    v: np.ndarray
    unit: np.ndarray
    dscale: np.ndarray
    unit_dscale: int
    doffset: np.ndarray
    unit_doffset: int


def normalize(
    p: np.ndarray,
    unit_p: int,
    scale: np.ndarray,
    offset: np.ndarray,
    unit_parameter: int,
    kind: str = "l1_group",
    group: int = CHANNELS_OF_A_GROUP,
    reciprocal: str = "table",
    segments: Sequence[int] | None = None,
) -> NormalizationResult:
    """Normalize the integers ``p`` [N, C, H, W] of unit ``unit_p``, then apply ``scale`` and ``offset`` [C] of unit ``unit_parameter``.

    ``group``: consecutive channels that share statistics; the last group may be smaller. ``segments``: channels of each of the maps that a
    concatenation joined; no group spans two of them. ``reciprocal``: 1 / (k a) by "table" or by "shift".
    Raises ValueError for unknown names, shapes that do not fit, integers of more than 16 bits, and groups of more than 2^20 values.
    """
    p, scale, offset = (np.asarray(argument, np.int64) for argument in (p, scale, offset))
    _known("kind", kind, NORMALIZATIONS)
    _known("reciprocal", reciprocal, RECIPROCALS)
    segments = (p.shape[1],) if segments is None else tuple(segments)
    _check(p, scale, offset, group, segments)
    if (greatest := max(count for _, count in _groups(p.shape, kind, group, segments))) > GREATEST_COUNT:
        raise ValueError(f"{greatest} values share statistics: at most {GREATEST_COUNT}")
    xh = np.empty_like(p)
    mean, spread = np.empty(p.shape[:2], np.int64), np.empty(p.shape[:2], np.int64)
    for channels, count in _groups(p.shape, kind, group, segments):
        rows = p[:, channels].reshape(-1, count)
        a_mean = clip(div(rows.sum(1, keepdims=True), count), INTEGER_LIMIT)
        centred = rows - a_mean
        a_spread = np.clip(NORMALIZATIONS[kind].spread(centred, count), 1, INTEGER_LIMIT)
        m, s = RECIPROCALS[reciprocal](a_spread)
        normalized = clip(round_shift(centred * m, s - FRACTION_BITS), NORMALIZED_LIMIT)
        xh[:, channels] = normalized.reshape(xh[:, channels].shape)
        mean[:, channels], spread[:, channels] = a_mean, a_spread
    v = _per_channel(scale) * xh + (_per_channel(offset) << FRACTION_BITS)
    unit_v = unit_parameter - FRACTION_BITS
    return NormalizationResult(xh, v, unit_v, mean, spread, p, unit_p, scale, unit_parameter, kind, group, reciprocal, segments)


def normalize_backward(d: np.ndarray, unit_d: int, result: NormalizationResult) -> NormalizationGradients:
    """Gradients from the error ``d`` [N, C, H, W] of unit ``unit_d`` of what ``result`` holds.

    Raises ValueError if the shape differs from that of P, or for integers of more than 16 bits.
    """
    d = np.asarray(d, np.int64)
    if d.shape != result.p.shape:
        raise ValueError(f"error of shape {d.shape} for values of shape {result.p.shape}")
    _check_width("error", d)
    scaled = round_shift(_per_channel(result.scale) * d, FRACTION_BITS)
    unit_scaled = result.unit_parameter + unit_d + FRACTION_BITS
    v, unit = np.empty_like(d), np.empty(d.shape[:2], np.int64)
    for channels, count in _groups(d.shape, result.kind, result.group, result.segments):
        rows, xh, p = (array[:, channels].reshape(-1, count) for array in (scaled, result.xh, result.p))
        mean, spread = (array[: len(rows), channels][:, :1] for array in (result.mean, result.spread))
        total = round_shift((rows * xh).sum(1, keepdims=True), FRACTION_BITS)
        slope = NORMALIZATIONS[result.kind].slope(p - mean, xh, total, count)
        m, s = RECIPROCALS[result.reciprocal](spread)
        gradient = (rows - div(rows.sum(1, keepdims=True), count) - slope) * m
        v[:, channels] = gradient.reshape(v[:, channels].shape)
        unit[:, channels] = unit_scaled - s - result.unit_p
    dscale, doffset = (d * result.xh).sum((0, 2, 3)), d.sum((0, 2, 3))
    return NormalizationGradients(v, unit, dscale, unit_d - FRACTION_BITS, doffset, unit_d)


def inverse_by_table(spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, s) with m * 2^-s = 1 / (k ``spread``), wrong by less than 2^-9 + 2^-15 of it: by the first nine bits of the spread."""
    f = floor_log2(spread)
    return _TABLE[(spread << 8 >> f) - 256], 16 + f


def inverse_by_shift(spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, s) with m * 2^-s the power of two nearest to 1 / (k ``spread``), wrong by less than a factor of sqrt(2) (1 + 2^-13)."""
    b = _RATIO * spread
    h = floor_log2(b)
    nearest = h - FRACTION_BITS + (b * b >= np.int64(1) << 2 * h + 1)
    return np.full_like(spread, 2**15), 15 + nearest


def _mean_deviation(centred: np.ndarray, count: int) -> np.ndarray:
    return div(np.abs(centred).sum(1, keepdims=True), count)


def _mean_deviation_slope(centred: np.ndarray, xh: np.ndarray, total: np.ndarray, count: int) -> np.ndarray:
    sign = np.sign(centred)
    mean_sign = div(sign.sum(1, keepdims=True) << FRACTION_BITS, count)
    return round_shift(_RATIO * ((sign << FRACTION_BITS) - mean_sign) * div(total, count), 2 * FRACTION_BITS)


def _root_mean_square(centred: np.ndarray, count: int) -> np.ndarray:
    squares = (centred * centred).sum(1, keepdims=True)
    excess = np.maximum(bit_length(squares) - 46, 0)
    m, s = reciprocal(count)
    mean_square = round_shift(round_shift(squares, excess) * m, s - excess)
    return nearest_root(round_shift(mean_square * _SQUARED_RATIO, 16))


def _root_mean_square_slope(centred: np.ndarray, xh: np.ndarray, total: np.ndarray, count: int) -> np.ndarray:
    return round_shift(xh * div(total, count), FRACTION_BITS)


def nearest_root(v: np.ndarray) -> np.ndarray:
    """The integer nearest to the square root of 0 <= ``v`` < 2^52."""
    root = np.sqrt(v).astype(np.int64)  # float64 rounds none of these to the next integer
    return root + (v - root * root > root)


def _deviations_in_range(count: int) -> float:
    """Range over standard deviation, after Banner et al.; normal values have up to twice as much, which the scale absorbs."""
    return sqrt(2 * log(count))


def _range(centred: np.ndarray, count: int) -> np.ndarray:
    width = centred.max(1, keepdims=True) - centred.min(1, keepdims=True)
    if count == 1:
        return width
    return round_shift(width * round(2**16 / (DEVIATION_RATIO * _deviations_in_range(count))), 16)


def _range_slope(centred: np.ndarray, xh: np.ndarray, total: np.ndarray, count: int) -> np.ndarray:
    slope = np.zeros_like(centred)
    if count > 1:
        through = round_shift(total[:, 0] * round(2**16 / _deviations_in_range(count)), 16)
        groups = np.arange(len(centred))
        slope[groups, centred.argmax(1)] += through
        slope[groups, centred.argmin(1)] -= through
    return slope


NORMALIZATIONS = {
    "l1_group": Kind(_mean_deviation, _mean_deviation_slope, across_samples=False),
    "range": Kind(_range, _range_slope, across_samples=False),
    "l2_group": Kind(_root_mean_square, _root_mean_square_slope, across_samples=False),
    "batch": Kind(_root_mean_square, _root_mean_square_slope, across_samples=True),
}

RECIPROCALS = {"table": inverse_by_table, "shift": inverse_by_shift}


def _groups(shape: tuple[int, ...], kind: str, group: int, segments: tuple[int, ...]) -> Iterator[tuple[slice, int]]:
    """Channels of each group, and the number of values that share its statistics."""
    planes = shape[2] * shape[3] * (shape[0] if NORMALIZATIONS[kind].across_samples else 1)
    first = 0
    for channels in segments:
        for start in range(first, first + channels, group):
            stop = min(start + group, first + channels)
            yield slice(start, stop), (stop - start) * planes
        first += channels


def _per_channel(values: np.ndarray) -> np.ndarray:
    return values[:, None, None]


def _known(what: str, name: str, table: Mapping[str, object]) -> None:
    if name not in table:
        raise ValueError(f"{what} {name!r}: allowed: {', '.join(sorted(table))}")


def _check(p: np.ndarray, scale: np.ndarray, offset: np.ndarray, group: int, segments: tuple[int, ...]) -> None:
    if p.ndim != 4 or not p.size:
        raise ValueError(f"values of shape {p.shape}: allowed: [samples, channels, height, width], none of them 0")
    if scale.shape != p.shape[1:2] or offset.shape != p.shape[1:2]:
        raise ValueError(f"scale of shape {scale.shape} and offset of shape {offset.shape} for {p.shape[1]} channels")
    if group < 1:
        raise ValueError(f"group of {group} channels: at least 1")
    if min(segments) < 1 or sum(segments) != p.shape[1]:
        raise ValueError(f"segments {segments} do not add up to {p.shape[1]} channels")
    for name, values in (("values", p), ("scale", scale), ("offset", offset)):
        _check_width(name, values)


def _check_width(name: str, values: np.ndarray) -> None:
    greatest = max(int(values.max()), -int(values.min()))
    if greatest > INTEGER_LIMIT:
        raise ValueError(f"{name}: {greatest} exceeds 16 bits ({INTEGER_LIMIT})")
