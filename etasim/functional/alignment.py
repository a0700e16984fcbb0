"""Whether all that a program touches begins with squares, where codes share scales in them: each has its scale in front of it."""

from collections.abc import Iterator

import numpy as np

from etasim.core.errors import Reason
from etasim.functional.build import PRODUCTS, TableBuilder
from etasim.functional.squares import SQUARE
from etasim.mapping import InfeasibleError
from etasim.numerics.format import SquareFormat
from etasim.program.commands import MAX_READS, OPERANDS
from etasim.program.roles import tensor_number


def check_squares(builder: TableBuilder) -> None:
    """Raise InfeasibleError, with all reasons, where squares would not be whole."""
    if any(isinstance(code, SquareFormat) for code in (builder.scheme.activation, builder.scheme.weight, builder.scheme.error)):
        reasons = [*_of_units(builder), *_of_passes(builder), *_of_chunks(builder)]
        if reasons:
            raise InfeasibleError(*(Reason(f"values: {reason}") for reason in dict.fromkeys(reasons)))


def _of_units(builder: TableBuilder) -> Iterator[str]:
    """Channels of the blocks in memory are those of the squares if nothing stands between them."""
    for unit in builder.units:
        if len(builder.layout.dense_channels[unit.index]) > 1:
            yield f"{unit.name} joins maps whose channels do not fill blocks: squares are timed only there"
        if unit.head.groups > 1:
            yield f"{unit.name} has groups of channels: squares are timed only there"


def _of_passes(builder: TableBuilder) -> Iterator[str]:
    """Tiles of the unified core."""
    vectors = builder.mapping.program.vectors
    rows = np.zeros(max(tensor_number(*key) for key in builder.possible_keys) + 1, np.int64)
    for key in builder.possible_keys:
        rows[tensor_number(*key)] = builder.row_elements(key)
    for i in range(OPERANDS):
        counts = vectors["n_reads"] > i if i < MAX_READS else vectors["n_writes"] > i - MAX_READS
        row_elements = rows[vectors["tensor"][:, i]]
        place = vectors["first_element"][:, i] % np.maximum(row_elements, 1)
        for unit in np.unique(vectors["unit"][counts & (place % SQUARE != 0)]):
            yield f"{builder.units[unit].name}: tiles of the unified core begin inside squares, which are timed only there"


def _of_chunks(builder: TableBuilder) -> Iterator[str]:
    """Chunks of the clusters: rows that are cut, and pixels of a row."""
    program = builder.mapping.program
    pairs = np.unique(np.stack([program.computes["operation"], program.computes["geometry"]], 1), axis=0)
    for number, which in pairs.tolist():
        operation, geometry = builder.mapping.operations[number], program.geometries[which]
        if operation.phase not in PRODUCTS or geometry["n_taps"] == 0:
            continue
        unit = builder.units[operation.unit]
        keys = {"output": (unit.inputs[0], "output"), "weight": (unit.index, "weight"), "error": (unit.index, "error")}
        streamed, stationary = (builder.row_elements(keys[role]) for role in PRODUCTS[operation.phase])
        is_cut = streamed > 0 and geometry["in_width"] * builder.lanes != streamed
        row, first = int(geometry["cols"]) * builder.lanes, int(geometry["first_pixel"]) * builder.lanes
        splits = operation.phase == "wg" and stationary > 0 and (row != stationary or first % row % SQUARE != 0)
        if is_cut or splits:
            yield f"{unit.name}: chunks of the clusters begin inside squares, which are timed only there"
