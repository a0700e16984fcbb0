"""Calibration files, the choice of machines, leave one out."""

import pytest
import yaml

from etasim.config import InputError, load_architecture
from etasim.explore import calibrate
from etasim.explore.calibration_space import AS_IT_IS, Proposal, load_calibration
from etasim.explore.findings import stored_findings
from etasim.explore.reproduce import left_open
from etasim.report.published import NETWORKS


@pytest.fixture
def space(tmp_path):
    """A file of two unknowns that vary together and one alone."""
    content = {
        "architecture": "eta_vc709",
        "networks": ["resnet20_cifar"],
        "tolerance_percent": 5,
        "together": [
            {"name": "lanes", "key": "unified_core.lanes", "values": [16, 20], "reason": "a test"},
            {"name": "batch", "key": "training.batch", "values": [2, 8], "reason": "a test"},
        ],
        "alone": [{"name": "link", "key": "noc.link_width", "values": ["128 bit", "100 bit"], "reason": "a test"}],
    }

    def write(**changes):
        path = tmp_path / "space.yaml"
        path.write_text(yaml.safe_dump(content | changes))
        return load_calibration(path)

    return write


def test_candidates_are_the_architecture_all_combinations_and_single_values(space):
    labels = [candidate.label for candidate in space().candidates]
    assert labels[0] == "as it is"
    assert len(labels) == len(set(labels)) == 1 + 3 + 2, "the combination that is the architecture is not listed twice"


def test_points_have_the_batch_of_their_machine_and_fidelities_differ(space):
    chosen = space()
    points = {fidelity: chosen.space(chosen.candidates, fidelity).points for fidelity in ("cycle", "analytical")}
    assert {point.batch for point in points["cycle"]} == {0, 2, 8}, "a machine that does not exist has no batch"
    assert not {p.point_id for p in points["cycle"]} & {p.point_id for p in points["analytical"]}


def test_a_reason_is_required(space):
    with pytest.raises(InputError, match="reason"):
        space(alone=[{"name": "link", "key": "noc.link_width", "values": ["128 bit"]}])


def test_a_neighbour_takes_the_values_of_each_machine(space):
    """Its keys, be they of the candidate or of the architecture as it is; all else, as the array, is its own."""
    asked = {"architecture": "vc706_8bit", "keys": ["training.batch", "unified_core"], "networks": ["digits_cnn"]}
    chosen = space(predict={"neighbours": [asked]})
    (relative,) = chosen.relatives
    by_label = {point.label: point for point in chosen.space_of(relative, chosen.candidates[:3], "cycle").points}
    at_16 = by_label["lanes=16, batch=8"].inputs
    assert (at_16.architecture.unified_core.lanes, at_16.batch, at_16.architecture.array.clusters) == (16, 8, 3)
    as_it_is = by_label[AS_IT_IS].inputs.architecture
    assert as_it_is.unified_core == load_architecture("eta_vc709").unified_core
    assert as_it_is.core == load_architecture("vc706_8bit").core


def test_what_is_wrong_with_a_neighbour_is_told_with_its_line(space):
    asked = {"architecture": "vc706", "keys": ["core.clok"], "networks": ["digits"]}
    with pytest.raises(InputError) as wrong:
        space(predict={"neighbours": [asked]})
    for part in ("neighbours[0].architecture", "'core.clok' is not a key of the architecture; did you mean 'core.clock'?", "networks[0]"):
        assert part in str(wrong.value)


def test_a_key_set_twice_is_refused(space):
    with pytest.raises(InputError, match="already set"):
        space(alone=[{"name": "more lanes", "key": "unified_core.lanes", "values": [48], "reason": "a test"}])


def test_a_network_without_published_figures_is_refused(space):
    with pytest.raises(InputError, match=r"space.yaml:\d+: networks\[1\]: the network 'digits_cnn' has no published throughput; allowed: "):
        space(networks=["resnet20_cifar", "digits_cnn"])


