"""Products of codes as the PE forms them, and their sums in an accumulator of finite width."""

import numpy as np

from etasim.core.arrays import Numbers
from etasim.numerics.codec import decode
from etasim.numerics.format import Code, CodeFormat


def multiply(codes_a: Numbers, codes_b: Numbers, format_a: Code, format_b: Code) -> np.ndarray:
    """Integers of the products of two arrays of codes that broadcast; int64, in the sum of the units of both.

    The product of the magnitudes, shifted by M for each segment of each code (0, M or 2M with two segments), with the sign of both: a small
    multiplier with an alignment shifter. Of codes of a table the integers are multiplied. Raises TypeError and ValueError for codes that
    are not of their format, ValueError for formats whose products leave int64.
    """
    if format_a.greatest * format_b.greatest >= 2**63:
        raise ValueError("the product of the greatest integers of both formats has more than 63 bits")
    if not (isinstance(format_a, CodeFormat) and isinstance(format_b, CodeFormat)):
        return decode(codes_a, format_a) * decode(codes_b, format_b)
    sign_a, segment_a, magnitude_a = format_a.fields(format_a.check(codes_a))
    sign_b, segment_b, magnitude_b = format_b.fields(format_b.check(codes_b))
    shift = format_a.magnitude_bits * segment_a + format_b.magnitude_bits * segment_b
    aligned = magnitude_a * magnitude_b << shift
    return np.where(sign_a ^ sign_b, -aligned, aligned)


def accumulate(products: Numbers, axis: int = -1, bits: int = 48) -> np.ndarray:
    """Exact sums of int64 ``products`` along ``axis``, in order, in a two's complement accumulator of ``bits`` (2 ... 63) bits.

    Raises OverflowError with the place of the first running sum that leaves the accumulator's range.
    """
    if not 2 <= bits <= 63:
        raise ValueError(f"an accumulator of {bits} bits: allowed: 2 ... 63")
    products = np.moveaxis(np.asarray(products, np.int64), axis, -1)
    limit = 2 ** (bits - 1)
    greatest = max(int(products.max(initial=0)), -int(products.min(initial=0)))
    if greatest * products.shape[-1] < limit:
        return products.sum(-1)
    running = np.cumsum(products, -1)  # wraps at 64 bits, but the first sum that leaves a narrower range still leaves it
    outside = (running < -limit) | (running >= limit)
    if outside.any():
        *place, term = (int(i) for i in np.argwhere(outside)[0])
        raise OverflowError(f"sum {place} leaves {bits} bits at term {term}")
    return running[..., -1]
