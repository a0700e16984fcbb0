"""Which tensors lie in the second-level buffer, and when: decided before any command is written, from what an iteration will read.

The works are walked dry once to see who reads and writes what. Then they are gone through in order: a tensor that is read more often than
once, or that is written and read later, gets room, as much of it as there is; where there is not enough, what is read again soonest stays.
There are no tags: what is there is known to whoever emits commands, and to the estimate.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from etasim.core.errors import InfeasibleError
from etasim.mapping.dry import DryWalk
from etasim.mapping.iteration import Iteration
from etasim.mapping.steps import Alone, LoadTile, RunPass, Step
from etasim.mapping.tensors import Tensor
from etasim.mapping.works import Convolve, Gradients, gradient_pieces, piece
from etasim.schedule.array import ArraySizes
from etasim.schedule.tiling import ceil_div

NEVER = 1 << 62
"""The work in which a tensor is read that is not read any more."""


@dataclass
class Use:
    """What a work reads and writes: bytes by the name of the tensor."""

    reads: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)


class UseWalk(DryWalk):
    """The uses of all works of an iteration, in order."""

    def __init__(self, iteration: Iteration):
        super().__init__(iteration)
        self.uses: list[Use] = []

    @classmethod
    def of_twin(cls, iteration: Iteration) -> Self:
        """The walk of an iteration like ``iteration``, which is itself walked later. Raises InfeasibleError, as `works` does."""
        twin = Iteration(iteration.architecture, iteration.network, iteration.batch, iteration.phases)
        walk = cls(twin)
        try:
            walk.walk()
        except InfeasibleError as error:
            raise twin.located(error) from None
        return walk

    def alone(self, work: Alone) -> None:
        """What the steps on each tile load and store."""
        self.uses.append(Use())
        super().alone(work)

    def convolve(self, work: Convolve) -> None:
        """Operands, as often as the nest loads them, and results."""
        self.uses.append(Use())
        for operand in (work.nest.stream, work.nest.stationary):
            for step, count in work.nest.kinds(*operand.axes):
                each = piece(work, operand, step)
                n_bytes = each.blocks.size * each.planes.size * each.span.size
                self.uses[-1].reads[each.tensor.name] += n_bytes * count * work.nest.repeats(operand)
        if isinstance(work.results, Gradients):
            for step, count in work.nest.kinds("results", "streams", "taps"):
                n_bytes = step["results"].size * sum(span.size for span, _ in gradient_pieces(work, step))
                self.uses[-1].writes[work.results.tensor.name] += n_bytes * count
        super().convolve(work)

    def do(self, step: Step, count: int) -> None:
        """A load or a store of a tile."""
        super().do(step, count)
        if isinstance(step, RunPass):
            return
        is_load = isinstance(step, LoadTile)
        moved, n_tiles = self.uses[-1].reads if is_load else self.uses[-1].writes, 1 if step.once else count
        moved[step.tensor.name] += step.tile.n_bytes(step.tensor.content, is_operand=is_load) * n_tiles


class Copy(NamedTuple):
    """The first ``n_parts`` parts (samples, or blocks of all samples) of the tensor ``name``, from byte ``address`` of the second level on,
    made for work number ``work``; ``from_dram``: brought when it is first read, else written beside DRAM."""

    name: str
    address: int
    n_parts: int
    n_bytes: int
    from_dram: bool
    work: int

    def overlaps(self, other: "Copy") -> bool:
        """Whether two copies have bytes in common."""
        return self.address < other.address + other.n_bytes and other.address < self.address + self.n_bytes


def copied_parts(tensor: Tensor) -> tuple[int, bool]:
    """Parts that a copy of a whole tensor has, and whether they are planes (else blocks)."""
    return (tensor.n_planes, True) if tensor.n_planes > 1 else (tensor.n_blocks, False)


def part_bytes(tensor: Tensor, word_bytes: int) -> int:
    """Bytes of a part in the second level, where planes begin at words."""
    plane = ceil_div(tensor.plane_bytes, word_bytes) * word_bytes
    return plane * (tensor.n_blocks if tensor.n_planes > 1 else 1)


Copies = dict[str, Copy]
"""Those that hold during a work, by the name of the tensor."""


def copies_of(iteration: Iteration) -> Iterator[Copies]:
    """The copies of each work of ``iteration``, which is not walked: a twin is. None at all where there is no second level."""
    if not iteration.array.second_bytes:
        while True:
            yield {}
    walk = UseWalk.of_twin(iteration)
    yield from SecondLevel(walk.uses, walk.iteration.memory.tensors, iteration.array).planned()


class SecondLevel:
    """The room of the second level, work by work. ``copies``: those that hold now."""

    def __init__(self, uses: list[Use], tensors: list[Tensor], array: ArraySizes):
        self._capacity, self._word, self._uses = array.second_bytes, array.word_bytes, uses
        self._tensors = {tensor.name: tensor for tensor in tensors}
        self.copies: Copies = {}
        self._number = -1
        self._written: set[str] = set()
        self._readings: dict[str, list[int]] = {}
        for number, use in enumerate(uses):
            for name in use.reads:
                self._readings.setdefault(name, []).append(number)

    def planned(self) -> list[Copies]:
        """The copies of each work, without those that save no reading of DRAM."""
        plan, served = [], Counter[Copy]()
        for number, use in enumerate(self._uses):
            self._number = number
            self.copies = {name: copy for name, copy in self.copies.items() if name in use.reads or self._next_reading(name) < NEVER}
            for name, from_dram in self._wanted(use):
                self._place(name, from_dram, use)
            self._written |= use.writes.keys()
            served.update({copy: self._loads(use, name) for name, copy in self.copies.items() if name in use.reads})
            plan.append(dict(self.copies))
        return [{name: copy for name, copy in copies.items() if served[copy] > copy.from_dram} for copies in plan]

    def _loads(self, use: Use, name: str) -> int:
        """How often, at the least, a work reads all of a tensor; once if it reads a part."""
        return max(use.reads[name] // self._tensors[name].n_bytes, 1)

    def _wanted(self, use: Use) -> Iterator[tuple[str, bool]]:
        """(tensor, whether from DRAM) that this work reads more than once, or that later ones read; those that are read soonest first."""
        wanted = []
        for name in use.reads:
            again = self._loads(use, name) > 1
            following = self._next_reading(name)
            if name not in self.copies and name not in use.writes and (again or following < NEVER):
                wanted.append((self._number if again else following, name, True))
        for name in use.writes.keys() - self.copies.keys() - self._written - use.reads.keys():
            following = self._next_reading(name)
            if following < NEVER and self._is_whole(name, following):
                wanted.append((following, name, False))
        yield from ((name, from_dram) for _, name, from_dram in sorted(wanted))

    def _is_whole(self, name: str, following: int) -> bool:
        """Whether all of a tensor is written before it is read: channels that a shortcut adds are zero in DRAM, and nobody writes them."""
        return sum(use.writes[name] for use in self._uses[self._number : following]) >= self._tensors[name].n_bytes

    def _next_reading(self, name: str) -> int:
        """The next work after this one that reads a tensor."""
        return next((number for number in self._readings.get(name, []) if number > self._number), NEVER)

    def _place(self, name: str, from_dram: bool, use: Use) -> None:
        """Find room for as much of a tensor as possible, beside what this work uses and what is read sooner."""
        tensor = self._tensors[name]
        size, (whole, _) = part_bytes(tensor, self._word), copied_parts(tensor)
        again = self._number if name in use.reads and self._loads(use, name) > 1 else self._next_reading(name)
        stays = [
            copy for other, copy in self.copies.items()
            if other in use.reads or other in use.writes or self._next_reading(other) <= again
        ]  # fmt: skip
        start, room = self._gap(stays, whole * size)
        n_parts = min(whole, room // size)
        if n_parts:
            copy = Copy(name, start, n_parts, n_parts * size, from_dram, self._number)
            self.copies = {other: held for other, held in self.copies.items() if not held.overlaps(copy)} | {name: copy}

    def _gap(self, stays: list[Copy], wanted_bytes: int) -> tuple[int, int]:
        """(address, bytes) of the first gap between what stays that has ``wanted_bytes``, else of the largest; of those that do, the one in
        whose place the fewest bytes of other copies lie."""
        ordered = sorted(stays, key=lambda copy: copy.address)
        firsts, ends = [0, *(copy.address + copy.n_bytes for copy in ordered)], [*(copy.address for copy in ordered), self._capacity]
        gaps = [(first, end - first) for first, end in zip(firsts, ends, strict=True)]
        fitting = [gap for gap in gaps if gap[1] >= wanted_bytes]
        if not fitting:
            return max(gaps, key=lambda gap: gap[1])
        starts = [start for first, room in fitting for start in self._starts(first, first + room - wanted_bytes)]
        return min(starts, key=lambda start: (self._lost_bytes(start, wanted_bytes), start)), wanted_bytes

    def _starts(self, first: int, last: int) -> list[int]:
        """Where a copy may begin in a gap: at its beginning, or behind another copy."""
        ends = (copy.address + copy.n_bytes for copy in self.copies.values())
        return [first, *(end for end in ends if first < end <= last)]

    def _lost_bytes(self, start: int, n_bytes: int) -> int:
        """Bytes of copies that are read again and lie in the way."""
        return sum(
            copy.n_bytes for name, copy in self.copies.items()
            if self._next_reading(name) < NEVER and copy.address < start + n_bytes and start < copy.address + copy.n_bytes
        )  # fmt: skip
