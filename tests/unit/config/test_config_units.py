"""Quantities with units: exact values, and messages that say what is allowed."""

from fractions import Fraction

import pytest

from etasim.config.units import UNITS, format_quantity, format_size, parse_quantity


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("200 MHz", "frequency", 200_000_000),
        ("200MHz", "frequency", 200_000_000),
        ("933.333 MHz", "frequency", 933_333_000),
        ("2800/3 MHz", "frequency", Fraction(2_800_000_000, 3)),
        ("512 KiB", "size", 524_288),
        ("1 MB", "size", 1_000_000),
        ("1 MiB", "size", 1_048_576),
        ("64 B", "size", 64),
        ("48 bit", "width", 48),
        ("12.8 GB/s", "bandwidth", 12_800_000_000),
        ("1.25 ns", "time", Fraction(5, 4 * 10**9)),
        ("1.35 V", "voltage", Fraction(27, 20)),
    ],
)
def test_value_is_exact(text, kind, value):
    assert parse_quantity(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        (200, "frequency", ("no unit", "MHz")),
        (2.5, "frequency", ("no unit",)),
        ("200", "frequency", ("no unit", "Hz, kHz, MHz, GHz")),
        ("200 MHZ", "frequency", ("not a unit", "did you mean 'MHz'")),
        ("64 KB", "size", ("not a unit", "KiB", "did you mean")),
        ("200 MHz", "size", ("not a unit of a size",)),
        ("-5 MHz", "frequency", ("greater than zero",)),
        ("0 B", "size", ("greater than zero",)),
        ("3/0 MHz", "frequency", ("divides by zero",)),
        ("fast", "frequency", ("not a frequency", "such as '200 MHz'")),
        (True, "size", ("not a size",)),
        (None, "width", ("not a width",)),
        ("1e9 Hz", "frequency", ("not a unit",)),
        ("9" * 400 + " Hz", "frequency", ("frequency",)),
    ],
)
def test_refusal_says_what_is_allowed(text, kind, parts):
    with pytest.raises(ValueError, match=r"allowed units|zero") as caught:
        parse_quantity(text, kind)
    assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize("value", [Fraction(933_333_000), Fraction(2_800_000_000, 3), Fraction(1), Fraction(1, 7), Fraction(250_000_000)])
@pytest.mark.parametrize("unit", sorted(UNITS["frequency"]))
def test_text_reads_back(value, unit):
    assert parse_quantity(format_quantity(value, "frequency", unit), "frequency") == value


@pytest.mark.parametrize(("size_bytes", "text"), [(64, "64 B"), (1024, "1 KiB"), (1536, "1536 B"), (2**20, "1 MiB"), (3 * 2**30, "3 GiB")])
def test_size_takes_the_largest_binary_unit(size_bytes, text):
    assert format_size(size_bytes) == text
