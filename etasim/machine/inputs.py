"""What a simulation depends on, as one value."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.estimate.blocks import in_blocks
from etasim.workload import Network
from etasim.workload.lowering import PHASES


class FunctionalInputs(NamedTuple):
    """What a simulation of values depends on besides: ``tensors`` names the ``.npz`` files, ``arrays`` is what they hold, ``sources`` the
    file of each array."""

    seed: int = 0
    iterations: int = 1
    tensors: tuple[str, ...] = ()
    arrays: Mapping[str, np.ndarray] = {}
    sources: Mapping[str, str] = {}

    def recorded(self) -> dict[str, Any]:
        """As run.yaml records it."""
        return {"seed": self.seed, "iterations": self.iterations, "tensors": list(self.tensors)}


class Inputs(NamedTuple):
    """Everything that the result of a simulation depends on, checked (`etasim.machine.arguments`); ``phases`` in the order of an
    iteration; ``functional`` None: no values."""

    architecture: Architecture
    network: Network
    batch: int
    phases: tuple[str, ...]
    fidelity: str = "cycle"
    functional: FunctionalInputs | None = None

    @property
    def in_blocks(self) -> "Inputs":
        """With channel blocks of the size that the network takes least time in. Raises InfeasibleError if an operation fits no tiling."""
        return self._replace(architecture=in_blocks(self.architecture, self.network, self.batch, self.phases))


def in_program_order(names: Iterable[str]) -> tuple[str, ...]:
    """Phases without repetition, in the order of an iteration."""
    chosen = set(names)
    return tuple(phase for phase in PHASES if phase in chosen)
