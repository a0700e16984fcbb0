"""A nest says what a walk over it does: its kinds are its steps, and its repeats are what a buffer that holds pieces would load."""

from collections import Counter
from itertools import pairwise
from math import prod

from hypothesis import given
from hypothesis import strategies as st

from etasim.schedule.nest import Axis, Nest, Operand, Span

AXES = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 5)), min_size=1, max_size=4).map(
    lambda sizes: tuple(Axis(name, extent, step) for name, (extent, step) in zip("abcd", sizes, strict=False))
)


def operand(axes, resident):
    return Operand("operand", frozenset(axes), resident)


@given(AXES)
def test_steps_cover_every_point_once(axes):
    points = Counter()
    for step in Nest(axes, operand("", True), operand("", True), ()).steps():
        points.update([tuple(step[axis.name] for axis in axes)])
    assert set(points.values()) == {1}
    for axis in axes:
        assert [n for span in axis.steps() for n in range(*span)] == list(range(axis.extent))
    assert len(points) == prod(axis.count for axis in axes)


@given(AXES)
def test_kinds_are_the_steps_counted_by_size(axes):
    nest = Nest(axes, operand("", True), operand("", True), ())
    walked = Counter(tuple(span.size for span in step.values()) for step in nest.steps())
    counted = Counter()
    for step, count in nest.kinds():
        counted[tuple(span.size for span in step.values())] += count
    assert walked == counted


@given(st.integers(1, 30), st.integers(1, 7), st.data())
def test_kinds_tell_steps_apart_that_read_differently(extent, step, data):
    count = -(-extent // step)
    reads = tuple(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    axis = Axis("rows", extent, step, reads=reads)
    read = {span.first: n for span, n in zip(axis.steps(), reads, strict=True)}
    counted = Counter()
    for span, n in axis.kinds():
        counted[read[span.first], span.size] += n
    assert counted == Counter((read[span.first], span.size) for span in axis.steps())


@given(AXES, st.data())
def test_repeats_are_what_a_buffer_of_one_piece_loads(axes, data):
    chosen = frozenset(data.draw(st.sets(st.sampled_from([axis.name for axis in axes]))))
    nest = Nest(axes, operand(chosen, False), operand(chosen, True), ())
    pieces = [tuple(step[name] for name in sorted(chosen)) for step in nest.steps()]
    loads = 1 + sum(a != b for a, b in pairwise(pieces))
    assert loads == len(set(pieces)) * nest.repeats(nest.stream)
    assert nest.repeats(nest.stationary) == 1


def test_a_span_ends_before_its_end():
    assert Span(3, 7).size == len(range(*Span(3, 7))) == 4
