"""`etasim selfcheck`: figures by hand, the commands with simulations replaced, and both studies on two machines for real."""

import csv
import json
import os

import numpy as np
import pytest
from command_line import invoke
from hypothesis import given
from hypothesis import strategies as st
from run_results import make_result

from etasim import machine
from etasim.explore.points import POINTS
from etasim.explore.selfcheck import doubting, estimating, monotone, running
from etasim.explore.selfcheck.bars import bar, passes
from etasim.explore.selfcheck.changes import Change
from etasim.explore.selfcheck.machines import Trial
from etasim.explore.selfcheck.page import text
from etasim.explore.selfcheck.ranking import rank_correlation, ranks
from etasim.explore.selfcheck.tables import change_cells, network_cells, worst_changes
from etasim.machine.errors import DeadlockError
from etasim.machine.result import TypedRow
from etasim.mapping import InfeasibleError

SMALL = ("--machines", 2, "--network", "digits_cnn", "--workers", 1)


def test_equal_values_share_the_mean_of_their_places():
    assert ranks([30.0, 10.0, 20.0, 20.0]).tolist() == [4, 1, 2.5, 2.5]


def test_rank_correlation_by_hand():
    assert rank_correlation([1, 2, 3], [10, 200, 3000]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(1 - 6 * 4 / (5 * 24))  # without ties
    assert rank_correlation([1, 2], [7, 7]) is None
    assert rank_correlation([1], [1]) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=40))
def test_rank_correlation_is_that_of_scipy(pairs):
    stats = pytest.importorskip("scipy.stats")
    a, b = map(list, zip(*pairs, strict=True))
    own = rank_correlation(a, b)
    if own is None:
        assert len(set(a)) == 1 or len(set(b)) == 1
    else:
        assert own == pytest.approx(stats.spearmanr(a, b).statistic)


def test_what_is_not_known_meets_no_bar():
    assert [bar("a", found, 2.0)["met"] for found in (1.9, 2.0, 2.1, None)] == [True, True, False, False]
    assert [bar("a", found, 0.97, is_least=True)["met"] for found in (0.98, 0.97, 0.96, None)] == [True, True, False, False]
    assert passes({"bars": [bar("a", 1, 2)]})
    assert not passes({"bars": [bar("a", 1, 2), bar("b", 3, 2)]})


def ended(cycles, gops=1.0, status="ok"):
    is_ok = status == "ok"
    return TypedRow(
        {"status": status, "total_cycles": cycles if is_ok else None, "throughput_gops": gops if is_ok else None, "reason": "why"}
        | {"label": "machine 0", "network": "digits_cnn", "batch": 1, "fidelity": "cycle"}
    )


def made_pairs(rows):
    """A pair of points for each (key, before, after) of ``rows``, and the rows by point."""
    found, known = [], {}
    for number, (key, before, after) in enumerate(rows):
        trials = [Trial("eta_small", {"array.psum_depth": depth, "array.lanes": number}, "digits_cnn", 1) for depth in (8, 16)]
        points = [running.point(trial, f"machine {number}") for trial in trials]
        found.append(monotone.Pair(Change(key, 8, 16, *trials), *points))
        known |= {point.point_id: row for point, row in zip(points, (before, after), strict=True)}
    return found, known


def test_slower_cases_are_counted_by_change():
    rows = [("a", ended(1000), ended(1010)), ("a", ended(1000), ended(1011)), ("a", ended(1000), ended(900))]
    rows += [("b", ended(1000), ended(1050)), ("b", ended(1000), ended(0, status="infeasible"))]
    rows += [("b", ended(0, status="infeasible"), ended(5)), ("b", ended(1000), ended(0, status="failed"))]
    found = monotone.findings(*made_pairs(rows))
    assert change_cells(found)[1:] == [
        ["a", "3", "1", "+1.10", "+1.00", "0", "0"],
        ["b", "1", "1", "+5.00", "+5.00", "1", "1"],
        ["all", "4", "2", "+5.00", "+1.05", "1", "1"],
    ]
    assert [(each["found"], each["met"]) for each in found["bars"]] == [(50, False), (5, False), (1, False)]
    assert [each["change_percent"] for each in found["worst"]] == [5.0, 1.1]
    worst = worst_changes(found)
    assert worst[0] == "+5.00 %: b from 8 to 16, 1,000 -> 1,050 cycles"
    assert worst[1] == "  etasim run eta_small digits_cnn --batch 1 --set array.psum_depth=16 --set array.lanes=3 --out DIR"


