"""Pooling and shortcuts, forward and backward, on integers or floats [N, C, H, W]; of sums, so that units stay with the caller."""

import numpy as np

from etasim.numerics.reference.windows import windows
from etasim.workload.layer import Layer


def greatest(maps: np.ndarray, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Maxpool: the greatest value of each window's pixels inside the map, and its kernel position (row order); the first of equals."""
    geometry = windows(layer, maps.shape[2:])
    least = np.iinfo(maps.dtype).min if np.issubdtype(maps.dtype, np.integer) else -np.inf
    padded = geometry.padded(maps, least)
    best = np.full((*maps.shape[:2], *geometry.positions), least, maps.dtype)
    position = np.zeros(best.shape, np.int64)
    for tap in geometry.taps():
        met = padded[..., *tap.pixels]
        position[met > best] = tap.number
        best = np.maximum(best, met)
    return best, position


def spread_to_greatest(errors: np.ndarray, position: np.ndarray, layer: Layer, maps: tuple[int, int]) -> np.ndarray:
    """Gradient of maxpool at its input of ``maps`` = (H, W): at each pixel the sum of the windows that chose it."""
    geometry = windows(layer, maps)
    padded = geometry.empty_padded(errors.shape[:2], errors.dtype)
    for tap in geometry.taps():
        padded[..., *tap.pixels] += np.where(position == tap.number, errors, 0)
    return geometry.cropped(padded)


def window_sums(maps: np.ndarray, layer: Layer) -> np.ndarray:
    """Avgpool before the division: sums of the windows; padding counts as zero."""
    geometry = windows(layer, maps.shape[2:])
    padded = geometry.padded(maps)
    first, *others = (padded[..., *tap.pixels] for tap in geometry.taps())
    return sum(others, first)


def spread_to_windows(errors: np.ndarray, layer: Layer, maps: tuple[int, int]) -> np.ndarray:
    """Gradient of `window_sums` at its input of ``maps`` = (H, W): at each pixel the sum of the windows that hold it."""
    geometry = windows(layer, maps)
    padded = geometry.empty_padded(errors.shape[:2], errors.dtype)
    for tap in geometry.taps():
        padded[..., *tap.pixels] += errors
    return geometry.cropped(padded)


def shortcut(maps: np.ndarray, layer: Layer) -> np.ndarray:
    """Every stride-th pixel; the channels that the input lacks are 0."""
    taken = maps[:, :, :: layer.stride_height, :: layer.stride_width]
    return np.pad(taken, [(0, 0), (0, layer.out_channels - maps.shape[1]), (0, 0), (0, 0)])


def shortcut_gradient(errors: np.ndarray, layer: Layer, maps: tuple[int, int]) -> np.ndarray:
    """Gradient of `shortcut` at its input of ``maps`` = (H, W): errors at every stride-th pixel, 0 elsewhere."""
    gradient = np.zeros((errors.shape[0], layer.in_channels, *maps), errors.dtype)
    gradient[:, :, :: layer.stride_height, :: layer.stride_width] = errors[:, : layer.in_channels]
    return gradient
