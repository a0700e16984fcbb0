"""What the unified core does to a tile, step by step, as values: emission writes commands from them, the estimate adds them up.

A step names the operation of the report that it is booked to. Regions of the error buffer are `Slot`s, which lie somewhere once an emitter
has placed them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from etasim.config import Architecture
from etasim.config.architecture import Lane
from etasim.core.errors import InfeasibleError
from etasim.mapping.tensors import Content, Tensor
from etasim.mapping.tiles import Cover, Rows, Tile, cover
from etasim.ops import LaneWork, Pass
from etasim.ops.passes import pass_named
from etasim.ops.unit import CONFIGURE, ERROR_ADD, SHARE_SCALES
from etasim.program.builder import Region
from etasim.program.commands import MAX_READS, MAX_WRITES
from etasim.schedule.array import ArraySizes
from etasim.schedule.tiling import ceil_div


@dataclass(eq=False)
class Slot:
    """``n_bytes`` of the error buffer for ``content``; ``region``: where they lie, once they do."""

    content: Content
    n_bytes: int
    region: Region | None = None


class Place(NamedTuple):
    """The unit whose pass it is, and where the blocks of a tile begin in it (a part of a concatenation does not begin at 0)."""

    unit: int
    first_block: int = 0


class LoadTile(NamedTuple):
    """Bring the ``tile`` of the operand ``tensor`` into ``slot``, which is free; ``once``: not for each of the tiles that it stands for."""

    operation: int
    slot: Slot
    tensor: Tensor
    tile: Tile
    once: bool = False


class RunPass(NamedTuple):
    """A pass ``kind`` of ``n_lane_operations`` over the whole of ``reads`` and ``writes``; of these, new ones find room first.

    ``after``: a tensor whose ``tile`` must be in DRAM before: what the lanes added up on its way there is complete then.
    """

    operation: int
    kind: str
    place: Place
    tile: Tile
    n_lane_operations: int
    reads: tuple[Slot, ...]
    writes: tuple[Slot, ...] = ()
    once: bool = False
    after: Tensor | None = None

    @property
    def on_all_cores(self) -> bool:
        """Whether every unified core does it: what the lanes need for all tiles comes to each."""
        return self.once and self.kind == CONFIGURE.name


class StoreTile(NamedTuple):
    """Write the ``tile`` of the result ``tensor`` from ``slot`` to DRAM."""

    operation: int
    slot: Slot
    tensor: Tensor
    tile: Tile
    once: bool = False


Step = LoadTile | RunPass | StoreTile


class Turn(NamedTuple):
    """``steps`` on a ``tile``, which leave each other's slots alone, ``room_bytes`` in all; ``before``: what the lanes are brought
    first."""

    tile: Tile
    before: Iterable[Step]
    steps: Iterable[Step]
    room_bytes: int


class Alone(NamedTuple):
    """An operation of the unified core by itself: turns over the tiles of ``cover``; ``before``: what the lanes are brought first."""

    cover: Cover
    turns: Callable[[list[list[Tile]]], Iterator[Turn]]
    before: tuple[Step, ...] = ()


def operand_slot(content: Content, tile: Tile) -> Slot:
    """Room for the tile of an operand."""
    return Slot(content, max(tile.n_bytes(content, is_operand=True), 1))


def result_slot(content: Content, tile: Tile) -> Slot:
    """Room for the tile of a result."""
    return Slot(content, max(tile.n_bytes(content, is_operand=False), 1))


def room_bytes(array: ArraySizes, tile: Tile, operands: Iterable[Content], results: Sequence[Content]) -> int:
    """Bytes of the error buffer that the tile of these tensors takes, each in whole words, with results whose scales are not known yet."""
    slots = [operand_slot(content, tile) for content in operands]
    slots += [result_slot(content, tile) for content in (*results, *raw_contents(results))]
    return sum(ceil_div(slot.n_bytes, array.word_bytes) * array.word_bytes for slot in slots)


def raw_contents(results: Iterable[Content]) -> list[Content]:
    """What stands for ``results`` before the scales are known that their codes share: once, however many copies there are."""
    return list({content.number: content.raw for content in results if content.stored is not None}.values())


def with_scales(steps: Sequence[Pass], results: Iterable[Content]) -> list[Pass]:
    """``steps``, and what finds the scales of ``results`` after them."""
    return [*steps, *[SHARE_SCALES] * len(raw_contents(results))]


def configure(operation: int, place: Place, tensors: Iterable[Tensor], tile: Tile) -> Iterator[Step]:
    """Bring per-channel values of the tile's planes to the lanes: parameters once for an operation, statistics tile by tile."""
    for tensor in tensors:
        whole, once = tile.whole, tensor.content.grain == "block"
        slot = operand_slot(tensor.content, whole)
        yield LoadTile(operation, slot, tensor, whole, once)
        yield RunPass(operation, CONFIGURE.name, place, whole, 1, (slot,), (), once)


