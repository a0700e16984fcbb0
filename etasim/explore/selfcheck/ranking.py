"""How well one figure ranks as another does."""

from collections.abc import Sequence

import numpy as np


def ranks(values: Sequence[float]) -> np.ndarray:
    """The place of each value in ascending order, from 1; equal values share the mean of their places."""
    found = np.asarray(values, dtype=np.float64)
    _, group, counts = np.unique(found, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[group])


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's: the correlation of the `ranks`, from -1 to 1; None for fewer than two values, or where all of one side are equal."""
    if len(a) < 2:
        return None
    x, y = (of - of.mean() for of in (ranks(a), ranks(b)))
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size else None
