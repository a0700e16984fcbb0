"""Codes from real values and from integers, and back.

A value's segment is the least that holds it. Its magnitude is rounded there; a magnitude that reaches 2^M carries into the next
segment as 1, and saturates in the last one. The kernels pass over the values once for each segment and write coarser codes over finer ones
where the value reaches them: loops without branches, whatever the number of segments.
"""

from collections.abc import Callable
from functools import lru_cache
from math import ldexp, prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etasim.core.arrays import Numbers, Whole
from etasim.core.jit import entry, kernel, procedure
from etasim.numerics.arithmetic import bit_length, round_clip
from etasim.numerics.format import GREATEST_EXPONENT, LEAST_EXPONENT, Code, CodeFormat, SquareFormat, TableFormat
from etasim.numerics.philox import random_word
from etasim.numerics.square import codes_of_integers, codes_of_reals

ROUNDINGS = ("nearest", "stochastic")
AT_ONCE = 2048
"""Values whose intermediate results stay in a processor's first cache."""


class Passes(NamedTuple):
    """What the passes over the values need; floating-point fields are of the values' type.

    ``scales`` [rows]: values to units. ``steps`` [segments]: units to steps of the segment. ``thresholds`` [segments]: steps that put a
    value into the segment. ``codes`` [segments]: code of magnitude 0. ``carries`` [segments]: added to the code where the magnitude reaches
    ``full`` = 2^M. ``sign``: the sign bit. ``saturation``: 2^M. ``rounding``: a number whose addition leaves no bits of a fraction.
    ``finite``: the greatest number. ``seed`` and ``first_index`` of the random words.
    """

    scales: np.ndarray
    steps: np.ndarray
    thresholds: np.ndarray
    codes: np.ndarray
    carries: np.ndarray
    full: np.int32
    sign: np.int32
    saturation: np.floating
    rounding: np.floating
    finite: np.floating
    seed: int
    first_index: int


