"""An iteration in outline: how much each operation asks of each engine, without commands.

The emitters of an iteration decide what happens; here they meet stand-ins that add up instead of writing commands, and equal tiles are
taken once and counted. A `Job` is what runs as one pipeline of tiles: a convolution with the normalization of its results, or a
stand-alone operation of the unified core.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple

from etasim.config import Architecture
from etasim.estimate.outline_convolution import GradientOutline, ResultOutline
from etasim.estimate.outline_traffic import N_CLASSES, Sent, piece_words, ways_of
from etasim.mapping.emitters import Emitters
from etasim.mapping.iteration import Operation
from etasim.mapping.mapper import emit_iteration
from etasim.mapping.tensors import Memory, Tensor
from etasim.mapping.vector import Place, Rows, Tile, VectorEmitter, plane_shares, tile_limit_bytes
from etasim.program.builder import Region
from etasim.program.commands import FIRST_CLUSTER, LOAD_ERROR, MAX_READS, STORE, UNIFIED
from etasim.schedule.array import array_of, full_buffer
from etasim.schedule.tiling import burst_span, ceil_div
from etasim.workload import Network

CLUSTERS = FIRST_CLUSTER
"""The clusters as one engine: the most loaded of them."""


@dataclass
class Job:
    """A pipeline of ``n_tiles`` tiles. By engine: bytes (load and store engines) or cycles in all, of the first tile and of the last.

    ``inputs``: (engine, tensor name) of what it reads; ``first_share``: part of the batch that the first tile needs;
    ``by_sample``: samples are finished one after the other. ``drain_cycles``: results of the last pass on their way to the error
    buffer. ``commands``: by engine.
    """

    total: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    first: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    last: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    commands: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    operations: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    inputs: set[tuple[int, str]] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)
    n_tiles: int = 0
    n_kinds: int = 0
    first_share: float = 1.0
    by_sample: bool = False
    drain_cycles: int = 0

    def begin_tile(self, count: int) -> None:
        """What follows belongs to ``count`` equal tiles."""
        self.n_tiles += count
        self.n_kinds += 1
        self.last.clear()

    def add(self, engine: int, amount: float, count: int, operation: int, first: float | None = None) -> None:
        """``count`` commands of ``amount`` each; the first tile waits for ``first`` of a command (default: for all of it)."""
        self.total[engine] += amount * count
        self.commands[engine] += count
        self.operations[engine].add(operation)
        self.last[engine] += amount
        if self.n_kinds <= 1:
            self.first[engine] += amount if first is None else first


class Amounts:
    """What operations move and do: DRAM bytes by (operation, tensor class, is a store), cluster cycles and vector groups by operation.

    Words by (operation, message class: 0 streamed, 1 stationary, 2 results): ``sent``, ``hops`` (times the links that they take), and
    ``arrived`` where they go: in the scratchpads, and results as the error buffer writes them. ``dma_words`` by (operation, engine),
    ``unified_words`` by (operation, is a result).
    """

    def __init__(self):
        self.dram_bytes: dict[tuple[int, str, bool], int] = defaultdict(int)
        self.sent: dict[tuple[int, int], int] = defaultdict(int)
        self.hops: dict[tuple[int, int], int] = defaultdict(int)
        self.arrived: dict[tuple[int, int], int] = defaultdict(int)
        self.dma_words: dict[tuple[int, int], int] = defaultdict(int)
        self.unified_words: dict[tuple[int, int], int] = defaultdict(int)
        self.cluster_cycles: dict[int, int] = defaultdict(int)
        self.vector_groups: dict[int, int] = defaultdict(int)

    def add_sent(self, operation: int, sent: Sent, count: int) -> None:
        """``count`` tiles that send ``sent``."""
        for kind in range(N_CLASSES):
            self.sent[operation, kind] += sent.words[kind] * count
            self.hops[operation, kind] += sent.hops[kind] * count
            self.arrived[operation, kind] += sent.arrived[kind] * count


class Outline(NamedTuple):
    """Jobs in program order, operations as in the report, what the operations move, and the bytes of DRAM that tensors take."""

    jobs: list[Job]
    operations: list[Operation]
    amounts: Amounts
    held_bytes: int


class OutlineContext:
    """Stands in for `Context`: sizes and tensors are the same, regions are not tracked, transfers are added up.

    ``count``: how often what follows happens. ``timed``: the array as its work is timed, where ``array`` is what plans are made for.
    """

    def __init__(self, architecture: Architecture, batch: int):
        self.architecture, self.batch = architecture, batch
        self.array = array_of(architecture)
        self.timed = self.array
        if architecture.noc.ideal:  # a feeder still reads a word a cycle, unless the buffers are ideal too
            self.timed = self.array._replace(packet_flits=(0 if architecture.buffers.ideal else 1,) * len(self.array.packet_flits))
        self.memory = Memory(architecture.dram)
        self.builder = SimpleNamespace(operation=0, append=self._append)
        self.count = 1
        self._held_bytes = self._scopes = 0
        self.jobs: list[Job] = []
        self.amounts = Amounts()
        self.ways = ways_of(architecture.noc, self.array.word_bytes)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is held of the error buffer inside is held until the end."""
        held, self._held_bytes = self._held_bytes, 0
        self._scopes += 1
        yield
        self._scopes -= 1
        self._held_bytes = held

    def hold(self, n_bytes: int) -> None:
        """Take ``n_bytes`` of the error buffer. Raises InfeasibleError if its halves are smaller than that and what a scope holds."""
        taken = self._held_bytes + ceil_div(n_bytes, self.array.word_bytes) * self.array.word_bytes
        if taken > 2 * self.array.error_bytes:
            raise full_buffer(self.architecture, "error", taken)
        if self._scopes:
            self._held_bytes = taken

    def begin_job(self, **properties) -> Job:
        """A new pipeline of tiles."""
        self.jobs.append(Job(**properties))
        self.count = 1
        return self.jobs[-1]

    @property
    def job(self) -> Job:
        """The pipeline under way; what comes before all of them, such as the labels of a loss, is one of its own."""
        return self.jobs[-1] if self.jobs else self.begin_job()

    def allocate(self, engine: int, n_bytes: int) -> Region:
        """A region somewhere. Raises InfeasibleError where the error buffer is too small for it."""
        if engine == LOAD_ERROR:
            self.hold(n_bytes)
        return Region(0, ceil_div(n_bytes, self.array.word_bytes) * self.array.word_bytes, {})

    def transfer(self, engine: int, region: Region, offset: int, tensor: Tensor, block: tuple[int, int], plane: tuple[int, int],
                 piece: tuple[int, int] | None = None, block_stride: int | None = None, first_part: int = 1) -> int:  # fmt: skip
        """Add up a load or a store; the first tile waits for one of ``first_part`` parts of it."""
        first, end = piece or (0, tensor.plane_bytes)
        n_blocks, n_planes = block[1] - block[0], plane[1] - plane[0]
        moved = n_blocks * n_planes * burst_span(first, end, self.array.burst_bytes)
        words = n_blocks * n_planes * piece_words(first, end, self.array.burst_bytes, self.array.word_bytes)
        operation, job = self.builder.operation, self.job
        self.amounts.dma_words[operation, engine] += words * self.count
        job.add(engine, moved, self.count, operation, moved / first_part)
        self.amounts.dram_bytes[operation, tensor.tensor_class, engine == STORE] += moved * self.count
        if engine == STORE:
            job.outputs.add(tensor.name)
        else:
            job.inputs.add((engine, tensor.name))
        return 0

    def _append(self, engine: int, table: str, row: tuple, reads=(), writes=()) -> None:
        """A command of the unified core."""
        n_groups, words, operation = row[0], row[4], self.builder.operation
        groups = 0 if self.architecture.unified_core.ideal else n_groups
        streamed = 0 if self.architecture.buffers.ideal else max(words)
        self.job.add(UNIFIED, max(groups, streamed), self.count, operation)
        self.amounts.vector_groups[operation] += n_groups * self.count
        for is_result, streams in enumerate((words[:MAX_READS], words[MAX_READS:])):
            self.amounts.unified_words[operation, is_result] += sum(streams) * self.count


