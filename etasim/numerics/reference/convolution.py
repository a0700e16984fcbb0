"""The three convolutions of training, for any kernel, stride, padding, dilation and groups.

Maps are [N, C, H, W] and [N, K, P, Q], weights [K, C / groups, R, S]; the kernel is that of the weights, so a linear layer is a convolution
whose kernel covers the maps it reads. Integers give exact integers: float64 adds them where no sum can reach 2^53, int64 elsewhere.
Floats give floats.
"""

from collections.abc import Callable

import numpy as np

from etasim.numerics.reference.windows import windows
from etasim.workload.layer import Layer

EXACT_IN_FLOAT64 = 2**53


def forward(maps: np.ndarray, weights: np.ndarray, layer: Layer) -> np.ndarray:
    """FF: outputs [N, K, P, Q]. Raises OverflowError if a sum of integers could leave 64 bits."""
    geometry = windows(layer, maps.shape[2:], weights.shape[2:])

    def sums(maps, weights):
        padded, taps = geometry.padded(_by_group(maps, layer.groups)), _by_tap(weights, layer.groups)
        n, pixels = maps.shape[0], geometry.positions
        total = np.zeros((layer.groups, taps.shape[-2], n * pixels[0] * pixels[1]), maps.dtype)
        for tap in geometry.taps():
            total += taps[tap.row, tap.column] @ _columns(padded[..., *tap.pixels])
        return _to_maps(total, n, pixels)

    return _exact(sums, maps, weights, weights[0].size)


def input_gradient(errors: np.ndarray, weights: np.ndarray, layer: Layer, maps: tuple[int, int]) -> np.ndarray:
    """BP: gradients [N, C, H, W] of inputs with ``maps`` = (H, W), from output errors [N, K, P, Q]. Raises as `forward`."""
    geometry = windows(layer, maps, weights.shape[2:])

    def sums(errors, weights):
        columns, taps = _columns(_by_group(errors, layer.groups)), _by_tap(weights, layer.groups)
        leading = (layer.groups, taps.shape[-1], errors.shape[0])
        padded = geometry.empty_padded(leading, errors.dtype)
        for tap in geometry.taps():
            product = np.ascontiguousarray(taps[tap.row, tap.column].swapaxes(1, 2)) @ columns
            padded[..., *tap.pixels] += product.reshape(*leading, *geometry.positions)
        return np.concatenate([group.swapaxes(0, 1) for group in geometry.cropped(padded)], axis=1)

    return _exact(sums, errors, weights, weights.size // weights.shape[1] // layer.groups)


def weight_gradient(maps: np.ndarray, errors: np.ndarray, layer: Layer, kernel: tuple[int, int]) -> np.ndarray:
    """WG: gradients [K, C / groups, R, S] of weights with ``kernel`` = (R, S), summed over the samples. Raises as `forward`."""
    geometry = windows(layer, maps.shape[2:], kernel)

    def sums(maps, errors):
        padded, columns = geometry.padded(_by_group(maps, layer.groups)), _columns(_by_group(errors, layer.groups))
        gradient = np.empty((layer.groups, columns.shape[1], padded.shape[1], *kernel), maps.dtype)
        for tap in geometry.taps():
            gradient[..., tap.row, tap.column] = columns @ _columns(padded[..., *tap.pixels]).swapaxes(1, 2)
        return gradient.reshape(-1, *gradient.shape[2:])

    return _exact(sums, maps, errors, errors.size // errors.shape[1])


def _exact(sums: Callable, a: np.ndarray, b: np.ndarray, terms: int) -> np.ndarray:
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


def _by_group(maps: np.ndarray, groups: int) -> np.ndarray:
    """[N, channels, height, width] as [groups, channels of a group, N, height, width]."""
    n, channels, height, width = maps.shape
    return maps.reshape(n, groups, channels // groups, height, width).transpose(1, 2, 0, 3, 4)


def _by_tap(weights: np.ndarray, groups: int) -> np.ndarray:
    """[K, C / groups, R, S] as contiguous matrices [R, S, groups, K / groups, C / groups]."""
    grouped = weights.reshape(groups, -1, *weights.shape[1:])
    return np.ascontiguousarray(grouped.transpose(3, 4, 0, 1, 2))


def _columns(grouped: np.ndarray) -> np.ndarray:
    """[groups, channels, N, height, width] as matrices [groups, channels, pixels of all samples]."""
    return np.ascontiguousarray(grouped).reshape(*grouped.shape[:2], -1)


def _to_maps(columns: np.ndarray, n: int, pixels: tuple[int, int]) -> np.ndarray:
    """[groups, channels of a group, pixels of all samples] as maps [N, channels, height, width]."""
    return np.ascontiguousarray(columns.reshape(-1, n, *pixels).swapaxes(0, 1))
