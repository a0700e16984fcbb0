"""Images in memory, a byte a value, and what a source of images is to those who train."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import functional

from etasim.config.errors import InputError, Problem
from etasim.training.data.augmentation import crops, mirror_crop
from etasim.workload.layer import Shape

TRAIN, TEST = "train", "test"
WIDEST_BORDER = 8
"""An image may be smaller than what the network reads by two parts of this many: 28 pixels of 32."""

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images [N, C, H, W], float32, and their classes [N], int64."""


class Draw(NamedTuple):
    """Where random numbers for a whole batch come from, and which part of its images is made."""

    generator: torch.Generator
    part: slice = slice(None)


class Images(Protocol):
    """``classes``, and by split (``train``, ``test``) the number of images and batches of them.

    ``augmentations``: that the source can do, the default first.
    """

    @property
    def classes(self) -> int: ...

    @property
    def augmentations(self) -> tuple[str, ...]: ...

    def count(self, split: str) -> int: ...

    def batch(self, split: str, indices: np.ndarray, augment: str, draw: Draw | None = None) -> Batch:
        """The images ``indices`` under ``augment``, or the part of them that ``draw`` says; it is None for a test, which is not varied."""
        ...


class Split(NamedTuple):
    """``pixels`` [N, C, H, W], uint8 (or float32: as the network reads them), and ``labels`` [N], int64."""

    pixels: np.ndarray
    labels: np.ndarray


class ArrayImages(NamedTuple):
    """Images in memory: ``splits`` by name, ``classes``, the ``shape`` that the network reads, and by channel what normalises bytes.

    A single channel becomes all of them; smaller images are put into the middle of a border of zeros.
    """

    splits: dict[str, Split]
    classes: int
    shape: Shape
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    augmentations: tuple[str, ...] = ("none", "mirror-crop")

    def count(self, split: str) -> int:
        """Images of a split."""
        return len(self.splits[split].labels)

    def batch(self, split: str, indices: np.ndarray, augment: str, draw: Draw | None = None) -> Batch:
        """The images ``indices``, normalised; see `Images`."""
        found, chosen = self.splits[split], indices[draw.part] if draw else indices
        images = self._normalised(torch.from_numpy(found.pixels[chosen]))
        if draw and augment == "mirror-crop":
            images = mirror_crop(images, *crops(len(indices), self.shape, draw.generator, draw.part))
        return images, torch.from_numpy(found.labels[chosen])

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.dtype == torch.float32:
            return pixels
        height, width = self.shape.height - pixels.shape[2], self.shape.width - pixels.shape[3]
        if height or width:
            pixels = functional.pad(pixels, (width // 2, width - width // 2, height // 2, height - height // 2))
        mean, deviation = (torch.tensor(values).view(-1, 1, 1) * 255 for values in (self.mean, self.deviation))
        images = (pixels.to(torch.float32) - mean) / deviation
        return images.expand(-1, self.shape.channels, -1, -1).contiguous()


def shape_problem(found: Shape, shape: Shape) -> str | None:
    """Why images ``found`` are not those of a network that reads ``shape``, if they are not."""
    grey_or_same = found.channels in (1, shape.channels)
    borders = [(wanted - side, 2 * (wanted // WIDEST_BORDER)) for side, wanted in zip(found[1:], shape[1:], strict=True)]
    if grey_or_same and all(0 <= border <= most for border, most in borders):
        return None
    least = Shape(shape.channels, shape.height - borders[0][1], shape.width - borders[1][1])
    return f"holds images of {found}, the network reads {shape} (images of at least {least} get a border, grey becomes colour)"


def measured(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of ``pixels`` [N, C, H, W], uint8, as shares of 255: from exact sums, so that they are
    the same wherever they are computed. The deviation of a constant channel counts as 1."""
    means, deviations = [], []
    for channel in range(pixels.shape[1]):
        counts = np.bincount(pixels[:, channel].reshape(-1), minlength=256).astype(object)
        n, total = int(counts.sum()), int((counts * np.arange(256)).sum())
        squares = int((counts * np.arange(256) ** 2).sum())
        variance = (n * squares - total**2) / n**2
        means.append(total / n / 255)
        deviations.append(variance**0.5 / 255 or 1.0)
    return tuple(means), tuple(deviations)


def label_problem(labels: np.ndarray, classes: int | None = None) -> str | None:
    """Why ``labels`` are not those of ``classes``; without a number, of classes that all have images. None if they are."""
    if not labels.size:
        return "holds no images"
    if classes is None:
        present = np.zeros(int(max(labels.max(), 0)) + 2 if labels.max() < 2**20 else 1, bool)
        present[labels[(labels >= 0) & (labels < len(present))]] = True
        classes = int(np.argmin(present))
    wrong = (labels < 0) | (labels >= max(classes, 1))
    if not wrong.any():
        return None
    at = int(np.flatnonzero(wrong)[0])
    return f"the label of image {at} is {int(labels[at])}, 0 ... {max(classes, 1) - 1} are expected"


def refuse(problems: Iterable[Problem]) -> None:
    """Raise InputError if there are ``problems``."""
    problems = list(problems)
    if problems:
        raise InputError(problems)


def unreadable(error: Exception) -> str:
    """What a message says of a file that ``error`` came from: the system's words or our own, never what lies in it."""
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
