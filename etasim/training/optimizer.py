"""SGD with momentum on master weights and momentum of few bits, as the unified core updates them; other optimizers behind such weights."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from etasim.numerics.format import data_format
from etasim.training.blocks import represent_blocks
from etasim.training.boundary import Clock
from etasim.training.quantizer import Greatest, exponent_of_greatest, greatest_of, greatest_there, represent, represent_uniform
from etasim.training.scheme import TensorClass, TrainingScheme


class SGD(torch.optim.Optimizer):
    """v' = store(momentum * v + g + weight_decay * w), w' = store(w - lr * v'), where store rounds to nearest in the scheme's ``momentum``
    and ``master_weight`` formats, with each tensor's own exponent. Weights are rounded once at the beginning. With ``nesterov`` the step is
    lr * (g + weight_decay * w + momentum * v').

    ``parameters`` as of any optimizer; `parameter_groups` keeps the decay from scales, offsets and biases, as the machine does. ``clock``:
    of the model, for a training that does not wait for the device.
    """

    def __init__(
        self, parameters: Iterable[Any], scheme: TrainingScheme, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0,
        nesterov: bool = False, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov})
        self._momentum = scheme.momentum
        self._store = _Store(scheme.master_weight, clock)
        self._store.all_of(self)

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
        state["momentum"] = self._store(velocity, self._momentum).clone()
        step = torch.add(gradient, state["momentum"], alpha=group["momentum"]) if group["nesterov"] else state["momentum"]
        parameter.copy_(self._store(parameter.sub(step, alpha=group["lr"])))


class _Store:
    """Rounds to nearest in the format of ``weights``, or another one, by the tensor's own exponent."""

    def __init__(self, weights: TensorClass, clock: Clock | None) -> None:
        self._weights, self._clock = weights, clock

    def __call__(self, values: torch.Tensor, tensors: TensorClass | None = None) -> torch.Tensor:
        chosen = tensors or self._weights
        found = data_format(chosen.format)
        if not found.rounds:
            return values
        greatest = self._greatest(values)
        if found.block is not None:
            return represent_blocks(values, found.block, chosen.axis, torch.as_tensor(greatest, dtype=torch.float32))
        if found.code is not None:
            return represent(values, found.code, exponent_of_greatest(greatest))
        assert found.uniform_bits is not None, "it rounds"
        return represent_uniform(values, found.uniform_bits, greatest=greatest)

    def _greatest(self, values: torch.Tensor) -> Greatest:
        noted = None if self._clock is None else self._clock.greatest
        if noted is None:
            return greatest_of(values)
        greatest = greatest_there(values)
        noted[UPDATED] = torch.maximum(noted[UPDATED], greatest) if UPDATED in noted else greatest
        return greatest

    @torch.no_grad()
    def all_of(self, optimizer: torch.optim.Optimizer) -> None:
        """Round all parameters of ``optimizer``."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.copy_(self(parameter))


UPDATED = "an updated weight"
"""How the greatest of all weights and momenta after an update is called."""


def behind_master_weights(optimizer: torch.optim.Optimizer, scheme: TrainingScheme, clock: Clock | None = None) -> torch.optim.Optimizer:
    """``optimizer``, any of PyTorch's, with weights that are rounded to the scheme's ``master_weight`` now and after each of its steps.
    What it remembers itself stays as PyTorch has it."""
    store = _Store(scheme.master_weight, clock)
    store.all_of(optimizer)
    optimizer.register_step_post_hook(lambda of, arguments, options: store.all_of(of))
    return optimizer


def parameter_groups(model: nn.Module, weight_decay: float, no_decay: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Parameter groups for SGD: weights of convolutions and linear layers decay, all else does not, nor do those whose name fits a pattern
    of ``no_decay``. Raises ValueError that names a pattern which fits none."""
    named = [(name.removeprefix("body."), parameter) for name, parameter in model.named_parameters()]
    for pattern in no_decay:
        if not any(fnmatchcase(name, pattern) for name, _ in named):
            raise ValueError(f"{pattern!r} fits no parameter; some are {', '.join(name for name, _ in named[:3])}")
    decays = [p.dim() > 1 and not any(fnmatchcase(name, pattern) for pattern in no_decay) for name, p in named]
    weights = [p for (_, p), does in zip(named, decays, strict=True) if does]
    others = [p for (_, p), does in zip(named, decays, strict=True) if not does]
    groups = ({"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]
