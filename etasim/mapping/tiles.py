"""Tiles of the unified core: which blocks, samples and elements of the planes it takes at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from math import gcd
from typing import NamedTuple

from etasim.mapping.tensors import Content
from etasim.schedule.array import ArraySizes
from etasim.schedule.nest import Axis, Span
from etasim.schedule.tiling import ceil_div, equal_shares

TILES_IN_ERROR_BUFFER = 6
"""Tiles of a stand-alone operation that the error buffer holds at once: loading, computing and storing overlap."""

PIECE_ELEMENTS = 512
"""Elements whose mask bits fill a burst."""

ELEMENTS_OF_A_BYTE = 8
"""Elements whose bits fill whole bytes, whatever the width."""


@dataclass(frozen=True)
class Tile:
    """Channel blocks and samples [first, end), and the elements [first, end) of each plane; None: all of them.

    ``operand_elements``: those of the operands, where they are not those of the results. ``ends_plane``: no other piece of these planes
    follows; ``is_last``: no other tile of these blocks. ``count``: the equal tiles that it stands for.
    """

    blocks: tuple[int, int]
    samples: tuple[int, int]
    elements: tuple[int, int] | None = None
    operand_elements: tuple[int, int] | None = None
    ends_plane: bool = True
    is_last: bool = True
    count: int = 1

    @property
    def n_planes(self) -> int:
        """Planes of a tensor that holds one for each block and sample."""
        return (self.blocks[1] - self.blocks[0]) * (self.samples[1] - self.samples[0])

    @property
    def is_first(self) -> bool:
        """Whether it holds the first element of the first sample and block: what comes once before all tiles comes before this one."""
        return self.blocks[0] == self.samples[0] == 0 and (self.elements is None or self.elements[0] == 0)

    @property
    def whole(self) -> "Tile":
        """The tile with all elements of its planes."""
        return replace(self, elements=None, operand_elements=None, ends_plane=True)

    def span(self, content: Content, is_operand: bool) -> tuple[int, int]:
        """Elements [first, end) of each plane that the tile covers."""
        part = (self.operand_elements or self.elements) if is_operand else self.elements
        return part if part and content.grain == "element" else (0, content.plane_elements)

    def planes(self, content: Content) -> tuple[int, int]:
        """Planes [first, end) of each block; what serves all samples has one."""
        return (0, 1) if content.grain == "block" else self.samples

    def piece(self, content: Content, is_operand: bool) -> tuple[int, int]:
        """Bytes [first, end) of each plane that the tile covers."""
        first, end = self.span(content, is_operand)
        begin = first * content.bits // 8 if content.stored is None else content.bytes_until(first)
        return begin, content.bytes_until(end)

    def n_elements(self, plane_elements: int) -> int:
        """Elements that the tile covers of results with ``plane_elements`` in a plane."""
        first, end = self.elements or (0, plane_elements)
        return self.n_planes * (end - first)

    def n_bytes(self, content: Content, is_operand: bool) -> int:
        """Bytes of the tile."""
        planes, (first, end) = self.planes(content), self.piece(content, is_operand)
        return (self.blocks[1] - self.blocks[0]) * (planes[1] - planes[0]) * (end - first)

    def completes(self, content: Content) -> bool:
        """Whether a result can leave with this tile: sums over a plane, or over all samples, leave with the last one."""
        return {"element": True, "plane": self.ends_plane, "block": self.is_last}[content.grain]


@dataclass(frozen=True)
class Rows:
    """How the rows of results and operands of a window (pooling, strides) meet: ``operands(first, end)`` gives the operand rows
    [first, end) of result rows; ``n_results`` and ``n_operands`` rows of ``result_row`` and ``operand_row`` elements."""

    n_results: int
    n_operands: int
    result_row: int
    operand_row: int
    operands: Callable[[int, int], tuple[int, int]]

    def pieces(self, wanted: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Elements (of results, of operands) of pieces of about ``wanted`` result rows; all start at whole bytes."""
        step = _whole(max(wanted, 1), self.result_row)
        pieces = []
        for y, end in Axis("rows", self.n_results, step).steps():
            first, stop = self.operands(y, end)
            first = min(max(first, 0), self.n_operands - 1)
            first -= first % _whole(1, self.operand_row)
            stop = max(min(stop, self.n_operands), first + 1)
            pieces.append(((y * self.result_row, end * self.result_row), (first * self.operand_row, stop * self.operand_row)))
        return pieces


def _whole(rows: int, row_elements: int) -> int:
    """The next number of rows whose elements fill whole bytes."""
    unit = ELEMENTS_OF_A_BYTE // gcd(ELEMENTS_OF_A_BYTE, row_elements)
    return ceil_div(rows, unit) * unit


def tile_limit_bytes(array: ArraySizes) -> int:
    """Share of the error buffer that all operands and results of a tile of a stand-alone operation may take."""
    return 2 * array.error_bytes // TILES_IN_ERROR_BUFFER


