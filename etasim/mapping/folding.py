"""The first layer: how the host lays out the network's input.

A network's input has few channels (3 of an image), which would leave most lanes of a PE idle. The host can store, as channels, what a
kernel row or the whole kernel meets at an output position: the layer becomes a convolution with more channels and a smaller kernel, and
its products and their sums stay what they were. A linear layer meets all of its maps at once. Nothing flows back into the input, so nothing
ever has to be unfolded.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from etasim.schedule.tiling import ceil_div
from etasim.workload.layer import Layer, NetworkError, Shape


def as_convolution(layer: Layer, shape: Shape) -> Layer:
    """A linear layer over maps of ``shape`` as the convolution with a kernel of their size; a convolution as it is."""
    if layer.kind == "conv":
        return layer
    return replace(
        layer, kind="conv", in_channels=shape.channels, in_height=shape.height, in_width=shape.width, kernel_height=shape.height,
        kernel_width=shape.width,
    )  # fmt: skip


@dataclass(frozen=True)
class Fold:
    """How the input of ``head`` is laid out, which is the convolution ``layer``: ``columns`` of the kernel as channels, or its whole
    ``window``."""

    head: Layer
    layer: Layer
    kind: str

    @cached_property
    def folded(self) -> Layer:
        """The convolution that the array computes."""
        layer = self.layer
        columns = replace(
            layer, in_channels=layer.kernel_width * layer.in_channels, in_width=layer.out_width,
            kernel_width=1, stride_width=1, pad_width=0, pad_end_width=0, dilation_width=1,
        )  # fmt: skip
        if self.kind == "columns":
            return columns
        return replace(
            columns, in_channels=layer.kernel_height * columns.in_channels, in_height=layer.out_height,
            kernel_height=1, stride_height=1, pad_height=0, pad_end_height=0, dilation_height=1,
        )  # fmt: skip

    def inputs(self, maps: np.ndarray) -> np.ndarray:
        """Maps [N, C, H, W] as the folded layer reads them, zero where the kernel leaves the map."""
        layer = self.layer
        pads = [(layer.pad_height, layer.pad_end_height), (layer.pad_width, layer.pad_end_width)]
        padded = np.pad(maps, [(0, 0), (0, 0), pads[0] if self.kind == "window" else (0, 0), pads[1]])
        columns = [
            padded[..., t * layer.dilation_width :][..., :: layer.stride_width][..., : layer.out_width] for t in range(layer.kernel_width)
        ]
        joined = np.concatenate(columns, axis=1)
        if self.kind == "columns":
            return joined
        rows = [
            joined[:, :, r * layer.dilation_height :][:, :, :: layer.stride_height][:, :, : layer.out_height]
            for r in range(layer.kernel_height)
        ]
        return np.concatenate(rows, axis=1)

    def weights(self, weights: np.ndarray) -> np.ndarray:
        """Weights [K, C, R, S], or [K, C R S], of the layer as those of the folded one."""
        layer, folded = self.layer, self.folded
        order = (0, 3, 1, 2) if self.kind == "columns" else (0, 2, 3, 1)
        own = weights.reshape(layer.out_channels, layer.in_channels, layer.kernel_height, layer.kernel_width)
        return own.transpose(order).reshape(layer.out_channels, folded.in_channels, folded.kernel_height, folded.kernel_width)

    def unfolded(self, weights: np.ndarray) -> np.ndarray:
        """Inverse of ``weights``."""
        layer = self.layer
        channels, rows, columns = layer.in_channels, layer.kernel_height, layer.kernel_width
        if self.kind == "columns":
            return weights.reshape(-1, columns, channels, rows).transpose(0, 2, 3, 1)
        return weights.reshape(-1, rows, columns, channels).transpose(0, 3, 1, 2)


def _steps(layer: Layer, lanes: int) -> int:
    """Vectors of ``lanes`` channels that a result needs."""
    return ceil_div(layer.in_channels, lanes) * layer.kernel_height * layer.kernel_width


def fold_of(kind: str, heads: list[Layer], shape: Shape, lanes: int) -> Fold | None:
    """The fold of the input, maps of ``shape``, that ``heads`` read: none unless it is one layer without groups that needs fewer steps
    then, and has no more channels than a layer may have."""
    if kind in ("channels", "packed") or len(heads) != 1 or heads[0].kind not in ("conv", "linear") or heads[0].groups > 1:
        return None
    head = heads[0]
    fold = Fold(head, as_convolution(head, shape), kind if head.kind == "conv" else "window")
    try:
        folded = fold.folded
    except NetworkError:
        return None
    return fold if _steps(folded, lanes) < _steps(fold.layer, lanes) else None
