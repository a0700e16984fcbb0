"""Division by shifts where it can be, against Python's."""

from hypothesis import given
from hypothesis import strategies as st

from etasim.core.division import quotient, remainder

divisors = st.one_of(st.integers(0, 40).map(lambda bits: 1 << bits), st.integers(1, 1 << 40))


@given(st.integers(-(1 << 61), 1 << 61), divisors)
def test_quotient_and_remainder_are_pythons(number, divisor):
    assert (quotient(number, divisor), remainder(number, divisor)) == divmod(number, divisor)
