"""A DRAM part: JEDEC timing in clocks, organisation, currents; and the address mapping that must fit it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from etasim.config.base import Count, Delay, Name, NameIn, Section, Violation, power_of_two_violations, require
from etasim.config.errors import allowed_names
from etasim.config.units import Frequency, Voltage, Width, parse_quantity
from etasim.core.registry import DRAM_STANDARDS

Current = Annotated[float, Field(strict=True, ge=0, le=1e6, allow_inf_nan=False)]

ADDRESS_FIELDS = ("ro", "ra", "bg", "ba", "co")
"""Fields of an address mapping: row, rank, bank group, bank of a group, column in bursts."""


class TimingClocks(Section):
    """JEDEC timing parameters in DRAM clocks; suffix S is to another bank group, L within one.

    A part may state one as a time instead, ``RFC: 260 ns``: the fewest clocks that are not shorter (`clocks_of_times`). Those that may
    be left out: RCDWR (ACT to WR, else RCD), CCDL, RRDL and WTRL (within a bank group, where the standard has these), CS (gap on the bus
    when the rank changes, else 2), PPD (PRE to PRE, else 0). A standard may have further ones of its own.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Count]

    BL: Count
    CL: Count
    RCD: Count
    RCDWR: Count | None = None
    RP: Count
    RAS: Count
    RC: Count
    WR: Count
    RTP: Count
    CWL: Count
    CCDS: Count
    CCDL: Count | None = None
    RRDS: Count
    RRDL: Count | None = None
    WTRS: Count
    WTRL: Count | None = None
    FAW: Count
    RFC: Count
    REFI: Count
    CS: Delay | None = None
    PPD: Delay | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require(_timing_violations(self))
        return self


WITHIN_GROUP = {"CCDL": "CCDS", "RRDL": "RRDS", "WTRL": "WTRS"}
"""Timings within a bank group, and those between groups, which they must not undercut."""


def meaningless(standard: str) -> tuple[str, ...]:
    """Timings that may be left out and constrain nothing in ``standard``: no bank groups, no gap between precharges, pseudo channels with a
    bus of their own."""
    return tuple(name for name in (*WITHIN_GROUP, "CS", "PPD") if name not in DRAM_STANDARDS[standard].timings)


def _standard_violations(standard: str, clocks: TimingClocks) -> Iterable[Violation]:
    """Timings that a standard needs and a part lacks, or that it does not know; a value that says nothing else is left alone."""
    own, stated = DRAM_STANDARDS[standard].own_timings, clocks.model_extra or {}
    for name in (name for name in stated if name not in own):
        yield (name,), f"unknown key; {allowed_names(name, (*TimingClocks.keys(), *own))}"
    for name in (name for name in own if name not in stated):
        yield (name,), f"is missing; {standard} has it"
    for name in meaningless(standard):
        neutral = getattr(clocks, WITHIN_GROUP[name]) if name in WITHIN_GROUP else 0 if name == "PPD" else None
        given = getattr(clocks, name)
        if given not in (None, neutral):
            same = f", or give {WITHIN_GROUP[name]} = {neutral}" if name in WITHIN_GROUP else ""
            yield (name,), f"has no meaning in {standard}: leave it out{same}, got {given}"
    for name in WITHIN_GROUP:
        if name in DRAM_STANDARDS[standard].timings and getattr(clocks, name) is None:
            yield (name,), f"is missing; {standard} has bank groups"