class Cover(NamedTuple):
    """Tiles that cover all planes: steps of ``blocks`` and ``samples``, and the pieces of each plane, elements of the results and of the
    operands (None: the same); one piece unless a plane is too large for its share of the buffer. Samples come one after the other, as who
    reads the results asks for them; ``over_batch``: all those of the same blocks, which belong together."""

    blocks: Axis
    samples: Axis
    shares: tuple[tuple[tuple[int, int] | None, tuple[int, int] | None], ...] = ((None, None),)
    over_batch: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every tile holds whole planes."""
        return len(self.shares) == 1

    def steps(self) -> list[list[Tile]]:
        """All tiles, those that belong together in a list."""
        return self._tiles([(span, 1) for span in self.blocks.steps()], [(span, 1) for span in self.samples.steps()])

    def kinds(self) -> list[list[Tile]]:
        """Tiles as in `steps`, equal ones once with their number."""
        return self._tiles(self.blocks.sizes(), self.samples.kinds())

    def _tiles(self, blocks: list[tuple[Span, int]], samples: list[tuple[Span, int]]) -> list[list[Tile]]:
        last_share = self.shares[-1]

        def planes(b: Span, s: Span, count: int) -> list[Tile]:
            return [
                Tile(b, s, *share, share is last_share, share is last_share and s.end == self.samples.extent, count)
                for share in self.shares
            ]

        if not self.over_batch:
            return [planes(b, s, n_blocks * n_samples) for (s, n_samples), (b, n_blocks) in product(samples, blocks)]
        groups = [planes(b, s, n_blocks * n_samples) for (b, n_blocks), (s, n_samples) in product(blocks, samples)]
        return [[tile for group in same for tile in group] for _, same in groupby(groups, key=lambda group: group[0].blocks)]


def cover(
    array: ArraySizes, n_blocks: int, batch: int, plane_elements: int, plane_bytes: int, n_loads: int, n_passes: int,
    rows: Rows | None = None, over_batch: bool = False,
) -> Cover:  # fmt: skip
    """Tiles of ``n_blocks x batch`` planes whose operands and results take ``plane_bytes`` together, of ``n_loads`` operands, for
    ``n_passes``; ``over_batch``: tiles of the same blocks belong together, so a tile has all samples if they fit.

    Pieces of a plane are whole rows if ``rows`` says how they meet; else they start at multiples of ``PIECE_ELEMENTS``, at a burst in
    every tensor.
    """
    limit = tile_limit_bytes(array)
    if plane_bytes > limit:
        if rows is not None:
            shares: Sequence[tuple[tuple[int, int] | None, tuple[int, int] | None]] = rows.pieces(rows.n_results * limit // plane_bytes)
        else:
            step = max(plane_elements * limit // plane_bytes // PIECE_ELEMENTS, 1) * PIECE_ELEMENTS
            shares = [(span, None) for span in Axis("elements", plane_elements, step).steps()]
        return Cover(Axis("blocks", n_blocks, 1), Axis("samples", batch, 1), tuple(shares), over_batch)
    if over_batch:
        planes = limit // plane_bytes
        blocks, samples = max(planes // batch, 1), min(planes, batch)
    else:
        blocks, samples = _soonest(array, n_blocks, batch, plane_elements, plane_bytes, n_loads, n_passes)
    return Cover(Axis("blocks", n_blocks, blocks), Axis("samples", batch, samples), over_batch=over_batch)


def _soonest(
    array: ArraySizes, n_blocks: int, batch: int, plane_elements: int, plane_bytes: int, n_loads: int, n_passes: int
) -> tuple[int, int]:  # fmt: skip
    """(blocks, samples) of the tiles with which the last result is soonest there: small ones leave less that nothing overlaps and are done
    side by side, blocks by block, by several cores, large ones have fewer commands. All blocks of some samples, or some blocks of one."""
    rates = array.rates

    def cycles(shape: tuple[int, int]) -> float:
        n_planes, n_groups = shape[0] * shape[1], ceil_div(n_blocks, shape[0])
        vector = n_passes * (n_planes * plane_elements / rates.vector_lanes + rates.command_cycles)
        moved = n_planes * plane_bytes * max(rates.dram_cycles_per_byte, min(rates.engine_cycles_per_byte))
        slowest = max(vector / min(rates.n_cores, n_groups), moved, n_loads * rates.load_cycles / rates.load_window)
        return n_groups * ceil_div(batch, shape[1]) * slowest + vector + moved

    shapes = [
        shape
        for n_beside in range(1, rates.n_cores + 1)
        for most_blocks in [ceil_div(n_blocks, n_beside)]
        for shape in [*[(most_blocks, n) for n in equal_shares(batch)], *[(n, 1) for n in equal_shares(most_blocks)[1:]]]
    ]
    limit = tile_limit_bytes(array)
    return min((shape for shape in shapes if shape[0] * shape[1] * plane_bytes <= limit), key=cycles)


def cover_samples(array: ArraySizes, n_blocks: int, batch: int, plane_bytes: int) -> Cover:
    """Tiles of all blocks of as many samples as fit their share of the buffer."""
    step = max(tile_limit_bytes(array) // (n_blocks * plane_bytes), 1)
    return Cover(Axis("blocks", n_blocks, n_blocks), Axis("samples", batch, step))
