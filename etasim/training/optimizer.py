"""SGD with momentum on master weights and momentum of few bits, as the unified core updates them; other optimizers behind such weights."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

import torch
from torch import nn

from etasim.numerics.format import data_format
from etasim.training.blocks import represent_blocks
from etasim.training.boundary import Clock
from etasim.training.quantizer import (
    Greatest,
    exponent_of_greatest,
    greatest_of,
    greatest_there,
    power_of_two,
    represent,
    represent_uniform,
)
from etasim.training.scheme import TensorClass, TrainingScheme


class SGD(torch.optim.Optimizer):
    """v' = store(momentum * v + g + weight_decay * w), w' = store(w - lr * v'), where store rounds in the scheme's ``momentum``
    and ``master_weight`` formats, with each tensor's own exponent. Weights are rounded once at the beginning. With ``nesterov`` the step is
    lr * (g + weight_decay * w + momentum * v'). What lr multiplies is in the scheme's ``update`` format, and with ``update_scale`` greatest
    over the power of two that its greatest value reaches at most.

    ``parameters`` as of any optimizer; `parameter_groups` keeps the decay from scales, offsets and biases, as the machine does. ``clock``:
    of the model, for a training that does not wait for the device and for stochastic rounding. Raises ValueError if that lacks it.
    """

    def __init__(
        self, parameters: Iterable[Any], scheme: TrainingScheme, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0,
        nesterov: bool = False, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov})
        self._momentum, self._change, self._is_scaled = scheme.momentum, scheme.update, scheme.update_scale == "own"
        self._store = _Store(scheme, clock)
        self._store.all_of(self)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update all parameters that have a gradient; returns the loss of ``closure`` if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        numbers = count()
        for group in self.param_groups:
            for number, parameter in zip(numbers, group["params"], strict=False):
                if parameter.grad is not None:
                    self._update(f"parameter {number}", parameter, parameter.grad, group)
        return loss

    def _update(self, name: str, parameter: nn.Parameter, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        state = self.state[parameter]
        before = state.get("momentum")
        velocity = gradient if before is None else torch.add(gradient, before, alpha=group["momentum"])
        state["momentum"] = self._store(velocity, self._momentum, f"{name}.momentum").clone()
        step = torch.add(gradient, state["momentum"], alpha=group["momentum"]) if group["nesterov"] else state["momentum"]
        step = self._store(step, self._change, f"{name}.update")
        if not self._is_scaled:
            step = step / self._store.power_above(step)
        parameter.copy_(self._store(parameter.sub(step, alpha=group["lr"]), name=name))


class _Store:
    """Rounds in the format of ``weights``, or another one, by the tensor's own exponent."""

    def __init__(self, scheme: TrainingScheme, clock: Clock | None) -> None:
        if clock is None and any(tensors.rounding == "stochastic" for tensors in (scheme.momentum, scheme.update, scheme.master_weight)):
            raise ValueError("stochastic rounding of weights, momentum or updates needs the clock of the model")
        self._weights, self._clock = scheme.master_weight, clock

    def __call__(self, values: torch.Tensor, tensors: TensorClass | None = None, name: str = "a parameter") -> torch.Tensor:
        chosen = tensors or self._weights
        found = data_format(chosen.format)
        if not found.rounds:
            return values
        greatest = self._greatest(values)
        rounding, seed = chosen.rounding, 0 if self._clock is None else self._clock.seed_of(name)
        if found.block is not None:
            return represent_blocks(values, found.block, chosen.axis, torch.as_tensor(greatest, dtype=torch.float32))
        if found.code is not None:
            return represent(values, found.code, exponent_of_greatest(greatest), rounding, seed)
        assert found.uniform_bits is not None, "it rounds"
        return represent_uniform(values, found.uniform_bits, rounding, seed, greatest)

    def power_above(self, values: torch.Tensor) -> Any:
        """The least power of two that ``values`` do not exceed."""
        return power_of_two(exponent_of_greatest(self._greatest(values)), values.dtype)

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
    store = _Store(scheme, clock)
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
