"""The three convolutions of training, for any kernel, stride, padding, dilation and groups.

Maps are [N, C, H, W] and [N, K, P, Q], weights [K, C / groups, R, S]; the kernel is that of the weights, so a linear layer is a convolution
whose kernel covers the maps it reads. Integers give exact integers: float64 adds them where no sum can reach 2^53, int64 elsewhere.
Floats give floats.
"""

from collections.abc import Callable

import numpy as np

from etasim.core.arrays import Numbers
from etasim.numerics.reference.windows import Windows, windows
from etasim.workload.layer import Layer

EXACT_IN_FLOAT64 = 2**53


def forward(maps: np.ndarray, weights: np.ndarray, layer: Layer) -> np.ndarray:
    """FF: outputs [N, K, P, Q]. Raises OverflowError if a sum of integers could leave 64 bits."""
    geometry = windows(layer, maps.shape[2:], weights.shape[2:])

    def sums(maps: Numbers, weights: Numbers) -> Numbers:
        outputs = _matrices(weights, layer.groups) @ _unfold(maps, geometry, layer.groups)
        return _to_maps(outputs.reshape(weights.shape[0], maps.shape[0], *geometry.positions))

    return _exact(sums, maps, weights, weights[0].size)


def input_gradient(errors: np.ndarray, weights: np.ndarray, layer: Layer, maps: tuple[int, int]) -> np.ndarray:
    """BP: gradients [N, C, H, W] of inputs with ``maps`` = (H, W), from output errors [N, K, P, Q]. Raises as `forward`."""
    geometry = windows(layer, maps, weights.shape[2:])

    def sums(errors: Numbers, weights: Numbers) -> Numbers:
        columns = _matrices(weights, layer.groups).swapaxes(1, 2) @ _pixels(errors, layer.groups)
        return _fold(columns, geometry, len(errors))

    return _exact(sums, errors, weights, weights.size // weights.shape[1] // layer.groups)


def weight_gradient(maps: np.ndarray, errors: np.ndarray, layer: Layer, kernel: tuple[int, int]) -> np.ndarray:
    """WG: gradients [K, C / groups, R, S] of weights with ``kernel`` = (R, S), summed over the samples. Raises as `forward`."""
    geometry = windows(layer, maps.shape[2:], kernel)

    def sums(maps: Numbers, errors: Numbers) -> Numbers:
        gradient = _pixels(errors, layer.groups) @ _unfold(maps, geometry, layer.groups).swapaxes(1, 2)
        return gradient.reshape(errors.shape[1], -1, *kernel)

    return _exact(sums, maps, errors, errors.size // errors.shape[1])


def _exact(sums: Callable[[Numbers, Numbers], Numbers], a: np.ndarray, b: np.ndarray, terms: int) -> np.ndarray:
    """``sums(a, b)``, each a sum of at most ``terms`` products, computed in numbers that hold it."""
    result = np.result_type(a, b)
    if not np.issubdtype(result, np.integer):
        return sums(a, b)
    bound = _greatest(a) * _greatest(b) * terms
    if bound >= 2**63:
        raise OverflowError(f"sums of {terms} products may reach {bound}, past 64 bits")
    carrier = np.float64 if bound < EXACT_IN_FLOAT64 else np.int64
    return sums(a.astype(carrier), b.astype(carrier)).astype(np.int64)


def _greatest(values: np.ndarray) -> int:
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))


def _matrices(weights: np.ndarray, groups: int) -> np.ndarray:
    """Weights as matrices [groups, K / groups, C / groups * R * S]."""
    return weights.reshape(groups, weights.shape[0] // groups, -1)


def _pixels(maps: np.ndarray, groups: int) -> np.ndarray:
    """Maps as matrices [groups, channels of a group, N * pixels]."""
    channels = np.ascontiguousarray(maps.swapaxes(0, 1))
    return channels.reshape(groups, channels.shape[0] // groups, -1)


def _to_maps(channels: np.ndarray) -> np.ndarray:
    """[channels, N, height, width] as maps."""
    return np.ascontiguousarray(channels.swapaxes(0, 1))


def _unfold(maps: np.ndarray, geometry: Windows, groups: int) -> np.ndarray:
    """What each window meets: matrices [groups, C / groups * R * S, N * P * Q]."""
    padded = geometry.padded(maps.swapaxes(0, 1))
    met = np.empty((padded.shape[0], *geometry.kernel, padded.shape[1], *geometry.positions), maps.dtype)
    for tap in geometry.taps():
        met[:, tap.row, tap.column] = padded[..., *tap.pixels]
    return met.reshape(groups, met.shape[0] // groups * geometry.kernel[0] * geometry.kernel[1], -1)


def _fold(columns: np.ndarray, geometry: Windows, n: int) -> np.ndarray:
    """The transpose of `_unfold`: maps [N, C, H, W] with, at each pixel, the sum of the entries of ``columns`` that met it."""
    met = columns.reshape(-1, *geometry.kernel, n, *geometry.positions)
    padded = geometry.empty_padded((met.shape[0], n), columns.dtype)
    for tap in geometry.taps():
        padded[..., *tap.pixels] += met[:, tap.row, tap.column]
    return _to_maps(geometry.cropped(padded))
