"""InceptionV3 for CIFAR-10: Szegedy et al., "Rethinking the inception architecture for computer vision" (2016), at 32 x 32.

The modules are data: lists of steps, each a convolution or a pooling that reads the module's input or an earlier step.
"""

from typing import NamedTuple

import torch
from torch import nn

from etasim.training.layers import Concat
from etasim.training.networks.parts import add_convolution, run


class Part(NamedTuple):
    """``name`` in its module; ``source``: a step, or empty for the module's input; ``channels`` of a convolution, 0 of a pooling; a stride
    of 2 goes without padding."""

    name: str
    source: str
    channels: int
    kernel: int | tuple[int, int] = 1
    stride: int = 1

    @property
    def padding(self) -> int | tuple[int, int]:
        """That keeps the size of the maps at stride 1."""
        if self.stride != 1:
            return 0
        return self.kernel // 2 if isinstance(self.kernel, int) else (self.kernel[0] // 2, self.kernel[1] // 2)


class Mixed(NamedTuple):
    """A module ``name``: its ``steps``, and those that its concatenation ``joins``."""

    name: str
    steps: tuple[Part, ...]
    joins: tuple[str, ...]


_WIDE, _TALL = (1, 7), (7, 1)


def _a(name: str, pool_channels: int, pool_kernel: int) -> Mixed:
    steps = (
        Part("1x1", "", 64), Part("5x5_1", "", 48), Part("5x5_2", "5x5_1", 64, 5),
        Part("3x3_1", "", 64), Part("3x3_2", "3x3_1", 96, 3), Part("3x3_3", "3x3_2", 96, 3),
        Part("pool", "", 0, 3), Part("pool_conv", "pool", pool_channels, pool_kernel),
    )  # fmt: skip
    return Mixed(name, steps, ("1x1", "5x5_2", "3x3_3", "pool_conv"))


def _b(name: str) -> Mixed:
    steps = (
        Part("3x3", "", 384, 3, 2), Part("double_1", "", 64), Part("double_2", "double_1", 96, 3), Part("double_3", "double_2", 96, 3, 2),
        Part("pool", "", 0, 3, 2),
    )  # fmt: skip
    return Mixed(name, steps, ("3x3", "double_3", "pool"))


def _c(name: str, width: int) -> Mixed:
    steps = (
        Part("1x1", "", 192), Part("7x7_1", "", width), Part("7x7_2", "7x7_1", width, _WIDE), Part("7x7_3", "7x7_2", 192, _TALL),
        Part("double_1", "", width), Part("double_2", "double_1", width, _TALL), Part("double_3", "double_2", width, _WIDE),
        Part("double_4", "double_3", width, _TALL), Part("double_5", "double_4", 192, _WIDE),
        Part("pool", "", 0, 3), Part("pool_conv", "pool", 192),
    )  # fmt: skip
    return Mixed(name, steps, ("1x1", "7x7_3", "double_5", "pool_conv"))


def _d(name: str) -> Mixed:
    steps = (
        Part("3x3_1", "", 192), Part("3x3_2", "3x3_1", 320, 3, 2),
        Part("7x7_1", "", 192), Part("7x7_2", "7x7_1", 192, _WIDE), Part("7x7_3", "7x7_2", 192, _TALL), Part("7x7_4", "7x7_3", 192, 3, 2),
        Part("pool", "", 0, 3, 2),
    )  # fmt: skip
    return Mixed(name, steps, ("3x3_2", "7x7_4", "pool"))


def _e(name: str) -> Mixed:
    steps = (
        Part("1x1", "", 320),
        Part("3x3_1", "", 384), Part("3x3_2a", "3x3_1", 384, (1, 3)), Part("3x3_2b", "3x3_1", 384, (3, 1)),
        Part("double_1", "", 448), Part("double_2", "double_1", 384, 3),
        Part("double_3a", "double_2", 384, (1, 3)), Part("double_3b", "double_2", 384, (3, 1)),
        Part("pool", "", 0, 3), Part("pool_conv", "pool", 192),
    )  # fmt: skip
    return Mixed(name, steps, ("1x1", "3x3_2a", "3x3_2b", "double_3a", "double_3b", "pool_conv"))


class InceptionV3(nn.Module):
    """With the full stem at stride 1, or with ``short_stem`` of one convolution; two variants in common use."""

    def __init__(self, classes: int = 10, short_stem: bool = False) -> None:
        super().__init__()
        pool_kernel = 1 if short_stem else 3
        stem = [(192, 3, 1)] if short_stem else [(32, 3, 1), (32, 3, 1), (64, 3, 1), (80, 1, 0), (192, 3, 0)]
        channels = 3
        for number, (width, kernel, padding) in enumerate(stem, 1):
            add_convolution(self, f"stem{number}", (channels, width), kernel, padding=padding)
            channels = width
        self._stem = [f"stem{number}" for number in range(1, len(stem) + 1)]
        self._mixed = [
            *(_a(f"a{i}", width, pool_kernel) for i, width in enumerate((32, 64, 64), 1)), _b("b"),
            *(_c(f"c{i}", width) for i, width in enumerate((128, 160, 160, 192), 1)), _d("d"), _e("e1"), _e("e2"),
        ]  # fmt: skip
        for mixed in self._mixed:
            channels = self._add(mixed, channels)
        self.pool, self.flatten, self.fc = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)

    def _add(self, mixed: Mixed, in_channels: int) -> int:
        """Make the layers of ``mixed``; returns the channels of its output."""
        channels = {"": in_channels}
        for step in mixed.steps:
            name, before = f"{mixed.name}_{step.name}", channels[step.source]
            channels[step.name] = step.channels or before
            if step.channels:
                add_convolution(self, name, (before, step.channels), step.kernel, step.stride, step.padding)
            else:
                pool = nn.AvgPool2d if step.stride == 1 else nn.MaxPool2d
                self.add_module(name, pool(step.kernel, step.stride, step.padding))
        self.add_module(mixed.name, Concat())
        return sum(channels[name] for name in mixed.joins)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self._stem:
            x = run(self, name, x)
        for mixed in self._mixed:
            maps = {"": x}
            for step in mixed.steps:
                maps[step.name] = run(self, f"{mixed.name}_{step.name}", maps[step.source])
            x = getattr(self, mixed.name)(*(maps[name] for name in mixed.joins))
        return self.fc(self.flatten(self.pool(x)))