def test_the_bars_are_met_just_so():
    fine = [("a", ended(1000), ended(1000))] * 199
    found = monotone.findings(*made_pairs([*fine, ("a", ended(1000), ended(1030))]))
    assert passes(found)
    assert not passes(monotone.findings(*made_pairs([*fine, ("a", ended(1000), ended(1031))])))
    assert not passes(monotone.findings(*made_pairs([*fine[1:], *[("a", ended(1000), ended(1011))] * 2])))
    assert not passes(monotone.findings([], {})), "nothing was judged"


def test_cycles_an_image_are_compared_with_the_batch_before():
    points = monotone.batch_points(["digits_cnn"], (1, 2, 4))
    rows = dict(zip([point.point_id for point in points], [ended(100), ended(180), ended(364)], strict=True))
    found = monotone.batch_findings(points, rows)
    assert [(each["cycles_an_image"], each["change_percent"]) for each in found["batches"]] == [(100, None), (90, -10), (91, 1.11111111)]
    assert not passes(found)
    rows[points[1].point_id] = ended(0, status="infeasible")
    found = monotone.batch_findings(points, rows)
    assert [each["change_percent"] for each in found["batches"]] == [None, None, None]
    assert not passes(found)


def compared(figures):
    """Estimates and rows of machines with (estimated cycles, simulated cycles), of one GOPS at 1,000 cycles."""
    found, rows = [], {}
    for number, cycles in enumerate(figures):
        trial = Trial("eta_vc709", {"array.psum_depth": number + 1}, "digits_cnn", 1)
        points = [running.point(trial, f"machine {number}", fidelity) for fidelity in (running.ANALYTICAL, running.CYCLE)]
        found.append(estimating.Estimated(trial, *points))
        for point, count in zip(points, cycles, strict=True):
            rows[point.point_id] = ended(count, 1000 / count) if count else ended(0, status="infeasible")
    return found, rows


def test_estimated_batches_are_compared_with_an_estimate():
    points = monotone.batch_points(["digits_cnn", "resnet20_cifar"], (1, 2, 4, 8), 2)
    about = [(each.network, each.fidelity, each.batch) for each in points]
    assert about[:5] == [("digits_cnn", *each) for each in (("cycle", 1), ("cycle", 2), *(("analytical", n) for n in (2, 4, 8)))]
    assert len(about) == 10


def test_figures_of_the_estimate_by_hand():
    found = estimating.findings(*compared([(1000, 1000), (980, 1030), (2000, 1900), (3000, 3000), (None, None)]))
    (network,) = found["networks"]
    assert (network["machines"], network["infeasible"]) == (4, 1)
    assert network["rank_correlation"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert network["best_percent"] == pytest.approx(100 * (1 - 1000 / 1030))
    errors = [0, 100 * (1 - 980 / 1030), 100 * (2000 / 1900 - 1), 0]
    assert network["median_error_percent"] == pytest.approx(np.median(errors))
    assert network["high_error_percent"] == pytest.approx(np.percentile(errors, 95))
    assert [each["met"] for each in found["bars"]] == [False, False, False, True, True]
    assert [round(each["error_percent"], 2) for each in network["worst"]] == [5.26, -4.85, 0, 0]
    assert network_cells(found)[1] == ["digits_cnn", "4", "1", "0.8000", "2.91", "2.43", "5.20"]


def test_the_page_has_figures_bars_worst_and_its_command():
    found = estimating.findings(*compared([(1000, 1000), (1900, 2000)]))
    page = text(found, "etasim selfcheck estimate --machines 2")
    assert "Generated by `etasim selfcheck estimate --machines 2`." in page
    assert "| digits_cnn | 2 | 0 | 1.0000 | 0.00 | 2.50 | 4.75 |" in page
    assert "| digits_cnn: median error, in % | 2.5 | <= 2 | missed |" in page
    assert "-5.00 %: etasim run eta_vc709 digits_cnn --batch 1 --set array.psum_depth=2 --out DIR" in page


def test_nothing_judged_leaves_figures_unknown():
    found = estimating.findings(*compared([(None, None)]))
    assert network_cells(found)[1] == ["digits_cnn", "0", "1", "-", "-", "-", "-"]
    assert not passes(found)


@pytest.fixture
def simulated(monkeypatch):
    """The inputs of every simulation, which is replaced: cycles depend on the machine alone."""
    asked = []

    def simulate(inputs, watching):
        asked.append(inputs)
        if len(asked) in simulate.fails:
            raise simulate.fails[len(asked)]
        return make_result(inputs.network, inputs.architecture, inputs.batch, inputs.phases, analytical=inputs.fidelity == "analytical")

    simulate.fails = {}
    monkeypatch.setattr(machine, "simulate_inputs", simulate)
    monkeypatch.setattr(machine, "start_compiling", lambda *_: False)
    asked_and_fails = asked, simulate.fails
    return asked_and_fails


def rows_of(folder):
    with (folder / POINTS).open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "wall_seconds"} for row in csv.DictReader(file)]


