"""What a tensor is to the unit that it belongs to, and the number of a tensor in tables: by unit and role."""

from etasim.core.jit import kernel

ROLES = (
    "output", "pre_normalization", "mask", "window", "statistic", "error", "partial", "weight", "weight_gradient", "master_weight",
    "momentum", "parameter", "parameter_gradient", "parameter_momentum", "label", "magnitude", "spread", "radial", "filter_mean",
)  # fmt: skip
"""What a tensor is to the unit that it belongs to."""

N_ROLES = len(ROLES)
_NUMBERS = {role: number for number, role in enumerate(ROLES)}
(
    OUTPUT, PRE_NORMALIZATION, MASK, WINDOW, STATISTIC, ERROR, PARTIAL, WEIGHT, WEIGHT_GRADIENT, MASTER_WEIGHT, MOMENTUM, PARAMETER,
    PARAMETER_GRADIENT, PARAMETER_MOMENTUM, LABEL, MAGNITUDE, SPREAD, RADIAL, FILTER_MEAN,
) = range(N_ROLES)  # fmt: skip


@kernel
def role_of(tensor: int) -> int:
    """What a tensor is to its unit."""
    return tensor % N_ROLES


@kernel
def owner(tensor: int) -> int:
    """Unit that a tensor belongs to; -1: the network's input."""
    return tensor // N_ROLES - 1


@kernel
def tensor_of(unit: int, role: int) -> int:
    """Number of the tensor that is number ``role`` of ROLES to ``unit`` (-1: the network's input)."""
    return (unit + 1) * N_ROLES + role


def tensor_number(unit: int, role: str) -> int:
    """The same by the role's name."""
    return (unit + 1) * N_ROLES + _NUMBERS[role]
