"""Softmax cross-entropy: its gradient in integers, and its value in floats for reports."""

import numpy as np

from etasim.numerics.arithmetic import TABLE_ENTRIES, exponential_table, round_clip

CONTRIBUTION_UNIT = -15
"""Unit of the gradient; 2^15 is a probability of 1."""

_LOG2_E = 94548
"""2^16 log2 e."""

_GREATEST_DISTANCE = 2**20
_LAST_SHIFT = 62
_EXPONENTIALS = exponential_table()


def gradient(logits: np.ndarray, unit: int, labels: np.ndarray) -> np.ndarray:
    """Gradient [N, classes] of the loss summed over samples, in CONTRIBUTION_UNIT, at integers ``logits`` [N, classes] of ``unit``."""
    distance = logits.max(axis=1, keepdims=True) - logits
    steps = round_clip(distance * _LOG2_E, 8 - unit, _GREATEST_DISTANCE)
    halvings = steps // TABLE_ENTRIES
    powers = np.where(halvings > _LAST_SHIFT, 0, _EXPONENTIALS[steps % TABLE_ENTRIES] >> np.minimum(halvings, _LAST_SHIFT))
    total = powers.sum(axis=1, keepdims=True)
    probabilities = ((powers << -CONTRIBUTION_UNIT) + total // 2) // total
    probabilities[np.arange(len(labels)), labels] -= 1 << -CONTRIBUTION_UNIT
    return probabilities


def loss_and_accuracy(logits: np.ndarray, unit: int, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy in nats and share of samples whose greatest logit (the first of equals) is the label's, for integers
    ``logits`` [N, classes] of ``unit``."""
    real = np.ldexp(np.ascontiguousarray(logits, np.float64), unit)  # the order of the sums follows the order in memory
    below = real - real.max(axis=1, keepdims=True)
    of_label = below[np.arange(len(labels)), labels]
    loss = np.mean(np.log(np.exp(below).sum(axis=1)) - of_label)
    return float(loss), float(np.mean(logits.argmax(axis=1) == labels))
