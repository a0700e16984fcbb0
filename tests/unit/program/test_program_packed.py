"""What a shelf gives back is what was put there, whatever it has packed meanwhile."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from etasim.program import packed
from etasim.program.packed import Shelf

MOST_BYTES = 4000
NOTHING = np.zeros((0, 2), np.int64)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 300), st.booleans()), max_size=60))
def test_a_shelf_gives_back_what_was_put_there_last(steps):
    shelf, there = Shelf(MOST_BYTES), {}
    for number, n_rows, is_put in steps:
        if is_put:
            there[number] = np.arange(2 * n_rows).reshape(n_rows, 2) * (number + 1)
            shelf[number] = there[number]
        assert np.array_equal(shelf.get(number, NOTHING), there.get(number, NOTHING))


def test_it_packs_what_was_used_longest_ago_and_nothing_twice(monkeypatch):
    done, pack = [], packed.pack
    monkeypatch.setattr(packed, "pack", lambda array: done.append(int(array[0, 0])) or pack(array))
    shelf = Shelf(MOST_BYTES)
    for number in range(4):
        shelf[number] = np.full((125, 1), number)
    assert done == []
    assert shelf[0][0, 0] == 0
    shelf[4] = np.full((125, 1), 4)
    assert done == [1]
    for number in (1, 3, 0, 4, 2):  # 2 goes for 1, and for 2 again 1
        assert shelf[number][0, 0] == number
    assert done == [1, 2]
