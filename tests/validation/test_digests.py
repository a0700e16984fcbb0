"""Simulations come to the same bytes as when their digests were put on file: commands' times, counters, results (tests/digests.py)."""

import digests
import pytest


@pytest.mark.parametrize("case", [case for case in digests.CASES if not case.is_long], ids=lambda case: case.name)
def test_equal_bytes(case):
    assert digests.digests(case) == digests.on_file()[case.name]


def test_every_case_is_on_file():
    assert digests.on_file().keys() == {case.name for case in digests.CASES}
