"""The sum of maps of one shape."""

from collections.abc import Sequence
from typing import Any

from etasim.ops.schema import ACTIVATION, OpSchema, Pass, add_operation


def _joined(shapes: Sequence[Any]) -> Any:
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"cannot add unequal shapes {', '.join(map(str, shapes))}")
    return shapes[0]


ADD = Pass("add", ("output",), ("output", "mask"), "etasim.functional.output_passes:add_operands")

add_operation(
    "add",
    OpSchema(
        joins=True,
        joined=_joined,
        fuses=(ACTIVATION,),
        forward=(ADD,),
    ),
)
