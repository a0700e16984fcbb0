"""What an architecture says about values, as the training scheme of the numerics; and what its functional machine cannot compute."""

from collections.abc import Iterator

from etasim.config import Architecture
from etasim.config.data import CODES
from etasim.core.errors import Reason
from etasim.core.registry import DATA_FORMATS
from etasim.mapping import InfeasibleError
from etasim.mapping.scales import SQUARE
from etasim.numerics.element import FixedElement
from etasim.numerics.format import ELEMENT_BITS, SQUARE_SIDE, Code, CodeFormat, SquareFormat
from etasim.numerics.scheme import L1_GROUP, RUNNING_L1, Scheme
from etasim.program.commands import MOST_VALUED_CLUSTERS

INTEGERS = ("pre_normalization", "weight_gradient", "master_weight", "momentum", "statistic")
NORMALIZATIONS = {"sample": L1_GROUP, "running": RUNNING_L1}
"""Kinds of a Scheme by ``numerics.normalization``."""

AXES_OF_SQUARES = {"activation": (1, 3), "weight": (0, 1), "error": (1, 3)}
"""Channels and columns of maps [N, C, H, W], output and input channels of weights [K, C, R, S]: what lies side by side in memory."""

CODE_BITS = (8, 16)
INTEGER_BITS = 16


def code_of(architecture: Architecture, name: str) -> Code:
    """The codes of ``name``, one of `CODES`. Raises ValueError for segments that do not fit the bits."""
    numerics, given = architecture.numerics, getattr(architecture.numerics, f"{name}_format")
    if given is not None:
        return SquareFormat(AXES_OF_SQUARES[name]) if has_squares(architecture, name) else DATA_FORMATS[given].code
    return CodeFormat(getattr(architecture.data, f"{name}_bits"), getattr(numerics, f"{name}_segments"))


def has_squares(architecture: Architecture, name: str) -> bool:
    """Whether the codes of ``name`` are 8-bit integers that share scales in squares of 8 x 8."""
    given = getattr(architecture.numerics, f"{name}_format")
    block = None if given is None else DATA_FORMATS[given].block
    if architecture.numerics.second_direction != SQUARE or block is None or block.block is None:
        return False
    return isinstance(block.element, FixedElement) and block.element.bits == ELEMENT_BITS


def scheme_of(architecture: Architecture) -> Scheme:
    """The training scheme of ``architecture``. Raises InfeasibleError, with all reasons, where values cannot be computed."""
    reasons = list(_reasons(architecture))
    if reasons:
        raise InfeasibleError(*(Reason(f"values: {reason}", key=reason.split()[0].rstrip(":")) for reason in reasons))
    data, numerics, training = architecture.data, architecture.numerics, architecture.training
    codes = {name: code_of(architecture, name) for name in CODES}
    return Scheme(
        codes["activation"],
        codes["weight"],
        codes["error"],
        sum_bits=data.pre_normalization_bits,
        gradient_bits=data.weight_gradient_bits,
        master_weight_bits=data.master_weight_bits,
        momentum_bits=data.momentum_bits,
        statistic_bits=data.statistic_bits,
        normalization=NORMALIZATIONS[numerics.normalization],
        normalization_group=numerics.normalization_group or architecture.array.lanes,
        reciprocal=numerics.reciprocal,
        learning_rate=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        exponent_margin=training.exponent_margin,
    )


def _reasons(architecture: Architecture) -> Iterator[str]:
    """What values cannot be computed with, each beginning with its key."""
    data, lanes, block = architecture.data, architecture.array.lanes, architecture.channel_block
    for name in CODES:
        bits, given = getattr(data, f"{name}_bits"), getattr(architecture.numerics, f"{name}_format")
        if given is not None and (DATA_FORMATS[given].code is None or DATA_FORMATS[given].tracked):
            if not has_squares(architecture, name):
                yield (
                    f"numerics.{name}_format must have an exponent for each tensor, that of the iteration before, or 8-bit integers in "
                    f"squares (numerics.second_direction: square): {given} is timed only"
                )
            continue
        if bits not in CODE_BITS:
            yield f"data.{name} must be 8 or 16 bit, got {bits} bit"
            continue
        try:
            code_of(architecture, name)
        except ValueError as error:
            yield f"numerics.{name}_segments: {error}"
    for name in INTEGERS:
        bits = getattr(data, f"{name}_bits")
        if bits != INTEGER_BITS:
            yield f"data.{name} must be {INTEGER_BITS} bit, got {bits} bit"
    if architecture.numerics.normalization not in NORMALIZATIONS:
        found, allowed = architecture.numerics.normalization, " or ".join(NORMALIZATIONS)
        yield f"numerics.normalization must be {allowed}, got {found}: statistics over the batch are timed only"
    if architecture.numerics.normalization == "running" and architecture.unified_core.n_cores > 1:
        yield "numerics.normalization must be sample with several unified cores: running scales are timed only there"
    if architecture.array.zero_insertion:
        yield "array.zero_insertion must be false: stretched errors are timed only"
    if architecture.array.accumulator is not None:
        yield "array.accumulator must be left out: sums of floats are timed only"
    if architecture.array.weight_gradient is not None:
        yield "array.weight_gradient must be left out: an array of two shapes is timed only"
    if data.input_layout == "packed":
        yield "data.input_layout must be channels, columns or window: packed words are timed only"
    if architecture.buffers.bypass is not None:
        yield "buffers.bypass must be left out: operands that pass the buffers are timed only"
    group = architecture.numerics.normalization_group or lanes
    if block % group:
        yield f"numerics.normalization_group = {group} must divide {architecture.block_key} = {block}"
    if any(has_squares(architecture, name) for name in CODES):
        if block != SQUARE_SIDE:
            yield f"{architecture.block_key} must be {SQUARE_SIDE} where scales are shared in squares, got {block}"
        if data.input_layout != "channels":
            yield f"data.input_layout must be channels where scales are shared in squares, got {data.input_layout}"
    if architecture.array.clusters > MOST_VALUED_CLUSTERS:
        yield f"array.clusters must be at most {MOST_VALUED_CLUSTERS}, got {architecture.array.clusters}"
