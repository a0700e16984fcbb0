"""Results that are held on chip while commands are written: what brings them to where they live, what they wait for, and who reads them."""

from typing import NamedTuple

from etasim.mapping.forwarding import Residence, Residences
from etasim.mapping.second_copies import Bytes
from etasim.mapping.tensors import Memory, Tensor
from etasim.program.builder import Builder, Region, Ring
from etasim.program.commands import BUFFER_OF, ERROR, FORWARD, HOLD, TENSOR_CLASSES


class HeldMap(NamedTuple):
    """A tensor of DRAM, ``source``, its bytes in a buffer as a tensor that lies there, plane behind plane, and their region."""

    source: Tensor
    place: Tensor
    region: Region


class HeldMaps:
    """Tensors that live in the buffers of ``rings`` while the work under way is done; each gets its region when it is first met.
    ``forwarded_bytes`` [(operation, tensor class)]: read on chip instead of from DRAM; ``lives``: the operation that begins to write each,
    and the last that reads it there."""

    def __init__(self, builder: Builder, residences: Residences, rings: dict[int, Ring]):
        self._builder, self.residences = builder, residences
        self._rings = {BUFFER_OF[engine]: ring for engine, ring in rings.items()}
        self._work = -1
        self._held: dict[Residence, HeldMap] = {}
        self._tensors: list[Tensor] = []
        self.forwarded_bytes: dict[tuple[int, str], int] = {}
        self.lives: dict[Residence, tuple[int, int]] = {}

    def begin(self, memory: Memory) -> None:
        """The next work: the rings of the buffers turn in what is left."""
        self._work, self._tensors = self._work + 1, memory.tensors
        if self.residences.rings:
            for buffer, ring in self._rings.items():
                ring.turn_in(*self.residences.rings[self._work][buffer])

    def is_stored(self, tensor: Tensor) -> bool:
        """Whether DRAM ever has it."""
        return tensor.name not in self.residences.never_stored

    def hold(self, region: Region, offset: int, what: Bytes, block_stride: int | None) -> None:
        """Copy ``what`` from a region of the error buffer, where it lies as `Context.store` says, to wherever it is to live."""
        for residence in self.residences.being_written(self._work, what.tensor.name):
            held = self._at(residence)
            there = self._in_place(held, what)
            mover = self._builder.engines.mover(HOLD[residence.buffer])
            stride = (what.plane[1] - what.plane[0]) * (what.piece[1] - what.piece[0]) if block_stride is None else block_stride
            target, source, run, counts, far, near = there.runs(region.address + offset, stride)
            row = source, target, run, counts, near, far, *self._tags(what)
            done = self._builder.append(mover, "moves", row, reads=[region], after=dict(held.region.blockers))
            held.region.writers[mover] = done
            held.place.note_write(there.block, there.plane, there.piece, mover, done)

    def found(self, engine: int, what: Bytes) -> tuple[Region, Bytes] | None:
        """Where ``what`` lies so that load ``engine`` need not bring it, from its first byte on as a region, and as bytes of a tensor;
        None: nowhere."""
        residence = self.residences.of(self._work, what.tensor.name, BUFFER_OF[engine])
        if residence is None:
            return None
        held = self._at(residence)
        there = self._in_place(held, what)
        place, (block, plane, piece) = held.place, there[1:]
        at = place.address + block[0] * place.pitch_bytes + plane[0] * place.plane_pitch_bytes + piece[0]
        key = self._builder.operation, what.tensor.tensor_class
        n_bytes = (block[1] - block[0]) * (plane[1] - plane[0]) * (piece[1] - piece[0])
        self.forwarded_bytes[key] = self.forwarded_bytes.get(key, 0) + n_bytes
        return held.region.at(at), there

    def bring(self, engine: int, region: Region, offset: int, what: Bytes, block_stride: int | None) -> tuple[int, int] | None:
        """Copy ``what`` from where it lives in the error buffer to where load ``engine`` would bring it; None if it does not live there."""
        if BUFFER_OF[engine] != ERROR or (found := self.found(engine, what)) is None:
            return None
        mover, (source, there) = self._builder.engines.mover(FORWARD), found
        waits = there.tensor.written(there.block, there.plane, there.piece)
        row = (*there.runs(region.address + offset, block_stride), *self._tags(what))
        done = self._builder.append(mover, "moves", row, writes=[region], after=waits)
        source.readers[mover] = done
        return mover, done

    def _at(self, residence: Residence) -> HeldMap:
        """Where a tensor lives, from now on if it is met for the first time."""
        begun, _ = self.lives.setdefault(residence, (self._builder.operation, 0))
        self.lives[residence] = begun, self._builder.operation
        if residence not in self._held:
            source = next(tensor for tensor in self._tensors if tensor.name == residence.name)
            place = Tensor(
                source.name, source.tensor_class, source.n_blocks, source.n_planes, source.content, residence.address, source.plane_bytes,
                [()] * len(source.writers), first_block=source.first_block,
            )  # fmt: skip
            self._held[residence] = HeldMap(source, place, self._rings[residence.buffer].claim(residence.address, residence.n_bytes))
        return self._held[residence]

    def _in_place(self, held: HeldMap, what: Bytes) -> Bytes:
        """These bytes where they live; a slice of a tensor counts its blocks from its own first."""
        return what._replace(tensor=held.place, block=self._blocks(what, held.place))

    @staticmethod
    def _blocks(what: Bytes, place: Tensor) -> tuple[int, int]:
        first = what.tensor.first_block - place.first_block
        return what.block[0] + first, what.block[1] + first

    def _tags(self, what: Bytes) -> tuple[int, int]:
        return TENSOR_CLASSES.index(what.tensor.tensor_class), self._builder.operation
