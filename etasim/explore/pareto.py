"""Non-dominated sets: the designs that no other design beats in every objective, their order, and how much of the space they dominate."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Direction = Literal["higher", "lower"]


def pareto_front(points: Sequence[Sequence[float]], better: Sequence[Direction]) -> list[int]:
    """Indices, in order, of the points that no other point dominates; equal points are all kept.

    ``points`` has shape [point, objective]; ``better`` says per objective which direction wins.
    """
    return sorted(_front(_losses(points, better)).tolist())


def ranked(points: Sequence[Sequence[float]], better: Sequence[Direction], most: int | None = None) -> list[int]:
    """Indices of all points, or of the first ``most``: front after front, within a front the least crowded first (NSGA-II, Deb 2002)."""
    losses = _losses(points, better)
    left = np.arange(len(losses))
    order: list[int] = []
    while len(left) and len(order) < (most or len(losses)):
        front = left[np.sort(_front(losses[left]))]
        distance = crowding(losses[front])
        order += front[np.lexsort((front, -distance))].tolist()
        left = np.setdiff1d(left, front, assume_unique=True)
    return order[:most]


def crowding(losses: np.ndarray) -> np.ndarray:
    """Crowding distance of each point of a front, shape [point, objective]: the sides of the box between its neighbours; infinite at the
    ends."""
    distance = np.zeros(len(losses))
    for values in losses.T:
        order = np.argsort(values, kind="stable")
        span = values[order[-1]] - values[order[0]]
        distance[order[[0, -1]]] = np.inf
        if len(order) > 2 and span > 0:
            distance[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / span
    return distance


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float], better: Sequence[Direction]) -> float:
    """Volume that ``points`` dominate and ``reference`` bounds: the measure of a front. Points beyond the reference count nothing."""
    losses, bound = _losses(points, better), _losses([reference], better)[0]
    losses = losses[(losses < bound).all(axis=1)] if len(losses) else losses
    return _volume(losses[_front(losses)], bound) if len(losses) else 0.0


def _volume(front: np.ndarray, bound: np.ndarray) -> float:
    """Slice by slice along the last objective."""
    if front.shape[1] == 1:
        return float(bound[0] - front.min())
    front = front[np.argsort(front[:, -1], kind="stable")]
    ends = np.append(front[1:, -1], bound[-1])
    total = 0.0
    for i, (begin, end) in enumerate(zip(front[:, -1], ends, strict=True)):
        if end > begin:
            below = front[: i + 1, :-1]
            total += (end - begin) * _volume(below[_front(below)], bound[:-1])
    return float(total)


def _losses(points: Sequence[Sequence[float]], better: Sequence[Direction]) -> np.ndarray:
    """Points as an array, shape [point, objective], in which less is better."""
    signs = np.array([-1.0 if direction == "higher" else 1.0 for direction in better])
    losses: np.ndarray = np.asarray(points, float).reshape(-1, len(better)) * signs
    return losses


def _front(losses: np.ndarray) -> np.ndarray:
    """Indices of the points that no other dominates. In lexicographic order a point is dominated by earlier ones only."""
    chosen: list[int] = []
    kept = np.empty_like(losses)
    for i in np.lexsort(losses.T[::-1]).tolist():
        point = losses[i]
        rivals = kept[: len(chosen)]
        if not ((rivals <= point).all(axis=1) & (rivals < point).any(axis=1)).any():
            kept[len(chosen)] = point
            chosen.append(i)
    return np.array(chosen, int)
