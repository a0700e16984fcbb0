"""Where the windows of a convolution or pooling layer lie in its input maps."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etasim.workload.layer import Layer


class KernelTap(NamedTuple):
    """One kernel position: its number in row order, and for each window the padded pixel that it meets."""

    number: int
    row: int
    column: int
    pixels: tuple[slice, slice]


class Windows(NamedTuple):
    """Windows of a kernel on maps of one size; all pairs are (height, width), and those of ``padding`` (before, after)."""

    maps: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]

    @property
    def positions(self) -> tuple[int, int]:
        """Rows and columns of windows (P, Q)."""
        height, width = ((m + sum(p) - d * (k - 1) - 1) // s + 1 for m, k, s, p, d in zip(*self, strict=True))
        return height, width

    def taps(self) -> Iterator[KernelTap]:
        """Kernel positions, row after row; index padded maps [..., height, width] with ``(..., *tap.pixels)``."""
        rows, columns = ([_meets(self, axis, i) for i in range(self.kernel[axis])] for axis in (0, 1))
        for r, met_rows in enumerate(rows):
            for t, met_columns in enumerate(columns):
                yield KernelTap(r * self.kernel[1] + t, r, t, (met_rows, met_columns))

    def padded(self, maps: np.ndarray, fill: float = 0) -> np.ndarray:
        """A copy of ``maps`` [..., height, width] with a border of ``fill``."""
        before = [(0, 0)] * (maps.ndim - 2)
        return np.pad(maps, [*before, *self.padding], constant_values=fill)

    def cropped(self, padded: np.ndarray) -> np.ndarray:
        """``padded`` maps without their border."""
        ((top, _), (left, _)), (height, width) = self.padding, self.maps
        return padded[..., top : top + height, left : left + width]

    def empty_padded(self, leading: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
        """Zeros [*leading, padded height, padded width]."""
        return np.zeros((*leading, *(m + sum(p) for m, p in zip(self.maps, self.padding, strict=True))), dtype)


def windows(layer: Layer, maps: tuple[int, ...], kernel: tuple[int, ...] | None = None) -> Windows:
    """Windows of ``layer`` on ``maps``. A linear layer reads whole maps: ``kernel`` is then given by its weights."""
    return Windows(
        (maps[0], maps[1]),
        (layer.kernel_height, layer.kernel_width) if kernel is None else (kernel[0], kernel[1]),
        (layer.stride_height, layer.stride_width),
        ((layer.pad_height, layer.pad_end_height), (layer.pad_width, layer.pad_end_width)),
        (layer.dilation_height, layer.dilation_width),
    )


def _meets(geometry: Windows, axis: int, kernel_position: int) -> slice:
    """Padded rows (or columns) that a kernel position meets in each of the windows."""
    first = kernel_position * geometry.dilation[axis]
    stride = geometry.stride[axis]
    return slice(first, first + stride * (geometry.positions[axis] - 1) + 1, stride)
