"""Variations of images, a batch at a time; all randomness comes from a generator."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch.nn import functional

from etasim.workload.layer import Shape

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


def crops(n: int, shape: Shape, generator: torch.Generator, part: slice) -> list[torch.Tensor]:
    """For each of ``n`` images of ``shape`` that are in ``part``: whether it is mirrored, and where it is cut from its border, row and
    column."""
    mirrored = torch.rand(n, generator=generator) < 0.5
    return [mirrored[part], *(torch.randint(2 * (side // 8) + 1, (n,), generator=generator)[part] for side in shape[1:])]


def mirror_crop(images: torch.Tensor, mirrored: torch.Tensor, tops: torch.Tensor, lefts: torch.Tensor) -> torch.Tensor:
    """``images`` [N, C, H, W] mirrored, and cut from an eighth of padding, as `crops` says."""
    n, channels, height, width = images.shape
    pad = (height // 8, width // 8)
    padded = functional.pad(images, (pad[1], pad[1], pad[0], pad[0]))
    rows, columns = tops[:, None] + torch.arange(height), lefts[:, None] + torch.arange(width)
    columns = torch.where(mirrored[:, None], padded.shape[3] - 1 - columns, columns)
    index = torch.arange(n)[:, None, None, None], torch.arange(channels)[:, None, None], rows[:, None, :, None], columns[:, None, None, :]
    return padded[index]


def random_boxes(n: int, generator: torch.Generator) -> list[Callable[[tuple[int, int]], Box]]:
    """For each of ``n`` images, what finds a random part of one of a size (width, height): share of its area and ratio of its sides are
    drawn, mirrored at random. One that fits in none of ten tries is cut in the middle."""
    draws = torch.rand(n, _TRIES, 4, generator=generator, dtype=torch.float64).tolist()
    mirrored = (torch.rand(n, generator=generator) < 0.5).tolist()
    return [partial(_random_box, tries, mirror) for tries, mirror in zip(draws, mirrored, strict=True)]


def _random_box(tries: list[list[float]], mirrored: bool, size: tuple[int, int]) -> Box:
    width, height = size
    widest = math.log(NARROWEST)
    for share, shape, x, y in tries:
        area = width * height * (LEAST_SHARE + (1 - LEAST_SHARE) * share)
        ratio = math.exp(widest - 2 * widest * shape)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
            return Box(left, top, left + w, top + h, mirrored)
    return middle_box(min(max(width / height, NARROWEST), 1 / NARROWEST), 1.0, size)._replace(mirrored=mirrored)


def middle_box(ratio: float, part: float, size: tuple[int, int]) -> Box:
    """The greatest part of an image of ``size`` (width, height) with ``ratio`` of width to height, in the middle; ``part`` of its sides."""
    width, height = size
    w = min(width, height * ratio) * part
    h = w / ratio
    return Box((width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2)
