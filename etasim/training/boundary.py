"""Where tensors are rounded: a boundary rounds what passes forward and the gradient that passes backward, each in its own format.

The gradient of rounding is taken as 1 (straight-through), also where values saturate.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from etasim.numerics.format import GREATEST_EXPONENT, LEAST_EXPONENT, data_format
from etasim.numerics.quantization import TrackedExponent
from etasim.training.quantizer import NotFiniteError, exponent_of, represent, represent_uniform
from etasim.training.scheme import TensorClass, TrainingScheme


@dataclass
class Clock:
    """What stochastic rounding of a tensor depends on besides its name: the seed and the iteration."""

    seed: int = 0
    iteration: int = 0

    def seed_of(self, name: str) -> int:
        """32 bits for the tensor ``name`` in this iteration."""
        return zlib.crc32(f"{self.seed} {self.iteration} {name}".encode())


@dataclass
class Rounding:
    """Rounds the tensor ``name``, one of a class, again and again; knows where its exponent comes from.

    ``given``: an exponent that overrides all others. ``observe(name, rounded, exponent)`` is called with each result.
    """

    name: str
    tensors: TensorClass
    exponents: str
    margin: int
    clock: Clock
    given: int | None = None
    observe: Callable[[str, torch.Tensor, int | None], None] | None = None
    previous: int | None = None
    tracked: TrackedExponent | None = field(default=None)

    def __post_init__(self) -> None:
        self.format = data_format(self.tensors.format)

    def __call__(self, values: torch.Tensor, remember: bool = True) -> torch.Tensor:
        """``values`` in the format; without ``remember`` (evaluation) by their own exponent. Raises NotFiniteError with the name."""
        try:
            rounded, exponent = self._round(values, remember)
        except NotFiniteError:
            raise NotFiniteError(self.name) from None
        if self.observe is not None:
            self.observe(self.name, rounded, exponent)
        return rounded

    def _round(self, values: torch.Tensor, remember: bool) -> tuple[torch.Tensor, int | None]:
        seed = self.clock.seed_of(self.name) if self.tensors.rounding == "stochastic" else 0
        if self.format.code is None:
            assert self.format.uniform_bits is not None, "what is not rounded crosses no boundary"
            return represent_uniform(values, self.format.uniform_bits, self.tensors.rounding, seed), None
        exponent = self._exponent(values, remember)
        return represent(values, self.format.code, exponent, self.tensors.rounding, seed), exponent

    def _exponent(self, values: torch.Tensor, remember: bool) -> int:
        own = exponent_of(values)
        if self.given is not None:
            return self.given
        if self.format.tracked and remember:
            return self._track(values, own)
        if self.exponents == "own" or not remember:
            return own or 0
        before, seen = self.previous, None if own is None else min(own + self.margin, GREATEST_EXPONENT)
        self.previous = before if seen is None else seen
        return (own or 0) if before is None else before

    def _track(self, values: torch.Tensor, own: int | None) -> int:
        """The exponent before these values count; it starts with that of the first values."""
        tracked = self.tracked or TrackedExponent(min(max(own or 0, LEAST_EXPONENT), GREATEST_EXPONENT))
        if own is not None:
            magnitude = values.detach().abs()
            tracked = replace(
                tracked,
                n_values=magnitude.numel(),
                n_over=int((magnitude > 2.0**tracked.exponent).sum()),
                n_over_half=int((magnitude > 2.0 ** (tracked.exponent - 1)).sum()),
            )
        self.tracked = tracked.updated()
        return tracked.exponent

    def state(self) -> dict[str, int | None]:
        """What it remembers from one iteration to the next."""
        return {"previous": self.previous, "tracked": None if self.tracked is None else self.tracked.exponent}

    def restore(self, state: dict[str, int | None]) -> None:
        """Remember ``state`` again."""
        self.previous = state["previous"]
        self.tracked = None if state["tracked"] is None else TrackedExponent(state["tracked"])


class _Cross(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, forward_rounding: Any, backward_rounding: Any, training: bool) -> torch.Tensor:
        ctx.rounding = backward_rounding
        return values.view_as(values) if forward_rounding is None else forward_rounding(values, training)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return (gradient if ctx.rounding is None else ctx.rounding(gradient)), None, None, None


class Boundary(nn.Module):
    """Rounds what passes: ``forward_rounding`` values, ``backward_rounding`` their gradient; None leaves them as they are."""

    def __init__(self, forward_rounding: Rounding | None, backward_rounding: Rounding | None) -> None:
        super().__init__()
        self.forward_rounding, self.backward_rounding = forward_rounding, backward_rounding

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return _Cross.apply(values, self.forward_rounding, self.backward_rounding, self.training)  # type: ignore[no-untyped-call]  # PyTorch's

    def get_extra_state(self) -> list[dict[str, Any] | None]:
        return [None if rounding is None else rounding.state() for rounding in (self.forward_rounding, self.backward_rounding)]

    def set_extra_state(self, state: Sequence[Any]) -> None:
        for rounding, own in zip((self.forward_rounding, self.backward_rounding), state, strict=True):
            if rounding is not None:
                rounding.restore(own)

    def extra_repr(self) -> str:
        names = (None if rounding is None else rounding.format.name for rounding in (self.forward_rounding, self.backward_rounding))
        return "forward={}, backward={}".format(*names)


def cross(boundary: Boundary | None, values: torch.Tensor) -> torch.Tensor:
    """``values`` across ``boundary``, if there is one."""
    return values if boundary is None else boundary(values)


class Boundaries:
    """Makes the boundaries of a scheme."""

    def __init__(self, scheme: TrainingScheme, clock: Clock) -> None:
        self._scheme, self._clock = scheme, clock

    def between(self, forward: tuple[str, str] | None, backward: tuple[str, str] | None) -> Boundary | None:
        """A boundary between (tensor name, class) forward and backward; None if neither is rounded."""
        roundings = [self._rounding(*named) if named else None for named in (forward, backward)]
        return Boundary(*roundings) if any(rounding is not None for rounding in roundings) else None

    def _rounding(self, name: str, tensor_class: str) -> Rounding | None:
        tensors = getattr(self._scheme, tensor_class)
        if not data_format(tensors.format).rounds:
            return None
        return Rounding(name, tensors, self._scheme.exponents, self._scheme.exponent_margin, self._clock)
