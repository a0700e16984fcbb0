"""What all emitters share: the builder, the buffers' rings, DRAM, the NoC's routes and the clusters' word counts."""

from collections.abc import Hashable
from functools import lru_cache
from math import prod
from typing import NamedTuple

from etasim.config import Architecture
from etasim.mapping.forwarding import Residences
from etasim.mapping.held_maps import HeldMaps
from etasim.mapping.second_copies import Bytes, SecondCopies
from etasim.mapping.steps import Alone, LoadTile, RunPass, Slot, Step, lanes_of, refuse_streams
from etasim.mapping.tensors import Tensor
from etasim.noc import Route
from etasim.noc.topology import ABSENT
from etasim.ops.passes import all_passes
from etasim.program.builder import EVERYTHING, BufferFullError, Builder, Region, Ring, merge
from etasim.program.commands import (
    BUFFER_OF,
    BUFFERS,
    LOAD_ACTIVATION,
    LOAD_ERROR,
    LOAD_WEIGHT,
    MAX_READS,
    OPERANDS,
    RUN_DIMENSIONS,
    STORE,
    TENSOR_CLASSES,
)
from etasim.program.repeats import Repeat
from etasim.schedule.array import PSUM, ArraySizes, full_buffer, present_of
from etasim.schedule.nest import Span


class Source(NamedTuple):
    """Blocks and planes [first, end) of ``tensor``, the bytes ``piece`` of each plane, where they lie in DRAM."""

    tensor: Tensor
    blocks: Span
    planes: Span
    piece: Span

    @property
    def address(self) -> int:
        """Of the first byte."""
        t = self.tensor
        return t.address + self.blocks.first * t.pitch_bytes + self.planes.first * t.plane_pitch_bytes + self.piece.first


