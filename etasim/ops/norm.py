"""A normalization with a scale and an offset for each channel."""

from etasim.ops.running import RUNNING
from etasim.ops.schema import ACTIVATION, NORMALIZATION, OPERATIONS, LaneWork, OpSchema, Pass

_SUMS = ("pre_normalization", "output")
_ERRORS = ("error", "partial", *_SUMS, "mask")


def _pass(name: str, reads: tuple[str, ...], each: LaneWork, of_plane: LaneWork, *writes: str) -> Pass:
    kernels = "normalization_passes" if reads == _SUMS else "error_passes"
    return Pass(name, reads, writes, f"etasim.functional.{kernels}:{name}", each=each, of_plane=of_plane)


OPERATIONS.add(
    "norm",
    OpSchema(
        channel_parameters=2,
        fuses=(ACTIVATION,),
        fused_as=NORMALIZATION,
        forward=(
            _pass("norm_sum", _SUMS, LaneWork(0, 1), LaneWork()),
            _pass("norm_spread", _SUMS, LaneWork(0, 3), LaneWork(1, 2)),
            _pass("norm_apply", _SUMS, LaneWork(2, 4), LaneWork(1, 2), "output", "mask", "statistic"),
        ),
        is_drained=True,
        brings=("parameter",),
        keeps=("statistic",),
        error=(
            _pass("norm_error_sums", _ERRORS, LaneWork(5, 10), LaneWork(), "parameter_gradient"),
            _pass("norm_error_apply", _ERRORS, LaneWork(2, 7), LaneWork(7, 13), "error"),
        ),
        error_brings=("parameter", "statistic"),
        variants={"running": RUNNING},
    ),
)
