"""Tensors of a model in terms of the maps that layers of a trace write: what a reshape or a permutation does to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from etasim.workload.layer import Shape

SAMPLES, CHANNELS, ROWS, COLUMNS = AXES = range(4)
PIXELS = {ROWS, COLUMNS}

ZEROS = "zeros"
"""In place of a layer: a tensor of zeros."""

Sides = tuple[int, int]
Border = tuple[Sides, Sides]
NO_BORDER: Border = ((0, 0), (0, 0))


class ModelOperation(NamedTuple):
    """An operation of a model: ``name`` of its layer in a trace; ``what``: its kind in the model's words; ``file``, ``line`` and ``key``:
    a place that a user can open; ``shape``: of its result."""

    name: str
    what: str
    file: str
    line: int | None
    key: str
    shape: tuple[int, ...]


class Taken(NamedTuple):
    """Every ``stride``-th pixel of maps, and ``before`` and ``after`` them channels of zeros, as ``operation`` last made them."""

    stride: tuple[int, int]
    before: int
    after: int
    operation: ModelOperation


@dataclass(frozen=True)
class ModelTensor:
    """A tensor: ``maps`` that ``layer`` writes, their axes in ``order`` (None: not known), reshaped row by row to ``shape``.

    ``taken``: the maps are those of a shortcut that is made when something else reads them. ``border``: zeros around the maps, above and
    below, left and right, which ``shape`` includes. ``is_input``: nothing but the network's input is in it, so the host may prepare it.
    ``moved``: what last moved its elements. ``is_loss``: it has gone through the softmax that belongs to the loss.
    """

    layer: str
    maps: Shape
    shape: tuple[int, ...]
    order: Sequence[int] | None = AXES
    taken: Taken | None = None
    border: Border = NO_BORDER
    is_input: bool = False
    moved: ModelOperation | None = None
    is_loss: bool = False

    def sizes(self, samples: int) -> tuple[int, ...]:
        """Size of each axis, border included."""
        (above, below), (left, right) = self.border
        return (samples, self.maps.channels, self.maps.height + above + below, self.maps.width + left + right)

    def is_maps(self, samples: int) -> bool:
        """Whether the tensor is [samples, channels, rows, columns]."""
        sizes = self.sizes(samples)
        return self.order is not None and self.shape == sizes and _is_sorted(self.order, sizes)

    def is_features(self, samples: int) -> bool:
        """Whether the tensor is [samples, all elements of a sample], in any order."""
        sizes = self.sizes(samples)
        starts_with_samples = self.order is not None and (samples == 1 or _large(self.order, sizes)[0] == SAMPLES)
        return starts_with_samples and self.shape == (samples, prod(sizes[1:]))

    def known_groups(self, samples: int) -> list[tuple[int, ...]]:
        """`groups` of a tensor whose dimensions are made of whole axes, as those of a view of maps are."""
        groups = self.groups(samples)
        assert groups is not None, "a view of maps is made of whole axes"
        return groups

    def groups(self, samples: int) -> list[tuple[int, ...]] | None:
        """Axes (those larger than 1) that each dimension is made of; None if a dimension is made of parts of axes."""
        sizes = self.sizes(samples)
        if self.order is None or prod(sizes) != prod(self.shape):
            return None
        axes, found = _large(self.order, sizes), []
        for size in self.shape:
            group: list[int] = []
            while prod(sizes[axis] for axis in group) < size and axes:
                group.append(axes.pop(0))
            if prod(sizes[axis] for axis in group) != size:
                return None
            found.append(tuple(group))
        return found


def _large(order: Sequence[int], sizes: tuple[int, ...]) -> list[int]:
    return [axis for axis in order if sizes[axis] > 1]


def _is_sorted(order: Sequence[int], sizes: tuple[int, ...]) -> bool:
    large = _large(order, sizes)
    return large == sorted(large)


def permuted(value: ModelTensor, samples: int, dimensions: tuple[int, ...]) -> tuple[int, ...] | None:
    """Order of the axes when the dimensions of ``value`` stand in another order; None if that is not an order of whole axes."""
    groups = value.groups(samples)
    if groups is None:
        return None
    large = [axis for dimension in dimensions for axis in groups[dimension]]
    return (*large, *(axis for axis in AXES if axis not in large))


def text(shape: tuple[int, ...], samples: int) -> str:
    """A shape for a message, the number of samples as N."""
    if samples == 1:
        return str(list(shape))
    return "[" + ", ".join("N" if s == samples else f"{s // samples} N" if s and s % samples == 0 else str(s) for s in shape) + "]"
