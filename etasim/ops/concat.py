"""Maps of one size, channel after channel: each input writes its part of the output, or is copied there."""

from collections.abc import Sequence
from typing import Any

from etasim.ops.add import ADD
from etasim.ops.schema import JOINED, OPERATIONS, OpSchema


def _joined(shapes: Sequence[Any]) -> Any:
    if any(shape[1:] != shapes[0][1:] for shape in shapes):
        raise ValueError(f"cannot concatenate unequal maps {', '.join(map(str, shapes))}")
    return shapes[0]._replace(channels=sum(shape.channels for shape in shapes))


OPERATIONS.add(
    "concat",
    OpSchema(
        joins=True,
        joined=_joined,
        channels=JOINED,
        forward=(ADD,),
    ),
)
