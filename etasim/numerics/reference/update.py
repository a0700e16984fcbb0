"""SGD with momentum in integers. A term is (integers, unit)."""

from typing import NamedTuple

import numpy as np

from etasim.numerics.arithmetic import add, normal
from etasim.numerics.reference.value import Value
from etasim.numerics.scheme import Scheme

MOMENTUM_BITS = 16

Term = tuple[np.ndarray, int]


class UpdateConstants(NamedTuple):
    """(m, s) of m * 2^-s: ``rate``: learning rate / batch; ``decay``: weight decay * batch, None if there is none; ``momentum`` * 2^16."""

    rate: tuple[int, int]
    decay: tuple[int, int] | None
    momentum: int


def update_constants(scheme: Scheme, batch: int) -> UpdateConstants:
    """Constants of an update whose gradients are sums over ``batch`` samples; quotient and product are those of float64."""
    return UpdateConstants(
        rate=normal(scheme.learning_rate / batch),
        decay=normal(scheme.weight_decay * batch) if scheme.weight_decay else None,
        momentum=round(scheme.momentum * 2**MOMENTUM_BITS),
    )


def new_momentum(momentum: Value, gradient: Value, decayed: Value | None, constants: UpdateConstants) -> Term:
    """Momentum after the update: momentum * v + g, and with weight decay + decay * w for the weights ``decayed``."""
    terms = [(constants.momentum * momentum.integers, momentum.unit - MOMENTUM_BITS), (gradient.integers, gradient.unit)]
    if decayed is not None and constants.decay is not None:
        m, s = constants.decay
        terms.append((m * decayed.integers, decayed.unit - s))
    return add(*terms)


def new_weight(weight: Value, momentum: Value, constants: UpdateConstants) -> Term:
    """Weight after the update: w - rate * v, v being the new ``momentum``."""
    m, s = constants.rate
    return add((weight.integers, weight.unit), (-m * momentum.integers, momentum.unit - s))
