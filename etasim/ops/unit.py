"""Passes that belong to no operation: what every unit may need."""

from etasim.ops.schema import NO_WORK, LaneWork, Pass


def _pass(
    name: str, reads: tuple[str, ...], writes: tuple[str, ...], kernel: str, streams: bool = True, each: LaneWork = NO_WORK
) -> Pass:
    return Pass(name, reads, writes, f"etasim.functional.{kernel}", streams, each=each)


CONFIGURE = _pass("configure", ("parameter", "statistic", "label"), (), "configure_pass:configure", streams=False)
"""Parameters of a block, statistics of a plane or the labels come into the lanes."""

REQUANTISE = _pass("requantise", ("pre_normalization",), ("output", "mask"), "output_passes:add_operands", each=LaneWork(adds=2))
"""Sums of the array, and a bias, become the output."""

ERROR_ADD = _pass("error_add", ("error", "partial"), ("partial",), "error_passes:error_add", each=LaneWork(adds=3))
"""Contributions to an error become one."""

ERROR_MASK = _pass(
    "error_mask", ("error", "partial", "mask"), ("error", "parameter_gradient"), "error_passes:error_mask", each=LaneWork(adds=4)
)
"""Contributions become the error of a unit without a normalization, and the gradient of its bias."""

UPDATE = _pass(
    "update",
    ("weight_gradient", "parameter_gradient", "master_weight", "parameter", "momentum", "parameter_momentum"),
    ("master_weight", "parameter", "momentum", "parameter_momentum", "weight"),
    "update_pass:update",
    each=LaneWork(multiplies=3, adds=11),
)
"""SGD with momentum on weights or parameters."""

SHARE_SCALES = _pass(
    "share_scales", ("output", "error", "weight"), ("output", "error", "weight"), "operands:share_scales", streams=False,
    each=LaneWork(adds=6),
)  # fmt: skip
"""Values become codes that share scales, along one axis or two: the greatest of each, and for each a shift and a limit. They have values
in squares."""

UNIT_PASSES = (CONFIGURE, REQUANTISE, ERROR_ADD, ERROR_MASK, UPDATE, SHARE_SCALES)
