"""The second-level buffer while commands are written: where copies of tensors lie, what they wait for, and the commands that fill them,
read them and write them beside DRAM."""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from etasim.mapping.second_level import Copies, Copy, copied_parts
from etasim.mapping.tensors import Memory, Tensor
from etasim.program.builder import Builder, Region, Ring, Row, merge
from etasim.program.commands import BUFFER_OF, COPY, KEEP, TENSOR_CLASSES
from etasim.schedule.array import ArraySizes
from etasim.schedule.tiling import ceil_div


class Bytes(NamedTuple):
    """Blocks and planes [first, end) of ``tensor``, the bytes ``piece`` of each plane."""

    tensor: Tensor
    block: tuple[int, int]
    plane: tuple[int, int]
    piece: tuple[int, int]

    def first_of(self, place: Tensor) -> "Bytes":
        """Those that ``place`` has room for."""
        block, plane = (self.block[0], min(self.block[1], place.n_blocks)), (self.plane[0], min(self.plane[1], place.n_planes))
        return self._replace(block=block, plane=plane)

    def runs(self, address: int, block_stride: int | None) -> Row:
        """The strided runs of a copy between where the tensor lies and a buffer at ``address``: both addresses, the bytes of a run, counts,
        strides there and here."""
        tensor, (first, end) = self.tensor, self.piece
        n_blocks, n_planes, run = self.block[1] - self.block[0], self.plane[1] - self.plane[0], end - first
        plane_pitch, stride = tensor.plane_pitch_bytes, n_planes * run if block_stride is None else block_stride
        pitch = tensor.n_planes * plane_pitch
        there = tensor.address + self.block[0] * pitch + self.plane[0] * plane_pitch + first
        if n_planes > 1 and plane_pitch != run:
            return there, address, run, (1, n_blocks, n_planes), (0, pitch, plane_pitch), (0, stride, run)
        run *= n_planes
        if n_blocks > 1 and not pitch == stride == run:
            return there, address, run, (1, 1, n_blocks), (0, 0, pitch), (0, 0, stride)
        return there, address, run * n_blocks, (1, 1, 1), (0, 0, 0), (0, 0, 0)


@dataclass
class Held:
    """A ``copy``: the ``source`` in DRAM, its bytes of the second level as a tensor that lies there, and as a region of the buffer.
    ``filled``: parts that are there, or on their way, of a copy that is brought from DRAM; ``kept``: of one that is written beside DRAM the
    bytes [first, end) of each (block, plane) that are."""

    copy: Copy
    source: Tensor
    place: Tensor
    region: Region
    filled: set[int]
    kept: dict[tuple[int, int], list[tuple[int, int]]]

    def note_kept(self, there: Bytes) -> None:
        """These bytes are written."""
        for place in product(range(*there.block), range(*there.plane)):
            first, end = there.piece
            apart = []
            for other in self.kept.get(place, []):
                if other[1] < first or end < other[0]:
                    apart.append(other)
                else:
                    first, end = min(first, other[0]), max(end, other[1])
            self.kept[place] = [*apart, (first, end)]

    def has(self, there: Bytes) -> bool:
        """Whether these bytes are there, or will be brought."""
        if self.copy.from_dram:
            return True
        first, end = there.piece
        places = product(range(*there.block), range(*there.plane))
        return all(any(a <= first and end <= b for a, b in self.kept.get(place, [])) for place in places)