def _timing_violations(clocks: TimingClocks) -> Iterable[Violation]:
    if clocks.RC < clocks.RAS + clocks.RP:
        yield ("RC",), f"must be at least RAS + RP = {clocks.RAS + clocks.RP}, got {clocks.RC}"
    if clocks.FAW < clocks.RRDS:
        yield ("FAW",), f"must be at least RRDS = {clocks.RRDS}, got {clocks.FAW}"
    for long, short in WITHIN_GROUP.items():
        if getattr(clocks, long) is not None and getattr(clocks, long) < getattr(clocks, short):
            yield (long,), f"must be at least {short} = {getattr(clocks, short)}, got {getattr(clocks, long)}"
    if clocks.CCDS < clocks.BL:
        yield ("CCDS",), f"must be at least BL = {clocks.BL}, or bursts would overlap on the bus, got {clocks.CCDS}"
    if clocks.RAS < clocks.RCD:
        yield ("RAS",), f"must be at least RCD = {clocks.RCD}, got {clocks.RAS}"
    for name, value in clocks:
        if value is not None and name not in ("REFI", "RFC") and value >= clocks.REFI:
            yield (name,), f"must be less than REFI = {clocks.REFI}, the clocks between two refreshes, got {value}"
    if clocks.REFI <= clocks.RFC + clocks.RP:
        yield ("REFI",), f"must be greater than RFC + RP = {clocks.RFC + clocks.RP}, or nothing but refresh would happen, got {clocks.REFI}"


def least_refresh_clocks(clocks: Mapping[str, int], ranks: int) -> int:
    """Least REFI of ``ranks`` ranks with these timings: between two rounds of refreshes every rank can write a burst to a row and close it,
    so that no refresh is put off by more than a round, and no request for ever."""
    return clocks["RFC"] + ranks * (clocks["RC"] + clocks["CWL"] + clocks["BL"] + clocks["WR"] + clocks["RP"])


def clocks_of_times(timings: dict[str, Any], clock: object) -> dict[str, Any]:
    """``timings`` with times (text such as ``13.91 ns``) turned into clocks of ``clock``, rounded up; what is no time stays."""

    def clocks(value: object) -> object:
        try:
            return ceil(parse_quantity(value, "time") * parse_quantity(clock, "frequency")) if isinstance(value, str) else value
        except ValueError:
            return value

    return {name: clocks(value) for name, value in timings.items()}


class Organisation(Section):
    """One rank of one channel; ``banks`` counts the banks of a group, ``columns`` are of ``bus_width``."""

    bank_groups: Count
    banks: Count
    rows: Count
    columns: Count
    device_width_bits: Width = Field(alias="device_width")
    bus_width_bits: Width = Field(alias="bus_width")
    burst_length: Count

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require(self._violations())
        return self

    def _violations(self) -> Iterable[Violation]:
        powers = ("bank_groups", "banks", "rows", "columns", "burst_length")
        yield from power_of_two_violations({name: getattr(self, name) for name in powers} | {"bus_width": self.bus_width_bits})
        if self.bus_width_bits % 8:
            yield ("bus_width",), f"must be whole bytes, got {self.bus_width_bits} bit"
        if self.bus_width_bits % self.device_width_bits:
            yield ("device_width",), f"must divide bus_width = {self.bus_width_bits} bit, got {self.device_width_bits} bit"
        if self.columns % self.burst_length:
            yield ("columns",), f"must be a multiple of burst_length = {self.burst_length}, got {self.columns}"

    @property
    def burst_bytes(self) -> int:
        """Bytes of one burst on the whole bus."""
        return self.bus_width_bits // 8 * self.burst_length

    @property
    def rank_bytes(self) -> int:
        """Capacity of one rank."""
        return self.bank_groups * self.banks * self.rows * self.columns * self.bus_width_bits // 8

    @property
    def devices(self) -> int:
        """DRAM devices side by side on the bus."""
        return self.bus_width_bits // self.device_width_bits


class Currents(Section):
    """Currents of one device in mA as data sheets list them; ``VDD`` is the supply."""

    VDD_volts: Voltage = Field(alias="VDD")
    IDD0: Current
    IDD2P: Current
    IDD2N: Current
    IDD3P: Current
    IDD3N: Current
    IDD4W: Current
    IDD4R: Current
    IDD5AB: Current
    IPP0: Current | None = None
    IDD6x: Current | None = None


def _current_violations(currents: Currents, clocks: TimingClocks) -> Iterable[Violation]:
    """Currents by which a command would give energy back: its energy is the increment over standby (`etasim.memory.dram.energy`)."""
    standby = (currents.IDD3N * clocks.RAS + currents.IDD2N * clocks.RP) / clocks.RC
    least = {"IDD0": (standby, "(IDD3N RAS + IDD2N RP) / RC"), **dict.fromkeys(("IDD4R", "IDD4W", "IDD5AB"), (currents.IDD3N, "IDD3N"))}
    for name, (current, formula) in least.items():
        if getattr(currents, name) < current:
            yield ("currents_ma", name), f"must be at least {formula} = {current:g} mA of standby, got {getattr(currents, name):g}"


