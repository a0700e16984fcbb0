"""SGD with momentum on master weights and momentum of few bits, as the unified core updates them."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from etasim.numerics.format import data_format
from etasim.training.quantizer import exponent_of, represent, represent_uniform
from etasim.training.scheme import TensorClass, TrainingScheme


class SGD(torch.optim.Optimizer):
    """v' = store(momentum * v + g + weight_decay * w), w' = store(w - lr * v'), where store rounds to nearest in the scheme's ``momentum``
    and ``master_weight`` formats, with each tensor's own exponent. Weights are rounded once at the beginning.

    ``parameters`` as of any optimizer; `parameter_groups` keeps the decay from scales, offsets and biases, as the machine does.
    """

    def __init__(
        self, parameters: Iterable[Any], scheme: TrainingScheme, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._weights, self._momentum = scheme.master_weight, scheme.momentum
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.copy_(_stored(parameter, self._weights))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all parameters that have a gradient; returns the loss of ``closure`` if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: nn.Parameter, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        state = self.state[parameter]
        before = state.get("momentum")
        velocity = gradient if before is None else torch.add(gradient, before, alpha=group["momentum"])
        state["momentum"] = _stored(velocity, self._momentum).clone()
        parameter.copy_(_stored(parameter.sub(state["momentum"], alpha=group["lr"]), self._weights))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for SGD: weights of convolutions and linear layers decay, all else does not."""
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = ({"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def _stored(values: torch.Tensor, tensors: TensorClass) -> torch.Tensor:
    found = data_format(tensors.format)
    if found.code is not None:
        return represent(values, found.code, exponent_of(values) or 0)
    return represent_uniform(values, found.uniform_bits) if found.uniform_bits else values