def passes(
    operation: int, steps: Sequence[Pass], place: Place, tile: Tile, n_elements: int, inputs: Sequence[Tensor | Slot],
    outputs: list[Tensor],
) -> Iterator[Step]:  # fmt: skip
    """Run ``steps`` on one tile of ``n_elements``, each with inputs and outputs of its roles; an input that is a slot is there already.
    Codes that share scales wait, wider, until all of a step's values are known."""
    slots = {i: each for i, each in enumerate(inputs) if isinstance(each, Slot)}
    for step in steps:
        read = [i for i, each in enumerate(inputs) if each.content.role in step.reads]
        for i in read:
            operand = inputs[i]
            if i not in slots and isinstance(operand, Tensor):
                slots[i] = operand_slot(operand.content, tile)
                yield LoadTile(operation, slots[i], operand, tile)
        writes = [tensor for tensor in outputs if tensor.content.role in step.writes and tile.completes(tensor.content)]
        results = [result_slot(tensor.content, tile) for tensor in writes]
        n_lane_operations, operands = ceil_div(n_elements * step.work[0], step.work[1]), tuple(slots[i] for i in read)
        raw = [] if step is SHARE_SCALES else [result_slot(content, tile) for content in raw_contents(t.content for t in writes)]
        done = [slot for slot in results if slot.content.stored is None or step is SHARE_SCALES]
        yield RunPass(operation, step.name, place, tile, n_lane_operations, operands, (*raw, *done))
        for values in raw:
            codes = tuple(slot for slot in results if slot not in done and slot.content.number == values.content.number)
            yield RunPass(operation, SHARE_SCALES.name, place, tile, tile.n_elements(values.content.plane_elements), (values,), codes)
        for slot, tensor in zip(results, writes, strict=True):
            yield StoreTile(operation, slot, tensor, tile)


def add_into(operation: int, place: Place, tile: Tile, n_elements: int, slot: Slot, other: Tensor) -> Iterator[Step]:
    """Add the tile of ``other`` to the contribution to an error in ``slot``."""
    addend = operand_slot(other.content, tile)
    yield LoadTile(operation, addend, other, tile)
    yield RunPass(operation, ERROR_ADD.name, place, tile, n_elements, (slot, addend), (slot,))


class Lanes(NamedTuple):
    """``n`` lanes of a unified core, made of ``units``; channels of a block lie in ``block_lanes`` of them."""

    n: int
    block_lanes: int
    units: Lane

    def slots(self, work: LaneWork) -> int:
        """Cycles of a lane."""
        return work.slots(self.units.multipliers, self.units.adders, self.units.divider_cycles)

    def groups(self, step: RunPass) -> int:
        """Vector groups of a pass: slots of all elements on all lanes; one at least."""
        done = pass_named(step.kind)
        groups = max(ceil_div(step.n_lane_operations * max(self.slots(done.each), 1), self.n), 1)
        return groups + ceil_div(step.tile.n_planes * self.block_lanes, self.n) * self._plane_slots(done)

    def of_element(self, steps: Iterable[Pass], plane_elements: int) -> float:
        """Slots that ``steps`` take for an element of a plane."""
        each = sum(step.work[0] / step.work[1] * max(self.slots(step.each), 1) for step in steps)
        return each + sum(self._plane_slots(step) * self.block_lanes / plane_elements for step in steps)

    def _plane_slots(self, step: Pass) -> int:
        return self.slots(step.of_plane) if self.units.plane_work else 0


def lanes_of(architecture: Architecture) -> Lanes:
    """The lanes of each unified core."""
    return Lanes(architecture.unified_core.lanes, architecture.channel_block, architecture.unified_core.lane)


def refuse_streams(kind: str, n_reads: int, n_writes: int) -> None:
    """Raise InfeasibleError for more operands or results than the unified core has streams."""
    if n_reads > MAX_READS or n_writes > MAX_WRITES:
        raise InfeasibleError(
            f"unified core: {kind} has {n_reads} operands and {n_writes} results, it streams at most {MAX_READS} and {MAX_WRITES}"
        )


def alone(
    array: ArraySizes, operation: int, steps: Sequence[Pass], place: Place, planes: tuple[int, int, int],
    inputs: list[Tensor], outputs: list[Tensor],
    parameters: Sequence[Tensor] = (), statistics: Sequence[Tensor] = (), rows: Rows | None = None, over_batch: bool = False,
) -> Alone:  # fmt: skip
    """A stand-alone operation over ``planes`` (blocks, samples, elements of each): load, run and store tile by tile. A plane in pieces is
    loaded again for every pass; ``over_batch``: so are the samples of a block, unless a tile holds all of them.

    ``parameters`` (per block) and ``statistics`` (per plane) are brought to the lanes first.
    """
    contents = [tensor.content for tensor in inputs], [tensor.content for tensor in outputs]
    n_blocks, batch, plane_elements = planes
    plane_bytes = sum(content.plane_bytes for group in (*contents, raw_contents(contents[1])) for content in group)
    tiles = cover(array, *planes, plane_bytes, len(inputs), len(with_scales(steps, contents[1])), rows, over_batch)

    def turns(groups: list[list[Tile]]) -> Iterator[Turn]:
        for pieces in groups:
            before = tuple(configure(operation, place, statistics, pieces[0]))
            for group in [steps] if len(pieces) == 1 else [[step] for step in steps]:
                for tile in pieces:
                    on_tile = passes(operation, group, place, tile, tile.n_elements(plane_elements), inputs, outputs)
                    yield Turn(tile, before, on_tile, room_bytes(array, tile, *contents))
                    before = ()

    first = configure(operation, place, parameters, Tile((0, n_blocks), (0, batch)))
    return Alone(tiles, turns, tuple(first))
