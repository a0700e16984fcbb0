"""What is remembered of bytes, and the runs of a program piece by piece, against the plain way."""

import numpy as np
import pytest
from small_networks import TINY, architecture

from etasim.machine.sampling import added_up
from etasim.machine.tallies import WORK
from etasim.mapping import map_iteration
from etasim.mapping.mapper import limits_of
from etasim.program import accesses as looked_at
from etasim.program import cells
from etasim.program.cells import PAGE_BITS, CellPages


@pytest.mark.parametrize("open_bytes", [0, cells.OPEN_BYTES])
def test_cells_remember_byte_by_byte(monkeypatch, open_bytes):
    """Through packing, over the borders of pages; bytes that nobody touched have numbers of 0."""
    monkeypatch.setattr(cells, "OPEN_BYTES", open_bytes)
    random, pages, n_bytes = np.random.default_rng(7), CellPages(2), 3 << PAGE_BITS
    near = np.concatenate([np.arange(border - 40, border + 40) for border in (40, 1 << PAGE_BITS, 2 << PAGE_BITS)])
    known = np.zeros((n_bytes, 2), np.int32)
    for count in range(1, 30):
        first = random.choice(near[:-30], 3)
        end = first + random.integers(1, 25, 3)
        edges, numbers = pages.opened(first, end)
        assert (np.diff(edges) > 0).all()
        assert {*first.tolist(), *end.tolist()} <= {*edges.tolist(), *[page << PAGE_BITS for page in range(4)]}
        for a, b in zip(first, end, strict=True):
            of = np.searchsorted(edges, np.arange(a, b), side="right") - 1
            assert np.array_equal(numbers[:, of], known[a:b].T)
            known[a:b] = count, random.integers(3)
            numbers[:, slice(*np.searchsorted(edges, (a, b)).tolist())] = known[a][:, None]
        pages.closed(edges, numbers)
    edges, numbers = pages.opened(np.array([0]), np.array([n_bytes]))
    assert edges[-1] == n_bytes
    assert np.array_equal(np.repeat(numbers[:, :-1], np.diff(edges), axis=1), known.T)


def test_equal_neighbours_become_one_cell():
    pages = CellPages(1)
    edges, numbers = pages.opened(np.array([10, 20]), np.array([20, 30]))
    numbers[:, 1:3] = 5
    pages.closed(edges, numbers)
    assert pages.opened(np.array([10]), np.array([30]))[0].tolist() == [0, 10, 30]


@pytest.mark.parametrize("at_once", [1, 50, 1000])
def test_runs_in_pieces_are_all_runs(monkeypatch, at_once):
    """In the same order, each command in one piece."""
    mapping = map_iteration(architecture(), TINY, 2)
    limits = limits_of(architecture(), mapping)
    given = mapping.program, limits.buffer_bytes, limits.word_bytes, limits.segment_bytes
    (whole,) = looked_at.accesses(*given)
    monkeypatch.setattr(looked_at, "AT_ONCE", at_once)
    pieces = list(looked_at.accesses(*given))
    assert len(pieces) > 1
    for name in ("command", "first", "end", "writes"):
        assert np.array_equal(np.concatenate([getattr(piece, name) for piece in pieces]), getattr(whole, name))
    commands = [set(piece.command.tolist()) for piece in pieces]
    assert sum(map(len, commands)) == len(set().union(*commands))


def test_work_adds_up_by_sample_and_operation():
    """In their order; what comes to nothing has no entry."""
    entries = np.zeros((5, 2 + len(WORK)), np.int64)
    entries[:, :3] = [(1, 0, 4), (0, 2, 1), (1, 0, 3), (2, 1, 5), (2, 1, -5)]
    assert added_up(entries)[:, :3].tolist() == [[0, 2, 1], [1, 0, 7]]
    assert added_up(entries[:0]).shape == (0, 2 + len(WORK))
