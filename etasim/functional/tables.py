"""What the functional machine knows of tensors and units, as arrays: units of numbers, widths, geometry, registers."""

from typing import NamedTuple

import numpy as np

from etasim.program.commands import OPERANDS

UNSEEN = -(2**31)
"""Exponent of a tensor of zeros."""

UNIT = np.dtype([
    ("in_height", "i8"), ("in_width", "i8"), ("out_height", "i8"), ("out_width", "i8"), ("kernel_height", "i8"), ("kernel_width", "i8"),
    ("stride_height", "i8"), ("stride_width", "i8"), ("pad_height", "i8"), ("pad_width", "i8"),
    ("activation", "i8"), ("has_bias", "i8"), ("n_contributions", "i8"), ("first_block", "i8"), ("n_blocks", "i8"),
    ("filter_weights", "i8"), ("positions", "i8"), ("input_blocks", "i8"), ("output_blocks", "i8"), ("first_input", "i8"),
    ("group_outputs", "i8"), ("group_inputs", "i8"), ("radial_mantissa", "i8"), ("radial_shift", "i8"),
])  # fmt: skip
"""A unit: geometry of its head; ``first_block`` of its output among the blocks of all units; ``n_contributions`` to its error;
``activation``: its number (`etasim.functional.activations`), 0 for none; ``has_bias``: a bias without a normalization, whose unit takes
part in the sum even where it is zero.

Where its normalization has a running scale: ``filter_weights`` of each filter, kernel ``positions``, ``input_blocks`` and ``output_blocks``
of a group as memory has them, ``first_input`` of the unit in `CoreValues.inputs`, ``group_outputs`` and ``group_inputs`` of a group of the
convolution (0: one group), and by what products of filters and gradients move the radial gradients."""

TERMS = 7
"""Terms for each lane that a pass may need."""

PIECE_ELEMENTS = 512
"""Elements that the unified core's passes take at once: large enough to hide the calls, small enough for a cache."""


MAGNITUDES, FILTER_SUMS, PRODUCTS, SPREADS, RADIALS, FILTER_MEANS = range(6)
"""Rows of `Registers.running`."""


class Tensors(NamedTuple):
    """By tensor number (`etasim.program.roles.tensor_number`): shape [tensors].

    ``read_unit`` and ``write_unit``: i stands for i * 2^unit in what the iteration finds and in what it writes (they differ for what
    survives an iteration); ``bits`` of an element; ``segments`` (0: not a code) and ``magnitude_bits`` of a code; ``table``: of its
    magnitudes, -1 if it has none; ``seen``: greatest exponent of the values written so far, UNSEEN if none but zeros.
    ``row_elements``: of a row, which begins with a square of its own, where codes share scales in squares; 0 where they do not. ``bits`` of
    such codes are those of what waits for its scale, an integer.
    ``magnitudes`` [table, code], of which the first ``n_magnitudes`` [table] exist.
    """

    read_unit: np.ndarray
    write_unit: np.ndarray
    bits: np.ndarray
    segments: np.ndarray
    magnitude_bits: np.ndarray
    table: np.ndarray
    row_elements: np.ndarray
    seen: np.ndarray
    magnitudes: np.ndarray
    n_magnitudes: np.ndarray


class Registers(NamedTuple):
    """What the unified core keeps, all int64. Block b of unit u is row ``units[u].first_block + b`` of [block] arrays; its plane for
    sample n is row ``(units[u].first_block + b) * batch + n`` of [plane] arrays.

    ``sums`` [plane, lane]: sums of P, added up while the results are drained (or by ``norm_sum``); ``deviations`` [plane, lane]: sums of
    |P - mean|; ``statistics`` [plane, 2, lane]: mean and spread that ``configure`` brought; ``error_sums`` [plane, 3, lane]: S1, S2, S3;
    ``parameters`` [block, 2, lane]: scale and offset; ``gradients`` [block, 2, lane]: of scale and offset; ``labels`` [batch];
    ``running`` [block, row, lane]: what a running scale needs and adds up over the batch.
    """

    sums: np.ndarray
    deviations: np.ndarray
    statistics: np.ndarray
    error_sums: np.ndarray
    parameters: np.ndarray
    gradients: np.ndarray
    labels: np.ndarray
    running: np.ndarray


class Constants(NamedTuple):
    """Numbers of the training scheme: channels of a normalization group; reciprocal table [256] or one without entries (by shift);
    (mantissa, shift) [2] of learning rate / batch and weight decay * batch (0, 0: none); momentum * 2^16; table [256] of 2^(15 - i/256);
    share * 2^16 of a running value that a batch replaces."""

    group: int
    reciprocal_table: np.ndarray
    rate: np.ndarray
    decay: np.ndarray
    momentum: int
    exponential_table: np.ndarray
    running_share: int = 0


class CoreValues(NamedTuple):
    """All that a pass of the unified core reads and writes. ``buffer``: the bytes of the error buffer; ``units`` [units] of UNIT;
    ``valid_lanes`` [block]: channels that exist in a block (the first lanes); ``pieces`` [operand, element]: integers of the elements
    under way; ``terms`` [term, lane]: room for what the elements of a plane are computed with; ``inputs``: input channel of each lane of
    the blocks that a unit with a running scale reads, -1 for none."""

    buffer: np.ndarray
    tensors: Tensors
    units: np.ndarray
    valid_lanes: np.ndarray
    registers: Registers
    constants: Constants
    pieces: np.ndarray
    terms: np.ndarray
    inputs: np.ndarray
    lanes: int
    batch: int
    word_bytes: int


def registers(n_blocks: int, batch: int, lanes: int) -> Registers:
    """Empty registers for ``n_blocks`` blocks of all units."""
    planes = n_blocks * batch
    return Registers(
        sums=np.zeros((planes, lanes), np.int64),
        deviations=np.zeros((planes, lanes), np.int64),
        statistics=np.zeros((planes, 2, lanes), np.int64),
        error_sums=np.zeros((planes, 3, lanes), np.int64),
        parameters=np.zeros((n_blocks, 2, lanes), np.int64),
        gradients=np.zeros((n_blocks, 2, lanes), np.int64),
        labels=np.zeros(batch, np.int64),
        running=np.zeros((n_blocks, 6, lanes), np.int64),
    )


def core_values(
    buffer: np.ndarray,
    tensors: Tensors,
    units: np.ndarray,
    valid_lanes: np.ndarray,
    registers: Registers,
    constants: Constants,
    lanes: int,
    batch: int,
    word_bytes: int,
    inputs: np.ndarray | None = None,
) -> CoreValues:
    """CoreValues with room to work in: pieces hold at least a row of any map, and two values for each lane."""
    widest = max(int(units["in_width"].max()), int(units["out_width"].max()), 2)
    pieces = np.zeros((OPERANDS, max(PIECE_ELEMENTS, widest * lanes)), np.int64)
    terms = np.zeros((TERMS, lanes), np.int64)
    inputs = np.zeros(0, np.int64) if inputs is None else inputs
    return CoreValues(buffer, tensors, units, valid_lanes, registers, constants, pieces, terms, inputs, lanes, batch, word_bytes)
