"""Variations of images, a batch at a time; all randomness comes from a generator."""

import math
from typing import NamedTuple

import torch
from torch.nn import functional

LEAST_SHARE, NARROWEST = 0.08, 3 / 4
"""Of a random crop: its least share of the image, its least width over height; Szegedy et al., "Going deeper with convolutions" (2015)."""
_TRIES = 10
TEST_SIDE = 224 / 256
"""Part of the shorter side that a test sees: 256 pixels, of which the middle 224 are taken."""


class Box(NamedTuple):
    """A part of an image: ``left``, ``top``, ``right``, ``bottom`` in pixels, which may be fractions, and whether it is ``mirrored``."""

    left: float
    top: float
    right: float
    bottom: float
    mirrored: bool = False


def mirror_crop(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """``images`` [N, C, H, W] mirrored at random and cut at random from an eighth of padding."""
    n, channels, height, width = images.shape
    mirrored = torch.rand(n, generator=generator) < 0.5
    pad = (height // 8, width // 8)
    padded = functional.pad(images, (pad[1], pad[1], pad[0], pad[0]))
    tops, lefts = (torch.randint(2 * p + 1, (n,), generator=generator) for p in pad)
    rows, columns = tops[:, None] + torch.arange(height), lefts[:, None] + torch.arange(width)
    columns = torch.where(mirrored[:, None], padded.shape[3] - 1 - columns, columns)
    index = torch.arange(n)[:, None, None, None], torch.arange(channels)[:, None, None], rows[:, None, :, None], columns[:, None, None, :]
    return padded[index]


def random_boxes(sizes: list[tuple[int, int]], generator: torch.Generator) -> list[Box]:
    """A random part of each image of ``sizes`` (width, height): share of its area and ratio of its sides are drawn, mirrored at random.
    One that fits in none of ten tries is cut in the middle."""
    draws = torch.rand(len(sizes), _TRIES, 4, generator=generator, dtype=torch.float64).tolist()
    mirrored = (torch.rand(len(sizes), generator=generator) < 0.5).tolist()
    return [_random_box(size, tries)._replace(mirrored=mirror) for size, tries, mirror in zip(sizes, draws, mirrored, strict=True)]


def _random_box(size: tuple[int, int], tries: list[list[float]]) -> Box:
    width, height = size
    widest = math.log(NARROWEST)
    for share, shape, x, y in tries:
        area = width * height * (LEAST_SHARE + (1 - LEAST_SHARE) * share)
        ratio = math.exp(widest - 2 * widest * shape)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
            return Box(left, top, left + w, top + h)
    return middle_box(size, min(max(width / height, NARROWEST), 1 / NARROWEST))


def middle_box(size: tuple[int, int], ratio: float, part: float = 1.0) -> Box:
    """The greatest part of an image of ``size`` (width, height) with ``ratio`` of width to height, in the middle; ``part`` of its sides."""
    width, height = size
    w = min(width, height * ratio) * part
    h = w / ratio
    return Box((width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2)