class Context:
    """Mutable state of the emission of one iteration. ``last_reduction``: the wait for the last drains whose sums the network adds;
    ``copies``: whether stretches that repeat are copied, ``repeats``: the first of each, by convolution; ``between_passes`` [cluster]:
    whether the last chunk was that of a pass; ``phase`` [cluster]: that of its last chunk."""

    def __init__(
        self, architecture: Architecture, array: ArraySizes, residences: Residences, copies: bool = True, window: int = EVERYTHING
    ):
        self.architecture, self.array = architecture, array
        self.builder = Builder(array.clusters, architecture.unified_core.n_cores, present_of(architecture), window)
        self.lanes = lanes_of(architecture)
        word = array.word_bytes
        loads = (LOAD_ACTIVATION, LOAD_WEIGHT, LOAD_ERROR)
        self.rings = {e: Ring(BUFFERS[BUFFER_OF[e]], array.buffer_bytes[BUFFER_OF[e]], word) for e in loads}
        self.second = SecondCopies(self.builder, array)
        self.held = HeldMaps(self.builder, residences, self.rings)
        self.placement = architecture.noc.placement
        self.routes: dict[Route, int] = {}
        self.received = [[0, 0] for _ in range(array.clusters)]
        self.between_passes = [True] * array.clusters
        self.phase = [""] * array.clusters
        b, n = architecture.buffers.ideal, architecture.noc.ideal
        self.instant_feeds = b and n
        follows = self.instant_feeds or array.bypasses or not array.prefetches or any(array.fill_cycles)
        self.copies = copies and not follows  # where a chunk follows from no more than its own operands
        self.repeats: dict[Hashable, dict[Hashable, Repeat]] = {}
        self.last_reduction: dict[int, int] = {}
        self._feed_routes: dict[tuple[int, ...], list[int]] = {}
        self._drain_routes: dict[range, list[int]] = {}
        self._dealt: dict[tuple[int, int], int] = {}
        self._pass_numbers = {step.name: number for number, step in enumerate(all_passes())}

    def allocate(self, engine: int, n_bytes: int) -> Region:
        """A region of the buffer that load engine ``engine`` fills. Raises InfeasibleError if the buffer is smaller."""
        try:
            return self.rings[engine].allocate(n_bytes)
        except BufferFullError as full:
            raise full_buffer(self.architecture, full.buffer, full.needed_bytes) from None

    def route(self, source: int, destinations: tuple[int, ...], message_class: int, reduction: int = ABSENT) -> int:
        """Number of a route, new or known."""
        route = Route(source, destinations, message_class, self.array.packet_bits, reduction)
        return self.routes.setdefault(route, len(self.routes))

    def feed_routes(self, stream: int, clusters: list[int]) -> list[int]:
        """One multicast route to ``clusters``, or one route each if the NoC does not multicast."""
        key = (stream, *clusters)
        if key not in self._feed_routes:
            source = (self.placement.activation, self.placement.weight)[stream]
            nodes = tuple(self.placement.clusters[c] for c in clusters)
            groups = [nodes] if self.architecture.noc.multicast else [(node,) for node in nodes]
            self._feed_routes[key] = [self.route(source, group, stream) for group in groups]
        return self._feed_routes[key]

    def drain_routes(self, clusters: range) -> list[int]:
        """Routes of the psums of ``clusters``, a reduction group if there are several; clusters alternate between the ports of the error
        buffer, a group takes that of its first."""
        if clusters not in self._drain_routes:
            port = self.placement.error[clusters[0] % len(self.placement.error)]
            group = sum(len(known) > 1 for known in self._drain_routes) if len(clusters) > 1 else ABSENT
            self._drain_routes[clusters] = [self.route(self.placement.clusters[c], (port,), PSUM, group) for c in clusters]
        return self._drain_routes[clusters]

    def load(self, engine: int, region: Region, offset: int, tensor: Tensor, block: tuple[int, int], plane: tuple[int, int],
             piece: tuple[int, int], block_stride: int | None = None) -> tuple[int, int]:  # fmt: skip
        """Bring blocks and planes [first, end) of ``tensor``, the bytes ``piece`` of each plane, into the buffer of load ``engine``: to
        ``region`` at ``offset``, where a block's planes follow each other, blocks ``block_stride`` bytes apart (default: no gap).

        From the second-level buffer, or where the error buffer holds them, if they are there; returns the engine, and the command's count.
        """
        if tensor.from_host:
            self._arrive(tensor, tensor.parts(block, plane))
        what = Bytes(tensor, block, plane, piece)
        if (forwarded := self.held.bring(engine, region, offset, what, block_stride)) is not None:
            return forwarded
        if (served := self.second.load(engine, region, offset, what, block_stride)) is not None:
            return served
        row = (*what.runs(region.address + offset, block_stride), TENSOR_CLASSES.index(tensor.tensor_class), self.builder.operation)
        done = self.builder.append(engine, "transfers", row, writes=[region], after=tensor.written(block, plane, piece))
        tensor.readers[engine] = done
        return engine, done

    def pass_through(
        self, source: Source, address: int, run: int, dims: list[tuple[int, int]], counts: tuple[int, ...], strides: tuple[int, ...]
    ) -> Region:
        """Load runs of ``source``, from ``address`` on, into a region of the FIFO, to be read once in ``counts`` with ``strides``."""
        tensor = source.tensor
        if tensor.from_host:
            self._arrive(tensor, tensor.parts(source.blocks, source.planes))
        region, n_free = self.allocate(LOAD_ACTIVATION, counts[0] * strides[0]), len(counts) - RUN_DIMENSIONS
        dram_strides = (0,) * (RUN_DIMENSIONS - len(dims)) + tuple(stride for _, stride in dims)
        row = (source.address + address, region.address, run, counts[n_free:], dram_strides, strides[n_free:],
               TENSOR_CLASSES.index(tensor.tensor_class), self.builder.operation)  # fmt: skip
        waits = tensor.written(source.blocks, source.planes, source.piece)
        tensor.readers[LOAD_ACTIVATION] = self.builder.append(LOAD_ACTIVATION, "transfers", row, writes=[region], after=waits)
        return region

    def store(self, region: Region, offset: int, tensor: Tensor, block: tuple[int, int], plane: tuple[int, int],
              piece: tuple[int, int], block_stride: int | None = None) -> None:  # fmt: skip
        """Write to DRAM, to the second-level buffer if ``tensor`` has a copy there, and to where it lives on chip if it does, what lies in
        ``region`` as `load` puts it there."""
        what = Bytes(tensor, block, plane, piece)
        self.held.hold(region, offset, what, block_stride)
        if not self.held.is_stored(tensor):
            return
        row = (*what.runs(region.address + offset, block_stride), TENSOR_CLASSES.index(tensor.tensor_class), self.builder.operation)
        waits = tensor.written(block, plane, piece)
        merge(waits, tensor.readers)
        done = self.builder.append(STORE, "transfers", row, reads=[region], after=waits)
        tensor.note_write(block, plane, piece, STORE, done)
        self.second.keep(region, offset, what, block_stride)

    def _arrive(self, tensor: Tensor, parts: range) -> None:
        """Have the host bring what is not yet on its way of the ``parts`` of an input: samples, or blocks of all samples."""
        for engine in self.builder.engines.arrivals:
            for part in parts:
                if not tensor.writers[part]:
                    n_runs, pitch = (tensor.n_blocks, tensor.plane_pitch_bytes) if tensor.n_planes > 1 else (1, tensor.pitch_bytes)
                    row = (
                        tensor.address + part * pitch, tensor.plane_pitch_bytes, (n_runs,), (tensor.pitch_bytes,),
                        TENSOR_CLASSES.index(tensor.tensor_class), self.builder.operation,
                    )  # fmt: skip
                    tensor.writers[part] = ((0, tensor.plane_bytes, engine, self.builder.append(engine, "arrivals", row)),)

    def do(self, step: Step) -> None:
        """Append a step of the unified core."""
        self.builder.may_cut()
        self.builder.operation = step.operation
        if isinstance(step, RunPass):
            self._run(step)
            return
        content, tile = step.tensor.content, step.tile
        piece = tile.piece(content, is_operand=isinstance(step, LoadTile))
        if isinstance(step, LoadTile):
            step.slot.region = self.allocate(LOAD_ERROR, step.slot.n_bytes)
            self.load(LOAD_ERROR, step.slot.region, 0, step.tensor, tile.blocks, tile.planes(content), piece)
        else:
            self.store(_region_of(step.slot), 0, step.tensor, tile.blocks, tile.planes(content), piece)

    def _run(self, step: RunPass) -> None:
        """One pass over whole regions. Raises InfeasibleError for more operands than the unified core streams."""
        refuse_streams(step.kind, len(step.reads), len(step.writes))
        for slot in step.writes:
            if slot.region is None:
                slot.region = self.allocate(LOAD_ERROR, slot.n_bytes)
        word, tile, place = self.array.word_bytes, step.tile, step.place
        address, words, tensor, first, count = ([0] * OPERANDS for _ in range(5))
        for i, slot in [*enumerate(step.reads), *enumerate(step.writes, MAX_READS)]:
            region, span = _region_of(slot), tile.span(slot.content, i < MAX_READS)
            address[i], words[i], tensor[i] = region.address // word, region.n_bytes // word, slot.content.number
            first[i], count[i] = span[0], span[1] - span[0]
        row = (
            self.lanes.groups(step), len(step.reads), len(step.writes), tuple(address), tuple(words),
            self._pass_numbers[step.kind], step.operation, place.unit, tuple(tensor),
            place.first_block + tile.blocks[0], tile.blocks[1] - tile.blocks[0], tile.samples[0], tile.samples[1] - tile.samples[0],
            tuple(first), tuple(count),
        )  # fmt: skip
        reads, writes = ([_region_of(slot) for slot in slots] for slots in (step.reads, step.writes))
        waits = {} if step.after is None else step.after.written(tile.blocks, (0, 1), (0, step.after.plane_bytes))
        for core in self._cores(step):
            self.builder.append(core, "vectors", row, reads=reads, writes=writes, after=waits)

    def _cores(self, step: RunPass) -> range:
        """Engines of the unified cores that do a pass. Tiles are dealt in turn, those of the same channel blocks of a unit to the same
        core, for its lanes keep sums from pass to pass and from sample to sample."""
        cores = self.builder.engines.vectors
        if step.on_all_cores:
            return cores
        blocks = step.place.unit, step.place.first_block + step.tile.blocks[0]
        core = self._dealt.setdefault(blocks, len(self._dealt)) % len(cores)
        return cores[core : core + 1]

    def alone(self, work: Alone) -> None:
        """Append an operation that the unified core computes by itself."""
        for step in work.before:
            self.do(step)
        for turn in work.turns(work.cover.steps()):
            for step in turn.before:
                self.do(step)
            with self.rings[LOAD_ERROR].scope(turn.room_bytes):
                for step in turn.steps:
                    self.do(step)


def _region_of(slot: Slot) -> Region:
    """Where a slot lies."""
    assert slot.region is not None, "what is read or written has been placed"
    return slot.region


def words_touched(address: int, run_bytes: int, counts: tuple[int, ...], strides: tuple[int, ...], word_bytes: int) -> int:
    """Words that the runs of a feed command touch, a word shared by two runs counted for each."""
    return _words_of_runs(address % word_bytes, run_bytes, counts, strides, word_bytes)


@lru_cache(maxsize=65536)
def _words_of_runs(address: int, run_bytes: int, counts: tuple[int, ...], strides: tuple[int, ...], word_bytes: int) -> int:
    """As `words_touched`, from an address within a word."""
    if not any(count > 1 and stride % word_bytes for count, stride in zip(counts, strides, strict=True)):
        return prod(counts) * ((address + run_bytes - 1) // word_bytes - address // word_bytes + 1)
    return sum(words_touched(address + i * strides[0], run_bytes, counts[1:], strides[1:], word_bytes) for i in range(counts[0]))
