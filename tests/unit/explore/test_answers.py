"""Questions about an exploration: the answers against its own table, and the tables within 100 columns."""

import csv
import json
import shutil

import pytest
from command_line import invoke

from etasim import machine
from etasim.config import load_architecture
from etasim.explore.database import Evaluations
from etasim.explore.pareto import pareto_front
from etasim.explore.pictures import EXPLORED, _progress
from etasim.explore.scores import directions, scores
from etasim.report.board import board_rows
from etasim.report.metrics import summary
from etasim.workload import load_network

SPACE = """\
architecture: eta_vc709
networks: [digits_cnn, NETWORK]
batch: [1, 2]
set: {noc.columns: auto, noc.rows: auto, noc.placement: auto}
axes:
  - {key: array.clusters, range: {from: 1, to: 3}}
  - {key: array.lanes, powers_of_two: {from: 4, to: 16}}
  - {key: unified_core.lanes, values: [8, 24]}
constraints: [fits_board, dsp <= 900, power_w <= 20]
objectives:
  - {metric: throughput_gops, direction: maximize}
  - {metric: dsp, direction: minimize}
fidelity: screen
"""
NETWORK = """\
name: tiny
input: {channels: 3, height: 8, width: 8}
classes: 10
layers:
  - {name: conv1, op: conv, out_channels: 8, kernel: 3, padding: 1}
  - {name: fc, op: linear, out_channels: 10}
"""
WIDTH = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A screened exploration, and what the command that made it printed."""
    folder = tmp_path_factory.mktemp("answers")
    (folder / "tiny.yaml").write_text(NETWORK)
    (folder / "space.yaml").write_text(SPACE.replace("NETWORK", "tiny.yaml"))
    done = invoke("explore", folder / "space.yaml", "--out", folder / "out", "--workers", "1", "--top", "4")
    assert done.exit_code == 0, done.output
    (folder / "printed").write_text(done.stdout)
    return folder


@pytest.fixture
def out(folder):
    return folder / "out"


def asked(*arguments):
    done = invoke(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def rows_of(out, **having):
    with (out / "points.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[name] == value for name, value in having.items())]


def throughput(out, point, fidelity):
    rows = rows_of(out, point=str(point), fidelity=fidelity)
    assert len(rows) == 2
    return (float(rows[0]["throughput_gops"]) * float(rows[1]["throughput_gops"])) ** 0.5


def test_the_front_was_simulated_and_the_error_of_the_estimate_is_that_of_the_table(out):
    answer = asked("best", out)
    assert (answer["fidelity"], answer["front"]) == ("cycle", True)
    simulated = {int(row["point"]) for row in rows_of(out, fidelity="cycle")}
    assert len(simulated) == 4
    assert {design["point"] for design in answer["designs"]} <= simulated
    for design in answer["designs"]:
        cycle, estimate = (throughput(out, design["point"], fidelity) for fidelity in ("cycle", "analytical"))
        assert design["objectives"][0] == pytest.approx(cycle)
        assert design["off_percent"][0] == pytest.approx(100 * (estimate / cycle - 1))
        assert design["off_percent"][1] is None, "nobody estimates DSP blocks"
    values = [design["objectives"] for design in answer["designs"]]
    assert pareto_front(values, ("higher", "lower")) == list(range(len(values)))
    assert values == sorted(values, reverse=True)


def test_designs_that_are_not_shown_are_counted(out):
    whole = json.loads(invoke("best", out, "--by", "throughput_gops", "--top", "100", "--json").stdout)
    said = f"the first 1 of {whole['n_found']}"
    assert whole["n_found"] > 1
    assert said in invoke("best", out, "--by", "throughput_gops", "--top", "1").stdout
    assert "the first" not in invoke("best", out, "--by", "throughput_gops", "--top", "100").stdout


def test_every_design_that_is_best_meets_what_was_asked(out):
    answer = asked("best", out, "--by", "gops_per_w", "--where", "dsp < 600 and batch == 2", "--fidelity", "analytical")
    rows = {row["point"]: row for row in rows_of(out, fidelity="analytical", network="tiny", status="ok")}
    meeting = {int(point) for point, row in rows.items() if int(row["dsp"]) < 600 and row["batch"] == "2"}
    assert {design["point"] for design in answer["designs"]} <= meeting
    assert answer["n_found"] == len(meeting)
    values = [design["objectives"][0] for design in answer["designs"]]
    assert values == sorted(values, reverse=True)
    cheapest = asked("best", out, "--by", "dsp", "--top", "1", "--fidelity", "analytical")["designs"]
    assert cheapest[0]["objectives"][0] == min(int(row["dsp"]) for row in rows.values())


def test_what_cannot_be_asked_is_said_all_at_once(out):
    done = invoke("best", out, "--by", "gops_per_wat", "--where", "dps < 3", "--fidelity", "guess")
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert "did you mean 'gops_per_w'?" in done.stderr
    assert "did you mean 'dsp'?" in done.stderr
    assert "NAME:maximize" in invoke("best", out, "--by", "array.clusters").stderr
    assert invoke("best", out, "--by", "array.clusters:minimize").exit_code == 0
    assert "no design meets all of it" in invoke("best", out, "--where", "dsp < 0").stdout


def test_why_agrees_with_simulations_of_the_same_machines(out):
    best = asked("best", out)["designs"][-1]
    answer = asked("why", out, best["point"])
    overrides = {"noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto", **best["settings"]}
    network = load_network("digits_cnn")

    def estimate(**more):
        result = machine.simulate(load_architecture("eta_vc709", overrides | more), network, batch=best["batch"], fidelity="analytical")
        return summary(result)["throughput_gops"]

    rungs = {row["name"]: row for row in answer["ladders"]["digits_cnn"]["rungs"]}
    assert rungs["as it is"]["throughput_gops"] == estimate()
    assert rungs["DRAM"]["throughput_gops"] == estimate(**{"dram.ideal": True})
    assert rungs["DRAM"]["change_percent"] == pytest.approx(100 * (estimate(**{"dram.ideal": True}) / estimate() - 1))
    assert rungs["all together"]["throughput_gops"] >= max(
        rungs[name]["throughput_gops"] for name in ("DRAM", "NoC", "buffers", "unified core")
    )
    assert rungs["peak of the array"]["throughput_gops"] >= rungs["all together"]["throughput_gops"]
    changes = {name: row["change_percent"] for name, row in rungs.items() if name in ("DRAM", "NoC", "buffers", "unified core")}
    assert answer["ladders"]["digits_cnn"]["limit"] == max(changes, key=changes.get)
    constraints = {entry["constraint"]: entry for entry in answer["constraints"]}
    dsp = best["resources"]["dsp"]
    assert constraints["dsp <= 900"]["headroom_percent"] == pytest.approx(100 * (900 - dsp) / 900)
    shares = [row["share_percent"] for row in board_rows(load_architecture("eta_vc709", overrides)) if row["resource"] != "DRAM channels"]
    assert constraints["fits_board"]["headroom_percent"] == pytest.approx(100 - max(shares))
    assert all(entry["holds"] for entry in constraints.values())
    assert sum(answer["cluster_shares"]["tiny"].values()) == pytest.approx(1)


def test_the_next_steps_are_the_neighbours_in_the_table(out):
    point = asked("best", out)["designs"][0]["point"]
    steps = asked("why", out, point)["steps"]
    estimates = {row["point"]: row for row in rows_of(out, fidelity="analytical", network="tiny")}
    own = throughput(out, point, "analytical")
    assert {step["axis"] for step in steps} == {"array.clusters", "array.lanes", "unified_core.lanes", "batch"}
    for step in steps:
        row = estimates[str(step["point"])]
        assert (step["status"], step["reason"]) == (row["status"], row["reason"])
        change = step["change_percent"][0]
        assert (change is None) == (row["throughput_gops"] == "")
        if change is not None:
            assert change == pytest.approx(100 * (throughput(out, step["point"], "analytical") / own - 1), abs=1e-6)


def test_why_of_designs_that_are_no_good_says_so(out):
    by_status = {row["status"]: row["point"] for row in rows_of(out, fidelity="analytical")}
    for status in ("infeasible", "excluded"):
        answer = asked("why", out, by_status[status])
        assert answer["status"] == status
        assert answer["reason"]
        assert invoke("why", out, by_status[status]).exit_code == 0
    assert "points are numbers from 0 to 35" in invoke("why", out, "36").stderr


def test_the_bottleneck_of_a_machine_is_where_idealising_brings_most():
    network = load_network("digits_cnn")
    answer = asked("bottleneck", "eta_vc709", "digits_cnn", "--batch", "2", "--set", "dram.channels=1")

    def gops(**overrides):
        result = machine.simulate(
            load_architecture("eta_vc709", {"dram.channels": 1, **overrides}), network, batch=2, fidelity="analytical"
        )
        return summary(result)["throughput_gops"]

    rungs = {row["name"]: row["throughput_gops"] for row in answer["ladder"]}
    assert rungs["as it is"] == gops()
    assert rungs["unified core"] == gops(**{"unified_core.ideal": True})
    assert answer["limit"] == max(("DRAM", "NoC", "buffers", "unified core"), key=lambda name: rungs[name])
    assert set(answer["cluster_shares"].values()) == {None}
    simulated = asked("bottleneck", "eta_vc709", "digits_cnn", "--batch", "1", "--fidelity", "cycle")
    assert sum(simulated["cluster_shares"].values()) == pytest.approx(1)
    bad = invoke("bottleneck", "eta_vc70", "digits", "--batch", "0", "--fidelity", "x")
    assert bad.exit_code == 2
    assert "--fidelity" in bad.stderr


def test_comparing_adds_up(folder, out, tmp_path):
    designs = asked("best", out)["designs"]
    a, b = (f"{out}:{designs[i]['point']}" for i in (0, -1))
    answer = asked("compare", a, b, "--network", "digits_cnn")
    cycles = {row["name"]: (row["a"], row["b"]) for row in answer["metrics"]}["total_cycles"]
    assert tuple(sum(row[side] for row in answer["layers"]) for side in ("a_cycles", "b_cycles")) == cycles
    assert sum(row["gain_cycles"] for row in answer["layers"]) == cycles[0] - cycles[1]
    rows = [rows_of(out, point=str(designs[i]["point"]), fidelity="cycle", network="digits_cnn")[0] for i in (0, -1)]
    assert cycles == tuple(int(row["total_cycles"]) for row in rows)
    differing = {row["key"]: (row["a"], row["b"]) for row in answer["architecture"]}
    first, last = (designs[i]["settings"] for i in (0, -1))
    assert {key: (first[key], last[key]) for key in first if first[key] != last[key]}.items() <= differing.items()
    for name in ("x", "y"):
        ran = invoke(
            "run", "eta_vc709", "digits_cnn", "--batch", "1" if name == "x" else "2", "--fidelity", "analytical", "--out", tmp_path / name
        )
        assert ran.exit_code == 0, ran.output
    results = asked("compare", tmp_path / "x", tmp_path / "y")
    assert results["architecture"] == []
    assert results["same_network"]
    itself = asked("compare", tmp_path / "x", tmp_path / "x")
    assert all(row["change_percent"] in (0, None) for row in itself["metrics"])
    assert all(row["gain_cycles"] == 0 for row in itself["layers"])
    mixed = asked("compare", tmp_path / "x", a, "--network", "tiny")
    assert not mixed["same_network"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("OUT:0", "OUT:1"), "--network: must say which of the networks; allowed: digits_cnn, tiny"),
        (("OUT:0", "OUT:1", "--network", "tinny"), "did you mean 'tiny'?"),
        (("OUT", "OUT:1"), "name one of its points"),
        (("OUT:99", "OUT:1", "--network", "tiny"), "99 is no design of this space"),
        (("nowhere", "OUT:1"), "cannot be read"),
    ],
)
def test_what_cannot_be_compared_is_said(out, arguments, message):
    done = invoke("compare", *(argument.replace("OUT", str(out)) for argument in arguments))
    assert done.exit_code == 2
    assert message in done.stderr


def test_tables_fit_100_columns_also_in_a_pipe(folder, out):
    point = asked("best", out)["designs"][0]["point"]
    texts = [(folder / "printed").read_text().rpartition("all evaluations in")[0]]
    for arguments in (("best", out), ("best", out, "--by", "power_w"), ("why", out, point), ("bottleneck", "eta_vc709", "digits_cnn"),
                      ("compare", f"{out}:{point}", f"{out}:{point}", "--network", "tiny")):  # fmt: skip
        done = invoke(*arguments)
        assert done.exit_code == 0, done.output
        texts.append(done.stdout)
    assert max(len(line) for text in texts for line in text.splitlines()) <= WIDTH
    assert all("analytical estimate" in text or "cycle model" in text for text in texts), "an estimate is called one"


@pytest.mark.parametrize("picture", ["pareto", "parallel", "sensitivity", "convergence"])
def test_pictures_are_drawn(out, tmp_path, picture):
    options = ["-x", "power_w", "-y", "images_per_s", "--colour", "dsp"] if picture == "pareto" else []
    for suffix, more in ((".png", []), (".svg", options)):
        path = tmp_path / f"{picture}{suffix}"
        done = invoke("plot", out, picture, "-o", path, *more)
        assert done.exit_code == 0, done.output
        assert path.stat().st_size > 5000
    assert "estimate" in path.read_text() or picture == "pareto"


def test_all_pictures_are_drawn_with_what_they_show(out, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(out, folder)
    done = invoke("plot", folder, "all", "--format", "svg", "--width", "88mm")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.split() == [str(folder / f"{name}.svg") for name in EXPLORED]
    tables = {name: list(csv.DictReader((folder / f"{name}.csv").read_text().splitlines())) for name in EXPLORED}
    assert all(tables.values())
    found = asked("best", out)["designs"]
    front = {int(row["point"]) for row in tables["pareto"] if row["on_front"] == "True" and row["fidelity"] == "analytical"}
    assert {design["point"] for design in found} <= front
    assert not len(tables["convergence"]) < 2
    assert max(float(row["reached"]) for row in tables["convergence"]) == 1


def test_all_pictures_of_nothing_are_refused(tmp_path):
    assert invoke("plot", tmp_path, "all").exit_code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pareto", "-x", "powr_w"), "did you mean 'power_w'?"),
        (("pareto", "-x", "array.clusters"), "-x: say which direction is better"),
        (("pareto", "--colour", "busy_share:maximize", "-x", "busy_share:maximize"), ""),
        (("sensitivity", "-x", "clusters"), "-x: 'clusters' is no axis of space; allowed: array.clusters"),
        (("parallel", "-o", "x.doc"), "unknown picture format"),
    ],
)
def test_pictures_that_cannot_be_drawn_say_why(out, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = invoke("plot", out, *arguments, *(() if "-o" in arguments else ("-o", tmp_path / "picture.png")))
    assert done.exit_code == (2 if message else 0), done.output
    assert message in done.stderr


def test_convergence_counts_what_was_asked_for(out):
    with Evaluations(out) as evaluations:
        found = [score for score in scores(evaluations, "analytical") if score.is_feasible]
        better = directions(evaluations.space.objectives)
    asked = [score.number for score in found]
    counts, shares = _progress(asked, {score.number: score for score in found}, evaluations.space.objectives)
    assert shares == sorted(shares)
    assert (shares[-1], counts[-1]) == (1, len(asked))
    front = pareto_front([score.known for score in found], better)
    assert len(counts) - 1 >= len(front), "every design of the front was new once"


def test_the_sensitivity_of_any_machine_is_that_of_its_estimates():
    rows = asked("sensitivity", "eta_small", "--network", "digits_cnn", "--workers", "1")["rows"]
    by_name = {(row["group"], row["name"]): row for row in rows}
    assert {row["architecture"] for row in rows} == {"eta_small"}

    def gops(**overrides):
        machine_of = load_architecture("eta_small", overrides)
        return summary(machine.simulate(machine_of, load_network("digits_cnn"), fidelity="analytical"))["throughput_gops"]

    assert by_name["base", "as it is"]["throughput_gops"] == gops()
    assert by_name["ladder", "DRAM"]["throughput_gops"] == gops(**{"dram.ideal": True})
    assert by_name["what if", "batch 4"]["throughput_gops"] == gops(**{"training.batch": 4})
    assert "no such file or shipped name" in invoke("reproduce", "eta_smal").stderr
