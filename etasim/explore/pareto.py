"""Non-dominated sets: the designs that no other design beats in every objective."""

from collections.abc import Sequence
from typing import Literal

Direction = Literal["higher", "lower"]


def dominates(a: Sequence[float], b: Sequence[float], better: Sequence[Direction]) -> bool:
    """Whether ``a`` is at least as good as ``b`` in every objective and better in one."""
    gains = [(x - y) if direction == "higher" else (y - x) for x, y, direction in zip(a, b, better, strict=True)]
    return all(gain >= 0 for gain in gains) and any(gain > 0 for gain in gains)


def pareto_front(points: Sequence[Sequence[float]], better: Sequence[Direction]) -> list[int]:
    """Indices, in order, of the points that no other point dominates; equal points are all kept.

    ``points`` has shape [point, objective]; ``better`` says per objective which direction wins.
    """
    return [i for i, point in enumerate(points) if not any(dominates(other, point, better) for other in points)]
