"""A training scheme is valid once constructed."""

import pytest

from etasim.numerics.errors import NumericsError
from etasim.numerics.format import CodeFormat
from etasim.numerics.scheme import Scheme


def test_formats_by_role():
    scheme = Scheme(weight=CodeFormat(8, 1), momentum_bits=12)
    assert scheme.format("weight") == CodeFormat(8, 1)
    assert scheme.format("output") == scheme.format("error") == CodeFormat(8, 2)
    assert scheme.format("parameter_momentum") == 12
    assert scheme.format("partial") == 16


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("activation", 8, "must be a Code such as CodeFormat(8, 2), got 8"),
        ("sum_bits", 17, "must be 2 ... 16 bit, got 17"),
        ("gradient_bits", 1, "must be 2 ... 16 bit, got 1"),
        ("statistic_bits", 8, "must be 16 bit, to which statistics are limited, got 8"),
        ("statistic_bits", 16.0, "must be an integer, got 16.0"),
        ("normalization_group", 0, "must be at least 1, got 0"),
        ("exponent_margin", -1, "must be at least 0, got -1"),
        ("reciprocal", "exact", "must be one of table, shift, got 'exact'"),
        ("learning_rate", 0, "must be a number, more than 0, got 0"),
        ("learning_rate", float("nan"), "must be a number, more than 0, got nan"),
        ("momentum", 1, "must be a number, at least 0 and less than 1, got 1"),
        ("weight_decay", -0.1, "must be a number, at least 0, got -0.1"),
    ],
)
def test_what_cannot_be_is_refused(field, value, message):
    with pytest.raises(NumericsError) as caught:
        Scheme(**{field: value})
    assert str(caught.value).startswith(f"scheme.{field}: {message}")


def test_all_faults_are_named_at_once():
    with pytest.raises(NumericsError) as caught:
        Scheme(sum_bits=0, learning_rate=-1, reciprocal="none")
    assert [fault.where for fault in caught.value.faults] == ["scheme.sum_bits", "scheme.reciprocal", "scheme.learning_rate"]
