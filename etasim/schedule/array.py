"""The array as the mapper sees it: sizes and rates, in integers."""

from functools import lru_cache
from math import gcd, lcm
from typing import NamedTuple

from etasim.config import Architecture
from etasim.config.array import NO_FILL
from etasim.config.noc import Noc
from etasim.config.units import format_size
from etasim.core.errors import InfeasibleError, Reason
from etasim.program.commands import BUFFERS, Present
from etasim.schedule.rates import PSUM, STATIONARY, STREAM, Rates, packet_flits, rates
from etasim.schedule.reducing import refuse_bad_reduction

__all__ = ["PSUM", "STATIONARY", "STREAM", "ArraySizes", "array_of", "full_buffer", "row_bytes"]


def row_bytes(architecture: Architecture, name: str) -> int:
    """Bytes of a word of every bank of the buffer ``name``; its size is a multiple of them."""
    banks: int = getattr(architecture.buffers, name).banks
    return banks * architecture.buffers.word_size_bytes


def present_of(architecture: Architecture) -> Present:
    """Which parts are there that not every machine has."""
    return Present(architecture.buffers.second is not None, architecture.host is not None, architecture.mapping.forwarding)


def full_buffer(architecture: Architecture, name: str, needed_bytes: int) -> InfeasibleError:
    """Buffer ``name`` cannot hold what an operation needs at once; a size that is tried next is at least a quarter larger."""
    size, row = getattr(architecture.buffers, name).size_bytes, row_bytes(architecture, name)
    key = f"buffers.{name}.size"
    wanted = -(-max(5 * size // 4, -(-needed_bytes // 2)) // row) * row
    message = f"a tile with its operands and results needs {needed_bytes:,} B at once, the two halves of {key} have {2 * size:,} B"
    return InfeasibleError(Reason(message, key=key), changes={key: format_size(wanted)})


SIZES_HASHED = 24
"""Fields of `ArraySizes`, from the first, that make its hash; rates and the network follow later, and take longest."""


class ArraySizes(NamedTuple):
    """Sizes taken from an Architecture. ``*_bytes`` of a scratchpad or buffer are one half of its double buffer; ``reduces``: the network
    adds psums of several clusters; ``lanes``: those in use, as many as a block of a map has channels. A packet carries a word of a buffer;
    ``packet_flits`` [message class]: on the links of its class. ``gradient_*``: those of WG, whose groups are of ``gradient_lanes`` pixels;
    scratchpads keep pixels at pitches of ``pitch_pixels``.
    ``prefetches``: operands of a pass are sent while the one before is multiplied; ``bypasses``: each feed of the streamed operand loads
    what it sends; ``fill_cycles`` (sweep, pass, phase) in which the array takes nothing in. ``noc``: None where kernels see it."""

    clusters: int
    pes: int
    columns: int
    lanes: int
    gradient_columns: int
    gradient_lanes: int
    pitch_pixels: int
    psum_depth: int
    gradient_psum_depth: int
    accumulator_bits: int
    is_float: bool
    reduces: bool
    pipeline_cycles: int
    stream_scratchpad_bytes: int
    stationary_scratchpad_bytes: int
    deinterleave: bool
    prefetches: bool
    bypasses: bool
    fill_cycles: tuple[int, int, int]
    word_bytes: int
    packet_flits: tuple[int, ...]
    multicast: bool
    error_ports: int
    activation_bytes: int
    weight_bytes: int
    error_bytes: int
    burst_bytes: int
    rates: Rates
    noc: Noc | None
    second_bytes: int = 0

    def __hash__(self) -> int:
        """Of what is quick to hash: sizes are part of the keys of many caches."""
        return hash(self[:SIZES_HASHED])

    @property
    def is_all_numbers(self) -> bool:
        """Whether kernels see it (`etasim.core.layout`)."""
        return self.noc is None

    @property
    def numbers(self) -> "ArraySizes":
        """As kernels see it; the same for equal sizes, so that it is laid out once for many calls."""
        return _for_kernels(self)

    @property
    def of_clusters(self) -> "ArraySizes":
        """With buffers of no size, and no rates of others: all that clusters and the network work with. Equal ones are the same, so that
        they are quick to compare: machines of a search often differ in their buffers or their unified core alone."""
        return _of_clusters(self)

    @property
    def without_core(self) -> "ArraySizes":
        """With a unified core of no rates."""
        return _without_core(self)

    @property
    def buffer_bytes(self) -> tuple[int, ...]:
        """Both halves of each buffer, in the order of BUFFERS, and all of a second level, if there is one."""
        return (*(2 * getattr(self, f"{name}_bytes") for name in BUFFERS), *([self.second_bytes] if self.second_bytes else []))

    @property
    def pe_blocks(self) -> int:
        """Channel blocks that the PEs of a cluster cover."""
        return self.pes // self.lanes

    @property
    def column_blocks(self) -> int:
        """Channel blocks that the columns cover in WG."""
        return self.gradient_columns // self.lanes

    @property
    def packet_bits(self) -> int:
        """Bits of a packet."""
        return 8 * self.word_bytes

    @property
    def sum_bytes(self) -> int:
        """Bytes of a sum that is not rounded."""
        return -(-self.accumulator_bits // 8)

    def segments_per_packet(self, element_bytes: int) -> int:
        """Rows of lanes of a psum memory that one packet, a word, carries."""
        return self.word_bytes // (self.lanes * element_bytes)


@lru_cache(maxsize=256)
def _for_kernels(array: ArraySizes) -> ArraySizes:
    return array._replace(noc=None)


@lru_cache(maxsize=256)
def _of_clusters(array: ArraySizes) -> ArraySizes:
    sizes = array._replace(activation_bytes=0, weight_bytes=0, error_bytes=0, second_bytes=0)
    return _the_same(sizes._replace(rates=array.rates.of_clusters))


@lru_cache(maxsize=256)
def _without_core(array: ArraySizes) -> ArraySizes:
    return _the_same(array._replace(rates=array.rates.without_core))


@lru_cache(maxsize=256)
def _the_same(array: ArraySizes) -> ArraySizes:
    return array


def array_of(architecture: Architecture) -> ArraySizes:
    """The mapper's view, the same for equal ones, so that they are quick to find in caches. Raises InfeasibleError for an array that the
    block layout cannot serve."""
    a, b, block, block_key = architecture.array, architecture.buffers, architecture.channel_block, architecture.block_key
    if a.pes_per_cluster % block or a.gradient.columns % block:
        divisor, key = gcd(a.pes_per_cluster, a.gradient.columns), "array.weight_gradient.columns" if a.weight_gradient else "array.columns"
        message = f"{block_key} = {block} must divide array.pes_per_cluster = {a.pes_per_cluster} and {key} = {a.gradient.columns}"
        lanes = max(n for n in range(1, min(block, divisor) + 1) if divisor % n == 0)
        raise InfeasibleError(Reason(message, key=block_key), changes={block_key: lanes})
    widths = architecture.data
    widest = (
        max(widths.activation_bits, widths.weight_bits, widths.error_bits, widths.pre_normalization_bits, widths.weight_gradient_bits) // 8
    )
    if b.word_size_bytes % (widest * block):
        message = f"buffers.word_size = {b.word_size_bytes} B must be a multiple of {block_key} = {block} elements of {widest} B"
        power = 1 << (widest * block - 1).bit_length()
        changes = {"buffers.word_size": format_size(power)} if power == widest * block else {}
        raise InfeasibleError(Reason(message, key="buffers.word_size"), changes=changes)
    refuse_bad_reduction(architecture)
    fill = a.fill or NO_FILL
    stages = a.pipeline.operand_read + a.pipeline.multiply + a.pipeline.accumulate
    sizes = ArraySizes(
        clusters=a.clusters,
        pes=a.pes_per_cluster,
        columns=a.columns,
        lanes=block,
        gradient_columns=a.gradient.columns,
        gradient_lanes=a.gradient.lanes,
        pitch_pixels=lcm(a.columns, a.gradient.lanes),
        psum_depth=a.psum_depth,
        gradient_psum_depth=max(a.psum_depth * a.columns // a.gradient.columns, 1),
        accumulator_bits=a.accumulator_width_bits,
        is_float=a.accumulator == "float",
        reduces=architecture.noc.reduction,
        pipeline_cycles=stages + (a.lanes - 1).bit_length(),
        stream_scratchpad_bytes=a.stream_scratchpad_bytes,
        stationary_scratchpad_bytes=a.stationary_scratchpad_bytes,
        deinterleave=a.deinterleave_stride,
        prefetches=a.prefetch is None,
        bypasses=b.bypass is not None,
        fill_cycles=(fill.sweep_cycles, fill.pass_cycles, fill.phase_cycles),
        word_bytes=b.word_size_bytes,
        packet_flits=packet_flits(architecture),
        multicast=architecture.noc.multicast,
        error_ports=len(architecture.noc.placement.error),
        activation_bytes=b.activation.size_bytes,
        weight_bytes=b.weight.size_bytes,
        error_bytes=b.error.size_bytes,
        burst_bytes=architecture.dram.part.organisation.burst_bytes,
        rates=rates(architecture),
        noc=architecture.noc,
        second_bytes=b.second.size_bytes if b.second else 0,
    )
    return _the_same(sizes)
