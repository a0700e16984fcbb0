"""Emits the unified core's work: passes over tiles in the error buffer, with the loads and stores around them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, groupby
from math import gcd

from etasim.core.program import LOAD_ERROR, MAX_READS, MAX_WRITES, OPERANDS, STORE, UNIFIED
from etasim.mapping.array import Array, InfeasibleError
from etasim.mapping.builder import Region
from etasim.mapping.context import Context
from etasim.mapping.tensors import Content, Tensor
from etasim.mapping.tiling import ceil_div
from etasim.ops import PASSES

TILES_IN_ERROR_BUFFER = 6
"""Tiles of a stand-alone operation that the error buffer holds at once: loading, computing and storing overlap."""


PIECE_ELEMENTS = 512
"""Elements whose mask bits fill a burst."""

ELEMENTS_OF_A_BYTE = 8
"""Elements whose bits fill whole bytes, whatever the width."""


@dataclass(frozen=True)
class Pass:
    """One pass over a tile: indices of the operands it reads and the results it writes; ``work`` lane operations per element
    (numerator, denominator)."""

    kind: str
    reads: tuple[int, ...]
    writes: tuple[int, ...] = ()
    work: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Tile:
    """Channel blocks and samples [first, end), and the elements [first, end) of each plane; None: all of them.

    ``operand_elements``: those of the operands, where they are not those of the results. ``ends_plane``: no other piece of these planes
    follows; ``is_last``: no other tile of these blocks.
    """

    blocks: tuple[int, int]
    samples: tuple[int, int]
    elements: tuple[int, int] | None = None
    operand_elements: tuple[int, int] | None = None
    ends_plane: bool = True
    is_last: bool = True

    @property
    def n_planes(self) -> int:
        """Planes of a tensor that holds one for each block and sample."""
        return (self.blocks[1] - self.blocks[0]) * (self.samples[1] - self.samples[0])

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
        return first * content.bits // 8, ceil_div(end * content.bits, 8)

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
        spans = [(y, min(y + step, self.n_results)) for y in range(0, self.n_results, step)]
        pieces = []
        for y, end in spans:
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


@dataclass(frozen=True)
class Place:
    """The unit whose pass it is, and where the blocks of a tile begin in it (a part of a concatenation does not begin at 0)."""

    unit: int
    first_block: int = 0


def tile_limit_bytes(array: Array) -> int:
    """Share of the error buffer that all operands and results of a tile of a stand-alone operation may take."""
    return 2 * array.error_bytes // TILES_IN_ERROR_BUFFER


def plane_shares(plane_elements: int, plane_bytes: int, limit_bytes: int, rows: Rows | None) -> list[tuple]:
    """Elements [first, end) of the results, and of the operands or None, of the pieces of a plane that is larger than ``limit_bytes``."""
    if rows is not None:
        return rows.pieces(rows.n_results * limit_bytes // plane_bytes)
    step = max(plane_elements * limit_bytes // plane_bytes // PIECE_ELEMENTS, 1) * PIECE_ELEMENTS
    return [((e, min(e + step, plane_elements)), None) for e in range(0, plane_elements, step)]


class VectorEmitter:
    """Appends unified-core commands and their transfers."""

    def __init__(self, context: Context):
        self.context, self.builder = context, context.builder
        self.lanes = context.architecture.unified_core.lanes

    def run(
        self, kind: str, place: Place, tile: Tile, n_operations: int,
        reads: list[tuple[Region, Content]], writes: list[tuple[Region, Content]],
    ) -> None:  # fmt: skip
        """One pass of ``n_operations`` lane operations over whole regions. Raises InfeasibleError for more operands than it has streams."""
        if len(reads) > MAX_READS or len(writes) > MAX_WRITES:
            raise InfeasibleError(
                f"unified core: {kind} has {len(reads)} operands and {len(writes)} results, it streams at most {MAX_READS} and {MAX_WRITES}"
            )
        word = self.context.array.word_bytes
        address, words, tensor, first, count = ([0] * OPERANDS for _ in range(5))
        for i, (region, content) in [*enumerate(reads), *enumerate(writes, MAX_READS)]:
            span = tile.span(content, i < MAX_READS)
            address[i], words[i], tensor[i] = region.address // word, region.n_bytes // word, content.number
            first[i], count[i] = span[0], span[1] - span[0]
        row = (
            max(ceil_div(n_operations, self.lanes), 1), len(reads), len(writes), tuple(address), tuple(words),
            PASSES.number(kind), self.builder.operation, place.unit, tuple(tensor),
            place.first_block + tile.blocks[0], tile.blocks[1] - tile.blocks[0], tile.samples[0], tile.samples[1] - tile.samples[0],
            tuple(first), tuple(count),
        )  # fmt: skip
        self.builder.append(UNIFIED, "vectors", row, reads=[region for region, _ in reads], writes=[region for region, _ in writes])

    def room_bytes(self, tile: Tile, operands: Iterable[Content], results: Iterable[Content]) -> int:
        """Bytes of the error buffer that the tile of these tensors takes, each in whole words."""
        word = self.context.array.word_bytes
        sizes = [tile.n_bytes(content, is_operand=True) for content in operands]
        sizes += [tile.n_bytes(content, is_operand=False) for content in results]
        return sum(max(ceil_div(size, word), 1) * word for size in sizes)

    def scope(self, tile: Tile, operands: list[Content], results: list[Content]):
        """Regions of the error buffer that are allocated inside, for the tile of these tensors, stay untouched until its end."""
        return self.context.rings[LOAD_ERROR].scope(self.room_bytes(tile, operands, results))

    def load(self, tensor: Tensor, tile: Tile) -> Region:
        """The tile of the operand ``tensor`` in the error buffer."""
        content = tensor.content
        region = self.context.allocate(LOAD_ERROR, max(tile.n_bytes(content, is_operand=True), 1))
        self.context.transfer(LOAD_ERROR, region, 0, tensor, tile.blocks, tile.planes(content), tile.piece(content, is_operand=True))
        return region

    def store(self, region: Region, tensor: Tensor, tile: Tile) -> None:
        """Write the tile of the result ``tensor`` back to DRAM."""
        content = tensor.content
        self.context.transfer(STORE, region, 0, tensor, tile.blocks, tile.planes(content), tile.piece(content, is_operand=False))

    def room(self, content: Content, tile: Tile) -> Region:
        """An empty region for the tile of a result."""
        return self.context.allocate(LOAD_ERROR, max(tile.n_bytes(content, is_operand=False), 1))

    def configure(self, place: Place, tensor: Tensor | None, tile: Tile) -> None:
        """Bring per-channel values of the tile's planes to the lanes: parameters once for an operation, statistics tile by tile."""
        if tensor is not None:
            whole = Tile(tile.blocks, tile.samples)
            self.run("configure", place, whole, 1, [(self.load(tensor, whole), tensor.content)], [])

    def passes(
        self, passes: list[Pass], place: Place, tile: Tile, n_elements: int, regions: dict[int, Region],
        inputs: list[Tensor | Content], outputs: list[Tensor],
    ) -> None:  # fmt: skip
        """Run ``passes`` on one tile; ``regions`` holds the operands that are already there, by index of ``inputs``."""
        regions = dict(regions)
        contents = [tensor.content if isinstance(tensor, Tensor) else tensor for tensor in inputs]
        for step in passes:
            for i in step.reads:
                if i not in regions:
                    regions[i] = self.load(inputs[i], tile)
            writes = [outputs[i] for i in step.writes if tile.completes(outputs[i].content)]
            results = [self.room(tensor.content, tile) for tensor in writes]
            self.run(
                step.kind, place, tile, ceil_div(n_elements * step.work[0], step.work[1]),
                [(regions[i], contents[i]) for i in step.reads],
                [(region, tensor.content) for region, tensor in zip(results, writes, strict=True)],
            )  # fmt: skip
            for region, tensor in zip(results, writes, strict=True):
                self.store(region, tensor, tile)

    def tiles(self, n_blocks: int, batch: int, plane_elements: int, plane_bytes: int, rows: Rows | None = None) -> list[list[Tile]]:
        """Tiles that cover all planes, each a list of pieces: one piece unless a plane is too large for its share of the buffer.

        Pieces are whole rows if ``rows`` says how they meet; else they start at multiples of ``PIECE_ELEMENTS``, at a burst in every
        tensor.
        """
        limit = tile_limit_bytes(self.context.array)
        if plane_bytes > limit:
            shares = plane_shares(plane_elements, plane_bytes, limit, rows)
            planes = [((b, b + 1), (s, s + 1)) for b in range(n_blocks) for s in range(batch)]
            return [
                [
                    Tile(*plane, *share, share is shares[-1], share is shares[-1] and plane[1][1] == batch)
                    for share in shares
                ]
                for plane in planes
            ]  # fmt: skip
        planes = limit // plane_bytes
        if planes < batch:
            return [
                [Tile((b, b + 1), (s, min(s + planes, batch)), is_last=s + planes >= batch)]
                for b in range(n_blocks)
                for s in range(0, batch, planes)
            ]
        step = planes // batch
        return [[Tile((b, min(b + step, n_blocks)), (0, batch))] for b in range(0, n_blocks, step)]

    def sample_tiles(self, n_blocks: int, batch: int, plane_bytes: int) -> list[list[Tile]]:
        """Tiles of all blocks of as many samples as fit their share of the buffer."""
        limit = tile_limit_bytes(self.context.array)
        step = max(limit // (n_blocks * plane_bytes), 1)
        return [[Tile((0, n_blocks), (s, min(s + step, batch)), is_last=s + step >= batch)] for s in range(0, batch, step)]

    def stream(
        self,
        passes: list[Pass],
        place: Place,
        n_blocks: int,
        batch: int,
        plane_elements: int,
        inputs: list[Tensor],
        outputs: list[Tensor],
        parameters: Tensor | None = None,
        statistics: Tensor | None = None,
        rows: Rows | None = None,
        over_batch: bool = False,
    ) -> None:
        """A stand-alone operation: load, run and store tile by tile. A plane in pieces is loaded again for every pass; ``over_batch``:
        so are the samples of a block, unless a tile holds all of them.

        ``parameters`` (per block) and ``statistics`` (per plane) are brought to the lanes first.
        """
        contents = [tensor.content for tensor in inputs], [tensor.content for tensor in outputs]
        plane_bytes = sum(content.plane_bytes for group in contents for content in group)
        self.configure(place, parameters, Tile((0, n_blocks), (0, batch)))
        tiles = self.tiles(n_blocks, batch, plane_elements, plane_bytes, rows)
        if over_batch:
            tiles = [list(chain(*same)) for _, same in groupby(tiles, key=lambda pieces: pieces[0].blocks)]
        for pieces in tiles:
            self.configure(place, statistics, pieces[0])
            whole = len(pieces) == 1
            for group in [passes] if whole else [[step] for step in passes]:
                for tile in pieces:
                    with self.scope(tile, *contents):
                        self.passes(group, place, tile, tile.n_elements(plane_elements), {}, inputs, outputs)