def encode(values: npt.ArrayLike, code: Code, exponent: Whole, rounding: str = "nearest", seed: int = 0, first_index: int = 0) -> Numbers:
    """Codes of real ``values`` with ``exponent``, an integer or an array that broadcasts to their shape; values over the range saturate.

    ``rounding``: "nearest", ties to even magnitudes, or "stochastic": up if the remainder exceeds a random number, so that the mean is the
    value (to 2^-32 of a step; exactly for float32 values of at least 2^-9 units). Value i in C order takes word ``first_index`` + i of
    `etasim.numerics.philox` under ``seed``, so that an array may be encoded in parts.

    float32 is taken as it is, all else as float64. Raises ValueError for NaN, infinity, an exponent outside -64 ... 63, a seed outside
    0 ... 2^32 - 1, an unknown rounding, and a stochastic one to the codes of a table or of squares.
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"unknown rounding {rounding!r}; allowed: {', '.join(ROUNDINGS)}")
    if not (0 <= seed < 2**32 and first_index >= 0):
        raise ValueError(f"seed {seed} and first index {first_index}: allowed: 0 ... 2^32 - 1, and at least 0")
    values = np.asarray(as_real(values), order="C")
    exponents, row_length = _rows(exponent, values.shape)
    if isinstance(code, TableFormat | SquareFormat):
        return _encode_to_nearest(values, code, np.repeat(exponents, row_length).reshape(values.shape), rounding)
    codes = np.empty(values.shape, code.dtype)
    shape = (len(exponents), row_length)
    passes = _passes(code, exponents, values.dtype.type, seed, first_index)
    encode_rows = _encode_nearest if rounding == "nearest" else _encode_stochastic
    if encode_rows(values.reshape(shape), passes, codes.reshape(shape)):
        refuse_non_finite(values)
    return codes


def to_real(codes: Numbers, code: Code, exponent: Whole) -> np.ndarray:
    """Real values of ``codes`` with ``exponent``, an integer or an array that broadcasts to their shape: float32, exact.

    Raises TypeError for codes of another type, ValueError for codes that do not exist and exponents outside -64 ... 63.
    """
    codes = np.ascontiguousarray(code.check(codes))
    exponents, row_length = _rows(exponent, codes.shape)
    real = np.empty(codes.shape, np.float32)
    shape = (len(exponents), row_length)
    scales = np.ldexp(np.float32(1), code.unit(exponents))
    _look_up(codes.reshape(shape), code.table.astype(np.float32), scales, real.reshape(shape))
    return real


def represent(
    values: np.ndarray, code: CodeFormat, exponent: int, rounding: str = "nearest", seed: int = 0, first_index: int = 0
) -> np.ndarray:
    """`to_real` of the codes of ``values`` in their own type, in one pass. Finite values only; NaN and infinity saturate."""
    real = np.empty_like(values, order="C")
    flat, result = np.ascontiguousarray(values).reshape(-1), real.reshape(-1)
    if rounding == "stochastic":
        passes = _passes(code, np.array([exponent]), values.dtype.type, seed, first_index)
        _represent_stochastic(flat, passes, np.empty(AT_ONCE, np.uint32), result)
    else:
        _represent_nearest(flat, _additions(code, exponent, values.dtype), result)
    return real


def decode(codes: Numbers, code: Code) -> np.ndarray:
    """The integers of ``codes``, int64, in the unit ``code.unit(exponent)``. Raises TypeError and ValueError as `to_real` does."""
    return code.table[code.check(codes)]


def encode_integers(v: Whole, unit: Whole, code: Code, exponent: Whole) -> np.ndarray:
    """Codes with ``exponent`` of the integers ``v`` of ``unit``; the three broadcast. Nearest, ties to even; |v| < 2^63."""
    magnitude = np.abs(np.asarray(v, np.int64))
    shift = code.unit(np.asarray(exponent, np.int64)) - np.asarray(unit, np.int64)
    if isinstance(code, SquareFormat):
        return codes_of_integers(np.asarray(v, np.int64), shift, code)
    if isinstance(code, TableFormat):
        return code.signed(_index_of_integers(magnitude, shift, code), np.asarray(v) < 0)
    bits, full = code.magnitude_bits, 2**code.magnitude_bits
    segment = np.where(magnitude > 0, np.clip((bit_length(magnitude) - shift - 1) // bits, 0, code.segments - 1), 0)
    m = round_clip(magnitude, shift + bits * segment, full)
    carry = np.where(segment < code.segments - 1, 1, -1)
    body = (segment << bits) + m + carry * (m == full)
    sign = (np.asarray(v) < 0) & (body > 0)
    return (body + (sign.astype(np.int64) << code.bits - 1)).astype(code.dtype)


def _index_of_integers(magnitude: np.ndarray, shift: np.ndarray, code: TableFormat) -> np.ndarray:
    """Index of the magnitude of ``code`` nearest to ``magnitude`` / 2^shift, half way an even one."""
    saturates = magnitude > code.greatest >> np.clip(-shift, 0, 62)
    magnitude = np.where(saturates & (shift < 0), code.greatest >> np.clip(-shift, 0, 62), magnitude)
    right = np.clip(shift - 1, 0, 63)
    twice = np.where(shift > 0, magnitude >> right, magnitude << np.clip(1 - shift, 0, 62))
    is_exact = (shift <= 0) | (twice << right == magnitude)
    index = np.searchsorted(code.midpoints, twice)
    is_midpoint = (index < len(code.midpoints)) & (np.take(code.midpoints, index, mode="clip") == twice)
    index += is_midpoint & (~is_exact | (index % 2 == 1))
    return np.where(saturates & (shift < 0), len(code.midpoints), index)


def _encode_to_nearest(values: np.ndarray, code: TableFormat | SquareFormat, exponents: np.ndarray, rounding: str) -> np.ndarray:
    """Codes of real values, nearest. Raises ValueError for NaN, infinity and another rounding."""
    if rounding != "nearest":
        raise ValueError(f"{rounding} rounding: codes of a table, and of squares, are rounded to nearest")
    if not np.isfinite(values).all():
        refuse_non_finite(values)
    if isinstance(code, SquareFormat):
        return codes_of_reals(values, exponents, code)
    twice = np.ldexp(np.abs(values.astype(np.float64)), 1 - code.unit(exponents))
    index = np.searchsorted(code.midpoints, twice)
    is_midpoint = (index < len(code.midpoints)) & (np.take(code.midpoints, index, mode="clip") == twice)
    return code.signed(index + (is_midpoint & (index % 2 == 1)), values < 0)


def as_real(values: npt.ArrayLike) -> np.ndarray:
    """``values`` as they are if float32, else as float64."""
    values = np.asarray(values)
    return values if values.dtype == np.float32 else values.astype(np.float64, copy=False)


def refuse_non_finite(values: np.ndarray) -> None:
    """Raise a ValueError that names the first of ``values`` that is NaN or infinite, and its place."""
    place = np.unravel_index(np.flatnonzero(~np.isfinite(values))[0], values.shape)
    where = f" at {[int(i) for i in place]}" if place else ""
    raise ValueError(f"{values[place]}{where} has no code: values must be finite")


def _rows(exponent: Whole, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """An array of ``shape`` as rows of equal exponents, as long as they can be: the exponent of each, and the length of a row."""
    exponent = np.asarray(exponent, np.int64)
    if exponent.size and not LEAST_EXPONENT <= exponent.min() <= exponent.max() <= GREATEST_EXPONENT:
        raise ValueError(f"exponents {exponent.min()} ... {exponent.max()}: allowed: {LEAST_EXPONENT} ... {GREATEST_EXPONENT}")
    np.broadcast_to(exponent, shape)
    steps = (1,) * (len(shape) - exponent.ndim) + exponent.shape
    leading = max((axis + 1 for axis, size in enumerate(steps) if size > 1), default=0)
    rows = np.broadcast_to(exponent.reshape(steps[:leading]), shape[:leading])
    return np.ascontiguousarray(rows.reshape(-1)), prod(shape[leading:])


def _passes(code: CodeFormat, exponents: np.ndarray, real: type, seed: int, first_index: int) -> Passes:
    information = np.finfo(real)
    bits, segments = code.magnitude_bits, np.arange(code.segments)
    return Passes(
        scales=np.ldexp(real(1), -code.unit(exponents)),
        steps=np.ldexp(real(1), -bits * segments),
        thresholds=(segments > 0).astype(real),
        codes=(segments << bits).astype(np.int32),
        carries=np.where(segments < code.segments - 1, 1, -1).astype(np.int32),
        full=np.int32(2**bits),
        sign=np.int32(2 ** (code.bits - 1)),
        saturation=real(2**bits),
        rounding=real(1.5 * 2**information.nmant),
        finite=information.max,
        seed=seed,
        first_index=first_index,
    )


def greatest_magnitude(values: np.ndarray) -> float:
    """max |x| of float32 ``values``, 0 of none; NaN if there is one, else infinity: their bits without the sign rise with them."""
    bits = _greatest(np.ascontiguousarray(values).reshape(-1).view(np.int32))
    return float(np.int32(bits).view(np.float32))


@entry
def _greatest(bits: Numbers) -> np.int32:
    greatest = np.int32(0)
    for i in range(len(bits)):
        magnitude = bits[i] & np.int32(2**31 - 1)
        greatest = magnitude if magnitude > greatest else greatest
    return greatest


class Additions(NamedTuple):
    """What rounds values to nearest, in their type: adding ``shifts`` [segments] to a magnitude of at least ``thresholds`` [segments]
    leaves no fraction of its segment's step, ties to even. ``limit``: the greatest value."""

    thresholds: np.ndarray
    shifts: np.ndarray
    limit: np.floating


