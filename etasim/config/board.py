"""What an FPGA board has to offer, and what the parts of a machine take of its logic."""

from typing import Annotated, ClassVar

from pydantic import Field

from etasim.config.base import Count, Name, Section
from etasim.config.energy import Source
from etasim.config.units import Width

LARGEST_COST = 1e9

Number = Annotated[float, Field(strict=True, ge=0, le=LARGEST_COST, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=2**-10, le=2**10, allow_inf_nan=False)]
"""Products of a block; less than one where a product takes several."""


class ProductsOfBlock(Section):
    """``count`` products of operands of up to ``width`` in one block."""

    width_bits: Width = Field(alias="width")
    count: Share


class DspBlocks(Section):
    """Hard multipliers; ``products``: multiplications of one block by the bits of their magnitudes, rising; ``accumulates``: whether a
    block also holds the accumulator of its products."""

    name: Name
    count: Count
    products: Annotated[tuple[ProductsOfBlock, ...], Field(min_length=1)]
    accumulates: bool


class MemoryBlocks(Section):
    """Block memories of ``depth`` words of ``width``, one read and one write port each."""

    name: Name
    count: Count
    depth: Count
    width_bits: Width = Field(alias="width")


class LogicCosts(Section):
    """Estimates of logic cells: of one product (operand steering, shift, its share of the adder tree), one bit of a port of a router with
    five ports, one lane of the unified core, one DMA engine or feeder, one DRAM channel's interface, a bit of distributed memory, and
    a bit of each input but the first of a multiplexer (of the crossbars between the buffers' requesters and banks)."""

    product: Number
    router_port_bit: Number
    lane: Number
    engine: Number
    dram_channel: Number
    memory_bit: Number
    multiplexer_input_bit: Number = 0.45


class LogicCells(Section):
    """Programmable logic."""

    name: Name
    count: Count
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