class DramPart(Section):
    """A DRAM device in the width of its bus."""

    name: Name
    standard: Annotated[str, NameIn(DRAM_STANDARDS)]
    clock_hz: Frequency = Field(alias="clock")
    timing_clocks: TimingClocks
    organisation: Organisation
    currents_ma: Currents

    @model_validator(mode="before")
    @classmethod
    def _in_clocks(cls, data: Any) -> Any:
        if not (isinstance(data, dict) and isinstance(data.get("timing_clocks"), dict)):
            return data
        return data | {"timing_clocks": clocks_of_times(data["timing_clocks"], data.get("clock"))}

    @field_validator("timing_clocks", mode="after")
    @classmethod
    def _of_the_standard(cls, clocks: TimingClocks, info: ValidationInfo) -> TimingClocks:
        if "standard" in info.data:
            require(_standard_violations(info.data["standard"], clocks))
        return clocks

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        clocks, transfers = self.timing_clocks.BL, DRAM_STANDARDS[self.standard].transfers_per_clock
        burst_clocks = self.organisation.burst_length / transfers
        if clocks != burst_clocks:
            message = f"must be burst_length / {transfers} = {burst_clocks:g} ({transfers} transfers a clock), got {clocks}"
            require([(("timing_clocks", "BL"), message)])
        require(_current_violations(self.currents_ma, self.timing_clocks))
        return self

    def address_bits(self, ranks: int) -> dict[str, int]:
        """Bits that each field needs to reach every burst of ``ranks`` ranks."""
        return {field: size.bit_length() - 1 for field, size in field_sizes(self.organisation, ranks).items()}


def field_sizes(organisation: Any, ranks: int) -> dict[str, int]:
    """What each field of ``ADDRESS_FIELDS`` numbers: rows of a bank, ``ranks`` of a channel, bank groups of a rank, banks of a group,
    bursts of a row. ``organisation``: that of a `DramPart`, or what has its attributes."""
    bursts = organisation.columns // organisation.burst_length
    return dict(zip(ADDRESS_FIELDS, (organisation.rows, ranks, organisation.bank_groups, organisation.banks, bursts), strict=True))


def parse_mapping(text: str) -> tuple[tuple[str, int], ...]:
    """Fields and bits of an address mapping such as ``ro:16,ba:3,bg:0,co:7``, most significant first.

    A field may occur several times, its upper part first. Raises ValueError for an unknown field or a bit count that is not a whole number.
    """
    fields = []
    for part in text.split(","):
        name, colon, bits = (piece.strip() for piece in part.partition(":"))
        if name not in ADDRESS_FIELDS or not colon or not (bits.isascii() and bits.isdigit() and len(bits) <= 2):
            raise ValueError(f"{part.strip()!r} is not FIELD:BITS with FIELD one of {', '.join(ADDRESS_FIELDS)}")
        fields.append((name, int(bits)))
    return tuple(fields)


def mapping_violations(text: str, part: DramPart, ranks: int) -> Iterable[Violation]:
    """What keeps the address mapping ``text`` from reaching each burst of the part exactly once."""
    needed = part.address_bits(ranks)
    expected = ",".join(f"{field}:{bits}" for field, bits in needed.items() if bits)
    try:
        given: Counter[str] = Counter()
        for field, bits in parse_mapping(text):
            given[field] += bits
    except ValueError as error:
        yield ("mapping",), f"{error}; {part.name} with {ranks} rank(s) needs {expected} in any order"
        return
    wrong = [f"{field}:{given[field]}" for field in ADDRESS_FIELDS if given[field] != needed[field]]
    if wrong:
        yield ("mapping",), f"{', '.join(wrong)} does not fit the part; {part.name} with {ranks} rank(s) needs {expected} in any order"
