"""The glossary on the terminal: examples from a run that everybody can repeat, and the picture of a metric."""

from pathlib import Path

import pytest

from etasim.core.registry import METRICS, PICTURES
from etasim.report import example_run
from etasim.report.example_run import FIGURES, example
from etasim.report.glossary import PICTURED, picture_of

PICTURES_PAGE = Path(__file__).parents[3] / "docs" / "pictures.md"


def test_the_examples_are_those_of_the_run():
    """If this run moved on purpose: python -m etasim.report.example_run."""
    assert example_run.figures() == FIGURES


@pytest.mark.parametrize("name", ["mac_utilization", "throughput_gops"])
def test_an_example_comes_out(name):
    worked, _, told = example(name, METRICS[name].formula).partition(" = ")
    terms = worked.replace(",", "").replace(" s", "").replace("time", "1")
    value = eval(terms)  # noqa: S307 (our own formula)
    scale = 1e9 if name == "throughput_gops" else 1
    assert value / scale == pytest.approx(float(told.split()[0]), rel=1e-6)
    assert "`etasim run eta_small digits_cnn --batch 2`" in told


def test_a_count_is_shown_as_it_is():
    assert example("macs", "input") == "18,432 in `etasim run eta_small digits_cnn --batch 2`, row conv2 ff"
    assert example("wall_seconds", "measured") == ""


def test_metrics_lead_to_pictures_that_exist():
    page = PICTURES_PAGE.read_text()
    assert {picture for picture, _ in PICTURED} <= set(PICTURES.names)
    assert all(name in METRICS for _, names in PICTURED for name in names)
    assert all(f"\n## {name}\n" in page for name in PICTURES.names if PICTURES.origin(name) == "etasim")
    assert picture_of("mac_utilization") == "utilization"
    assert picture_of("wall_seconds") is None
