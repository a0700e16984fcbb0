"""A linear layer: a convolution whose kernel covers the maps that it reads."""

from collections.abc import Iterator, Sequence
from typing import Any

from etasim.ops.schema import ACTIVATION, LARGEST_KERNEL, NORMALIZATION, OPERATIONS, OWN, OpSchema
from etasim.ops.unit import REQUANTISE


def _joined(shapes: Sequence[Any]) -> Any:
    maps = shapes[0]
    if maps.height * maps.width > LARGEST_KERNEL:
        raise ValueError(f"a linear layer reads maps of at most {LARGEST_KERNEL:,} pixels, got {maps}; pool them first")
    return maps


def _faults(layer: Any) -> Iterator[tuple[str, str]]:
    if (layer.in_height, layer.in_width) != (1, 1):
        yield "in_height", "a linear layer reads flattened maps: in_height and in_width are 1"


OPERATIONS.add(
    "linear",
    OpSchema(
        keys=("out_channels", "bias"),
        joined=_joined,
        flattens=True,
        faults=_faults,
        on_array=True,
        fuses=(NORMALIZATION, ACTIVATION),
        channels=OWN,
        forward=(REQUANTISE,),
    ),
)
