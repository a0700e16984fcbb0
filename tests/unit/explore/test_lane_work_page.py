"""docs/models/lane_work.md is what the passes and the simulated file say."""

import json
from pathlib import Path

import pytest

from etasim.config import load_architecture
from etasim.explore.lane_work_page import SIMULATED, document
from etasim.explore.variations import CHARGES, FILLS, cases_of_charges
from etasim.machine import simulate
from etasim.report.metrics import summary
from etasim.report.published import ARCHITECTURE, NETWORKS
from etasim.workload import load_network

DOCS = Path(__file__).parents[3] / "docs"
FOUND = json.loads((DOCS / "data" / "lane_work.json").read_text(encoding="utf-8"))


def test_the_page_is_what_the_passes_and_the_file_say():
    assert (DOCS / "models" / "lane_work.md").read_text(encoding="utf-8") == document(FOUND)


def test_the_file_has_every_case_on_every_network():
    names = ("as it is", *CHARGES, *FILLS)
    expected = [(name, network, "analytical") for name in names for network in NETWORKS] + [(name, SIMULATED, "cycle") for name in names]
    assert [(row["name"], row["network"], row["fidelity"]) for row in FOUND["rows"]] == expected
    assert all(row["throughput_gops"] for row in FOUND["rows"])
    assert [row["network"] for row in FOUND["fetched"]] == list(NETWORKS)


@pytest.mark.parametrize("name", ["sums for the mean ride on the drain", "lanes of 1 multiplier, 2 adders"])
def test_the_file_is_that_of_the_passes(name):
    """ResNet20 again: after a change of passes or plans the file is to be made anew (``--measure``)."""
    (case,) = (case for case in cases_of_charges() if case.name == name)
    found = summary(simulate(load_architecture(ARCHITECTURE, case.overrides), load_network(SIMULATED), fidelity="analytical"))
    row = next(row for row in FOUND["rows"] if (row["name"], row["network"], row["fidelity"]) == (name, SIMULATED, "analytical"))
    assert found["throughput_gops"] == row["throughput_gops"]
