"""Quantities: exact values with a unit in the YAML, plain numbers in one base unit in Python.

MB is 10^6 bytes, MiB is 2^20 bytes. Values are exact: ``2800/3 MHz`` is the clock of DDR3-1866.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, NamedTuple

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from etasim.config.errors import suggest

_NUMBER = re.compile(r"\s*([+-]?)([0-9]{1,40}(?:\.[0-9]{1,40})?)(?:/([0-9]{1,40}))?\s*(.*?)\s*", re.DOTALL)

UNITS: dict[str, dict[str, Fraction]] = {
    "frequency": {unit: Fraction(factor) for unit, factor in {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}.items()},
    "size": {
        unit: Fraction(factor)
        for unit, factor in {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}.items()
    },
    "width": {"bit": Fraction(1)},
    "bandwidth": {"B/s": Fraction(1), "MB/s": Fraction(10**6), "GB/s": Fraction(10**9)},
    "time": {unit: Fraction(1, factor) for unit, factor in {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12}.items()},
    "voltage": {"V": Fraction(1), "mV": Fraction(1, 1000)},
    "power": {"W": Fraction(1), "mW": Fraction(1, 1000)},
    "energy": {unit: Fraction(1, factor) for unit, factor in {"J": 1, "nJ": 10**9, "pJ": 10**12, "fJ": 10**15}.items()},
}
"""Units of each kind of quantity, as multiples of the base unit (Hz, B, bit, B/s, s, V, W, J)."""

BOUNDS = {
    "frequency": (Fraction(1), Fraction(10**12)), "voltage": (Fraction(1, 10**6), Fraction(10**3)),
    "energy": (Fraction(1, 10**24), Fraction(1)), "power": (Fraction(1, 10**12), Fraction(10**6)),
    "bandwidth": (Fraction(1), Fraction(10**15)), "time": (Fraction(1, 10**15), Fraction(1)),
}  # fmt: skip
"""The least and the largest value of exact quantities in the base unit: far beyond any machine, and safe as floats."""

EXAMPLES = {
    "frequency": "'200 MHz' or '2800/3 MHz'",
    "size": "'16 KiB' or '64 B'",
    "width": "'8 bit'",
    "bandwidth": "'12.8 GB/s'",
    "time": "'1.25 ns'",
    "voltage": "'1.35 V'",
    "power": "'1.5 W'",
    "energy": "'2.5 pJ'",
}


def parse_quantity(text: object, kind: str) -> Fraction:
    """Exact positive value of ``text`` in the base unit of ``kind`` (a key of ``UNITS``).

    Raises ValueError that says what is wrong and which units are allowed.
    """
    units = UNITS[kind]
    allowed = f"a {kind} is a number with a unit, such as {EXAMPLES[kind]}; allowed units: {', '.join(units)}"
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise ValueError(f"{text!r} has no unit; {allowed}")
    match = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{_short(text)} is not a {kind}; {allowed}")
    sign, number, divisor, unit = match.groups()
    if not unit:
        raise ValueError(f"{_short(text)} has no unit; {allowed}")
    if unit not in units:
        close = suggest(unit, units)
        raise ValueError(f"{_short(unit)} is not a unit of a {kind}; {allowed}" + (f"; did you mean {close!r}?" if close else ""))
    if divisor is not None and int(divisor) == 0:
        raise ValueError(f"{_short(text)} divides by zero")
    value = Fraction(number) / int(divisor or 1) * units[unit]
    if sign == "-" or value == 0:
        raise ValueError(f"must be greater than zero, got {_short(text)}")
    return value


def format_quantity(value: Fraction | int, kind: str, unit: str) -> str:
    """``value`` (in the base unit of ``kind``) as exact text in ``unit``, which ``parse_quantity`` reads back."""
    return f"{_exact(Fraction(value) / UNITS[kind][unit])} {unit}"


def format_size(size_bytes: int) -> str:
    """A size in the largest binary unit that divides it."""
    unit = next(unit for unit in ("GiB", "MiB", "KiB", "B") if size_bytes % UNITS["size"][unit] == 0)
    return format_quantity(size_bytes, "size", unit)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _exact(value: Fraction) -> str:
    """A decimal number where one is exact, else a ratio."""
    if value.denominator == 1:
        return str(value.numerator)
    for digits in range(1, 10):
        scaled = value * 10**digits
        if scaled.denominator == 1:
            whole, rest = divmod(scaled.numerator, 10**digits)
            return f"{whole}.{rest:0{digits}d}"
    return f"{value.numerator}/{value.denominator}"


class Quantity(NamedTuple):
    """Which kind of quantity a type is, for documentation; ``most`` in the base unit if it is a whole number."""

    kind: str
    most: int | None = None


LARGEST_SIZE_BYTES = 2**40
WIDEST_BITS = 2**16


def _validator(kind: str) -> Callable[[object], Fraction]:
    def validate(value: object) -> Fraction:
        try:
            quantity = parse_quantity(value, kind)
        except ValueError as error:
            raise PydanticCustomError("quantity", "{reason}", {"reason": str(error)}) from None
        if kind in BOUNDS and not BOUNDS[kind][0] <= quantity <= BOUNDS[kind][1]:
            least, most = (f"{float(bound):g} {next(iter(UNITS[kind]))}" for bound in BOUNDS[kind])
            raise PydanticCustomError("quantity", "{reason}", {"reason": f"must be from {least} to {most}, got {_short(value)}"})
        return quantity

    return validate


def _whole(kind: str, largest: int) -> Callable[[object], int]:
    validate_fraction = _validator(kind)

    def validate(value: object) -> int:
        number = validate_fraction(value)
        base = next(iter(UNITS[kind]))
        if number.denominator != 1:
            raise PydanticCustomError("quantity", "{reason}", {"reason": f"must be a whole number of {base}, got {_short(value)}"})
        if number > largest:
            raise PydanticCustomError("quantity", "{reason}", {"reason": f"must be at most {largest} {base}, got {_short(value)}"})
        return int(number)

    return validate


def _reads(kind: str) -> PlainValidator:
    return PlainValidator(_validator(kind))


def _writes(kind: str, unit: str) -> PlainSerializer:
    return PlainSerializer(lambda value: format_quantity(value, kind, unit))


Frequency = Annotated[Fraction, Quantity("frequency"), _reads("frequency"), _writes("frequency", "MHz")]
Voltage = Annotated[Fraction, Quantity("voltage"), _reads("voltage"), _writes("voltage", "V")]
Energy = Annotated[Fraction, Quantity("energy"), _reads("energy"), _writes("energy", "pJ")]
Power = Annotated[Fraction, Quantity("power"), _reads("power"), _writes("power", "W")]
Bandwidth = Annotated[Fraction, Quantity("bandwidth"), _reads("bandwidth"), _writes("bandwidth", "MB/s")]
Time = Annotated[Fraction, Quantity("time"), _reads("time"), _writes("time", "ns")]
Size = Annotated[
    int, Quantity("size", LARGEST_SIZE_BYTES), PlainValidator(_whole("size", LARGEST_SIZE_BYTES)), PlainSerializer(format_size)
]  # fmt: skip
Width = Annotated[int, Quantity("width", WIDEST_BITS), PlainValidator(_whole("width", WIDEST_BITS)), _writes("width", "bit")]
