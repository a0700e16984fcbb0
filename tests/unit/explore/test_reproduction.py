"""The published figures: identities, ratios, and that no edit passes the check."""

import dataclasses
import html
import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from etasim.config import InputError
from etasim.config.catalog import shipped_folder
from etasim.explore import commands, reproduce
from etasim.explore.document import verdict, write_document
from etasim.explore.evaluate import Evaluation
from etasim.explore.findings import read_findings
from etasim.explore.reproduction_page import page_of_reproduction, reproduction_page
from etasim.explore.tables import reproduction_tables
from etasim.report.page import assets
from etasim.report.page.document import html as page_html
from etasim.report.page.document import write_page
from etasim.report.progress import SimulationProgress
from etasim.report.published import CAVEATS, CLAIMS, FIGURES, NETWORKS, PAPER, PRIOR_NETWORK, STATUSES, THROUGHPUTS
from etasim.workload import load_network

ABOUT = {
    "paper": PAPER, "machine": "eta_vc709 (cycle model)", "batch": "8", "version": "etasim 0.1.0", "command": "etasim reproduce --batch 8",
}  # fmt: skip
HEADINGS = ("n the abstract of the paper", "ollows from published figures and the layers", "ollows from the rows above by")
PRIOR = Evaluation("ok", summary={"throughput_gops": 180.45, "gops_per_w": 5.0, "power_w": 23.4})


def perfect(network):
    """A simulation that meets every published figure of ``network``."""
    net = load_network(network)
    macs, gops = net.useful_macs(8), THROUGHPUTS[network]
    inserted = sum(
        8 * layer.zero_insertion_macs_per_sample(phase) for layer in net.layers for phase in net.phases_of(layer) if phase != "wu"
    )
    summary = {"throughput_gops": gops, "useful_macs": macs, "zero_insertion_macs": inserted, "batch": 8, "total_cycles": 1}
    return Evaluation("ok", summary=summary | {"time_ms": 2 * macs / gops / 1e6, "gops_per_w": 5.0 * 8.54, "power_w": 10.0})


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


@pytest.mark.parametrize("index", [i for i, figure in enumerate(FIGURES) if figure.quantity != "avoided_percent"])
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


def printed(renderable):
    """A table as text, without its lines and broken nowhere."""
    console = Console(width=400)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_five_rows_are_published_and_each_table_says_what_its_rows_are():
    by_status = {status: [f.figure for f in FIGURES if f.status == status] for status in STATUSES}
    assert {status: len(names) for status, names in by_status.items()} == {"published": 5, "derived": 5, "definition": 6}
    assert all("throughput" in name or "over prior art" in name for name in by_status["published"])
    assert all("time per image" in name or "MACs per image" in name for name in by_status["definition"])
    text = printed(reproduction_tables(reproduce.Reproduction(rows(), [], [], ABOUT)))
    places = [text.index(title) for title in STATUSES.values()]
    assert places == sorted(places)
    for status, place, end in zip(STATUSES, places, [*places[1:], len(text)], strict=True):
        assert all(name in text[place:end] for name in by_status[status])
        assert ("published" in text[place:end].splitlines()[2]) == (status == "published")


def test_what_is_equal_by_definition_is_never_missed_alone():
    """A wrong time per image is a wrong throughput: the two tables cannot disagree."""
    missed = [row for row in rows(resnet20_cifar__time_ms=1.2, resnet20_cifar__throughput_gops=1 / 1.2) if not row["within_tolerance"]]
    assert {row["status"] for row in missed} == {"published", "definition"}


def test_every_accuracy_claim_of_the_abstract_has_its_row():
    networks = ("CIFAR-VGG16", "CIFAR-ResNet20", "CIFAR-InceptionV3", "ResNet18", "ResNet50")
    assert [claim.claim.split()[0] for claim in CLAIMS] == list(networks)
    plain = reproduce.Reproduction(rows(), [], [], ABOUT).plain()
    assert {claim["verdict"] for claim in plain["claims"]} == {"not reproduced: no data"}
    json.dumps(plain)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda found: found.pop("simulated"), "simulated: is missing"),
        (lambda found: found["simulated"][1].update(errors_percent={}), "simulated[1].errors_percent.vgg16_cifar: is missing"),
        (lambda found: found["leave_one_out"][0].update(interval_estimated=[]), "leave_one_out[0].interval_estimated: must be a section"),
        (lambda found: found.update(tolerance_percent="5"), "tolerance_percent: must be a number, got '5'"),
    ],
    ids=range(4),
)
def test_findings_that_are_none_are_refused(tmp_path, edit, message):
    found = read_findings(shipped_folder("configs/calibration") / "eta_vc709.json")
    edit(found)
    (tmp_path / "found.json").write_text(json.dumps(found))
    with pytest.raises(InputError) as refused:
        read_findings(tmp_path / "found.json")
    assert message in str(refused.value)


def test_a_prior_art_that_is_not_simulated_is_no_pass():
    missing = rows(prior=Evaluation("failed", reproduce.NOT_SIMULATED))
    ratios = [row for row in missing if row["network"] == PRIOR_NETWORK and row["published"] in (3.65, 8.54, 180.45, 2.34)]
    assert [(row["simulated"], row["reason"]) for row in ratios] == [(None, reproduce.NOT_SIMULATED)] * 4
    assert not reproduce.passes(missing)


