"""Lines and tables of a run with values."""

import io

import numpy as np
import pytest
from rich.console import Console

from etasim.functional import Mismatch, Step, Values
from etasim.report.glossary import TRAINING, columns
from etasim.report.training import STEPS_SHOWN, training_rows, training_table, verdict, write_state


def values(n_steps, mismatch=None, reference_loss=0.0):
    steps = tuple(Step(1 / 3, 0.5, 1 / 3 + reference_loss, 0.5) for _ in range(n_steps))
    return Values({}, {"conv1.weight": np.ones((1, 2), np.float32)}, 12, 345, mismatch, steps)


def shown(n_steps, **changes):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(training_table(values(n_steps, **changes)))
    return [line.split("│")[1:-1] for line in console.export_text().splitlines() if line.startswith("│")]


def test_the_verdict():
    assert verdict(values(1)) == "values: exact (12 tensors, 345 bytes)"
    wrong = Mismatch("conv1", "wg", "conv1.weight_gradient", (1, 0, 2, 2), 3, -4)
    assert verdict(values(1, wrong)) == "values: layer conv1, phase wg: conv1.weight_gradient [1, 0, 2, 2]: got 3, expected -4"


@pytest.mark.parametrize("n_steps", [1, 2, STEPS_SHOWN, STEPS_SHOWN + 1, 1000])
def test_the_table_has_the_first_and_the_last_iteration(n_steps):
    rows = [[cell.strip() for cell in row] for row in shown(n_steps)]
    numbers = [int(row[0]) for row in rows]
    assert (numbers[0], numbers[-1]) == (1, n_steps)
    assert numbers == sorted(set(numbers))
    assert len(numbers) == min(n_steps, STEPS_SHOWN)
    assert rows[0][1:] == ["0.333333", "50.0%", "equal"]


def test_a_reference_that_differs_is_shown():
    assert shown(1, reference_loss=1e-3)[0][-1].strip() == "0.334333, 50.0%"


def test_rows_keep_all_digits():
    assert training_rows(values(1)) == [dict(zip(columns(TRAINING), (1, 1 / 3, 0.5, 1 / 3, 0.5), strict=True))]


def test_the_state_is_an_archive_of_its_arrays(tmp_path):
    write_state(values(1), tmp_path / "state.npz")
    with np.load(tmp_path / "state.npz") as state:
        assert state.files == ["conv1.weight"]
        assert state["conv1.weight"].dtype == np.float32
