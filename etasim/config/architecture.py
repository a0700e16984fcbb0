"""The architecture: one frozen model for each section of ``configs/eta_vc709.yaml``."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from etasim.config.array import Array
from etasim.config.base import (
    MOST_CLUSTERS,
    Count,
    Delay,
    Latency,
    Name,
    NameIn,
    Section,
    Slots,
    Switch,
    Violation,
    power_of_two_violations,
    require,
)
from etasim.config.board import Board
from etasim.config.data import Data, Numerics, Training
from etasim.config.dram_part import DramPart, least_refresh_clocks, mapping_violations
from etasim.config.energy import EnergyTable
from etasim.config.host import Host
from etasim.config.noc import Noc
from etasim.config.pins import MappingKeys
from etasim.config.placement import fill_in_placement, nodes_needed
from etasim.config.units import Frequency, Size, format_size
from etasim.core.registry import ADDRESS_MAPS, DRAM_SCHEDULERS, MAPPERS, UnknownNameError

Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]

LARGEST_CLOCK_RATIO = 2**20
"""Bound of the periods in ticks (`etasim.core.clock`), so that the time of a long run fits 64 bits."""


class Core(Section):
    """The clock of everything but the DRAM."""

    clock_hz: Frequency = Field(alias="clock")


class Buffer(Section):
    """One half of a double-buffered global buffer."""

    size_bytes: Size = Field(alias="size")
    banks: Slots
    ports: Literal["1RW", "1R1W", "2RW"]
    read_latency: Latency

    @property
    def bank_bytes(self) -> int:
        """Bytes of a bank, with both halves."""
        return 2 * self.size_bytes // self.banks


class SecondBuffer(Section):
    """A second level between DRAM and the global buffers, all of it: what the mapper puts there is read again without DRAM."""

    size_bytes: Size = Field(alias="size")
    banks: Slots
    ports: Literal["1RW", "1R1W", "2RW"]
    read_latency: Latency

    @property
    def bank_bytes(self) -> int:
        """Bytes of a bank."""
        return self.size_bytes // self.banks


class Buffers(Section):
    """The global buffers; ``word_size`` is what one bank reads or writes in a cycle. ``bypass: stream``: the streamed operand is not kept
    in the activation buffer; each feed loads what it sends, piece by piece, through a FIFO of its size. null: it is."""

    word_size_bytes: Size = Field(alias="word_size")
    activation: Buffer
    weight: Buffer
    error: Buffer
    second: SecondBuffer | None = None
    bypass: Literal["stream"] | None = None
    ideal: Switch

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require(self._violations())
        return self

    def _violations(self) -> Iterable[Violation]:
        odd = list(power_of_two_violations({"word_size": self.word_size_bytes}))
        if odd:
            yield from odd
            return
        if self.bypass is not None and (self.second is not None or self.ideal):
            yield ("bypass",), "loads for each feed, which neither a second level nor ideal buffers do"
        for name in ("activation", "weight", "error", "second"):
            buffer = getattr(self, name)
            if buffer is None:
                continue
            row_bytes = buffer.banks * self.word_size_bytes
            if buffer.size_bytes % row_bytes:
                yield (name, "size"), f"must be a multiple of banks * word_size = {row_bytes} B, got {buffer.size_bytes} B"


Cores = Annotated[int, Field(strict=True, ge=1, le=64)]
Window = Annotated[int, Field(strict=True, ge=1, le=2**12)]
"""Commands that an engine keeps track of."""


class Dma(Section):
    """The engines between DRAM and the global buffers; both numbers are of each engine."""

    outstanding_bursts: Slots
    commands_in_flight: Window


MOST_CHANNELS, MOST_RANKS = 2**10, 2**6
LARGEST_DRAM_BYTES = 2**50
"""Addresses and their strides are 64-bit words."""

MOST_REQUESTS = 2**20
"""Of all channels of a kind together: tables have about 100 bytes for each."""

Channels = Annotated[int, Field(strict=True, ge=1, le=MOST_CHANNELS)]
Ranks = Annotated[int, Field(strict=True, ge=1, le=MOST_RANKS)]


class Dram(Section):
    """Channels of one DRAM part and their controllers; the YAML may overlay what the part says.

    ``mapping``: the name of an address map, or its fields with their bits. ``page_timeout``: idle time in DRAM clocks after which the
    timeout policy closes a row.
    """

    MERGED_KEYS: ClassVar[tuple[str, ...]] = ("clock", "timing_clocks", "organisation", "currents_ma")

    part: DramPart
    channels: Channels
    ranks: Ranks
    mapping: str
    channel_interleave_bytes: Size = Field(alias="channel_interleave")
    refresh: Switch
    page_policy: Literal["open", "closed", "timeout"]
    page_timeout: Count = 200
    scheduler: Annotated[str, NameIn(DRAM_SCHEDULERS)]
    read_queue: Slots
    write_queue: Slots
    write_high_watermark: Share
    write_low_watermark: Share
    controller_latency: Delay
    ideal: Switch

    @field_validator("mapping", mode="after")
    @classmethod
    def _spelled_out(cls, mapping: str, info: ValidationInfo) -> str:
        if ":" in mapping or not {"part", "ranks"} <= info.data.keys():
            return mapping
        try:
            return str(ADDRESS_MAPS[mapping](info.data["part"].address_bits(info.data["ranks"])))
        except UnknownNameError as error:
            raise PydanticCustomError("unknown_name", "{reason}", {"reason": f"{error}, or fields with their bits"}) from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require(self._violations())
        return self

    def _violations(self) -> Iterable[Violation]:
        if self.write_low_watermark >= self.write_high_watermark:
            yield ("write_low_watermark",), f"must be less than write_high_watermark = {self.write_high_watermark}"
        odd = list(
            power_of_two_violations({"channels": self.channels, "ranks": self.ranks, "channel_interleave": self.channel_interleave_bytes})
        )
        if odd:
            yield from odd
            return
        geometry = self.part.organisation
        n_banks = self.ranks * geometry.bank_groups * geometry.banks
        for key, each in (("read_queue", self.read_queue), ("write_queue", self.write_queue), ("ranks", n_banks)):
            if self.channels * each > MOST_REQUESTS:
                what = "banks" if key == "ranks" else "entries"
                yield (key,), f"at most {MOST_REQUESTS:,} {what} of all channels, got {self.channels} x {each:,}"
        if self.channels * self.ranks * geometry.rank_bytes > LARGEST_DRAM_BYTES:
            yield ("channels",), f"with ranks and the part's organisation, at most {format_size(LARGEST_DRAM_BYTES)}"
        burst_bytes = geometry.burst_bytes
        if self.channel_interleave_bytes % burst_bytes:
            yield ("channel_interleave",), f"must be whole bursts of {burst_bytes} B, got {self.channel_interleave_bytes} B"
        yield from mapping_violations(self.mapping, self.part, self.ranks)
        least, interval = least_refresh_clocks(self.part.timing_clocks.model_dump(), self.ranks), self.part.timing_clocks.REFI
        if self.refresh and interval < least:
            rule = f"RFC and a row cycle with a write for each of {self.ranks} rank(s), or nothing but refresh would happen"
            yield ("part", "timing_clocks", "REFI"), f"must be at least {least}, {rule}, got {interval}"


class Lane(Section):
    """The units of a lane of the unified core, pipelined but for the divider, which takes ``divider_cycles`` for a quotient; the defaults
    give every element of every pass a slot, four that of the loss (docs/models/lane_work.md).

    ``drained_sums``: the sums for the mean are added up while results come into the buffer, and take no pass. ``plane_work``: what is
    computed once for a plane takes slots.
    """

    multipliers: Count = 5
    adders: Count = 11
    divider_cycles: Latency = 4
    drained_sums: Switch = True
    plane_work: Switch = False


class UnifiedCore(Section):
    """The vector lanes that run the auxiliary layers: one core of ``lanes`` lanes, or ``count`` of them, to which tiles are dealt."""

    count: Cores | None = None
    lanes: Count
    pipeline_depth: Latency
    ideal: Switch
    lane: Lane = Field(default_factory=Lane)

    @property
    def n_cores(self) -> int:
        """Cores, one unless ``count`` says otherwise."""
        return self.count or 1


class Controller(Section):
    """How many commands of the tile program an engine holds."""

    queue_depth: Window


class Architecture(Section):
    """A machine: valid once constructed, never changed after; ``load_architecture`` reads one."""

    MERGED_KEYS: ClassVar[tuple[str, ...]] = ("extends",)

    name: Name
    core: Core
    array: Array
    noc: Noc
    buffers: Buffers
    dma: Dma
    dram: Dram
    host: Host | None = None
    unified_core: UnifiedCore
    controller: Controller
    data: Data
    numerics: Numerics = Field(default_factory=Numerics)
    training: Training
    mapper: Annotated[str, NameIn(MAPPERS)] | None = None
    mapping: MappingKeys = Field(default_factory=MappingKeys)
    energy: EnergyTable = Field(default_factory=EnergyTable)
    board: Board | None = None

    @model_validator(mode="before")
    @classmethod
    def _derive_placement(cls, data: Any) -> Any:
        if not (isinstance(data, dict) and isinstance(data.get("noc"), dict)):
            return data
        array = data.get("array")
        clusters = array.get("clusters") if isinstance(array, dict) else None
        if not isinstance(clusters, int) or isinstance(clusters, bool) or not 1 <= clusters <= MOST_CLUSTERS:
            clusters = 1  # a wrong value is reported by itself
        return data | {"noc": fill_in_placement(data["noc"], clusters)}

    @field_validator("noc", mode="after")
    @classmethod
    def _reaches_every_cluster(cls, noc: Noc, info: ValidationInfo) -> Noc:
        array = info.data.get("array")
        if array is not None and len(noc.placement.clusters) != array.clusters:
            require([(("placement", "clusters"), _reach_message(noc, array.clusters))])
        return noc

    @field_validator("dram", mode="after")
    @classmethod
    def _clocks_have_a_common_tick(cls, dram: Dram, info: ValidationInfo) -> Dram:
        core = info.data.get("core")
        if core is not None:
            ratio = core.clock_hz / dram.part.clock_hz
            if max(ratio.numerator, ratio.denominator) > LARGEST_CLOCK_RATIO:
                message = f"core.clock is {ratio} of it: give clocks whose ratio has no part above {LARGEST_CLOCK_RATIO}"
                require([(("part", "clock"), message)])
        return dram

    @field_validator("host", mode="after")
    @classmethod
    def _link_is_in_step(cls, host: Host | None, info: ValidationInfo) -> Host | None:
        core, dram = info.data.get("core"), info.data.get("dram")
        if host is not None and core is not None and dram is not None:
            require(host.violations(dram.part.organisation.burst_bytes, core.clock_hz))
        return host

    @field_validator("data", mode="after")
    @classmethod
    def _blocks_fit(cls, data: Data, info: ValidationInfo) -> Data:
        array, block = info.data.get("array"), data.channel_block
        if array is not None and block is not None and block > array.lanes:
            require([(("channel_block",), f"has no more channels than lanes, array.lanes = {array.lanes}, got {block}")])
        return data

    @field_validator("numerics", mode="after")
    @classmethod
    def _formats_fit(cls, numerics: Numerics, info: ValidationInfo) -> Numerics:
        if "data" in info.data:
            require(numerics.violations(info.data["data"]))
        return numerics

    @field_validator("mapping", mode="after")
    @classmethod
    def _splits_fit(cls, mapping: MappingKeys, info: ValidationInfo) -> MappingKeys:
        array, noc, buffers = info.data.get("array"), info.data.get("noc"), info.data.get("buffers")
        if array is not None and noc is not None:
            require(_split_violations(mapping, array.clusters, noc.reduction))
        if mapping.forwarding and buffers is not None and (buffers.bypass is not None or buffers.second is not None):
            other = "bypass" if buffers.bypass is not None else "second"
            require([(("forwarding",), f"lets tensors live in the global buffers, which is for machines without buffers.{other}")])
        return mapping

    @property
    def channel_block(self) -> int:
        """Channels of a block of a map, and lanes that multiply in FF and BP."""
        return self.data.channel_block or self.array.lanes

    @property
    def block_key(self) -> str:
        """Key that says so."""
        return "data.channel_block" if self.data.channel_block else "array.lanes"

    def __hash__(self) -> int:
        return hash(tuple(value for key, value in self if key not in ("mapping", "energy")))

    def resolved(self) -> dict[str, Any]:
        """Everything in YAML form, derived values included; reading it back gives an equal architecture."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _reach_message(noc: Noc, n_clusters: int) -> str:
    n_nodes = noc.columns * noc.rows * noc.concentration
    return (
        f"places {len(noc.placement.clusters)} clusters, array.clusters is {n_clusters}; the network has {n_nodes} nodes, "
        f"{nodes_needed(n_clusters)} are needed with the buffer ports; 'auto' for columns, rows and placement derives them"
    )


def _split_violations(mapping: MappingKeys, n_clusters: int, reduces: bool) -> Iterable[Violation]:
    for pattern, split in mapping.pins.items():
        parts = (split.clusters_k or 1) * (split.clusters_c or 1) * (split.clusters_pixel or 1) * (split.clusters_sample or 1)
        if parts > n_clusters:
            yield (pattern,), f"splits over {parts} clusters, array.clusters is {n_clusters}"
        if (split.clusters_sample or 1) > 1 and not reduces:
            yield (pattern, "clusters_sample"), "splits sums over clusters, which needs noc.reduction: true"