def test_another_machine_was_not_fitted():
    own, other = (reproduce.comparison(FIGURES[0], perfect(FIGURES[0].network), PRIOR, name) for name in ("eta_vc709", "mine"))
    assert [verdict(row) for row in (own, other)] == ["fitted", "within"]


def test_unknown_energy_is_null():
    missing = rows(prior=Evaluation("ok", summary={"throughput_gops": 180.45, "gops_per_w": None, "power_w": None}))
    assert [row["simulated"] for row in missing[3:7]] == [pytest.approx(3.65, rel=1e-3), None, 180.45, None]


@pytest.fixture
def library(monkeypatch):
    """Bundling the charting library takes seconds; what it draws is seen in `tests/unit/report/test_page_in_browser.py`."""
    monkeypatch.setattr(assets, "library", lambda: "/* charts */")


def test_a_page_is_made_of_what_the_command_prints(tmp_path, library):
    result = reproduce.Reproduction(rows(), [], [], ABOUT)
    (tmp_path / "found.json").write_text(json.dumps(result.plain()))
    assert page_html(reproduction_page(tmp_path / "found.json")) == page_html(page_of_reproduction(result, []))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda found: found.pop("rows"), "rows: is missing"),
        (lambda found: found["rows"][1].update(published="many"), "rows[1].published: must be a number, got 'many'"),
        (lambda found: found["rows"][0].update(status="guessed"), "rows[0].status: unknown"),
        (lambda found: found["claims"].append(3), "claims[5]: must be a section, got 3"),
        (lambda found: found.update(about=[]), "about: must be a section, got []"),
    ],
)
def test_what_is_no_reproduction_is_refused(tmp_path, edit, message):
    found = json.loads(json.dumps(reproduce.Reproduction(rows(), [], [], ABOUT).plain()))
    edit(found)
    (tmp_path / "found.json").write_text(json.dumps(found))
    with pytest.raises(InputError) as error:
        reproduction_page(tmp_path / "found.json")
    assert str(error.value) == f"{tmp_path / 'found.json'}:1: {message}; give the JSON of `etasim reproduce` of this version"


def test_page_and_document_hold_every_figure_and_need_no_network(tmp_path, library):
    simulated = Evaluation("ok", summary={"total_cycles": 200}, phase_cycles={"ff": 120, "bp": 80})
    estimated = Evaluation("ok", summary={"total_cycles": 190}, phase_cycles={"ff": 105, "bp": 85})
    fidelity = reproduce.fidelity_rows("vgg16_cifar", simulated, estimated)
    board = [{"resource": "DSP48E1", "used": 1280, "available": 3600, "share_percent": 35.6, "fits": 1, "estimate": 0}]
    result = reproduce.Reproduction(rows(), fidelity, board, ABOUT)
    write_document(tmp_path / "a.md", result, [])
    write_page(page_of_reproduction(result, []), tmp_path / "a.html")
    document, page = ((tmp_path / name).read_text() for name in ("a.md", "a.html"))
    for figure in FIGURES:
        assert figure.figure in document
        assert figure.figure in page
    assert "| vgg16_cifar | -12.5 | +6.2 | -5.0 |" in document
    assert [row["within_tolerance"] for row in fidelity] == [False, True, True]
    assert "| DSP48E1 | 1,280 | 3,600 | 36 |" in document
    assert "n = 3, mean absolute error 0.00 %" in document
    assert "validated against hardware" not in document + page
    terminal = " ".join(printed(reproduction_tables(result)).split())
    for said in (*ABOUT.values(), *CAVEATS, *(claim.claim for claim in CLAIMS), "not reproduced: no data", *HEADINGS):
        for text in (document, html.unescape(page), terminal):
            assert " ".join(said.split()) in text, said
    json.dumps(rows())


def test_each_network_has_one_bar_however_often_it_moves(monkeypatch):
    """Without a terminal all bars are named in each line."""
    added = []

    def simulated(batch, workers, progressed, architecture):
        for share in (0.1, 0.5, 1.0):
            for network in NETWORKS:
                progressed(network, share, 100)
        return reproduce.Reproduction(rows(), [], [], ABOUT)

    def add(_, name):
        added.append(name)
        return lambda fraction, cycles: None

    monkeypatch.setattr(reproduce, "reproduce", simulated)
    monkeypatch.setattr(SimulationProgress, "add", add)
    result = CliRunner().invoke(commands.reproduce, ["--json"])
    assert result.exit_code == 0, result.output
    assert added == list(NETWORKS)
    assert json.loads(result.stdout)["found"]["chosen"] == "as it is", "what comes with the machine"
    for arguments, is_told in ((["--batch", "8"], True), (["--batch", "2"], False), (["eta_small"], False)):
        told = json.loads(CliRunner().invoke(commands.reproduce, ["--json", *arguments]).stdout)
        assert (told["found"] is not None, told["rows"][0]["left_open"] is not None) == (is_told, is_told), arguments
