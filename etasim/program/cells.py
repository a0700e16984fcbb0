"""What is remembered of the bytes of all memories: cells of bytes that were touched alike, with some numbers each.

A large batch has many cells, and a window of a program touches few of them. So they lie in pages of the line of addresses; a page that
was not touched lately is packed, and takes a tenth of its room.
"""

import numpy as np

from etasim.program.packed import Shelf

PAGE_BITS = 20
"""Of an address in a page."""

OPEN_BYTES = 4 * 2**20
"""Of the pages that are not packed, together: a run of a small batch has no others."""


class CellPages:
    """Cells begin where accesses begin and end; ``n_numbers`` of each, 0 before they are changed. Of a page is kept where each cell begins
    in it, the first one where the page does, and its numbers."""

    def __init__(self, n_numbers: int) -> None:
        self._pages = Shelf(OPEN_BYTES)
        self._nothing = np.zeros((1, 1 + n_numbers), np.int32)
        self._open = np.zeros(0, np.int64)

    def opened(self, first: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cells of all pages in which there is a byte of the runs ``first ... end - 1``, cut where these begin and end: where each
        begins, ascending, and its numbers [number, cell], which are kept when the cells are `closed`."""
        self._open = _touched(first >> PAGE_BITS, (end - 1) >> PAGE_BITS)
        pages = [self._pages.get(page, self._nothing).T for page in self._open.tolist()]
        known = np.concatenate([self._nothing[:0].T, *pages], axis=1)
        begins = np.repeat(self._open << PAGE_BITS, [page.shape[1] for page in pages]) + known[0]
        edges = np.sort(np.concatenate([begins, first, end]))
        edges = edges[np.diff(edges, prepend=-1) > 0]
        return edges, np.take(known[1:], np.searchsorted(begins, edges, side="right") - 1, axis=1)

    def closed(self, edges: np.ndarray, numbers: np.ndarray) -> None:
        """Keep the cells that were opened; neighbours with equal numbers become one."""
        begins = np.ones(len(edges), bool)
        begins[1:] = (numbers[:, 1:] != numbers[:, :-1]).any(axis=0) | (edges[1:] >> PAGE_BITS != edges[:-1] >> PAGE_BITS)
        edges = edges[begins]
        cells = np.vstack([edges & (1 << PAGE_BITS) - 1, numbers[:, begins]], dtype=np.int32, casting="unsafe")
        starts = np.searchsorted(edges, self._open << PAGE_BITS)
        ends = np.searchsorted(edges, (self._open + 1) << PAGE_BITS)
        for page, a, b in zip(self._open.tolist(), starts.tolist(), ends.tolist(), strict=True):
            self._pages[page] = cells[:, a:b].copy().T


def _touched(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Pages of runs of pages, ascending."""
    n = int(last.max(initial=-1)) + 2
    return np.flatnonzero(np.cumsum(np.bincount(first, minlength=n) - np.bincount(last + 1, minlength=n)))
