"""Residual networks: He et al., "Deep residual learning for image recognition" (2015)."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from etasim.training.layers import Add, Shortcut
from etasim.training.networks.parts import add_convolution, run


class Block(nn.Module):
    """``convolutions``: (channels, kernel, stride, padding) of each; a shortcut where the shape changes: a 1 x 1 convolution with
    ``projection``, else every stride-th pixel with zeros for new channels."""

    def __init__(self, in_channels: int, convolutions: Sequence[tuple[int, int, int, int]], stride: int, projection: bool) -> None:
        super().__init__()
        before, self._n_convolutions = in_channels, len(convolutions)
        for i, (channels, kernel, own_stride, padding) in enumerate(convolutions, 1):
            add_convolution(self, f"conv{i}", (before, channels), kernel, own_stride, padding, relu=i < len(convolutions))
            before = channels
        self.shortcut = None
        if stride != 1 or before != in_channels:
            if projection:
                del self.shortcut
                add_convolution(self, "shortcut", (in_channels, before), 1, stride, relu=False)
            else:
                self.shortcut = Shortcut(before, stride)
        self.add, self.relu, self.out_channels = Add(), nn.ReLU(), before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for i in range(1, self._n_convolutions + 1):
            y = run(self, f"conv{i}", y)
        return self.relu(self.add(y, x if self.shortcut is None else run(self, "shortcut", x)))


class BasicBlock(Block):
    """Two 3 x 3 convolutions."""

    def __init__(self, in_channels: int, width: int, stride: int, projection: bool = True) -> None:
        super().__init__(in_channels, [(width, 3, stride, 1), (width, 3, 1, 1)], stride, projection)


class BottleneckBlock(Block):
    """1 x 1, 3 x 3 with the stride (v1.5), 1 x 1 to four times the channels."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__(in_channels, [(width, 1, 1, 0), (width, 3, stride, 1), (4 * width, 1, 1, 0)], stride, True)


class ResNet(nn.Module):
    """A stem (channels, kernel, stride), stages of blocks ``block{stage}_{number}``, pooling over the whole map, one linear layer."""

    def __init__(self, stem: tuple[int, int, int], pools: bool, stages: Sequence[Sequence[Block]], classes: int) -> None:
        super().__init__()
        width, kernel, stride = stem
        add_convolution(self, "conv1", (3, width), kernel, stride, kernel // 2)
        self.pool1 = nn.MaxPool2d(3, 2, 1) if pools else None
        self._blocks = []
        for stage, blocks in enumerate(stages, 1):
            for number, block in enumerate(blocks, 1):
                self._blocks.append(f"block{stage}_{number}")
                self.add_module(self._blocks[-1], block)
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.fc = nn.Linear(stages[-1][-1].out_channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = run(self, "conv1", x)
        if self.pool1 is not None:
            x = self.pool1(x)
        for name in self._blocks:
            x = getattr(self, name)(x)
        return self.fc(self.flatten(self.pool(x)))


class CifarResNet(ResNet):
    """ResNet20 with three ``blocks`` a stage and ``width`` channels in the first; shortcuts of option B with ``projection``, else A."""

    def __init__(self, classes: int = 10, projection: bool = True, blocks: int = 3, width: int = 16, stem_stride: int = 1) -> None:
        stages, before = [], width
        for channels, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
            stage = []
            for number in range(blocks):
                stage.append(BasicBlock(before, channels, stride if number == 0 else 1, projection))
                before = channels
            stages.append(stage)
        super().__init__((width, 3, stem_stride), False, stages, classes)


class ImageNetResNet(ResNet):
    """ResNet18 and ResNet50 by ``block`` and the number of ``blocks`` in each stage."""

    def __init__(
        self, classes: int = 1000, block: Callable[[int, int, int], Block] = BasicBlock, blocks: Sequence[int] = (2, 2, 2, 2)
    ) -> None:
        stages: list[list[Block]] = []
        before = 64
        for index, n_blocks in enumerate(blocks):
            stage = []
            for number in range(n_blocks):
                stage.append(block(before, 64 * 2**index, 2 if index and number == 0 else 1))
                before = stage[-1].out_channels
            stages.append(stage)
        super().__init__((64, 7, 2), True, stages, classes)
