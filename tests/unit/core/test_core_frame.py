"""Parts called by address read every kind of field of their frames, write what others see, and are told apart by number."""

from typing import NamedTuple

import numpy as np
import pytest

from etasim.core import frame
from etasim.core.frame import Frame, bind, bound, call
from etasim.core.jit import DISABLED, entry, kernel

RECORD = np.dtype([("count", "i8"), ("pair", "i8", (2,))])


class Shape(NamedTuple):
    width: int
    depth: np.int64


class Spec(NamedTuple):
    shape: Shape
    factor: int
    table: np.ndarray


class State(NamedTuple):
    cube: np.ndarray
    records: np.ndarray


@kernel
def _fill(spec, state, program, links, log, instance, now):
    """Read and write fields of each kind."""
    record = state.records[1]
    record["count"] += spec.factor * now
    record["pair"][1] = spec.shape.width + spec.shape.depth
    state.cube[1, 2, 3] = spec.table[2, 1] + program.table[1, 0] + links.width
    return True


@kernel
def _sum(spec, state, program, links, log, instance, now):
    return state.cube[1, 2, 3] * 1000 + state.records[1]["count"] + state.records[1]["pair"][1] + 100 * instance + now


@entry
def _ask(table, place, now):
    return call(table, place, now)


def frames():
    table = np.arange(6).reshape(3, 2)
    one = Spec(Shape(10, np.int64(20)), 3, table)
    state = State(np.zeros((2, 3, 4), np.int64), np.zeros(2, RECORD))
    return Frame(one, state, one, one.shape, one.shape)


def test_a_part_reads_and_writes_its_frame():
    mine, other = frames(), frames()
    calls = bind([_fill, _sum, _sum], [mine, mine, other], [1, 1, 2])
    assert _ask(calls.table, 0, 7) == 1
    assert (mine.state.records["count"].tolist(), mine.state.records["pair"].tolist()) == ([0, 21], [[0, 0], [0, 30]])
    assert mine.state.cube[1, 2, 3] == 5 + 2 + 10
    for answers in ([_ask(calls.table, place, 5) for place in (1, 2, 3)], [bound(calls.table, place)(5) for place in (1, 2, 3)]):
        assert answers == [17000 + 21 + 30 + 5, 5, 105]
    assert other.state.cube.sum() == 0


@pytest.mark.skipif(DISABLED, reason="nothing is laid out")
def test_a_frame_holds_what_has_a_layout():
    with pytest.raises(TypeError, match="list cannot be laid out"):
        bind([_sum], [frames()._replace(log=[1])], [1])


def test_parts_of_equal_types_share_their_code():
    first, second = bind([_sum], [frames()], [1]), bind([_sum], [frames()], [1])
    assert DISABLED or (first.table[0, 0] == second.table[0, 0] and first.table[0, 1] != second.table[0, 1])


def test_what_is_compiled_is_kept():
    bind([_sum], [frames()], [1])
    assert frame.are_cached([_sum])
