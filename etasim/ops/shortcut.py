"""Every stride-th pixel, with channels of zeros behind those of the input."""

from collections.abc import Iterator
from typing import Any

from etasim.ops.schema import OPERATIONS, PADDED, LaneWork, OpSchema, Pass

_KERNEL = "etasim.functional.pooling_passes:means_of_windows"


def _faults(layer: Any) -> Iterator[tuple[str, str]]:
    if layer.out_channels < layer.in_channels:
        yield "out_channels", f"must be at least the input's {layer.in_channels} channels, got {layer.out_channels}"


OPERATIONS.add(
    "shortcut",
    OpSchema(
        keys=("out_channels", "stride"),
        faults=_faults,
        channels=PADDED,
        keeps_exponent=True,
        forward=(Pass("shortcut", ("output",), ("output",), _KERNEL, streams=False, per_window=True, each=LaneWork(adds=1)),),
        backward=Pass("shortcut_error", ("error",), ("partial",), _KERNEL, streams=False, per_window=True, each=LaneWork(adds=1)),
    ),
)
