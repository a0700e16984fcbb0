"""Where tensors are rounded: a boundary rounds what passes forward and the gradient that passes backward, each in its own format.

The gradient of rounding is taken as 1 (straight-through), also where values saturate.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn

from etasim.mapping.scales import COPY, REQUANTISE, SQUARE
from etasim.numerics.format import data_format
from etasim.training.directions import FIRST, SECOND, represent_in
from etasim.training.exponents import Exponent, OwnExponent, exponent_source
from etasim.training.quantizer import (
    Greatest,
    NotFiniteError,
    exponent_of_greatest,
    greatest_of,
    greatest_there,
    represent,
    represent_uniform,
)
from etasim.training.scheme import TensorClass, TrainingScheme

_OF_SAMPLES = ("activation", "error", "sum")
"""Classes of tensors whose first axis are the samples."""

_OPERANDS = ("activation", "weight", "error")
"""Classes of tensors that products read."""


@dataclass
class Clock:
    """What stochastic rounding of a tensor depends on besides its name: the seed and the iteration.

    ``greatest``: None, and each tensor is looked at when it is rounded, which waits for an accelerator each time; or a dictionary that
    collects the greatest magnitude of each tensor by its name, in the order of their first rounding, for whoever trains to look at all of
    them at once. ``share``: which part of the samples this process has, of how many equal ones; others round theirs at the same time."""

    seed: int = 0
    iteration: int = 0
    greatest: dict[str, torch.Tensor] | None = None
    share: tuple[int, int] = (0, 1)

    def seed_of(self, name: str) -> int:
        """32 bits for the tensor ``name`` in this iteration."""
        return zlib.crc32(f"{self.seed} {self.iteration} {name}".encode())


Observer = Callable[[str, torch.Tensor, torch.Tensor, Exponent | None], None]
"""Called with the name of a tensor, its values, what they became, and the exponent, if there is one."""


@dataclass
class Rounding:
    """Rounds the tensor ``name`` of ``tensor_class``, again and again, by exponents that come from ``source``.

    ``blocks``: which set of them, if the format has some. ``given``: an exponent that overrides all others. ``observe`` is called with each
    result. ``greatest_before``: of the last values.
    """

    name: str
    tensor_class: str
    tensors: TensorClass
    source: OwnExponent
    clock: Clock
    blocks: str = FIRST
    given: int | None = None
    observe: Observer | None = None

    def __post_init__(self) -> None:
        self.format = data_format(self.tensors.format)
        self.has_samples = self.tensor_class in _OF_SAMPLES
        self.greatest_before: Greatest | None = None

    def __call__(self, values: torch.Tensor, remember: bool = True) -> torch.Tensor:
        """``values`` in the format; without ``remember`` (evaluation) by their own exponent. Raises NotFiniteError with the name."""
        try:
            greatest = self._greatest(values, remember)
            rounded, exponent = self._round(values, greatest, remember)
            self.greatest_before = greatest
        except NotFiniteError:
            raise NotFiniteError(self.name) from None
        if self.observe is not None:
            self.observe(self.name, values, rounded, exponent)
        return rounded

    def _greatest(self, values: torch.Tensor, remember: bool) -> Greatest:
        shared = remember and self.has_samples and self.clock.share[1] > 1
        if self.clock.greatest is None and not shared:
            return greatest_of(values)
        greatest = greatest_there(values if values.dtype in (torch.float32, torch.float64) else values.to(torch.float32))
        if shared:
            distributed.all_reduce(greatest, distributed.ReduceOp.MAX)
        if self.clock.greatest is None:
            return greatest_of(greatest)
        self.clock.greatest[self.name] = greatest
        return greatest

    def _round(self, values: torch.Tensor, greatest: Greatest, remember: bool) -> tuple[torch.Tensor, Exponent | None]:
        is_stochastic = self.tensors.rounding == "stochastic"
        seed = self.clock.seed_of(self.name) if is_stochastic else 0
        first = self.clock.share[0] * values.numel() if is_stochastic and self.has_samples else 0
        if self.format.block is not None and (self.given is None or self.format.code is None):
            shared, block = torch.as_tensor(greatest, dtype=torch.float32), self.format.block
            return represent_in(values, block, self.tensors.axis, self.tensor_class, self.blocks, shared), None
        if self.format.code is None:
            assert self.format.uniform_bits is not None, "what is not rounded crosses no boundary"
            return represent_uniform(values, self.format.uniform_bits, self.tensors.rounding, seed, greatest, first), None
        exponent: Any = self.given
        if exponent is None:
            exponent = self.source.next(values, greatest) if remember else exponent_of_greatest(greatest)
        return represent(values, self.format.code, exponent, self.tensors.rounding, seed, first), exponent


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
        return [None if rounding is None else rounding.source.state() for rounding in (self.forward_rounding, self.backward_rounding)]

    def set_extra_state(self, state: Sequence[Any]) -> None:
        for rounding, own in zip((self.forward_rounding, self.backward_rounding), state, strict=True):
            if rounding is not None:
                rounding.source.restore(own)

    def extra_repr(self) -> str:
        names = (None if rounding is None else rounding.format.name for rounding in (self.forward_rounding, self.backward_rounding))
        return "forward={}, backward={}".format(*names)


class SecondBoundary(Boundary):
    """Makes the second set of blocks of what passes in training, which no gradient crosses."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        assert self.forward_rounding is not None, "there is a second set"
        return self.forward_rounding(values.detach()) if self.training else values.detach()


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

    def second(self, name: str, tensor_class: str) -> Rounding | None:
        """What makes the second set of blocks of a tensor; None if it has one set only."""
        found = data_format(self._scheme.tensors(tensor_class, name.partition(".")[0]).format)
        is_shared = found.block is not None and found.block.block is not None
        return self._rounding(name, tensor_class, SECOND) if is_shared and self._scheme.second_direction in (COPY, REQUANTISE) else None

    def _rounding(self, name: str, tensor_class: str, blocks: str = FIRST) -> Rounding | None:
        tensors = self._scheme.tensors(tensor_class, name.partition(".")[0])
        if not data_format(tensors.format).rounds:
            return None
        kind = "tracked" if data_format(tensors.format).tracked else self._scheme.exponents
        source = exponent_source(kind, self._scheme.exponent_margin, self._scheme.history)()
        blocks = SQUARE if self._scheme.second_direction == SQUARE and tensor_class in _OPERANDS else blocks
        return Rounding(name, tensor_class, tensors, source, self._clock, blocks)
