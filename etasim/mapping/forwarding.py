"""Which results are held on chip until an operation reads them, where and how long: decided before any command is written.

What the unified core leaves in the error buffer can be copied, tile by tile, to a place in the buffer from which it is read later: in the
activation buffer for who streams it, in the weight buffer for WG, in the error buffer for the unified core. Such a tensor is never loaded
from DRAM, and never stored if all who read it find it on chip. Plans are those of a machine that forwards nothing: what is held takes the
room that they leave, so of a buffer there is always a half, and twice what an operation needs at once, for what comes from DRAM.
"""

from collections.abc import Iterator
from typing import NamedTuple

from etasim.mapping.iteration import Iteration
from etasim.mapping.second_level import UseWalk
from etasim.mapping.steps import Alone, LoadTile, Step
from etasim.mapping.works import Convolve, Gradients, piece
from etasim.program.commands import BUFFER_OF, BUFFERS, ERROR, LOAD_ERROR
from etasim.schedule.array import ArraySizes
from etasim.schedule.nest import Span
from etasim.schedule.tiling import ceil_div

FORWARDED_ROLES = ("output", "error")
"""Maps of codes that one operation makes and others read."""


class Residence(NamedTuple):
    """All of the tensor ``name`` lives in buffer number ``buffer``, from byte ``address`` on, from work ``first``, which begins to write
    it, to work ``last``, which reads it."""

    name: str
    buffer: int
    address: int
    n_bytes: int
    first: int
    last: int

    @property
    def span(self) -> Span:
        """Its bytes."""
        return Span(self.address, self.address + self.n_bytes)

    def lives_in(self, work: int) -> bool:
        """Whether it is there while work number ``work`` is done."""
        return self.first <= work <= self.last


class Residences(NamedTuple):
    """``held`` [(tensor name, buffer)]: all that is held on chip; ``never_stored``: names of tensors that are in DRAM at no time; ``rings``
    [work][buffer]: the bytes that are left for what comes and goes."""

    held: dict[tuple[str, int], Residence]
    never_stored: frozenset[str]
    rings: tuple[tuple[Span, ...], ...]

    def homes(self, name: str) -> tuple[str, ...]:
        """Where tensor ``name`` lives at some time, in words; without DRAM if it is never stored."""
        on_chip = (f"{BUFFERS[buffer]} buffer" for buffer in range(len(BUFFERS)) if (name, buffer) in self.held)
        return (*(() if name in self.never_stored else ("DRAM",)), *on_chip)

    def of(self, work: int, name: str, buffer: int) -> Residence | None:
        """Where in ``buffer`` tensor ``name`` is while a work is done; None: nowhere."""
        found = self.held.get((name, buffer))
        return found if found is not None and found.lives_in(work) else None

    def being_written(self, work: int, name: str) -> Iterator[Residence]:
        """Where a tensor that a work writes is to live."""
        if not self.held:  # on most machines, and asked for every command that stores
            return iter(())
        found = (self.of(work, name, buffer) for buffer in range(len(BUFFERS)))
        return (each for each in found if each is not None)


NOTHING_HELD = Residences({}, frozenset(), ())


class Room(NamedTuple):
    """What a work asks of the buffers: (tensor name, buffer through which it is read); bytes of each buffer that it needs at once, without
    those of an operand; (buffer, tensor name, bytes at once) of both operands."""

    reads: set[tuple[str, int]]
    needed: list[int]
    operands: list[tuple[int, str, int]]


class RoomWalk(UseWalk):
    """The uses of all works of an iteration, and the room that each takes of the buffers."""

    def __init__(self, iteration: Iteration):
        super().__init__(iteration)
        self.rooms: list[Room] = []

    def alone(self, work: Alone) -> None:
        """Tiles in the error buffer."""
        self.rooms.append(Room(set(), [0] * len(BUFFERS), []))
        super().alone(work)

    def convolve(self, work: Convolve) -> None:
        """Operands: all pieces of one that stays, else the largest; and results."""
        self.rooms.append(room := Room(set(), [0] * len(BUFFERS), []))
        for operand in (work.nest.stream, work.nest.stationary):
            sizes = []
            for step, count in work.nest.kinds(*operand.axes):
                each = piece(work, operand, step)
                room.reads.add((each.tensor.name, BUFFER_OF[each.engine]))
                sizes.append((self._whole_words(each.blocks.size * each.planes.size * each.span.size), count))
            most = sum(size * count for size, count in sizes) if operand.resident else max(size for size, _ in sizes)
            room.operands.append((BUFFER_OF[each.engine], each.tensor.name, most))
        if isinstance(work.results, Gradients):
            size = max(step["results"].size * step["streams"].size * step["taps"].size for step, _ in work.nest.kinds())
            self.hold_tile(size * self.array.lanes**2 * work.problem.result_element_bytes)
        super().convolve(work)

    def hold_tile(self, n_bytes: int) -> None:
        """A tile with all that follows it."""
        needed = self.rooms[-1].needed
        needed[ERROR] = max(needed[ERROR], self._whole_words(n_bytes))

    def do(self, step: Step, count: int) -> None:
        """A load or a store of a tile; what the lanes are brought lies there for a moment beside it."""
        super().do(step, count)
        if isinstance(step, LoadTile):
            self.rooms[-1].reads.add((step.tensor.name, BUFFER_OF[LOAD_ERROR]))
            self.hold_tile(step.slot.n_bytes)

    def _whole_words(self, n_bytes: int) -> int:
        return ceil_div(n_bytes, self.array.word_bytes) * self.array.word_bytes


