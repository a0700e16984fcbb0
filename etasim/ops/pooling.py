"""What operations on the windows of a pooling layer have in common."""

from collections.abc import Iterator
from typing import Any

from etasim.ops.schema import LaneWork, OpSchema, Pass, as_many_channels


def pooling(
    name: str, kernel: str, each: LaneWork, each_error: LaneWork, keeps: tuple[str, ...] = (), keeps_exponent: bool = False
) -> OpSchema:
    """The pooling ``name``, whose FF ``keeps`` maps of the size of its output. ``each``, ``each_error``: of a pixel of a window, in FF and
    BP."""
    kernel = f"etasim.functional.pooling_passes:{kernel}"
    return OpSchema(
        keys=("kernel", "stride", "padding"),
        pools=True,
        faults=_faults,
        keeps_exponent=keeps_exponent,
        forward=(Pass(name, ("output",), ("output", *keeps), kernel, streams=False, per_window=True, each=each),),
        keeps=keeps,
        backward=Pass(f"{name}_error", ("error", *keeps), ("partial",), kernel, streams=False, per_window=True, each=each_error),
    )


def _faults(layer: Any) -> Iterator[tuple[str, str]]:
    for axis in ("height", "width"):
        size, kernel, stride, pad, positions = (getattr(layer, f"{name}_{axis}") for name in ("in", "kernel", "stride", "pad", "out"))
        if positions < 1:
            continue
        if 2 * pad > kernel:
            yield f"pad_{axis}", "must be at most half the kernel of a pooling layer, or a window would hold nothing but padding"
        elif (positions - 1) * stride - pad >= size:
            yield f"pad_end_{axis}", "must leave a pixel of the maps to the last window of a pooling layer"
    yield from as_many_channels(layer)
