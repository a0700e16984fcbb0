"""What an FPGA board has to offer, and what the parts of a machine take of its logic."""

from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from etasim.config.base import Count, Name, Section
from etasim.config.energy import Source
from etasim.config.units import Width

LARGEST_COST = 1e9

Number = Annotated[float, Field(strict=True, ge=0, le=LARGEST_COST, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=2**-10, le=2**10, allow_inf_nan=False)]
"""Products of a block; less than one where a product takes several."""


FlipFlops = Annotated[int, Field(strict=True, ge=1, le=2**24)]


class ProductsOfBlock(Section):
    """``count`` products of operands of up to ``width`` in one block."""

    width_bits: Width = Field(alias="width")
    count: Share


class DspBlocks(Section):
    """Hard multipliers; ``products``: multiplications of one block, which share an operand, by the bits of their codes, rising;
    ``accumulates``: whether a block also holds the accumulator of its products, which is logic otherwise."""

    name: Name
    count: Count
    products: Annotated[tuple[ProductsOfBlock, ...], Field(min_length=1)]
    accumulates: bool


class MemoryShape(Section):
    """``depth`` words of ``width`` in ``blocks`` of a memory block, one read and one write port."""

    depth: Count
    width_bits: Width = Field(alias="width")
    blocks: Share


class Bank(NamedTuple):
    """``blocks`` of a memory; ``enabled`` of them work in an access of a word."""

    blocks: float
    enabled: float


class MemoryBlocks(Section):
    """Block memories, each in one of ``shapes``."""

    name: Name
    count: Count
    shapes: Annotated[tuple[MemoryShape, ...], Field(min_length=1)]

    def bank(self, depth: int, width_bits: int) -> Bank:
        """A memory of ``depth`` words of ``width_bits`` in the shape that takes least, the first of several."""
        wide = [(shape, shape.blocks * -(-width_bits // shape.width_bits)) for shape in self.shapes]
        return min((Bank(enabled * -(-depth // shape.depth), enabled) for shape, enabled in wide), key=lambda bank: bank.blocks)


class LogicCosts(Section):
    """LUTs that are assumed, of what is not synthesised: one bit of a port of a router with five ports, one lane of the unified core beside
    its adders, one of these, one DMA engine or feeder, one DRAM channel's interface."""

    router_port_bit: Number
    lane: Number
    lane_adder: Number
    engine: Number
    dram_channel: Number


class LogicCells(Section):
    """Programmable logic. ``luts``: six-input LUTs, which the laws count, that one cell does the work of; ``flip_flops`` of the device, and
    those that go with a LUT of what is assumed."""

    name: Name
    count: Count
    luts: Share
    flip_flops: FlipFlops
    flip_flops_per_lut: Number
    costs: LogicCosts


class Board(Section):
    """An FPGA board as far as a machine must fit it."""

    MERGED_KEYS: ClassVar[tuple[str, ...]] = ("extends",)

    name: Name
    device: Name
    source: Source
    dsp: DspBlocks
    memory: MemoryBlocks
    logic: LogicCells
    dram_channels: Count
