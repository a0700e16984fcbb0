"""Expressions of design-space files: their values are Python's, and nothing but arithmetic gets in."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etasim.explore.expression import ExpressionError, parse, plain, written

NAMES = {"array.lanes": 8, "core.clock": "240 MHz", "size": "16 KiB", "topology": "mesh", "unknown": None, "on": True, "half": 0.5}


def value(text):
    return parse(text).value(NAMES.get)


numbers = st.integers(1, 50).map(str) | st.sampled_from(["array.lanes", "half"])
arithmetic = st.recursive(
    numbers,
    lambda below: (
        st.builds("({} {} {})".format, below, st.sampled_from(["+", "-", "*", "<", "<=", "==", "!="]), below)
        | st.builds("max({}, {})".format, below, below)
        | st.builds("({} if {} > 3 else {})".format, below, below, below)
        | st.builds("-{}".format, below)
    ),
    max_leaves=12,
)


@given(arithmetic)
def test_values_are_those_of_python(text):
    python = text.replace("array.lanes", "8").replace("half", "0.5").replace("true", "True").replace("false", "False")
    expected = eval(python, {"max": max})
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64 / array.lanes", 8),
        ("1 / 3", Fraction(1, 3)),
        ("7 // 2 + 7 % 4 + 2 ** 3", 14),
        ("core.clock / 1e6", 240.0),
        ("size * 2", 32768),
        ("topology == 'mesh'", True),
        ("log2(array.lanes)", 3),
        ("ceil(1 / 3) + floor(7 / 2)", 4),
        ("sqrt(16)", 4.0),
        ("1 < array.lanes < 9", True),
        ("on and array.lanes > 2", True),
        ("not on", False),
        ("unknown + 1", None),
        ("unknown < 3", None),
        ("unknown < 3 and 1 > 2", False),
        ("unknown < 3 or 1 < 2", True),
        ("on or unknown", True),
        ("1 if unknown else 2", None),
    ],
)
def test_what_is_exact_stays_exact_and_what_is_unknown_unknown(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('x')", "not allowed"),
        ("(1).__class__", "not allowed"),
        ("[1, 2]", "not allowed"),
        ("lambda: 1", "not allowed"),
        ("{'a': 1}", "not allowed"),
        ("f'{1}'", "not allowed"),
        ("array[0]", "not allowed"),
        ("min(1, key=2)", "not allowed"),
        ("open('x')", "unknown function 'open'"),
        ("mim(1)", "did you mean 'min'"),
        ("1 +", "no expression"),
        ("x = 1", "no expression"),
        ("", "must be an expression"),
        (3, "must be an expression"),
        ("1 in 2", "not allowed"),
        ("b'x'", "not allowed"),
        ("1j", "not allowed"),
        ("1" * 501, "longer than"),
        ("(" * 250 + "1" + ")" * 250, "no expression|longer"),
        ("min()", "not allowed"),
    ],
)
def test_anything_but_arithmetic_is_refused(text, message):
    with pytest.raises(ExpressionError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / (array.lanes - 8)", "divides by zero"),
        ("1 // 0", "divides by zero"),
        ("topology + 1", "has no value"),
        ("10 ** 99", "a power beyond"),
        ("sqrt(-1)", "root of a negative"),
        ("(0 - 2) ** 0.5", "root of a negative"),
        ("log2(0)", "not positive"),
        ("topology < 3", "has no value"),
    ],
)
def test_what_has_no_value_says_why(text, message):
    with pytest.raises(ExpressionError, match=message):
        value(text)


def test_names_are_those_that_are_read():
    assert parse("a.b + min(c, 2) if true else d.e.f").names == {"a.b", "c", "d.e.f"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("array.lanes <= 8", 0),
        ("array.lanes <= 4", 1.0),
        ("array.lanes >= 16", 0.5),
        ("array.lanes == 10", 0.2),
        ("array.lanes < 8", 1e-9),
        ("array.lanes <= 4 and array.lanes >= 16", 1.5),
        ("array.lanes <= 4 or array.lanes >= 16", 0.5),
        ("array.lanes != 8", 1.0),
        ("not on", 1.0),
        ("on", 0),
        ("unknown < 3", None),
        ("unknown < 3 and array.lanes <= 4", 1.0),
        ("unknown < 3 or on", 0),
        ("topology == 'ring'", 1.0),
    ],
)
def test_a_constraint_says_by_how_much_it_does_not_hold(text, expected):
    assert parse(text).excess(NAMES.get) == expected


@pytest.mark.parametrize(
    ("number", "like", "expected"),
    [
        (8, 4, 8),
        (Fraction(16, 2), 4, 8),
        (Fraction(1, 3), 4, pytest.approx(1 / 3)),
        (240_000_000, "100 MHz", "240000000 Hz"),
        (2048, "16 KiB", "2048 B"),
        (64, "256 bit", "64 bit"),
        (True, False, True),
        ("mesh", "mesh", "mesh"),
        (0.5, 0.2, 0.5),
    ],
)
def test_a_derived_value_is_written_as_the_key_takes_it(number, like, expected):
    found = written(number, like)
    assert found == expected
    assert type(found) is not Fraction
    if isinstance(like, str) and " " in like:
        assert plain(found) == number
