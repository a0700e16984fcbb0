"""The notebooks run from the first cell to the last, headless, in an empty folder; they are kept without outputs."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from pages import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
NEEDED = {"explore": (), "bandwidth": (), "train_and_cost": ("torch", "sklearn")}
LEAST_PICTURES = {"explore": 3, "bandwidth": 4, "train_and_cost": 4}
CELL_SECONDS = 300
MISSING = not os.environ.get("CI") and any(importlib.util.find_spec(name) is None for name in ("nbclient", "ipykernel"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    if MISSING:
        pytest.skip("needs the extra docs")
    import nbformat

    return nbformat.read(path, as_version=4)


def shown(notebook):
    """What cells showed: (cell, output) without what was printed."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [(cell, output) for cell in code for output in cell.outputs if output.output_type != "stream"]


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == sorted(NEEDED)


@each
def test_a_notebook_is_kept_without_outputs(path):
    notebook = read(path)
    assert notebook.cells[0].source.startswith("# ")
    assert [cell.source for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)] == []


@each
@pytest.mark.filterwarnings("default")
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    """Nothing is said on standard error, every result is shown once, and the pictures are there."""
    for package in NEEDED[path.stem]:
        pytest.importorskip(package)
    notebook = read(path)
    from nbclient import NotebookClient

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = [output.text for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs if output.get("name") == "stderr"]
    assert said == []
    outputs = shown(notebook)
    assert len({cell.id for cell, _ in outputs}) == len(outputs)
    assert sum("image/png" in output.data for _, output in outputs) >= LEAST_PICTURES[path.stem]
