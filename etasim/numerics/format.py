"""Data formats as data: what a code stands for, and the formats that have a name."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from etasim.core.registry import DATA_FORMATS, ETASIM, UnknownNameError, suggest
from etasim.numerics.element import E2M1, E2M3, E3M2, E4M3, E5M2, INT8, BlockFormat, Element

BITS = range(2, 17)
GREATEST_SPAN_BITS, GREATEST_TABLE_SPAN_BITS = 31, 32
"""Of segments, and of tables: E5M2 spans 32 from its least subnormal number."""
LEAST_EXPONENT, GREATEST_EXPONENT = -64, 63
"""Range of an exponent that tensors, channels or samples share."""


class Codes(ABC):
    """Codes of ``bits`` bits, the most significant of them the sign, that share an exponent E: a code stands for an integer of the unit
    E - ``span_bits``, at most ``greatest`` < 2^``span_bits`` in magnitude."""

    bits: int

    @property
    @abstractmethod
    def span_bits(self) -> int:
        """From the unit to 2^E."""

    @property
    @abstractmethod
    def greatest(self) -> int:
        """Greatest integer of a code."""

    @property
    @abstractmethod
    def is_full(self) -> bool:
        """Whether each value of ``dtype`` is a code."""

    @abstractmethod
    def exists(self, codes: np.ndarray) -> np.ndarray:
        """Whether each of ``codes``, of ``dtype``, is one."""

    @property
    def dtype(self) -> np.dtype:
        """Type of an array of codes."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    def unit(self, exponent: Any) -> Any:
        """The unit of codes with ``exponent`` (an integer or an array)."""
        return exponent - self.span_bits

    def check(self, codes: np.ndarray) -> np.ndarray:
        """``codes`` as an array of this format's type. Raises TypeError for another type, ValueError for a code that does not exist."""
        codes = np.asarray(codes)
        if codes.dtype != self.dtype:
            raise TypeError(f"codes of type {codes.dtype}: {self.bits}-bit codes have type {self.dtype}")
        if codes.size and not self.is_full and not (exists := self.exists(codes)).all():
            raise ValueError(f"code {int(codes[~exists].flat[0])} does not exist in {self}")
        return codes


def _refuse_bits(bits: int) -> None:
    if bits not in BITS:
        raise ValueError(f"{bits} bits: allowed: {BITS.start} ... {BITS.stop - 1}")


@dataclass(frozen=True)
class CodeFormat(Codes):
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
        _refuse_bits(self.bits)
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

    @property
    def is_full(self) -> bool:
        """Whether each value of ``dtype`` is a code."""
        return self.bits in (8, 16) and self.segments.bit_count() == 1

    def exists(self, codes: np.ndarray) -> np.ndarray:
        """Whether each of ``codes``, of ``dtype``, is one."""
        return (codes < 2**self.bits) & (self.fields(codes)[1] < self.segments)


@dataclass(frozen=True)
class TableFormat(Codes):
    """Codes that stand for the integers of a table: code i without its sign for ``magnitudes[i]``, which begin with 0 and rise.

    A value is rounded to the nearest of them, half way to the one whose code is even, and saturates. Raises ValueError for magnitudes that
    do not rise from 0, are more than the codes, or have more than 32 bits.
    """

    bits: int
    magnitudes: tuple[int, ...]

    def __post_init__(self) -> None:
        _refuse_bits(self.bits)
        if not 2 <= len(self.magnitudes) <= 2 ** (self.bits - 1):
            raise ValueError(f"{len(self.magnitudes)} magnitudes: {self.bits} bits have codes for 2 ... {2 ** (self.bits - 1)}")
        if self.magnitudes[0] != 0 or (np.diff(self.magnitudes) <= 0).any() or self.span_bits > GREATEST_TABLE_SPAN_BITS:
            raise ValueError(f"magnitudes must rise from 0 and have at most {GREATEST_TABLE_SPAN_BITS} bits")

    @property
    def span_bits(self) -> int:
        """From the unit to 2^E."""
        return self.greatest.bit_length()

    @property
    def greatest(self) -> int:
        """Greatest integer of a code."""
        return self.magnitudes[-1]

    @cached_property
    def table(self) -> np.ndarray:
        """The integer of each code, int64 [2^bits]; 0 for codes that do not exist."""
        positive = np.zeros(2 ** (self.bits - 1), np.int64)
        positive[: len(self.magnitudes)] = self.magnitudes
        integers = np.concatenate((positive, -positive))
        integers.flags.writeable = False
        return integers

    @cached_property
    def midpoints(self) -> np.ndarray:
        """Twice the values half way between magnitudes that follow each other, int64 [magnitudes - 1]."""
        return np.add(self.magnitudes[:-1], self.magnitudes[1:], dtype=np.int64)

    @property
    def is_full(self) -> bool:
        """Whether each value of ``dtype`` is a code."""
        return self.bits in (8, 16) and len(self.magnitudes) == 2 ** (self.bits - 1)

    def exists(self, codes: np.ndarray) -> np.ndarray:
        """Whether each of ``codes``, of ``dtype``, is one."""
        return (codes < 2**self.bits) & (codes & 2 ** (self.bits - 1) - 1 < len(self.magnitudes))

    def signed(self, index: np.ndarray, is_negative: np.ndarray) -> np.ndarray:
        """Codes of the magnitudes ``index``, negative ones where they are not zero."""
        return (index | ((is_negative & (index > 0)).astype(np.int64) << self.bits - 1)).astype(self.dtype)


SQUARE_SIDE = 8
"""Values along each axis of a square that share a scale."""
WAITING_BITS = 16
"""Of a value before the scale of its square is known."""
ELEMENT_BITS = 8


