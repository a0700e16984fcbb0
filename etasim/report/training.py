"""What a functional run reports beside the figures of the machine: training.csv, state.npz, and its lines on the terminal."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from etasim.functional import Values
from etasim.machine.result import Value
from etasim.report.glossary import TRAINING, columns

STEPS_SHOWN = 10
"""Iterations that a terminal shows; training.csv has all."""


def training_rows(values: Values) -> list[dict[str, Value]]:
    """Rows of training.csv; floats keep all their digits, because equality is what they are for."""
    steps = enumerate(values.steps, start=1)
    return [dict(zip(columns(TRAINING), (number, *asdict(step).values()), strict=True)) for number, step in steps]


def write_state(values: Values, path: Path) -> None:
    """Write state.npz: what survives, float32, by the names that ``--tensors`` takes."""
    np.savez(path, **values.state)  # type: ignore[arg-type]  # its types take a name for an option


def verdict(values: Values) -> str:
    """Whether the machine's values are the reference's."""
    if values.mismatch is not None:
        return f"values: {values.mismatch}"
    return f"values: exact ({values.n_tensors} tensors, {values.n_bytes} bytes)"


def training_table(values: Values) -> RenderableType:
    """Loss and accuracy of some iterations, the first and the last among them, and whether the reference's are equal."""
    table = Table(title="Training", title_justify="left")
    for heading in ("iteration", "loss", "accuracy", "reference"):
        table.add_column(heading, justify="right")
    for number in _shown(len(values.steps)):
        step = values.steps[number - 1]
        equal = (step.loss, step.accuracy) == (step.reference_loss, step.reference_accuracy)
        other = f"{step.reference_loss:.6f}, {step.reference_accuracy:.1%}"
        table.add_row(str(number), f"{step.loss:.6f}", f"{step.accuracy:.1%}", "equal" if equal else other)
    return table


def _shown(n_steps: int) -> Iterator[int]:
    """Numbers of the iterations to show, evenly spread."""
    n_shown = min(n_steps, STEPS_SHOWN)
    return (1 + round(i * (n_steps - 1) / (n_shown - 1)) for i in range(n_shown)) if n_shown > 1 else iter(range(1, n_steps + 1))
