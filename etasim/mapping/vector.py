"""Emits the unified core's work: passes over tiles in the error buffer, with the loads and stores around them."""

from dataclasses import dataclass

from etasim.core.program import LOAD_ERROR, MAX_READS, MAX_WRITES, STORE, UNIFIED, VECTOR_KINDS
from etasim.mapping.builder import Region
from etasim.mapping.context import Context
from etasim.mapping.tensors import Tensor
from etasim.mapping.tiling import ceil_div

TILES_IN_ERROR_BUFFER = 6
"""Tiles of a stand-alone operation that the error buffer holds at once: loading, computing and storing overlap."""


PIECE_ELEMENTS = 512
"""Elements whose mask bits fill a burst."""


@dataclass(frozen=True)
class Pass:
    """One pass over a tile: indices of the operands it reads and the results it writes; ``work`` lane operations per element
    (numerator, denominator); ``sums``: results that are sums over samples and leave with the last tile."""

    kind: str
    reads: tuple[int, ...]
    writes: tuple[int, ...] = ()
    work: tuple[int, int] = (1, 1)
    sums: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tile:
    """Channel blocks and samples [first, end), and the elements [first, end) of each plane of ``plane_elements``; None: all of them.

    ``is_last``: no other tile of these blocks follows.
    """

    blocks: tuple[int, int]
    samples: tuple[int, int]
    elements: tuple[int, int] | None = None
    plane_elements: int = 1
    is_last: bool = True

    @property
    def n_planes(self) -> int:
        """Planes of a tensor that holds one for each block and sample."""
        return (self.blocks[1] - self.blocks[0]) * (self.samples[1] - self.samples[0])

    def of(self, tensor: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
        """Planes and bytes of each plane that the tile covers; tensors with one plane per block do not depend on the sample."""
        planes = self.samples if tensor.n_planes > 1 else (0, 1)
        first, end = self.elements or (0, self.plane_elements)
        return planes, (tensor.plane_bytes * first // self.plane_elements, tensor.plane_bytes * end // self.plane_elements)

    def n_elements(self, plane_elements: int) -> int:
        """Elements that the tile covers of a feature map with ``plane_elements`` in a plane."""
        first, end = self.elements or (0, plane_elements)
        return self.n_planes * (end - first)

    def n_bytes(self, tensor: Tensor) -> int:
        """Bytes of ``tensor`` in the tile."""
        planes, (first, end) = self.of(tensor)
        return (self.blocks[1] - self.blocks[0]) * (planes[1] - planes[0]) * (end - first)


class VectorEmitter:
    """Appends unified-core commands and their transfers."""

    def __init__(self, context: Context):
        self.context, self.builder = context, context.builder
        self.lanes = context.architecture.unified_core.lanes

    def run(self, kind: str, n_operations: int, reads: list[Region], writes: list[Region]) -> None:
        """One pass of ``n_operations`` lane operations over whole regions."""
        if len(reads) > MAX_READS or len(writes) > MAX_WRITES:
            raise ValueError(f"{kind}: at most {MAX_READS} operands and {MAX_WRITES} results, got {len(reads)} and {len(writes)}")
        word = self.context.array.word_bytes
        address, words = [0] * (MAX_READS + MAX_WRITES), [0] * (MAX_READS + MAX_WRITES)
        for i, region in [*enumerate(reads), *enumerate(writes, MAX_READS)]:
            address[i], words[i] = region.address // word, region.n_bytes // word
        row = (
            max(ceil_div(n_operations, self.lanes), 1),
            len(reads),
            len(writes),
            tuple(address),
            tuple(words),
            KINDS.index(kind),
            self.builder.operation,
        )
        self.builder.append(UNIFIED, "vectors", row, reads=reads, writes=writes)

    def scope(self, tile: Tile, tensors: list[Tensor]):
        """Regions of the error buffer that are allocated inside, for the tile of ``tensors``, stay untouched until its end."""
        return self.context.rings[LOAD_ERROR].scope(sum(tile.n_bytes(tensor) + self.context.array.word_bytes for tensor in tensors))

    def load(self, tensor: Tensor, tile: Tile) -> Region:
        """The tile of ``tensor`` in the error buffer."""
        region = self.context.allocate(LOAD_ERROR, max(tile.n_bytes(tensor), 1))
        planes, piece = tile.of(tensor)
        self.context.transfer(LOAD_ERROR, region, 0, tensor, tile.blocks, planes, piece)
        return region

    def store(self, region: Region, tensor: Tensor, tile: Tile) -> None:
        """Write the tile of ``tensor`` back to DRAM."""
        planes, piece = tile.of(tensor)
        self.context.transfer(STORE, region, 0, tensor, tile.blocks, planes, piece)

    def room(self, tensor: Tensor, tile: Tile) -> Region:
        """An empty region for the tile of ``tensor``."""
        return self.context.allocate(LOAD_ERROR, max(tile.n_bytes(tensor), 1))

    def configure(self, tensor: Tensor | None, tile: Tile) -> None:
        """Bring per-channel values of the tile's planes to the lanes: parameters once for an operation, statistics tile by tile."""
        if tensor is not None:
            self.run("configure", 1, [self.load(tensor, Tile(tile.blocks, tile.samples))], [])

    def passes(
        self, passes: list[Pass], tile: Tile, n_elements: int, operands: dict[int, Region], inputs: list[Tensor], outputs: list[Tensor]
    ) -> dict[int, Region]:
        """Run ``passes`` on one tile; ``operands`` holds the regions that are already there, by index of ``inputs``. Returns the
        results' regions."""
        operands = dict(operands)
        results: dict[int, Region] = {}
        for step in passes:
            for i in step.reads:
                if i not in operands:
                    operands[i] = self.load(inputs[i], tile)
            writes = [i for i in step.writes if tile.is_last or i not in step.sums]
            for i in writes:
                results[i] = self.room(outputs[i], tile)
            self.run(
                step.kind,
                ceil_div(n_elements * step.work[0], step.work[1]),
                [operands[i] for i in step.reads],
                [results[i] for i in writes],
            )
            for i in writes:
                self.store(results[i], outputs[i], tile)
        return results

    def tiles(self, n_blocks: int, batch: int, plane_elements: int, plane_bytes: int) -> list[list[Tile]]:
        """Tiles that cover all planes, each a list of pieces: one piece unless a plane is too large for its share of the buffer.

        Pieces start at multiples of ``PIECE_ELEMENTS``, at a burst in every tensor.
        """
        limit = 2 * self.context.array.error_bytes // TILES_IN_ERROR_BUFFER
        if plane_bytes > limit:
            step = max(plane_elements * limit // plane_bytes // PIECE_ELEMENTS, 1) * PIECE_ELEMENTS
            shares = [(e, min(e + step, plane_elements)) for e in range(0, plane_elements, step)]
            planes = [((b, b + 1), (s, s + 1)) for b in range(n_blocks) for s in range(batch)]
            return [
                [Tile(*plane, share, plane_elements, (plane[1][1], share) == (batch, shares[-1])) for share in shares] for plane in planes
            ]
        planes = limit // plane_bytes
        if planes < batch:
            return [
                [Tile((b, b + 1), (s, min(s + planes, batch)), is_last=s + planes >= batch)]
                for b in range(n_blocks)
                for s in range(0, batch, planes)
            ]
        step = planes // batch
        return [[Tile((b, min(b + step, n_blocks)), (0, batch))] for b in range(0, n_blocks, step)]

    def stream(
        self,
        passes: list[Pass],
        n_blocks: int,
        batch: int,
        plane_elements: int,
        inputs: list[Tensor],
        outputs: list[Tensor],
        parameters: Tensor | None = None,
        statistics: Tensor | None = None,
    ) -> None:
        """A stand-alone operation: load, run and store tile by tile. A plane in pieces is loaded again for every pass.

        ``parameters`` (per block) and ``statistics`` (per plane) are brought to the lanes first.
        """
        plane_bytes = sum(tensor.plane_bytes for tensor in (*inputs, *outputs))
        self.configure(parameters, Tile((0, n_blocks), (0, batch)))
        for pieces in self.tiles(n_blocks, batch, plane_elements, plane_bytes):
            self.configure(statistics, pieces[0])
            whole = len(pieces) == 1
            for group in [passes] if whole else [[step] for step in passes]:
                for tile in pieces:
                    with self.scope(tile, [*inputs, *outputs]):
                        self.passes(group, tile, tile.n_elements(plane_elements), {}, inputs, outputs)