@dataclass(frozen=True)
class CountedTile(Tile):
    """A tile that stands for ``count`` equal ones."""

    count: int = 1


class OutlineVector(VectorEmitter):
    """The unified core's work, equal tiles once."""

    def __init__(self, context: OutlineContext):
        super().__init__(context)
        self._opened = False

    @contextmanager
    def scope(self, tile: Tile, operands, results) -> Iterator[None]:
        """A tile of a stand-alone operation."""
        self.context.count = tile.count
        self.context.job.begin_tile(tile.count)
        with self.context.scope():
            yield

    def tiles(self, n_blocks: int, batch: int, plane_elements: int, plane_bytes: int, rows: Rows | None = None) -> list[list[Tile]]:
        """As `VectorEmitter.tiles`, with equal tiles counted."""
        limit = tile_limit_bytes(self.context.array)
        if not self._opened:
            self.context.begin_job()
        if plane_bytes > limit:
            shares = plane_shares(plane_elements, plane_bytes, limit, rows)
            planes = [(n_blocks * (batch - 1), False), (n_blocks, True)]
            return [
                [CountedTile((0, 1), (0, 1), *share, share is shares[-1], share is shares[-1] and last, count) for share in shares]
                for count, last in planes
                if count
            ]
        planes = limit // plane_bytes
        if planes < batch:
            whole, rest = divmod(batch, planes)
            runs = [(planes, n_blocks * (whole - (rest == 0)), False), (rest or planes, n_blocks, True)]
            return [[CountedTile((0, 1), (0, samples), is_last=last, count=count)] for samples, count, last in runs if count]
        whole, rest = divmod(n_blocks, planes // batch)
        runs = [(planes // batch, whole), (rest, 1)]
        return [[CountedTile((0, blocks), (0, batch), count=count)] for blocks, count in runs if blocks and count]

    def sample_tiles(self, n_blocks: int, batch: int, plane_bytes: int) -> list[list[Tile]]:
        """As `VectorEmitter.sample_tiles`; a loss has few tiles."""
        self.context.begin_job()
        tiles = super().sample_tiles(n_blocks, batch, plane_bytes)
        return [[CountedTile(tile.blocks, tile.samples, is_last=tile.is_last) for tile in pieces] for pieces in tiles]

    def configure(self, place: Place, tensor: Tensor | None, tile: Tile) -> None:
        """Per-channel values: parameters once, statistics with every tile."""
        count = self.context.count
        if isinstance(tile, CountedTile):
            self.context.count = tile.count
        if tensor is not None and tensor.content.grain == "block":
            self.context.count = 1
        super().configure(place, tensor, tile)
        self.context.count = count

    def stream(self, *arguments, **options) -> None:
        """A stand-alone operation is a job from its parameters on."""
        self.context.begin_job()
        self._opened = True
        super().stream(*arguments, **options)
        self._opened = False


def outline(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...]) -> Outline:
    """The outline of one iteration. Raises InfeasibleError if an operation fits no tiling."""
    iteration = emit_iteration(architecture, network, batch, phases, EMITTERS)
    context = iteration.context
    return Outline([job for job in context.jobs if job.total], iteration.operations, context.amounts, context.memory.used_bytes)


EMITTERS = Emitters(OutlineContext, OutlineVector, ResultOutline, GradientOutline)
