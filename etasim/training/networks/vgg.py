"""VGG16 for CIFAR-10: 13 convolutions with normalization, five poolings, one linear layer."""

import torch
from torch import nn

from etasim.training.networks.parts import add_convolution, run

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Vgg16(nn.Module):
    """Simonyan and Zisserman, "Very deep convolutional networks" (2015), configuration D, with normalization and one linear layer."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self._steps: list[str] = []
        before = 3
        for stage, widths in enumerate(STAGES, 1):
            for layer, width in enumerate(widths, 1):
                add_convolution(self, f"conv{stage}_{layer}", (before, width), 3, padding=1, bias=True)
                self._steps.append(f"conv{stage}_{layer}")
                before = width
            self.add_module(f"pool{stage}", nn.MaxPool2d(2))
            self._steps.append(f"pool{stage}")
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(before, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in self._steps:
            x = run(self, step, x)
        return self.fc(self.flatten(x))