def test_more_machines_and_the_same_again_simulate_only_what_is_missing(simulated, tmp_path):
    asked, _ = simulated
    first = invoke("selfcheck", "monotone", *SMALL, "--out", tmp_path / "a")
    n_first = len(asked)
    assert len(rows_of(tmp_path / "a")) >= n_first > 40
    again = invoke("selfcheck", "monotone", *SMALL, "--out", tmp_path / "a")
    assert (len(asked), again.stdout, again.exit_code) == (n_first, first.stdout, first.exit_code)
    invoke("selfcheck", "monotone", *SMALL, "--machines", 3, "--out", tmp_path / "a")
    n_more = len(asked)
    invoke("selfcheck", "monotone", *SMALL, "--machines", 3, "--out", tmp_path / "b")
    assert len(asked) == 2 * n_more
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b"), "in the order of the study, however often it was stopped"


def test_an_interrupted_study_keeps_its_rows_and_a_failed_one_is_tried_again(simulated, tmp_path):
    asked, fails = simulated
    fails |= {5: KeyboardInterrupt(), 8: DeadlockError("nobody moves")}
    assert invoke("selfcheck", "monotone", *SMALL, "--out", tmp_path / "a").exit_code == 130
    assert len(rows_of(tmp_path / "a")) == 4
    result = invoke("selfcheck", "monotone", *SMALL, "--out", tmp_path / "a")
    assert result.exit_code == 1
    assert "nobody moves" in result.stdout
    n_all = len(asked)
    assert "nobody moves" not in invoke("selfcheck", "monotone", *SMALL, "--out", tmp_path / "a").stdout
    assert len(asked) == n_all + 1
    invoke("selfcheck", "monotone", *SMALL, "--out", tmp_path / "b")
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b")


def test_changes_that_cannot_run_are_counted(simulated, tmp_path):
    _, fails = simulated
    fails |= {3: InfeasibleError("fits no tiling")}
    result = invoke("selfcheck", "monotone", *SMALL, "--json", "--out", tmp_path / "a")
    found = json.loads(result.stdout)
    changed = [row for row in rows_of(tmp_path / "a") if row["status"] == "infeasible"]
    assert "fits no tiling" in {row["reason"] for row in changed}
    assert found["total"]["infeasible"] == len(changed)
    assert found["passes"] == (result.exit_code == 0)


def test_rows_of_another_seed_are_refused_and_go_only_when_told(simulated, tmp_path):
    invoke("selfcheck", "monotone", *SMALL, "--out", tmp_path)
    before = (tmp_path / POINTS).read_bytes()
    result = invoke("selfcheck", "monotone", *SMALL, "--seed", 1, "--out", tmp_path)
    assert result.exit_code == 2
    assert "because --machines, --seed, --network or the study are others, or etasim has changed since" in result.stderr
    assert result.stderr.rstrip().endswith("with --overwrite")
    assert (tmp_path / POINTS).read_bytes() == before
    assert invoke("selfcheck", "monotone", *SMALL, "--seed", 1, "--overwrite", "--out", tmp_path).exit_code in (0, 1)
    assert (tmp_path / POINTS).read_bytes() != before


def test_batches_grow_on_the_shipped_machine(simulated, tmp_path):
    asked, _ = simulated
    result = invoke("selfcheck", "monotone", "--batches", "--network", "digits_cnn", "--workers", 1, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert [inputs.batch for inputs in asked] == [1, 2, 4, 8, 16, 32, 64]
    assert len({inputs.architecture for inputs in asked}) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("monotone", "--machines", 0), "--machines"),
        (("monotone", "--seed", -1), "--seed"),
        (("monotone", "--workers", 0), "--workers"),
        (("monotone", "--network", "digit_cnn"), "--network: unknown network 'digit_cnn'; allowed: digits_cnn, "),
        (("monotone", "--network", "resnet18_imagenet"), "--network: unknown network 'resnet18_imagenet'"),
        (("monotone", "--simulate-up-to", 4), "--simulate-up-to: is of --batches; random machines are simulated"),
        (("monotone", "--batches", "--seed", 3, "--machines", 5), "--machines: is of random machines; --batches simulates the shipped one"),
        (("estimate", "--network", "digit_cnn"), "did you mean 'digits_cnn'?"),
        (("estimate", "--machines", "many"), "--machines"),
        (("estimate", "--page", "/dev/null/page.md"), "--page"),
        (("estimates",), "estimates"),
    ],
)
def test_bad_options_end_with_status_2_and_leave_nothing(simulated, tmp_path, arguments, expected):
    result = invoke("selfcheck", *arguments, "--out", tmp_path / "a")
    assert result.exit_code == 2
    assert expected in result.stderr
    assert simulated[0] == []
    assert not (tmp_path / "a").exists()


