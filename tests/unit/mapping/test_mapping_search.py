"""The search for the least option: the first of equals, stage by stage, and no further than it takes."""

from collections import Counter

import pytest

from etasim.schedule.search import least


def staged(worked_out, *tables):
    """Stages that look bounds up by option, None where the option ends there, and count what they work out."""

    def stage(number, bounds):
        def work_out(option):
            worked_out[number, option] += 1
            return None if bounds[option] is None else (bounds[option], option)

        return work_out

    return [stage(number, bounds) for number, bounds in enumerate(tables)]


def test_the_least_value_wins_and_the_first_of_equals():
    values = {"a": 5, "b": 3, "c": 4, "d": 3}
    assert least("abcd", *staged(Counter(), dict.fromkeys("abcd", 0), values)) == (3, "b")
    assert least("dcba", *staged(Counter(), dict.fromkeys("abcd", 0), values)) == (3, "d")


@pytest.mark.parametrize("bounds", [{"a": 4, "b": 0}, {"a": 4, "b": 4}])
def test_the_first_of_equals_wins_whatever_the_bounds_are(bounds):
    assert least("ab", *staged(Counter(), bounds, {"a": 4, "b": 4})) == (4, "a")


def test_an_option_is_worked_out_only_while_its_bound_is_the_lowest():
    worked_out = Counter()
    stages = staged(worked_out, {"a": 1, "b": 2, "c": 9}, {"a": 6, "b": 3, "c": 9}, {"a": 7, "b": 5, "c": 9})
    assert least("abc", *stages) == (5, "b")
    assert worked_out == {(0, "a"): 1, (0, "b"): 1, (0, "c"): 1, (1, "a"): 1, (1, "b"): 1, (2, "b"): 1}


def test_options_that_end_at_a_stage_do_not_win():
    assert least("abc", *staged(Counter(), {"a": 1, "b": 1, "c": None}, {"a": None, "b": 8})) == (8, "b")
    assert least("a", *staged(Counter(), {"a": 1}, {"a": None})) is None
    assert least("", *staged(Counter(), {})) is None
