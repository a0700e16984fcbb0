"""A normalization by the running scale of each channel: what takes the place of `etasim.ops.norm` where ``numerics.normalization`` says so.

No pass needs more than the element at hand and constants of the iteration, so FF is one pass on what drains, whole planes or not, and its
sums go nowhere. BP reads two bits an element. Each channel is dealt with in WU, from what was added up on the way.
"""

from etasim.ops.schema import ACTIVATION, NO_WORK, NORMALIZATION, LaneWork, OpSchema, Pass

_STATE = ("spread", "radial")
_PARAMETERS = ("parameter_gradient", "parameter", "parameter_momentum")
_WEIGHTS = ("weight_gradient", "master_weight", "momentum")


def _pass(
    name: str, reads: tuple[str, ...], writes: tuple[str, ...], each: LaneWork, of_plane: LaneWork = NO_WORK, streams: bool = True,
    work: tuple[int, int] = (1, 1),
) -> Pass:  # fmt: skip
    return Pass(name, reads, writes, f"etasim.functional.running_passes:{name}", streams, work, each=each, of_plane=of_plane)


RUNNING = OpSchema(
    channel_parameters=2,
    fuses=(ACTIVATION,),
    fused_as=NORMALIZATION,
    forward=(
        _pass("running_apply", ("pre_normalization",), ("output", "mask", "magnitude"), LaneWork(2, 5), LaneWork(2, 1)),
    ),
    in_pieces=True,
    brings=("parameter", "spread"),
    keeps=("mask", "magnitude"),
    error=(_pass("running_error", ("error", "partial", "mask"), ("error", "parameter_gradient"), LaneWork(2, 6), LaneWork(0, 1)),),
    error_brings=("parameter", "spread", "radial"),
    gradient=_pass("filter_means", (), ("filter_mean",), LaneWork(0, 1, 1), streams=False),
    update_weights=_pass("update_filters", _WEIGHTS, ("master_weight", "momentum", "weight"), LaneWork(4, 13)),
    update_brings=("filter_mean",),
    update=(
        _pass("running_update", (*_STATE, "magnitude"), _STATE, LaneWork(10, 15, 1), work=(1, 2)),
        _pass("update_scaled", _PARAMETERS, _PARAMETERS, LaneWork(3, 11)),
    ),
)
"""``filter_means`` follows WG, ``update_filters`` adds up the products of filters and gradients, from which ``running_update`` moves the
radial gradients and ``update_scaled`` makes the gradients of the scales."""