@lru_cache(maxsize=1024)
def _additions(code: CodeFormat, exponent: int, dtype: np.dtype) -> Additions:
    starts = code.unit(exponent) + code.magnitude_bits * np.arange(code.segments)
    real, mantissa = dtype.type, np.finfo(dtype).nmant
    thresholds = np.ldexp(real(1), starts)
    return Additions(thresholds, thresholds * real(1.5 * 2**mantissa), real(ldexp(code.greatest, code.unit(exponent))))


@kernel
def _nearest(steps: float, passes: Passes, index: int) -> np.int32:
    return np.int32(steps + passes.rounding - passes.rounding)


@kernel
def _stochastic(steps: float, passes: Passes, index: int) -> np.int32:
    below = np.int32(steps)
    threshold = random_word(passes.seed, passes.first_index + index) * 2.0**-32
    return below + np.int32(np.float64(steps) - below > threshold)


@kernel
def _encode_rows(round_steps: Callable[[float, Passes, int], np.int32], values: Numbers, passes: Passes, codes: Numbers) -> bool:
    """Whether one of ``values`` [rows, row length] is not finite; else ``codes`` is filled."""
    n_not_finite = 0
    for row in range(values.shape[0]):
        row_values, row_codes = values[row], codes[row]
        for i in range(len(row_values)):
            n_not_finite += not abs(row_values[i]) <= passes.finite
        for segment in range(len(passes.steps)):
            scale, threshold = passes.scales[row] * passes.steps[segment], passes.thresholds[segment]
            limit = passes.saturation / scale
            base, carry = passes.codes[segment], passes.carries[segment]
            for i in range(len(row_values)):
                value = row_values[i]
                steps = (abs(value) if abs(value) < limit else limit) * scale
                magnitude = round_steps(steps, passes, row * len(row_values) + i)
                code = base + magnitude + (carry if magnitude == passes.full else np.int32(0))
                code += passes.sign if (value < 0) & (code > 0) else np.int32(0)
                row_codes[i] = code if steps >= threshold else row_codes[i]
    return n_not_finite > 0


