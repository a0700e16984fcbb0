"""Mappings that are pinned: what the planner may not choose."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from etasim.config.base import LARGEST_BATCH, Count, Section, Switch

MOST_PATTERNS = 2**10
"""Patterns of an operation: the square of a stride of 32."""


class TilePin(Section):
    """The tiles of a pattern: ``samples`` whole samples, or 0 and ``pixels`` of one, ``by_row`` of a row that is cut by itself; streamed
    ``blocks`` and ``taps`` of a chunk (FF, BP)."""

    samples: Annotated[int, Field(strict=True, ge=0, le=LARGEST_BATCH)]
    pixels: Annotated[int, Field(strict=True, ge=1, le=2**40)]
    by_row: Switch = False
    blocks: Count | None = None
    taps: Count | None = None


class Pins(Section):
    """What of an operation's mapping is not the planner's to choose: parts into which output channels, reduced channels, pixels and (WG)
    samples are split over clusters; slices that the psums hold, and result blocks of each; bands; the operand whose tiles change in the
    outer loop; whether an operand stays in its buffer; streamed channel blocks whose operands are loaded at a time (FF, BP); the tiles of
    each pattern."""

    clusters_k: Count | None = None
    clusters_c: Count | None = None
    clusters_pixel: Count | None = None
    clusters_sample: Count | None = None
    result_slices: Count | None = None
    slice_blocks: Count | None = None
    stream_slices: Count | None = None
    band_samples: Count | None = None
    band_rows: Count | None = None
    outer: Literal["stationary", "stream"] | None = None
    stream_resident: Switch | None = None
    stationary_resident: Switch | None = None
    reduction_blocks: Count | None = None
    tiles: Annotated[tuple[TilePin, ...], Field(min_length=1, max_length=MOST_PATTERNS)] | None = None


class MappingKeys(Section):
    """How operations are mapped: what patterns of ``layer.phase`` pin, and ``forwarding``: whether results that fit on chip until they are
    read are held there, and read from there instead of from DRAM."""

    model_config = ConfigDict(frozen=True, extra="allow")
    ENTRIES: ClassVar[type[Section] | None] = Pins

    @classmethod
    def is_name(cls, text: str) -> bool:
        """Whether a pattern of ``layer.phase`` can look so: with a dot, or with what stands for one."""
        return any(char in text for char in ".*?[")

    __pydantic_extra__: dict[str, Pins] = Field(init=False)
    forwarding: Switch = False

    @model_serializer(mode="wrap")
    def _as_given(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the switch where it is off, as files were written before there was one."""
        return {name: value for name, value in fields(self).items() if name != "forwarding" or value}

    @property
    def pins(self) -> dict[str, Pins]:
        """What is pinned, by pattern, in the order of the file."""
        return self.__pydantic_extra__

    def with_pins(self, pins: dict[str, Pins]) -> "MappingKeys":
        """The same with other pins."""
        return MappingKeys.model_validate({"forwarding": self.forwarding} | pins)
