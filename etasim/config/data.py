"""What the machine's numbers are and how they are trained: widths of tensors, codes and statistics, the update."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from etasim.config.base import Batch, Count, NameIn, Section, Violation
from etasim.config.units import Width
from etasim.core.registry import DATA_FORMATS

CODES = ("activation", "weight", "error")
"""Tensors whose elements the array multiplies: codes."""

ELEMENT_WIDTHS_BITS = (8, 16, 32, 64)
PACKED_WIDTHS_BITS = (4, 6)
"""Of codes whose formats have scales, beside those."""


def _whole_bytes(bits: int) -> int:
    if bits not in ELEMENT_WIDTHS_BITS:
        raise ValueError(
            f"must be one of {', '.join(map(str, ELEMENT_WIDTHS_BITS))} bit (elements are stored in whole bytes), got {bits} bit"
        )
    return bits


def _whole_or_packed(bits: int) -> int:
    return bits if bits in PACKED_WIDTHS_BITS else _whole_bytes(bits)


ElementWidth = Annotated[Width, AfterValidator(_whole_bytes)]
"""Bits of an element in memory."""

CodeWidth = Annotated[Width, AfterValidator(_whole_or_packed)]
"""Bits of a code in memory."""


class Data(Section):
    """Widths of one element of each tensor class, and how maps lie.

    ``input_layout``: how the host stores the network's input: its ``channels`` as they are, in whole blocks or, fewer than one, ``packed``
    into a power of two of bytes; or, as channels, what a kernel row (``columns``) or the kernel (``window``) of the first layer meets at a
    position. ``channel_block``: channels of a map that lie side by side, at most ``array.lanes``, and as many lanes multiply in FF and BP;
    null: as many as take the network least time (`etasim.estimate.blocks`).
    """

    activation_bits: CodeWidth = Field(alias="activation")
    weight_bits: CodeWidth = Field(alias="weight")
    error_bits: CodeWidth = Field(alias="error")
    pre_normalization_bits: ElementWidth = Field(alias="pre_normalization")
    weight_gradient_bits: ElementWidth = Field(alias="weight_gradient")
    master_weight_bits: ElementWidth = Field(alias="master_weight")
    momentum_bits: ElementWidth = Field(alias="momentum")
    statistic_bits: ElementWidth = Field(alias="statistic")
    input_layout: Literal["channels", "packed", "columns", "window"] = "channels"
    channel_block: Count | None = None


Segments = Annotated[int, Field(strict=True, ge=1, le=2**15)]
"""Of a code of 16 bits at most."""

FormatName = Annotated[str, NameIn(DATA_FORMATS)]


class Numerics(Section):
    """What the values are: segments of the codes or, in their place, a format with a name; what a normalization takes its statistics from,
    how it finds the reciprocal of the spread.

    ``second_direction``: where values share scales along the axis that a product adds up, how they are read along another one: from a
    ``copy`` that is written beside the first (null, for it moves least of those that leave the format as it is), after the unified core has
    read and written them anew (``requantise``), or from ``square`` blocks, which serve both (docs/models/scales.md).

    ``normalization``: over a ``sample``, over the whole ``batch``, or a ``running`` scale of the iterations before;
    ``normalization_group``, of the first: null for as many as ``array.lanes``.
    """

    activation_segments: Segments = 2
    weight_segments: Segments = 2
    error_segments: Segments = 2
    activation_format: FormatName | None = None
    weight_format: FormatName | None = None
    error_format: FormatName | None = None
    second_direction: Literal["copy", "requantise", "square"] | None = None
    normalization: Literal["sample", "batch", "running"] = "sample"
    normalization_group: Count | None = None
    reciprocal: Literal["table", "shift"] = "table"

    def violations(self, data: Data) -> Iterable[Violation]:
        """Formats without codes, or whose codes are not as wide as ``data`` says."""
        for name in CODES:
            key = f"{name}_format"
            given, bits = getattr(self, key), getattr(data, f"{name}_bits")
            if given is None:
                if bits in PACKED_WIDTHS_BITS:
                    yield (key,), f"data.{name} has {bits} bit, which only formats with scales have, such as mxfp4 and mxfp6_e3m2"
                continue
            found = DATA_FORMATS[given]
            if not found.rounds:
                yield (key,), f"the array multiplies codes, {given} has none"
            elif found.code_bits != bits:
                yield (key,), f"{given} has {found.code_bits} bit, data.{name} has {bits} bit"


LARGEST_RATE = 2.0**16
"""Of learning and decay; weights diverge long before."""

WIDEST_MARGIN_BITS = 16
"""As many as a code has."""


class Training(Section):
    """One iteration: samples, when weights are updated, and how: SGD with momentum.

    ``exponent_margin``: bits of room above the values of the iteration before.
    """

    batch: Batch
    weight_update: Literal["end_of_iteration", "after_layer"] = "end_of_iteration"
    learning_rate: Annotated[float, Field(strict=True, gt=0, le=LARGEST_RATE, allow_inf_nan=False)] = 0.1
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(strict=True, ge=0, le=LARGEST_RATE, allow_inf_nan=False)] = 0.0
    exponent_margin: Annotated[int, Field(strict=True, ge=0, le=WIDEST_MARGIN_BITS)] = 0
