"""What the networks share."""

import torch
from torch import nn


def add_convolution(
    to: nn.Module,
    name: str,
    channels: tuple[int, int],
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    bias: bool = False,
    relu: bool = True,
) -> None:
    """Give ``to`` the modules ``name`` (a convolution from ``channels[0]`` to ``channels[1]``), ``name_norm`` and, with ``relu``,
    ``name_relu``."""  # fmt: skip
    convolution = nn.Conv2d(*channels, kernel, stride, padding, bias=bias)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    to.add_module(name, convolution)
    to.add_module(f"{name}_norm", nn.BatchNorm2d(channels[1]))
    if relu:
        to.add_module(f"{name}_relu", nn.ReLU())


def run(of: nn.Module, name: str, x: torch.Tensor) -> torch.Tensor:
    """``x`` through the modules ``name``, ``name_norm`` and ``name_relu`` of ``of``, as far as there are."""
    for suffix in ("", "_norm", "_relu"):
        layer = getattr(of, name + suffix, None)
        if layer is not None:
            x = layer(x)
    return x