def test_the_shipped_space_loads():
    chosen = load_calibration("eta_vc709")
    assert tuple(network.name for network in chosen.networks) == NETWORKS
    assert len(chosen.candidates) > 100


def labels_and_views(candidates, screened, n):
    return [(choice.candidate.label, choice.blind_to) for choice in calibrate.promising(candidates, screened, n)]


def test_the_architecture_and_the_best_others_are_simulated():
    candidates = [Proposal(name, {}) for name in ("as it is", "a", "b", "c")]
    screened = {"as it is": {"x": 9.0, "y": 9.0}, "a": {"x": -4.0, "y": 1.0}, "b": {"x": 1.0, "y": 2.0}, "c": {"x": 0.0}}
    assert labels_and_views(candidates, screened, 2) == [("as it is", ()), ("b", ())]


def test_a_space_without_a_machine_that_runs_leaves_the_architecture_alone():
    candidates = [Proposal("as it is", {}), Proposal("a", {})]
    assert calibrate.promising(candidates, {}, 2) == [calibrate.Choice(candidates[0])]


def test_machines_that_fit_all_networks_but_one_are_simulated_too_and_known_as_blind_to_it():
    candidates = [Proposal(name, {}) for name in ("as it is", "a", "b", "c")]
    screened = {
        "as it is": {"x": 0.0, "y": 0.0, "z": 0.0}, "a": {"x": 2.0, "y": 2.0, "z": 2.0},
        "b": {"x": 0.0, "y": 1.0, "z": 9.0}, "c": {"x": 3.0, "y": 3.0, "z": 3.0},
    }  # fmt: skip
    assert labels_and_views(candidates, screened, 3) == [("as it is", ()), ("a", ("x", "y")), ("b", ("z",))]


JUDGED = {
    "tuned": {"x": 0.0, "y": 0.0, "z": 0.0},
    "a": {"x": 1.0, "y": 1.0, "z": 9.0},
    "b": {"x": 2.0, "y": 2.0, "z": -30.0},
    "c": {"x": 2.0, "y": 2.0, "z": 0.0},
}
BLIND_TO = {"tuned": (), "a": ("z",), "b": ("z", "x"), "c": ()}


def test_leave_one_out_does_not_look_at_the_network_it_predicts():
    """Neither the tuned machine nor one that all networks chose is in the pool, however well it fits."""
    table = {row["predicted"]: row for row in calibrate.leave_one_out(JUDGED, JUDGED, BLIND_TO, ["x", "y", "z"], 5)}
    assert (table["z"]["label"], table["z"]["error_percent"], table["z"]["n_machines"]) == ("a", 9.0, 2)
    assert (table["x"]["label"], table["x"]["error_percent"], table["x"]["n_machines"]) == ("b", 2.0, 1)
    assert (table["y"]["label"], table["y"]["error_percent"], table["y"]["n_machines"]) == (None, None, 0)


def test_the_interval_is_over_all_machines_that_fit_the_others():
    screened = {"far": {"x": 9.0, "y": 0.0, "z": 99.0}, "near": {"x": -5.0, "y": 5.0, "z": 40.0}}
    row = calibrate.leave_one_out(JUDGED, screened, BLIND_TO, ["x", "y", "z"], 5)[2]
    assert row["interval_simulated"] == {"n": 4, "least_percent": -30.0, "greatest_percent": 9.0}
    assert row["interval_estimated"] == {"n": 1, "least_percent": 40.0, "greatest_percent": 40.0}
    nothing = calibrate.leave_one_out(JUDGED, {}, BLIND_TO, ["x", "y", "z"], 5)[0]["interval_estimated"]
    assert nothing == {"n": 0, "least_percent": None, "greatest_percent": None}


