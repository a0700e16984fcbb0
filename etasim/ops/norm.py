"""A normalization with a scale and an offset for each channel."""

from etasim.ops.running import RUNNING
from etasim.ops.schema import ACTIVATION, NORMALIZATION, OPERATIONS, OpSchema, Pass

_SUMS = ("pre_normalization", "output")
_ERRORS = ("error", "partial", *_SUMS, "mask")


def _pass(name: str, reads: tuple[str, ...], *writes: str) -> Pass:
    kernels = "normalization_passes" if reads == _SUMS else "error_passes"
    return Pass(name, reads, writes, f"etasim.functional.{kernels}:{name}")


OPERATIONS.add(
    "norm",
    OpSchema(
        channel_parameters=2,
        fuses=(ACTIVATION,),
        fused_as=NORMALIZATION,
        forward=(_pass("norm_sum", _SUMS), _pass("norm_spread", _SUMS), _pass("norm_apply", _SUMS, "output", "mask", "statistic")),
        is_drained=True,
        brings=("parameter",),
        keeps=("statistic",),
        error=(_pass("norm_error_sums", _ERRORS, "parameter_gradient"), _pass("norm_error_apply", _ERRORS, "error")),
        error_brings=("parameter", "statistic"),
        variants={"running": RUNNING},
    ),
)
