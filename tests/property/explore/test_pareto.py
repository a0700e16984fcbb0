from hypothesis import given
from hypothesis import strategies as st

from etasim.explore.pareto import dominates, pareto_front

directions = st.sampled_from([("higher", "lower"), ("lower", "lower"), ("higher", "higher")])
points = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), max_size=25)


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
