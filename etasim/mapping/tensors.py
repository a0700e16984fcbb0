"""Where tensors lie in DRAM.

Feature maps are stored in channel blocks of as many channels as a PE has lanes: ``[block][sample][row][column][channel]``. So the
lanes of one cycle are neighbours, a row range of a sample is one run, and samples follow each other as the PE array's flattened columns do.
A plane (a channel block of a sample) starts at a burst, so that what a tile moves does not depend on how planes are grouped into tiles.
Weights and their companions are stored in blocks of lanes x lanes: ``[output block][input block][kernel position][output][input]``.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

from etasim.config.architecture import Dram
from etasim.core.errors import InfeasibleError, Reason
from etasim.mapping.scales import Stored
from etasim.program.roles import N_ROLES, ROLES


@dataclass(frozen=True)
class Content:
    """What a tensor, or a region of a buffer, holds: its number (`program.roles.tensor_number`) and the elements of a plane.

    ``grain``: a plane for each sample that can be cut into pieces (``element``), one for each sample that cannot (``plane``), or one
    for all samples (``block``). ``stored``: codes that share scales, and how they lie.
    """

    number: int
    plane_elements: int
    bits: int
    grain: str = "element"
    stored: Stored | None = None

    @cached_property
    def role(self) -> str:
        """What the tensor is to its unit."""
        return ROLES[self.number % N_ROLES]

    @cached_property
    def plane_bytes(self) -> int:
        """Bytes of a plane."""
        return self.bytes_until(self.plane_elements)

    def bytes_until(self, element: int) -> int:
        """Bytes of a plane before ``element``, the last one may be begun."""
        return self.stored.bytes_until(element) if self.stored is not None else -(-element * self.bits // 8)

    @property
    def raw(self) -> "Content":
        """The same before the scales are known."""
        assert self.stored is not None, "asked of codes with scales only"
        return replace(self, bits=self.stored.raw_bits, stored=None)


Writes = tuple[tuple[int, int, int, int], ...]
"""Of a part of a tensor, as `Tensor` says."""


@dataclass
class Tensor:
    """``n_blocks`` rows of ``n_planes`` planes of ``plane_bytes`` in DRAM, which start ``plane_pitch_bytes`` apart.

    ``readers``: the commands that read the tensor, engine -> count. ``writers``: of each part which command wrote a piece of it last, an
    entry (first byte in a plane, end, engine, count) for each piece and engine; tuples, because a large batch has many. Parts are planes
    or, where a block has but one, blocks, the first of them ``first_block`` (of a slice): so the update of a tile of weights does not wait
    for that of the tile before. ``from_host``: an input of the iteration.
    """

    name: str
    tensor_class: str
    n_blocks: int
    n_planes: int
    content: Content
    address: int
    plane_pitch_bytes: int
    writers: list[Writes] = field(default_factory=list)
    readers: dict[int, int] = field(default_factory=dict)
    first_block: int = 0
    from_host: bool = False

    @property
    def plane_bytes(self) -> int:
        """Bytes of a plane."""
        return self.content.plane_bytes

    @property
    def pitch_bytes(self) -> int:
        """Distance of the blocks."""
        return self.n_planes * self.plane_pitch_bytes

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensor, without alignment."""
        return self.n_blocks * self.n_planes * self.plane_bytes

    @property
    def is_read_whole(self) -> bool:
        """Whether a piece can be read only when all of its plane is written: who reads sums of the array needs their mean."""
        return self.content.role == "pre_normalization"

    def slice(self, first_block: int, n_blocks: int) -> "Tensor":
        """The tensor's blocks ``first_block ...`` as a tensor that shares its memory (a concatenation's part)."""
        at = self.address + first_block * self.pitch_bytes
        part = Tensor(self.name, self.tensor_class, n_blocks, self.n_planes, self.content, at, self.plane_pitch_bytes)
        part.writers, part.readers, part.first_block = self.writers, self.readers, self.first_block + first_block
        return part

    def parts(self, block: tuple[int, int], plane: tuple[int, int]) -> range:
        """Parts that blocks and planes [first, end) belong to."""
        if self.n_planes > 1:
            return range(*plane)
        return range(self.first_block + block[0], self.first_block + block[1])

    def written(self, block: tuple[int, int], plane: tuple[int, int], piece: tuple[int, int]) -> dict[int, int]:
        """Commands that must complete before the piece of blocks and planes [first, end) can be read. Who reads sums of the array needs
        their mean as well, which is in the lanes when all of a plane has drained."""
        waits: dict[int, int] = {}
        if self.is_read_whole:
            piece = (0, self.plane_bytes)
        for part in self.parts(block, plane):
            for first, end, engine, count in self.writers[part]:
                if first < piece[1] and piece[0] < end and waits.get(engine, 0) < count:
                    waits[engine] = count
        return waits

    def note_write(self, block: tuple[int, int], plane: tuple[int, int], piece: tuple[int, int], engine: int, count: int) -> None:
        """Remember that a command writes the piece of blocks and planes [first, end)."""
        noted: dict[int, Writes] = {}  # shared by parts that were written alike
        for part in self.parts(block, plane):
            before = self.writers[part]
            if id(before) not in noted:
                noted[id(before)] = _with(before, (*piece, engine, count))
            self.writers[part] = noted[id(before)]


def _with(writes: Writes, last: tuple[int, int, int, int]) -> Writes:
    """``writes`` and the ``last`` one, in the place of one of the same piece by the same engine; those of a piece stand together."""
    same_piece = [i for i, write in enumerate(writes) if write[:2] == last[:2]]
    if not same_piece:
        return (*writes, last)
    same = [i for i in same_piece if writes[i][2] == last[2]]
    at, end = (same[0], same[0] + 1) if same else (same_piece[-1] + 1,) * 2
    return (*writes[:at], last, *writes[end:])


class Memory:
    """Hands out DRAM addresses, each plane aligned to a burst. Raises InfeasibleError when the capacity is exceeded."""

    def __init__(self, dram: Dram):
        organisation = dram.part.organisation
        self.capacity_bytes = organisation.rank_bytes * dram.ranks * dram.channels
        self.burst_bytes, self.n_channels = organisation.burst_bytes, dram.channels
        self.used_bytes = 0
        self.tensors: list[Tensor] = []

    def tensor(self, name: str, tensor_class: str, n_blocks: int, n_planes: int, content: Content) -> Tensor:
        """A new tensor."""
        pitch = -(-content.plane_bytes // self.burst_bytes) * self.burst_bytes
        tensor = Tensor(name, tensor_class, n_blocks, n_planes, content, self.used_bytes, pitch)
        tensor.writers = [()] * (n_planes if n_planes > 1 else n_blocks)
        self.used_bytes += tensor.n_blocks * tensor.pitch_bytes
        if self.used_bytes > self.capacity_bytes:
            key, wanted = "dram.channels", 2 * self.n_channels
            message = f"the tensors of the iteration, up to {name}, need {self.used_bytes:,} B, DRAM has {self.capacity_bytes:,} B"
            raise InfeasibleError(Reason(f"{message}; a smaller batch needs less", key=key), changes={key: wanted})
        self.tensors.append(tensor)
        return tensor