@procedure
def _encode_nearest(values: Numbers, passes: Passes, codes: Numbers) -> bool:
    return _encode_rows(_nearest, values, passes, codes)


@procedure
def _encode_stochastic(values: Numbers, passes: Passes, codes: Numbers) -> bool:
    return _encode_rows(_stochastic, values, passes, codes)


@entry
def _represent_nearest(values: Numbers, additions: Additions, real: Numbers) -> None:
    """``real`` = the values that the codes of ``values`` stand for. What is added waits in ``real``, a part at a time that stays in a
    processor's cache: loops without branches, whatever the number of segments."""
    shifts, thresholds, limit = additions.shifts, additions.thresholds, additions.limit
    for start in range(0, len(values), AT_ONCE):
        stop = min(start + AT_ONCE, len(values))
        for i in range(start, stop):
            real[i] = shifts[0]
        for segment in range(1, len(shifts)):
            threshold, shift = thresholds[segment], shifts[segment]
            for i in range(start, stop):
                real[i] = shift if abs(values[i]) >= threshold else real[i]
        for i in range(start, stop):
            rounded = (values[i] + real[i]) - real[i]
            rounded = rounded if rounded < limit else limit
            real[i] = rounded if rounded > -limit else -limit


@entry
def _represent_stochastic(values: Numbers, passes: Passes, words: Numbers, real: Numbers) -> None:
    """``real`` = the values that the codes of ``values`` stand for. The last segment that a value reaches is its own; its steps are
    exact. A part at a time, ``words`` long, in loops without branches: its random words, the scale of each value's steps, which waits in
    ``real``, and the values."""
    scale, last = passes.scales[0], len(passes.steps) - 1
    limit = passes.saturation / (scale * passes.steps[last])
    for start in range(0, len(values), len(words)):
        stop = min(start + len(words), len(values))
        for i in range(start, stop):
            words[i - start] = np.uint32(random_word(passes.seed, passes.first_index + i))
            real[i] = passes.steps[0]
        for segment in range(1, last + 1):
            step, threshold = passes.steps[segment], passes.thresholds[segment]
            for i in range(start, stop):
                units = (abs(values[i]) if abs(values[i]) < limit else limit) * scale
                real[i] = step if units * step >= threshold else real[i]
        for i in range(start, stop):
            step = real[i]
            steps = (abs(values[i]) if abs(values[i]) < limit else limit) * scale * step
            below = np.int32(steps)
            magnitude = below + np.int32(np.float64(steps) - below > words[i - start] * 2.0**-32)
            magnitude -= np.int32((magnitude == passes.full) & (step == passes.steps[last]))
            rounded = magnitude / (step * scale)
            real[i] = -rounded if (values[i] < 0) & (magnitude > 0) else rounded


@entry
def _look_up(codes: Numbers, table: Numbers, scales: Numbers, real: Numbers) -> None:
    """``real`` [rows, row length] = the entries of ``table`` for ``codes``, times the row's scale."""
    for row in range(codes.shape[0]):
        row_codes, row_real, scale = codes[row], real[row], scales[row]
        for i in range(len(row_codes)):
            row_real[i] = table[row_codes[i]] * scale
