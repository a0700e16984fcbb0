"""An exponential moving average of the weights, which the test sees in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """The average of the parameters of ``model`` that keeps ``share`` of itself with each `update`; 0: the parameters themselves."""

    def __init__(self, model: nn.Module, share: float) -> None:
        self._model, self._share = model, share
        self._averages = {name: p.detach().clone() for name, p in model.named_parameters()} if share else {}

    @torch.no_grad()
    def update(self) -> None:
        """After an iteration."""
        if self._share:
            for name, parameter in self._model.named_parameters():
                self._averages[name].lerp_(parameter, 1 - self._share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averages as its parameters within the block."""
        own = {name: self._exchange(parameter, name) for name, parameter in self._model.named_parameters() if self._share}
        try:
            yield
        finally:
            for name, parameter in self._model.named_parameters():
                if name in own:
                    parameter.data = own[name]

    def _exchange(self, parameter: nn.Parameter, name: str) -> torch.Tensor:
        own = parameter.data
        parameter.data = self._averages[name]
        return own

    def state(self) -> dict[str, torch.Tensor]:
        """The averages by the names of the parameters."""
        return self._averages

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from ``state``."""
        for name, average in self._averages.items():
            average.copy_(state[name])
