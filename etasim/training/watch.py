"""Where a number that is none came from."""

from math import isfinite
from typing import Any

import torch
from torch import fx

from etasim.training.optimizer import UPDATED
from etasim.training.quantize import QuantizedModel
from etasim.training.quantizer import NotFiniteError


class _Watch(fx.Interpreter):
    """Runs a model and notes the first tensor that is not finite."""

    first: str | None = None

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        if self.first is None and isinstance(result, torch.Tensor) and not torch.isfinite(result).all():
            self.first = node.name
        return result


@torch.no_grad()
def first_not_finite(model: QuantizedModel, images: torch.Tensor) -> str:
    """Name of the first tensor with NaN or infinity: a parameter, or what a layer makes of ``images``; else the loss."""
    for name, parameter in model.body.named_parameters():
        if not torch.isfinite(parameter).all():
            return name
    watch = _Watch(model.body)
    watch.run(images)
    return watch.first or "loss"


def first_gradient(model: QuantizedModel) -> str:
    """Which tensor made an update impossible."""
    gradients = ((name, parameter.grad) for name, parameter in model.body.named_parameters())
    bad = next((name for name, gradient in gradients if gradient is not None and not torch.isfinite(gradient).all()), None)
    return UPDATED if bad is None else f"the gradient of {bad}"


def greatest_before(model: QuantizedModel, tensor: str) -> float | None:
    """The greatest finite magnitude that ``tensor`` had when it was last rounded; None if that is not known."""
    for rounding in model.roundings():
        if rounding.name == tensor and rounding.greatest_before is not None:
            value = float(rounding.greatest_before)
            return value if isfinite(value) else None
    return None


def look_at(model: QuantizedModel, *numbers: torch.Tensor) -> list[float]:
    """``numbers`` (tensors without axes), brought from the device together with the greatest value of each tensor that was rounded since
    the last look. Raises NotFiniteError with the first tensor that is not finite."""
    greatest = model.clock.greatest
    names = list(greatest or ())
    together = [number.detach().to(torch.float64) for number in numbers] + [greatest[name].to(torch.float64) for name in names if greatest]
    found = torch.stack(together).tolist() if together else []
    if greatest is not None:
        greatest.clear()
    for name, value in zip(names, found[len(numbers) :], strict=True):
        if not isfinite(value):
            raise NotFiniteError("" if name == UPDATED else name)
    return list(found[: len(numbers)])
