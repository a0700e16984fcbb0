"""Roles of tensors as numbers, and what a tensor's number says."""

from etasim.core.jit import kernel
from etasim.core.program import ROLES

N_ROLES = len(ROLES)
(
    OUTPUT, PRE_NORMALIZATION, MASK, WINDOW, STATISTIC, ERROR, PARTIAL, WEIGHT, WEIGHT_GRADIENT, MASTER_WEIGHT, MOMENTUM, PARAMETER,
    PARAMETER_GRADIENT, PARAMETER_MOMENTUM, LABEL,
) = range(N_ROLES)  # fmt: skip


@kernel
def role_of(tensor):
    """What a tensor is to its unit."""
    return tensor % N_ROLES


@kernel
def owner(tensor):
    """Unit that a tensor belongs to; -1: the network's input."""
    return tensor // N_ROLES - 1


@kernel
def tensor_of(unit, role):
    """Number of the tensor that is ``role`` to ``unit``."""
    return (unit + 1) * N_ROLES + role
