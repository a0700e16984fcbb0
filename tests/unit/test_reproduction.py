"""The published figures: identities, ratios, and that no edit passes the check."""

import dataclasses
import json

import pytest

from etasim.explore import reproduce
from etasim.explore.document import write_document
from etasim.explore.evaluate import Evaluation
from etasim.explore.html import write_page
from etasim.report.published import FIGURES, NETWORKS, PRIOR_NETWORK, THROUGHPUTS
from etasim.workload import load_network

PRIOR = Evaluation("ok", summary={"throughput_gops": 180.45, "gops_per_w": 5.0})


def perfect(network):
    """A simulation that meets every published figure of ``network``."""
    net = load_network(network)
    macs, gops = net.useful_macs(8), THROUGHPUTS[network]
    inserted = sum(
        8 * layer.zero_insertion_macs_per_sample(phase) for layer in net.layers for phase in net.phases_of(layer) if phase != "wu"
    )
    summary = {"throughput_gops": gops, "useful_macs": macs, "zero_insertion_macs": inserted, "batch": 8, "total_cycles": 1}
    return Evaluation("ok", summary=summary | {"time_ms": 2 * macs / gops / 1e6, "gops_per_w": 5.0 * 8.54})


def rows(figures=FIGURES, prior=PRIOR, **edits):
    """Rows of perfect simulations, with summary figures of ``edits`` (network__name=factor) multiplied."""
    evaluations = {network: perfect(network) for network in NETWORKS}
    for edit, factor in edits.items():
        network, name = edit.split("__")
        evaluations[network].summary[name] *= factor
    return [reproduce.comparison(figure, evaluations[figure.network], prior) for figure in figures]


def test_figures_that_agree_pass():
    assert reproduce.inconsistencies(rows()) == []
    assert reproduce.passes(rows())


@pytest.mark.parametrize("index", range(len(FIGURES)))
@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_an_edited_published_figure_fails(monkeypatch, index, factor):
    edited = dataclasses.replace(FIGURES[index], published=FIGURES[index].published * factor or 30.0)
    figures = (*FIGURES[:index], edited, *FIGURES[index + 1 :])
    assert not all(row["within_tolerance"] for row in rows(figures)) or reproduce.inconsistencies(rows(figures), figures)


@pytest.mark.parametrize("index", range(8))
def test_a_small_edit_of_a_published_figure_is_found_by_the_others(index):
    edited = dataclasses.replace(FIGURES[index], published=FIGURES[index].published * 1.01)
    figures = (*FIGURES[:index], edited, *FIGURES[index + 1 :])
    assert reproduce.inconsistencies(rows(figures), figures)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["throughput_gops", "time_ms", "useful_macs"])
def test_an_edited_result_fails(network, name):
    assert not reproduce.passes(rows(**{f"{network}__{name}": 1.02}))


def test_an_edited_error_fails():
    edited = rows()
    edited[0]["error_percent"] = 1.0
    assert reproduce.inconsistencies(edited)


def test_a_prior_art_that_is_not_simulated_is_no_pass():
    missing = rows(prior=Evaluation("failed", reproduce.NOT_SIMULATED))
    ratios = [row for row in missing if row["network"] == PRIOR_NETWORK and row["published"] in (3.65, 8.54)]
    assert [(row["simulated"], row["reason"]) for row in ratios] == [(None, reproduce.NOT_SIMULATED)] * 2
    assert not reproduce.passes(missing)


def test_unknown_energy_is_null():
    missing = rows(prior=Evaluation("ok", summary={"throughput_gops": 180.45, "gops_per_w": None}))
    assert [row["simulated"] for row in missing[3:5]] == [pytest.approx(3.65, rel=1e-3), None]


def test_page_and_document_hold_every_figure_and_need_no_network(tmp_path):
    simulated = Evaluation("ok", summary={"total_cycles": 200}, phase_cycles={"ff": 120, "bp": 80})
    estimated = Evaluation("ok", summary={"total_cycles": 190}, phase_cycles={"ff": 105, "bp": 85})
    fidelity = reproduce.fidelity_rows("vgg16_cifar", simulated, estimated)
    board = [{"resource": "DSP48E1", "used": 1280, "available": 3600, "share_percent": 35.6, "fits": 1, "estimate": 0}]
    result = reproduce.Reproduction(rows(), fidelity, board)
    write_document(tmp_path / "a.md", result, [], None)
    write_page(tmp_path / "a.html", result, [], None)
    document, page = ((tmp_path / name).read_text() for name in ("a.md", "a.html"))
    for figure in FIGURES:
        assert figure.figure in document
        assert figure.figure in page
    assert "| vgg16_cifar | -12.5 | +6.2 | -5.0 |" in document
    assert [row["within_tolerance"] for row in fidelity] == [False, True, True]
    assert "| DSP48E1 | 1,280 | 3,600 | 36 |" in document
    assert "n = 3, mean absolute error 0.00 %" in document
    assert "http" not in page.replace("https://doi", "")
    assert "validated against hardware" not in document + page
    json.dumps(rows())