def test_the_stored_calibration_is_of_the_machine_and_chose_it():
    """After a change of the machine or of its space the file is to be made anew (docs/calibration.md)."""
    machine = load_architecture("eta_vc709")
    found = stored_findings(machine)
    assert found is not None
    assert found["chosen"] == AS_IT_IS, "copy what was chosen into the architecture"
    worst = {entry["label"]: entry["worst_percent"] for entry in found["simulated"]}
    assert worst[AS_IT_IS] <= found["tolerance_percent"]
    unknowns = {unknown["name"]: (unknown["keys"], unknown["values"]) for unknown in found["unknowns"]}
    assert unknowns == {u.name: (list(u.key_paths), len(u.values)) for u in load_calibration("eta_vc709").unknowns}
    assert stored_findings(load_architecture("eta_vc709", {"unified_core.lanes": 25})) is None


def test_the_machine_stays_as_it_is_while_it_fits():
    judged = {"best": {"x": 0.1}, AS_IT_IS: {"x": -2.9}, "near": {"x": 1.9}, "nearer": {"x": -1.5}, "worse": {"x": 4.0}}
    n_changed = {"best": 3, AS_IT_IS: 0, "near": 1, "nearer": 1, "worse": 1}
    assert calibrate.choice(judged, n_changed, 3) == AS_IT_IS
    assert calibrate.choice(judged, n_changed, 2) == "nearer", "one unknown changes, not three"
    assert calibrate.choice(judged, n_changed, 1) == "best"
    assert calibrate.choice(judged, n_changed, 0.05) is None


def test_unknowns_that_change_are_counted(space):
    """What stays as it is changes nothing, however it is written, and keys of one unknown count once."""
    buffers = {"name": "buffers", "keys": ["buffers.weight.size", "buffers.error.size"], "reason": "a test"}
    clock = {"name": "clock", "key": "core.clock", "values": ["0.24 GHz", "200 MHz"], "reason": "a test"}
    found = space(together=[buffers | {"values": [["256 KiB", "1024 KiB"], ["1 MiB", "2 MiB"]]}, clock])
    assert [found.n_changed(candidate) for candidate in found.candidates] == [0, 0, 1, 1, 2, 1, 1]


def test_what_two_throughputs_leave_open_stands_beside_the_third():
    interval = {"n": 3, "least_percent": -10, "greatest_percent": 20}
    found = {"leave_one_out": [{"predicted": "resnet20_cifar", "interval_simulated": interval}]}
    row = {"network": "resnet20_cifar", "published": 600.0, "quantity": "throughput_gops"}
    assert left_open(found, row) == {"n": 3, "least": 540, "greatest": 720}
    assert left_open(found, row | {"quantity": "speedup"}) is None
    assert left_open(found, row | {"network": "vgg16_cifar"}) is None


def test_the_stored_calibration_predicts_what_its_pool_says():
    found = stored_findings(load_architecture("eta_vc709"))
    judged = {entry["label"]: entry["errors_percent"] for entry in found["simulated"]}
    blind_to = {entry["label"]: entry["blind_to"] for entry in found["simulated"]}
    assert blind_to[AS_IT_IS] == []
    again = calibrate.leave_one_out(judged, {}, blind_to, found["networks"], found["tolerance_percent"])
    for row, stored in zip(again, found["leave_one_out"], strict=True):
        assert {k: v for k, v in row.items() if k != "interval_estimated"} == {k: v for k, v in stored.items() if k != "interval_estimated"}


def test_a_calibration_resumes_where_it_was(space, tmp_path):
    asked = {"architecture": "eta_small", "keys": ["core.clock"], "networks": ["digits_cnn"]}
    chosen = space(together=[], alone=[], predict={"neighbours": [asked]})
    run = [chosen, tmp_path / "out", 1, 1]
    seen = []
    first = calibrate.calibrate(*run, False, seen.append, seen.append)
    assert [row["status"] for row in seen] == ["ok", "ok"]
    assert calibrate.calibrate(*run, True, seen.append, seen.append) == first
    assert [e["figure"] for e in first["predictions"] if e["neighbour"] == "eta_small"] == ["throughput_gops"]
    assert first["fidelity_difference"][0]["max_percent"] < 10
