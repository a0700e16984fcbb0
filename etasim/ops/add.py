"""The sum of maps of one shape."""

from collections.abc import Sequence
from typing import Any

from etasim.ops.schema import ACTIVATION, OPERATIONS, LaneWork, OpSchema, Pass


def _joined(shapes: Sequence[Any]) -> Any:
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"cannot add unequal shapes {', '.join(map(str, shapes))}")
    return shapes[0]


ADD = Pass("add", ("output",), ("output", "mask"), "etasim.functional.output_passes:add_operands", each=LaneWork(adds=4))

OPERATIONS.add(
    "add",
    OpSchema(
        joins=True,
        joined=_joined,
        fuses=(ACTIVATION,),
        forward=(ADD,),
    ),
)