def residences_of(iteration: Iteration) -> Residences:
    """What the iteration holds on chip. Raises InfeasibleError, as `works` does."""
    if not iteration.architecture.mapping.forwarding:
        return NOTHING_HELD
    return _Placing(RoomWalk.of_twin(iteration), iteration.array).placed()


class _Wanted(NamedTuple):
    """A tensor that work ``first`` begins to write, and that work ``last`` reads through ``buffer``."""

    name: str
    buffer: int
    n_bytes: int
    first: int
    last: int


class _Placing:
    """Finds room for what is wanted, what lives shortest first: it saves as much as what lives longer, and takes room for less time."""

    def __init__(self, walk: RoomWalk, array: ArraySizes):
        self._walk, self._array, self._rooms = walk, array, walk.rooms
        self._capacity = array.buffer_bytes
        self._held: dict[tuple[str, int], Residence] = {}
        self._so_far = Residences(self._held, frozenset(), ())

    def placed(self) -> Residences:
        """Everything that found room."""
        for wanted in sorted(self._wanted(), key=lambda each: (each.last - each.first, each.first, each.name, each.buffer)):
            self._place(wanted)
        rings = tuple(tuple(self._ring(work, buffer) for buffer in range(len(BUFFERS))) for work in range(len(self._rooms)))
        return self._so_far._replace(never_stored=frozenset(self._never_stored()), rings=rings)

    def _wanted(self) -> Iterator[_Wanted]:
        """Each tensor with each work that reads it after it was written whole, once."""
        uses, tensors = self._walk.uses, {tensor.name: tensor for tensor in self._walk.iteration.memory.tensors}
        writers: dict[str, list[int]] = {}
        for number, use in enumerate(uses):
            for name in use.writes:
                writers.setdefault(name, []).append(number)
        for name, works in writers.items():
            tensor, written = tensors[name], sum(uses[number].writes[name] for number in works)
            is_made_once = tensor.content.role in FORWARDED_ROLES and written == tensor.n_bytes
            n_bytes = ceil_div(tensor.n_bytes, self._array.word_bytes) * self._array.word_bytes
            for number, room in enumerate(self._rooms if is_made_once else ()):
                for buffer in (buffer for read, buffer in room.reads if read == name and number > works[-1]):
                    yield _Wanted(name, buffer, n_bytes, works[0], number)

    def _place(self, wanted: _Wanted) -> None:
        """Find room for a tensor; one that has room already must find it for longer, or stays as it is."""
        key = wanted.name, wanted.buffer
        before = self._held.pop(key, None)
        for address in self._addresses(wanted):
            self._held[key] = Residence(wanted.name, wanted.buffer, address, *wanted[2:])
            if all(self._fits(work, wanted.buffer) for work in range(wanted.first, wanted.last + 1)):
                return
            del self._held[key]
        if before is not None:
            self._held[key] = before

    def _addresses(self, wanted: _Wanted) -> list[int]:
        """Where it could lie: at the beginning of the buffer, or behind what lives there meanwhile; over none of these."""
        beside = [
            each.span for each in self._held.values()
            if each.buffer == wanted.buffer and each.first <= wanted.last and wanted.first <= each.last
        ]  # fmt: skip
        starts = sorted({0, *(span.end for span in beside)})
        return [start for start in starts if all(start >= span.end or start + wanted.n_bytes <= span.first for span in beside)]

    def _ring(self, work: int, buffer: int) -> Span:
        """What lies behind all that lives in a buffer while a work is done."""
        ends = [each.span.end for each in self._held.values() if each.buffer == buffer and each.lives_in(work)]
        return Span(max(ends, default=0), self._capacity[buffer])

    def _fits(self, work: int, buffer: int) -> bool:
        """Whether a buffer has a half, and twice what the work needs at once of what is not held, in a row."""
        room = self._rooms[work]
        operands = sum(n for b, name, n in room.operands if b == buffer and self._so_far.of(work, name, buffer) is None)
        return self._ring(work, buffer).size >= max(2 * (room.needed[buffer] + operands), self._capacity[buffer] // 2)

    def _never_stored(self) -> Iterator[str]:
        """Tensors that all who read them find on chip. Of what the loss reads the host wants to know."""
        losses = [unit for unit in self._walk.iteration.units if unit.head.schema.is_loss]
        logits = {self._walk.iteration.values.map(unit.inputs[0], "output").name for unit in losses}
        for name in dict.fromkeys(name for name, _ in self._held):
            reads = [(work, buffer) for work, room in enumerate(self._rooms) for read, buffer in room.reads if read == name]
            if name not in logits and all(self._so_far.of(work, name, buffer) for work, buffer in reads):
                yield name
