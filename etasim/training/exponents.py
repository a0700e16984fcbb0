"""Where the exponent of a tensor comes from: its own greatest value, those of iterations before, or the rate at which values overflow.

Numbers are read from a tensor in this process's memory; on an accelerator that would wait for all that was started there, so exponents stay
there as tensors without axes, and everything here takes either.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from etasim.numerics.format import GREATEST_EXPONENT, LEAST_EXPONENT
from etasim.numerics.quantization import TrackedExponent
from etasim.training.quantizer import Greatest, exponent_of_greatest, power_of_two

Exponent = int | torch.Tensor
_NONE = LEAST_EXPONENT - 1
"""In a tensor of exponents: none yet."""
State = dict[str, Any]


class OwnExponent:
    """That of the greatest value, 0 for zeros."""

    def next(self, values: torch.Tensor, greatest: Greatest) -> Exponent:
        """The exponent for ``values``, whose greatest magnitude is ``greatest``."""
        return exponent_of_greatest(greatest)

    def state(self) -> State:
        """What it remembers from one iteration to the next, in plain values."""
        return {}

    def restore(self, state: State) -> None:
        """Remember ``state`` again."""


class PreviousExponent(OwnExponent):
    """The greatest of the ``history`` iterations before plus ``margin``, as the machine takes it (``history`` 1); their own for the first
    values. Tensors of zeros tell nothing and are not remembered."""

    def __init__(self, margin: int, history: int = 1) -> None:
        self._margin, self._history = margin, history
        self._seen: list[int] | torch.Tensor = []

    def next(self, values: torch.Tensor, greatest: Greatest) -> Exponent:
        own = exponent_of_greatest(greatest)
        if isinstance(own, torch.Tensor):
            return self._next_there(own, greatest)
        seen = self._numbers()
        before = max(seen, default=own)
        if greatest:
            self._seen = [min(own + self._margin, GREATEST_EXPONENT), *seen][: self._history]
        return before

    def _next_there(self, own: torch.Tensor, greatest: Any) -> torch.Tensor:
        seen = self._seen
        if not isinstance(seen, torch.Tensor):
            filled = [*seen, *[_NONE] * (self._history - len(seen))]
            seen = torch.tensor(filled, dtype=own.dtype, device=own.device)
        before = seen.max()
        latest = (own + self._margin).clamp(max=GREATEST_EXPONENT)
        self._seen = torch.where(greatest > 0, torch.cat((latest.view(1), seen[:-1])), seen)
        return torch.where(before == _NONE, own, before)

    def _numbers(self) -> list[int]:
        return [int(e) for e in self._seen.tolist() if e != _NONE] if isinstance(self._seen, torch.Tensor) else self._seen

    def state(self) -> State:
        return {"previous": self._numbers()}

    def restore(self, state: State) -> None:
        self._seen = list(state["previous"])


class OverflowExponent(OwnExponent):
    """That of dynamic fixed point (`etasim.numerics.quantization.TrackedExponent`), before the values count; it starts with their own."""

    def __init__(self) -> None:
        self._tracked: Exponent | None = None

    def next(self, values: torch.Tensor, greatest: Greatest) -> Exponent:
        before = exponent_of_greatest(greatest) if self._tracked is None else self._tracked
        if isinstance(greatest, torch.Tensor):
            before = torch.as_tensor(before, dtype=torch.int32, device=values.device)
            self._tracked = self._updated_there(before, values, greatest)
        else:
            self._tracked = self._updated(int(before), values, greatest)
        return before

    def _updated(self, exponent: int, values: torch.Tensor, greatest: float) -> int:
        tracked = TrackedExponent(exponent)
        if greatest:
            counts = {name: int(count) for name, count in _overflows(values, exponent).items()}
            tracked = replace(tracked, n_values=values.numel(), **counts)
        return tracked.updated().exponent

    def _updated_there(self, exponent: torch.Tensor, values: torch.Tensor, greatest: torch.Tensor) -> torch.Tensor:
        """As `TrackedExponent.updated`."""
        counts, tolerated = _overflows(values, exponent), TrackedExponent().max_overflow_rate * values.numel()
        falls = (counts["n_over_half"] <= tolerated) & (greatest > 0)
        step = torch.where(counts["n_over"] > tolerated, 1, torch.where(falls, -1, 0))
        return (exponent + step).clamp(LEAST_EXPONENT, GREATEST_EXPONENT).to(torch.int32)

    def state(self) -> State:
        return {"tracked": None if self._tracked is None else int(self._tracked)}

    def restore(self, state: State) -> None:
        self._tracked = state["tracked"]


def _overflows(values: torch.Tensor, exponent: Exponent) -> dict[str, torch.Tensor]:
    magnitude, limit = values.detach().abs(), power_of_two(exponent, values.dtype)
    return {"n_over": (magnitude > limit).sum(), "n_over_half": (magnitude > limit * 0.5).sum()}


def exponent_source(kind: str, margin: int, history: int) -> Callable[[], OwnExponent]:
    """What makes a source of ``kind``: ``own``, ``previous`` or ``tracked``."""
    return {"own": OwnExponent, "previous": lambda: PreviousExponent(margin, history), "tracked": OverflowExponent}[kind]
