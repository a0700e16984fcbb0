"""Activations on integers [N, C, H, W] of a unit, each with the mask that its error passes through."""

from collections.abc import Callable

import numpy as np

from etasim.core.registry import Registry

Activation = Callable[[np.ndarray, int | np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From integers and their unit to integers of the same unit, none of them greater, and where errors pass."""

ACTIVATIONS: Registry[Activation] = Registry("activation of the reference", "etasim.numerics.reference.activations")


def _relu(v: np.ndarray, _unit: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mask = v > 0
    return np.where(mask, v, 0), mask


ACTIVATIONS.add("relu", _relu)