def test_a_network_that_is_named_twice_is_one(simulated, tmp_path):
    result = invoke("selfcheck", "estimate", *SMALL, "--network", "digits_cnn", "--json", "--out", tmp_path)
    assert [each["network"] for each in json.loads(result.stdout)["networks"]] == ["digits_cnn"]
    assert len(simulated[0]) == 4


def test_a_folder_must_be_named():
    assert invoke("selfcheck", "monotone").exit_code == 2


def test_rows_do_not_depend_on_the_workers_nor_on_what_was_there(tmp_path):
    points = [each.estimate for each in estimating.comparisons(4, 0, ["digits_cnn"])]
    running.run_points(points[2:3], tmp_path / "two", 1)
    found = [running.run_points(points, tmp_path / name, workers) for name, workers in (("one", 1), ("two", 2))]
    assert [*found[0]] == [*found[1]] == [point.point_id for point in points]
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two")
    assert {row["status"] for row in rows_of(tmp_path / "one")} == {"ok"}


def test_both_studies_for_real(tmp_path):
    found = invoke("selfcheck", "estimate", *SMALL, "--json", "--page", tmp_path / "page.md", "--out", tmp_path / "one")
    assert found.exit_code in (0, 1), found.output
    (network,) = json.loads(found.stdout)["networks"]
    rows = rows_of(tmp_path / "one")
    assert [(row["label"], row["fidelity"]) for row in rows] == [
        (f"machine {number}", fidelity) for number in (0, 1) for fidelity in ("analytical", "cycle")
    ]
    cycles = [int(row["total_cycles"]) for row in rows]
    errors = [abs(100 * (cycles[i] / cycles[i + 1] - 1)) for i in (0, 2)]
    assert network["median_error_percent"] == pytest.approx(np.median(errors), rel=1e-6)
    assert "etasim selfcheck estimate --machines 2 --seed 0 --network digits_cnn" in (tmp_path / "page.md").read_text()
    result = invoke("selfcheck", "monotone", *SMALL, "--json", "--out", tmp_path / "monotone")
    total = json.loads(result.stdout)["total"]
    assert total["cases"] > 30
    assert total["failed"] == total["unjudged"] == 0
    assert os.listdir(tmp_path / "monotone") == [POINTS]


def test_an_estimate_that_is_far_off_without_a_doubt_is_told(monkeypatch):
    compared = doubting.comparisons(4, 0, ["digits_cnn"])
    cycles = dict(zip((one.simulation.point_id for one in compared), (100, 100, 100, 1000), strict=True))
    rows = {}
    for one in compared:
        for each in one.estimate, one.simulation:
            rows[each.point_id] = TypedRow({"status": "ok", "total_cycles": cycles.get(each.point_id, 125), "label": each.label})
    silent = compared[0].trial
    monkeypatch.setattr(doubting, "doubts_of_trial", lambda trial: [] if trial == silent else ["a reason"])
    found = doubting.findings(compared, rows)
    told = {each["bar"]: each["found"] for each in found["bars"]}
    assert told["beyond 20 % and not flagged"] == 1
    assert [line["machines"] for line in found["groups"]] == [4, 3, 1]
    assert [line["p100_percent"] for line in found["groups"]] == [87.5, 87.5, 25]
    assert not passes(found)


def test_half_of_the_machines_lie_beyond_what_was_compared():
    trials = [one.trial for one in doubting.comparisons(40, 3)]
    assert len({str(trial) for trial in trials}) == 40
    doubted = [bool(doubting.doubts_of_trial(trial)) for trial in trials if trial.network != "digits_cnn"]
    assert 0 < sum(doubted) < len(doubted)


def test_the_study_of_doubts_for_real(tmp_path):
    result = invoke("selfcheck", "doubts", *SMALL, "--out", tmp_path / "a", "--json")
    found = json.loads(result.stdout)
    assert found["groups"][0]["machines"] == 2
    assert found["failures"] == []
    assert result.exit_code == (0 if found["passes"] else 1)
