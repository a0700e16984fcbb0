"""What a user meets who runs `etasim run --functional`: lines, files, refusals; no part of the simulator is replaced."""

import csv

import numpy as np
import pytest
from command_line import invoke

from etasim import functional, load_architecture, load_network, simulate
from etasim.functional.samples import state_from
from etasim.functional.schemes import scheme_of
from etasim.program.events import COLLECTED

TRACE = """\
name: pair
input: {channels: 2, height: 5, width: 5}
classes: 3
layers:
  - {name: conv1, op: conv, out_channels: 4, kernel: 3, padding: 1}
  - {name: norm1, op: norm}
  - {name: relu1, op: relu}
  - {name: fc, op: linear, out_channels: 3, bias: true}
"""
SAMPLES, BATCH = 12, 3



def save(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    (folder / "pair.yaml").write_text(TRACE)
    random = np.random.default_rng(5)
    save(folder / "data.npz", inputs=random.standard_normal((SAMPLES, 2, 5, 5)).astype(np.float32), labels=random.integers(3, size=SAMPLES))
    return folder


def losses(folder):
    """The column of training.csv."""
    return [float(line.split(",")[1]) for line in (folder / "training.csv").read_text().splitlines()[1:]]


def run(folder, out, *options):
    return invoke("run", "eta_small", folder / "pair.yaml", "--batch", BATCH, *options, "--out", folder / out)


@pytest.fixture(scope="module")
def trained(folder):
    """Four iterations on the samples of a file."""
    result = run(folder, "trained", "--functional", "--tensors", folder / "data.npz", "--iterations", 4, "--seed", 7)
    assert result.exit_code == 0, result.output
    return result


def test_the_verdict_is_the_last_line(folder, trained):
    lines = trained.stdout.splitlines()
    assert lines[-1].startswith("values: exact (")
    assert lines[-1].endswith(" bytes)")
    assert [line.split()[-2] for line in lines if line.startswith("│") and "equal" in line] == ["equal"] * 4


def test_training_csv_has_a_row_for_each_iteration(folder, trained):
    with (folder / "trained/training.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["iteration", "loss", "accuracy", "reference_loss", "reference_accuracy"]
    assert [row["iteration"] for row in rows] == ["1", "2", "3", "4"]
    assert all((row["loss"], row["accuracy"]) == (row["reference_loss"], row["reference_accuracy"]) for row in rows)
    assert len({row["loss"] for row in rows}) == 4


def test_run_yaml_repeats_the_run(folder, trained):
    assert invoke("run", folder / "trained/run.yaml", "--out", folder / "repeated").exit_code == 0
    for name in ("results.json", "layers.csv", "run.yaml", "training.csv", "state.npz"):
        assert (folder / "trained" / name).read_bytes() == (folder / "repeated" / name).read_bytes(), name


def test_values_change_no_figure_of_the_machine(folder, trained):
    assert run(folder, "plain").exit_code == 0
    for name in ("results.json", "layers.csv"):
        assert (folder / "trained" / name).read_bytes() == (folder / "plain" / name).read_bytes()
    written = ["layers.csv", "results.json", "run.yaml", "run_info.json", "series.npz"]
    assert sorted(path.name for path in (folder / "plain").iterdir()) == written
    assert "functional" not in (folder / "plain/run.yaml").read_text()


def test_files_of_values_stay_until_they_are_allowed_to_go(folder):
    assert run(folder, "reused", "--functional").exit_code == 0
    state = (folder / "reused/state.npz").read_bytes()
    refused = run(folder, "reused")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
    assert "training.csv, state.npz" in refused.stderr
    assert (folder / "reused/state.npz").read_bytes() == state
    assert run(folder, "reused", "--force").exit_code == 0
    assert not {path.name for path in (folder / "reused").iterdir()} & {"state.npz", "training.csv"}


def test_training_does_not_go_on_over_the_state_that_it_starts_from(folder, trained):
    before = (folder / "trained/state.npz").read_bytes()
    result = run(folder, "trained", "--functional", "--tensors", folder / "data.npz", "--tensors", folder / "trained/state.npz")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{folder / 'trained/state.npz'}: --out: would be overwritten, but the command reads it")
    assert (folder / "trained/state.npz").read_bytes() == before


def test_training_goes_on_from_state_npz(folder, trained):
    """The state that a run leaves is what the next one starts from, to the bit; its exponents are calibrated anew, so that what
    follows is close to an uninterrupted run but not equal to it."""
    options = ("--functional", "--iterations", 2)
    assert run(folder, "first", *options, "--tensors", folder / "data.npz", "--seed", 7).exit_code == 0
    with np.load(folder / "data.npz") as data:
        rest = save(folder / "rest.npz", **{name: np.roll(data[name], -2 * BATCH, axis=0) for name in data.files})
    second = run(folder, "second", *options, "--tensors", rest, "--tensors", folder / "first/state.npz")
    assert second.exit_code == 0, second.output
    with np.load(folder / "first/state.npz") as saved:
        arrays = dict(saved)
    network = load_network(folder / "pair.yaml")
    state = state_from(network, scheme_of(load_architecture("eta_small")), arrays, seed=0)
    for name, (unit, role) in {"conv1.weight": ("conv1", "master_weight"), "fc.weight_momentum": ("fc", "momentum")}.items():
        np.testing.assert_array_equal(state.tensors[unit, role].real(), arrays[name])
    whole, parts = losses(folder / "trained"), losses(folder / "first") + losses(folder / "second")
    assert parts[:2] == whole[:2]
    assert parts[2:] == pytest.approx(whole[2:], rel=0.05)


def test_a_mismatch_is_printed_and_the_cycles_are_kept(folder, monkeypatch):
    execute = functional.run.execute

    monkeypatch.setattr(functional.run, "execute", lambda machine, log: execute(machine, log[log[:, 0] != COLLECTED]))
    result = run(folder, "wrong", "--functional", "--iterations", 3)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("values: layer conv1, phase ff: conv1.ofmap [0, 0, 0, 0]: got ")
    assert (folder / "wrong/results.json").exists()
    assert len((folder / "wrong/training.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("option", [("--tensors", "x.npz"), ("--iterations", 2), ("--seed", 1)])
def test_options_of_values_need_functional(folder, option):
    result = run(folder, "none", *option)
    assert result.exit_code == 2
    assert f"{option[0]}: is about values, which need 'functional'" in result.stderr
    assert not (folder / "none").exists()


def test_an_estimate_has_no_values(folder):
    result = run(folder, "none", "--functional", "--fidelity", "analytical")
    assert result.exit_code == 2
    assert "--functional: an estimate computes no values" in result.stderr


INPUTS = np.zeros((SAMPLES, 2, 5, 5), np.float32)
LABELS = np.zeros(SAMPLES, np.int64)
WEIGHT = np.ones((4, 2, 3, 3), np.float32)

BAD_ARRAYS = {
    "inputs of a wrong shape": (
        {"inputs": INPUTS[:, :1], "labels": LABELS},
        "inputs: must have the shape (samples, 2, 5, 5), got (12, 1, 5, 5)",
    ),
    "integer inputs": ({"inputs": INPUTS.astype(int), "labels": LABELS}, "inputs: must be floats, got int64"),
    "inputs that are no numbers": ({"inputs": INPUTS + np.nan, "labels": LABELS}, "inputs: holds NaN or infinity"),
    "no labels": ({"inputs": INPUTS}, "labels: is missing"),
    "no inputs": ({"labels": LABELS}, "inputs: is missing"),
    "labels of no class": ({"inputs": INPUTS, "labels": LABELS + 3}, "labels: must be 0 ... 2, got 3 ... 3"),
    "too few labels": ({"inputs": INPUTS, "labels": LABELS[1:]}, "labels: must have the shape (12,), got (11,)"),
    "float labels": ({"inputs": INPUTS, "labels": LABELS / 2}, "labels: must be integers, got float64"),
    "an unknown tensor": ({"conv1.wieght": WEIGHT}, "conv1.wieght: there is no such tensor in the network; did you mean 'conv1.weight'?"),
    "weights of a wrong shape": ({"conv1.weight": WEIGHT[1:]}, "conv1.weight: must have the shape (4, 2, 3, 3), got (3, 2, 3, 3)"),
    "integer weights": ({"conv1.weight": WEIGHT.astype(np.int8)}, "conv1.weight: must be floats, got int8"),
    "infinite weights": ({"conv1.weight": WEIGHT * np.inf}, "conv1.weight: holds NaN or infinity"),
    "too great": ({"conv1.weight": WEIGHT * 2.0**70}, "conv1.weight: needs the exponent 70, allowed: -64 ... 63"),
    "too small": ({"fc.bias": np.full(3, 2.0**-70)}, "fc.bias: needs the exponent -70, allowed: -64 ... 63"),
    "a classifier of a wrong shape": (
        {"fc.weight": np.zeros((3, 99))},
        "fc.weight: must have the shape (3, 100) or (3, 4, 5, 5), got (3, 99)",
    ),
    "Python objects": ({"inputs": np.array([None]), "labels": LABELS}, "inputs: holds Python objects, numbers are expected"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_tensors_that_do_not_fit_are_refused(folder, case):
    arrays, message = BAD_ARRAYS[case]
    file = save(folder / "bad.npz", **arrays)
    result = run(folder, "none", "--functional", "--tensors", file)
    assert result.exit_code == 2
    assert f"{file}: {message}" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (folder / "none").exists()


def test_all_faults_are_reported_at_once(folder):
    file = save(folder / "bad.npz", **{"inputs": INPUTS[:, :1], "labels": LABELS + 9, "norm1.scale": np.ones(3), "x": LABELS})
    narrow = ("--set", "array.accumulator_width=24 bit")
    result = run(folder, "none", "--functional", "--tensors", file, *narrow)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert [line for line in lines if not line.startswith(("eta_small:1: conv1.ff: ", "eta_small:1: conv1.wg: ", "eta_small:1: fc."))] == [
        f"{file}: inputs: must have the shape (samples, 2, 5, 5), got (12, 1, 5, 5)",
        f"{file}: labels: must be 0 ... 2, got 9 ... 9",
        f"{file}: norm1.scale: must have the shape (4,), got (3,)",
        f"{file}: x: there is no such tensor in the network",
    ]


def test_a_name_in_two_files_is_refused(folder):
    files = [save(folder / name, **{"conv1.weight": WEIGHT}) for name in ("one.npz", "two.npz")]
    result = run(folder, "none", "--functional", "--tensors", files[0], "--tensors", files[1])
    assert result.exit_code == 2
    assert result.stderr == f"{files[1]}: conv1.weight: is in {files[0]} too\n"


def test_files_that_are_no_archives_are_refused(folder):
    whole = (folder / "data.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "text.npz").write_text("inputs: none\n")
    np.save(folder / "single.npy", INPUTS)
    damaged = bytearray(whole)
    damaged[400:500] = bytes(100)
    (folder / "damaged.npz").write_bytes(damaged)
    expected = {
        "absent.npz": "cannot be read: No such file or directory",
        "": "cannot be read: Is a directory",
        "cut.npz": "not an .npz archive, or a truncated one",
        "text.npz": "not an .npz archive, or a truncated one",
        "single.npy": "not an .npz archive, or a truncated one",
        "damaged.npz": "inputs: is not an array, or damaged",
    }
    for name, message in expected.items():
        result = run(folder, "none", "--functional", "--tensors", folder / name)
        assert result.exit_code == 2, name
        assert result.stderr.startswith(f"{folder / name}: {message}")
        assert len(result.stderr.splitlines()) == 1


def test_what_the_machine_cannot_compute_is_refused_at_once(folder):
    sets = ("--set", "data.pre_normalization=32 bit", "--set", "data.momentum=32 bit")
    result = run(folder, "none", "--functional", *sets)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "--set:1: data.pre_normalization: values: data.pre_normalization must be 16 bit, got 32 bit",
        "--set:2: data.momentum: values: data.momentum must be 16 bit, got 32 bit",
    ]


def test_phases_that_lack_their_operands_are_refused(folder):
    result = run(folder, "none", "--functional", "--phases", "ff,wg")
    assert result.exit_code == 2
    assert result.stderr == "--phases: wg needs bp\n"


def test_a_damaged_functional_section_names_its_lines(folder, trained):
    text = (folder / "trained/run.yaml").read_text()
    for old, new in (("seed: 7", "seed: -7"), ("iterations: 4", "iterations: many"), ("  tensors: [", "  files: [")):
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "damaged.yaml").write_text(text)
    result = invoke("run", folder / "damaged.yaml", "--out", folder / "none")
    assert result.exit_code == 2
    assert "functional.seed: must be a whole number of at least 0, got -7" in result.stderr
    assert "functional.iterations: must be a whole number of at least 1, got 'many'" in result.stderr
    assert "functional.files: unknown key; allowed: iterations, seed, tensors" in result.stderr


def test_the_values_of_a_result_have_names(folder):
    tensors = simulate(load_architecture("eta_small"), load_network(folder / "pair.yaml"), batch=2, functional=True).tensors
    maps = tensors["relu1.ofmap"]
    assert (maps.integers.shape, maps.integers.dtype, maps.codes().dtype) == ((2, 4, 5, 5), np.int64, np.uint8)
    np.testing.assert_array_equal(maps.real(), maps.integers * 2.0**maps.unit)
    names = "input.ofmap conv1.ofmap conv1.error conv1.weight_gradient norm1.scale_gradient fc.bias fc.ofmap relu1.mask"
    assert set(names.split()) <= set(tensors)
    with pytest.raises(KeyError, match=r"no tensor 'conv1.ofmp'; did you mean 'conv1.ofmap'"):
        tensors["conv1.ofmp"]
    with pytest.raises(TypeError, match="16-bit integers has no codes"):
        tensors["conv1.ofmap"].codes()
