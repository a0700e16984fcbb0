"""What a training run is: everything that its weights depend on."""

from dataclasses import asdict, dataclass, field
from typing import Any

from etasim.training.data import DEFAULT
from etasim.training.scheme import TrainingScheme

GREATEST_RATE, BATCH_OF_GREATEST_RATE = 0.1, 32
"""Default learning rate: proportional to the batch (Goyal et al., "Accurate, large minibatch SGD", 2017) up to this one."""


@dataclass(frozen=True)
class Recipe:
    """A run of ``epochs`` on ``network`` under ``scheme``; the learning rate falls along half a cosine.

    ``learning_rate`` 0: batch / 320, at most 0.1. ``augment``: how images are varied, or ``default`` (that of the source).
    ``train_samples`` and ``test_samples`` 0: all of them; else as many, evenly spaced (an experiment on few). The test runs after every
    ``evaluate_every`` epochs and after the last one.
    """

    network: str
    scheme: TrainingScheme
    batch: int = 32
    epochs: int = 10
    data: str = "digits"
    seed: int = 0
    learning_rate: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    augment: str = DEFAULT
    train_samples: int = 0
    test_samples: int = 0
    evaluate_every: int = 1
    format: int = field(default=3, kw_only=True)
    """Of the checkpoint; another one means that the same recipe trained in another way."""

    @property
    def rate(self) -> float:
        """Learning rate at the beginning."""
        return self.learning_rate or GREATEST_RATE * min(self.batch / BATCH_OF_GREATEST_RATE, 1.0)

    def plain(self) -> dict[str, Any]:
        """As plain values; equal for equal recipes."""
        return asdict(self) | {"scheme": self.scheme.resolved()}