class SecondCopies:
    """Copies that hold now, by the name of the tensor; each gets its region of the second level's ring (``rings``, if there is one) when
    it is first met."""

    def __init__(self, builder: Builder, array: ArraySizes):
        self._builder, self._word = builder, array.word_bytes
        self.rings = [Ring("second", array.second_bytes, array.word_bytes)] if array.second_bytes else []
        self._copies: Copies = {}
        self._tensors: list[Tensor] = []
        self._held: dict[Copy, Held] = {}

    def begin(self, copies: Copies, memory: Memory) -> None:
        """The ``copies`` of the next work: new ones take the places of those that are over."""
        self._copies, self._tensors = copies, memory.tensors

    def _hold(self, copy: Copy) -> Held:
        source = next(tensor for tensor in self._tensors if tensor.name == copy.name)
        _, are_planes = copied_parts(source)
        pitch = ceil_div(source.plane_bytes, self._word) * self._word
        n_blocks, n_planes = (source.n_blocks, copy.n_parts) if are_planes else (copy.n_parts, 1)
        place = Tensor(source.name, source.tensor_class, n_blocks, n_planes, source.content, copy.address, pitch)
        place.writers = [()] * (n_planes if n_planes > 1 else n_blocks)
        return Held(copy, source, place, self.rings[0].claim(copy.address, copy.n_bytes), set(), {})

    def load(self, engine: int, region: Region, offset: int, what: Bytes, block_stride: int | None) -> tuple[int, int] | None:
        """Read ``what`` from its copy into ``region``, filled from DRAM before if need be; None if the copy does not have all of it."""
        held, there = self._find(what)
        if held is None or there != there.first_of(held.place) or not held.has(there):
            return None
        if held.copy.from_dram:
            self._fill(held, _parts(there))
        mover = self._builder.engines.mover(COPY[BUFFER_OF[engine]])
        row = (*there.runs(region.address + offset, block_stride), *self._tags(what))
        waits = held.place.written(there.block, there.plane, there.piece)
        done = self._builder.append(mover, "moves", row, writes=[region], after=waits)
        held.region.readers[mover] = held.place.readers[mover] = done
        return mover, done

    def keep(self, region: Region, offset: int, what: Bytes, block_stride: int | None) -> None:
        """Write what the copy of the tensor has of ``what``, if there is one."""
        held, there = self._find(what)
        if held is None:
            return
        stride = (what.plane[1] - what.plane[0]) * (what.piece[1] - what.piece[0]) if block_stride is None else block_stride
        there = there.first_of(held.place)
        if there.block[1] <= there.block[0] or there.plane[1] <= there.plane[0]:
            return
        mover = self._builder.engines.mover(KEEP)
        target, source, run, counts, far, near = there.runs(region.address + offset, stride)
        row, waits = (source, target, run, counts, near, far, *self._tags(what)), self._before_writing(held, there)
        done = self._builder.append(mover, "moves", row, reads=[region], after=waits)
        held.region.writers[mover] = done
        held.place.note_write(there.block, there.plane, there.piece, mover, done)
        held.note_kept(there)

    def _find(self, what: Bytes) -> tuple[Held | None, Bytes]:
        """The copy of the tensor of ``what``, and these bytes of it, of which it may have but the first ones."""
        copy = self._copies.get(what.tensor.name)
        if copy is None:
            return None, what
        if copy not in self._held:
            self._held[copy] = self._hold(copy)
        held = self._held[copy]
        first = what.tensor.first_block - held.source.first_block
        there = what._replace(tensor=held.place, block=(what.block[0] + first, what.block[1] + first))
        return held, there

    def _fill(self, held: Held, parts: range) -> None:
        """Bring the ``parts`` that are not there yet from DRAM, each in a command."""
        (engine,) = self._builder.engines.fills
        source, place = held.source, held.place
        for part in parts:
            if part in held.filled:
                continue
            held.filled.add(part)
            block, plane = ((0, source.n_blocks), (part, part + 1)) if place.n_planes > 1 else ((part, part + 1), (0, 1))
            what = Bytes(source, block, plane, (0, source.plane_bytes))
            at = place.address + block[0] * place.pitch_bytes + plane[0] * place.plane_pitch_bytes
            row = (*what.runs(at, place.pitch_bytes), *self._tags(what))
            waits = source.written(*what[1:])
            merge(waits, self._before_writing(held, what._replace(tensor=place)))
            done = self._builder.append(engine, "transfers", row, after=waits)
            source.readers[engine] = held.region.writers[engine] = done
            place.note_write(*what[1:], engine, done)

    def _before_writing(self, held: Held, there: Bytes) -> dict[int, int]:
        """What must be over before bytes of a copy are written: what lay there before, and what reads and wrote these."""
        waits = held.place.written(there.block, there.plane, there.piece)
        for others in (held.region.blockers, held.place.readers if waits else {}):
            merge(waits, others)
        return waits

    def _tags(self, what: Bytes) -> tuple[int, int]:
        return TENSOR_CLASSES.index(what.tensor.tensor_class), self._builder.operation


def _parts(there: Bytes) -> range:
    return there.tensor.parts(there.block, there.plane)
