import itertools
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etasim.explore.pareto import crowding, hypervolume, pareto_front, ranked

directions = st.sampled_from([("higher", "lower"), ("lower", "lower"), ("higher", "higher")])
points = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), max_size=25)


def dominates(a, b, better):
    """Whether ``a`` is at least as good as ``b`` in every objective and better in one."""
    gains = [(x - y) if direction == "higher" else (y - x) for x, y, direction in zip(a, b, better, strict=True)]
    return all(gain >= 0 for gain in gains) and any(gain > 0 for gain in gains)


@given(points, directions)
def test_nothing_on_the_front_is_dominated(points, better):
    for i in pareto_front(points, better):
        assert not any(dominates(other, points[i], better) for other in points)


@given(points, directions)
def test_what_is_not_on_the_front_is_dominated_by_the_front(points, better):
    front = pareto_front(points, better)
    for i in set(range(len(points))) - set(front):
        assert any(dominates(points[j], points[i], better) for j in front)


@given(points, directions)
def test_the_front_of_the_front_is_itself(points, better):
    front = [points[i] for i in pareto_front(points, better)]
    assert pareto_front(front, better) == list(range(len(front)))


@given(points, directions, st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_the_order(points, better, random):
    shuffled = random.sample(points, len(points))
    assert sorted(points[i] for i in pareto_front(points, better)) == sorted(shuffled[i] for i in pareto_front(shuffled, better))


@given(points)
def test_mirrored_directions_mirror_the_front(points):
    mirrored = [(x, -y) for x, y in points]
    assert pareto_front(points, ("lower", "higher")) == pareto_front(mirrored, ("lower", "lower"))


def test_equal_points_are_all_kept_and_a_worse_one_is_not():
    assert pareto_front([(1, 5), (1, 5), (2, 5), (0, 1)], ("lower", "higher")) == [0, 1, 3]


@given(points, directions)
def test_ranks_are_fronts_of_what_is_left(points, better):
    order, left = ranked(points, better), list(range(len(points)))
    assert sorted(order) == left
    while left:
        front = {left[i] for i in pareto_front([points[i] for i in left], better)}
        assert set(order[: len(front)]) == front
        order, left = order[len(front) :], [i for i in left if i not in front]


@given(points, directions, st.integers(1, 10))
def test_the_first_ranks_are_the_first_of_all(points, better, most):
    assert ranked(points, better, most) == ranked(points, better)[:most]


def test_the_least_crowded_come_first():
    front = [(0, 10), (1, 9), (2, 8), (6, 4), (10, 0)]
    assert crowding(np.array(front)).tolist() == [np.inf, 0.4, 1.0, 1.6, np.inf]
    assert ranked(front, ("lower", "lower")) == [0, 4, 3, 2, 1]


cells = st.integers(0, 4)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@given(data=st.data())
def test_the_hypervolume_counts_the_cells_that_are_dominated(n, data):
    found = data.draw(st.lists(st.tuples(*[cells] * n), max_size=8))
    counted = sum(any(all(p[i] <= cell[i] for i in range(n)) for p in found) for cell in itertools.product(range(4), repeat=n))
    assert hypervolume(found, [4] * n, ["lower"] * n) == counted


@given(st.tuples(cells, cells, cells))
def test_the_hypervolume_of_a_point_is_its_box_in_any_direction(point):
    assert hypervolume([point], (9, -1, 9), ("lower", "higher", "lower")) == prod((9 - point[0], point[1] + 1, 9 - point[2]))
