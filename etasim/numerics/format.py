"""Data formats as data: the piecewise integer code and its special cases, and the formats that have a name."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

BITS = range(2, 17)
GREATEST_SPAN_BITS = 31
LEAST_EXPONENT, GREATEST_EXPONENT = -64, 63
"""Range of an exponent that tensors, channels or samples share."""


@dataclass(frozen=True)
class CodeFormat:
    """Sign, segment and magnitude in ``bits`` bits, with one exponent E that many values share.

    - Layout, from the most significant bit: sign (1 bit), segment (ceil(log2 segments) bits), magnitude m (M bits, the rest).
    - A code stands for the integer +-m * 2^(M * segment) in the unit E - segments * M (i stands for i * 2^unit).
    - Range: +-2^E * (1 - 2^-M); zero has the code 0. Step: 2^(M * segment) units.
    - Error of a value x rounded to nearest: at most half a step of its segment. Relative to x it is greatest at the low end of a segment,
      where m is small: at most 1/3 for 2^unit <= |x| <= 2^E, reached at x = 3/2 * 2^(M * segment) units, midway between m = 1 and 2.
      With M = 1 it is 1/2, where 2^E saturates. Smaller values become 0 or one unit, with an error of up to 100 %.

    ``segments`` = 1 is block floating point. Any two integers multiply within int64, because segments * M is at most 31.
    Raises ValueError for a format that has no magnitude bit or a wider span.
    """

    bits: int = 8
    segments: int = 2

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise ValueError(f"{self.bits} bits: allowed: {BITS.start} ... {BITS.stop - 1}")
        if self.segments < 1 or self.magnitude_bits < 1:
            raise ValueError(f"{self.segments} segments in {self.bits} bits: at least 1 segment and 1 bit of magnitude")
        if self.span_bits > GREATEST_SPAN_BITS:
            raise ValueError(f"{self.segments} segments of {self.magnitude_bits} bits span {self.span_bits}: at most {GREATEST_SPAN_BITS}")

    @property
    def magnitude_bits(self) -> int:
        """M."""
        return self.bits - 1 - (self.segments - 1).bit_length()

    @property
    def span_bits(self) -> int:
        """From the unit to 2^E."""
        return self.segments * self.magnitude_bits

    @property
    def greatest(self) -> int:
        """Greatest integer of a code."""
        return (2**self.magnitude_bits - 1) << self.magnitude_bits * (self.segments - 1)

    @property
    def dtype(self) -> np.dtype:
        """Type of an array of codes."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    def unit(self, exponent: Any) -> Any:
        """The unit of codes with ``exponent``: an integer, an array or a tensor."""
        return exponent - self.span_bits

    @cached_property
    def table(self) -> np.ndarray:
        """The integer of each code, int64 [2^bits]; 0 for codes of segments that do not exist."""
        sign, segment, magnitude = self.fields(np.arange(2**self.bits))
        integers = (1 - 2 * sign) * (magnitude << self.magnitude_bits * np.minimum(segment, self.segments - 1))
        integers[segment >= self.segments] = 0
        integers.flags.writeable = False
        return integers

    def fields(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sign (1: negative), segment and magnitude of ``codes``, int64."""
        codes = np.asarray(codes).astype(np.int64)
        body = codes & (2 ** (self.bits - 1) - 1)
        return codes >> (self.bits - 1), body >> self.magnitude_bits, body & (2**self.magnitude_bits - 1)

    def check(self, codes: np.ndarray) -> np.ndarray:
        """``codes`` as an array of this format's type. Raises TypeError for another type, ValueError for a code that does not exist."""
        codes = np.asarray(codes)
        if codes.dtype != self.dtype:
            raise TypeError(f"codes of type {codes.dtype}: {self.bits}-bit codes have type {self.dtype}")
        if codes.size and (self.bits not in (8, 16) or self.segments.bit_count() != 1):
            exists = (codes < 2**self.bits) & (self.fields(codes)[1] < self.segments)
            if not exists.all():
                raise ValueError(f"code {int(codes[~exists].flat[0])} does not exist in {self}")
        return codes


class DataFormat(NamedTuple):
    """A format by ``name``: ``code`` is None where values stay floating point; ``tracked``: the exponent follows the values over time
    (`etasim.numerics.quantization.TrackedExponent`) instead of being that of the greatest value."""

    name: str
    code: CodeFormat | None
    tracked: bool


class Family(NamedTuple):
    """Formats that differ in their bits only: ``description``, ``segments``, ``tracked``."""

    description: str
    segments: int
    tracked: bool

    @property
    def least_bits(self) -> int:
        """Fewest bits that leave one of magnitude."""
        return 2 + (self.segments - 1).bit_length()


FAMILIES = {
    "pint": Family("piecewise integer", segments=2, tracked=False),
    "bfp": Family("block floating point", segments=1, tracked=False),
    "dfx": Family("dynamic fixed point", segments=1, tracked=True),
}

UNQUANTIZED = DataFormat("fp32", None, tracked=False)


def data_format(name: str) -> DataFormat:
    """The format called ``name``: a family with its bits (``pint8``, ``bfp6``, ``dfx16``), or ``fp32``, which leaves values as they are.

    Raises ValueError that lists the known names.
    """
    if name == UNQUANTIZED.name:
        return UNQUANTIZED
    match = re.fullmatch(r"([a-z]+)([1-9]\d*)", name)
    family = FAMILIES.get(match[1]) if match else None
    if match is None or family is None or not family.least_bits <= int(match[2]) < BITS.stop:
        known = [f"{key}{family.least_bits} ... {key}{BITS.stop - 1} ({family.description})" for key, family in FAMILIES.items()]
        raise ValueError(f"unknown data format {name!r}; allowed: {', '.join(known)}, {UNQUANTIZED.name} (not quantized)")
    return DataFormat(name, CodeFormat(int(match[2]), family.segments), family.tracked)