@dataclass(frozen=True)
class SquareFormat(Codes):
    """8-bit integers that share a power of two in squares of 8 x 8 values along two ``axes`` of an array.

    A value waits as an integer of 16 bits in the unit E - 15. A square's shift is the least that leaves its greatest value 7 bits and a
    sign; each value is rounded to a multiple of 2^shift, ties to even, and limited to 127 of them: MXINT8's rule, whose scale is
    2^(E - 9 + shift), with 9 scales. A code is the 8-bit integer with the shift of its square above it.
    """

    axes: tuple[int, int]
    bits: int = field(default=16, init=False)

    @property
    def span_bits(self) -> int:
        """From the unit to 2^E."""
        return WAITING_BITS - 1

    @property
    def greatest_shift(self) -> int:
        """Of the square whose greatest value is 2^E."""
        return WAITING_BITS - ELEMENT_BITS

    @property
    def greatest(self) -> int:
        """Greatest integer of a code."""
        return (2 ** (ELEMENT_BITS - 1) - 1) << self.greatest_shift

    @cached_property
    def table(self) -> np.ndarray:
        """The integer of each code, int64 [2^bits]; 0 for codes that do not exist."""
        codes = np.arange(2**self.bits)
        integers = (codes & 255).astype(np.int8).astype(np.int64) << np.minimum(codes >> ELEMENT_BITS, self.greatest_shift)
        integers[~self.exists(codes)] = 0
        integers.flags.writeable = False
        return integers

    @property
    def is_full(self) -> bool:
        """Whether each value of ``dtype`` is a code."""
        return False

    def exists(self, codes: np.ndarray) -> np.ndarray:
        """Whether each of ``codes``, of ``dtype``, is one."""
        return (codes >> ELEMENT_BITS <= self.greatest_shift) & (codes & 255 != 2 ** (ELEMENT_BITS - 1))


TensorCode = CodeFormat | TableFormat
"""With an exponent for a whole tensor alone."""
Code = TensorCode | SquareFormat


class DataFormat(NamedTuple):
    """A format by ``name``: what values are rounded to.

    ``code`` with a shared exponent, or ``uniform_bits``-bit integers times a real scale, the greatest value over the greatest integer;
    or values in blocks that share a scale (``block``; where all of a tensor do, ``code`` too, which takes exponents as the machine finds
    them); none of them: values stay floating point. ``tracked``: the exponent follows the values over time
    (`etasim.numerics.quantization.TrackedExponent`) instead of being that of the greatest value.
    """

    name: str
    code: TensorCode | None
    tracked: bool = False
    uniform_bits: int | None = None
    block: BlockFormat | None = None

    @property
    def rounds(self) -> bool:
        """Whether values change."""
        return self.code is not None or self.uniform_bits is not None or self.block is not None

    @property
    def code_bits(self) -> int | None:
        """Of a code, without scales; None: there are no codes."""
        if self.code is not None:
            return self.code.bits
        return self.block.element.bits if self.block is not None else self.uniform_bits

    @property
    def values_of_scale(self) -> int | None:
        """Values along an axis that share a scale; None: those of a tensor do, or there is none."""
        return self.block.block if self.block is not None else None


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

for _name, _family in FAMILIES.items():
    for _bits in range(_family.least_bits, BITS.stop):
        DATA_FORMATS.add(f"{_name}{_bits}", DataFormat(f"{_name}{_bits}", CodeFormat(_bits, _family.segments), _family.tracked))
for _bits in BITS:
    DATA_FORMATS.add(f"int{_bits}", DataFormat(f"int{_bits}", None, uniform_bits=_bits))
DATA_FORMATS.add("fp32", DataFormat("fp32", None))

BLOCK_FORMATS = {
    "mxint8": BlockFormat(INT8),
    "mxfp8_e4m3": BlockFormat(E4M3),
    "mxfp8_e5m2": BlockFormat(E5M2),
    "mxfp6_e3m2": BlockFormat(E3M2),
    "mxfp6_e2m3": BlockFormat(E2M3),
    "mxfp4": BlockFormat(E2M1),
    "fp8_e4m3": BlockFormat(E4M3, None),
    "fp8_e5m2": BlockFormat(E5M2, None),
}
"""Microscaling formats of the Open Compute Project: blocks of 32 values with a scale; and 8-bit floating point with a scale a tensor."""


def _table(element: Element) -> TableFormat:
    """A floating-point ``element`` as integers of its least magnitude: the same codes, but for -0."""
    finite = element.table[: 2 ** (element.bits - 1)]
    finite = finite[np.isfinite(finite)]
    return TableFormat(element.bits, tuple(int(magnitude) for magnitude in finite / finite[1]))


for _name, _block in BLOCK_FORMATS.items():
    DATA_FORMATS.add(_name, DataFormat(_name, _table(_block.element) if _block.block is None else None, block=_block))


def data_format(name: str) -> DataFormat:
    """The format called ``name``: a family with its bits (``pint8``, ``bfp6``, ``dfx16``, ``int8``), ``fp32``, or one of another package.

    Raises ValueError that lists the known names.
    """
    try:
        return DATA_FORMATS[name]
    except UnknownNameError:
        known = [f"{key}{family.least_bits} ... {key}{BITS.stop - 1} ({family.description})" for key, family in FAMILIES.items()]
        known += [f"int{BITS.start} ... int{BITS.stop - 1} (uniform, real scale)", *BLOCK_FORMATS, "fp32 (not quantized)"]
        known += [other for other in DATA_FORMATS if DATA_FORMATS.origin(other) != ETASIM]
        close = suggest(name, DATA_FORMATS)
        meant = f"; did you mean {close!r}?" if close else ""
        raise ValueError(f"unknown data format {name!r}; allowed: {', '.join(known)}{meant}") from None
