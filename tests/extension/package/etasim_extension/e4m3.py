"""A data format: the 8-bit floating point numbers E4M3 of the Open Compute Project ("8-bit floating point specification", 2023), with an
exponent that a tensor shares. A code's magnitude is m 2^-9 below 2^-6, and (8 + m) 2^(e - 10) for its exponent field e and mantissa m;
the last one, which is NaN there, does not exist."""

from etasim.core.registry import DATA_FORMATS
from etasim.numerics.format import DataFormat, TableFormat

SUBNORMAL = range(8)
NORMAL = ((8 + m) << (e - 1) for e in range(1, 16) for m in range(8))

E4M3 = TableFormat(8, (*SUBNORMAL, *NORMAL)[:-1])

DATA_FORMATS.add("e4m3", DataFormat("e4m3", E4M3))
