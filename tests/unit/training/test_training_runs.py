"""`etasim train` and `etasim compare-schemes`: runs that can be killed and continued, and bad input."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import invoke

from etasim import load_architecture, load_network, simulate
from etasim.report.metrics import summary

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from etasim.training import checkpoint, compare, load_scheme, loop  # noqa: E402
from etasim.training.pictures import draw_cells  # noqa: E402
from etasim.training.quantizer import NotFiniteError  # noqa: E402
from etasim.training.recipe import Recipe  # noqa: E402

QUICK = ("train", "resnet8_narrow", "--train-samples", "32", "--batch", "16", "--threads", "1", "--epochs")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return invoke


def weights(folder: Path) -> dict:
    return torch.load(folder / checkpoint.CHECKPOINT, weights_only=True)["model"]


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) if isinstance(a[k], torch.Tensor) else a[k] == b[k] for k in a)


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(run, tmp_path):
    assert run(*QUICK, 2, "--out", "whole").exit_code == 0
    code = "from etasim.cli import main; main()"
    environment = os.environ | {"PYTHONPATH": str(Path(loop.__file__).parents[2])}
    command = [sys.executable, "-c", code, *QUICK, "2", "--out", "killed"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    while not (tmp_path / "killed" / checkpoint.CHECKPOINT).exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    refused = run(*QUICK, 2, "--out", "killed")
    assert (refused.exit_code, "--resume continues" in refused.stderr) == (2, True)
    assert run(*QUICK, 2, "--out", "killed", "--resume").exit_code == 0
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    for name in (checkpoint.METRICS, checkpoint.TRACE, checkpoint.RECIPE):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    state = np.load(tmp_path / "whole" / checkpoint.STATE)
    assert {"conv1.weight", "conv1_norm.scale", "conv1.weight_momentum", "fc.bias", "inputs", "labels"} <= set(state.files)
    assert not list(tmp_path.rglob(".etasim-*"))


def test_a_checkpoint_of_another_scheme_is_refused_and_stays(run, tmp_path):
    assert run(*QUICK, 1, "--out", "a").exit_code == 0
    before = (tmp_path / "a" / checkpoint.CHECKPOINT).read_bytes()
    result = run(*QUICK, 1, "--out", "a", "--resume", "--scheme", "bfp8", "--seed", "4")
    assert result.exit_code == 2
    assert "scheme: the checkpoint has pint8" in result.stderr
    assert "seed: the checkpoint has 0, the command says 4" in result.stderr
    assert (tmp_path / "a" / checkpoint.CHECKPOINT).read_bytes() == before
    (tmp_path / "a" / checkpoint.CHECKPOINT).write_bytes(before[:1000])
    result = run(*QUICK, 1, "--out", "a", "--resume")
    assert (result.exit_code, "damaged" in result.stderr) == (2, True)


def test_a_run_that_diverges_names_the_first_tensor(run, tmp_path, monkeypatch):
    result = run(*QUICK, 2, "--out", "a", "--scheme", "fp32", "--norm", "batch", "--learning-rate", "1e30")
    assert result.exit_code == 2
    assert "holds NaN or infinity first, in iteration" in result.stderr
    assert "conv1" in result.stderr or "fc" in result.stderr or "block" in result.stderr

    def broken(self, images):
        raise NotFiniteError("conv1.error")

    monkeypatch.setattr(loop.QuantizedModel, "forward", broken)
    result = run(*QUICK, 1, "--out", "b")
    assert (result.exit_code, "resnet8_narrow:1: conv1.error: holds NaN" in result.stderr) == (2, True)


def test_ctrl_c_ends_with_130(run, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Trainer, "train_epoch", interrupted)
    assert run(*QUICK, 1, "--out", "a").exit_code == 130


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "resnet8", "--out", "a"), "did you mean 'resnet8_narrow'?"),
        (("train", "resnet8_narrow", "--out", "a", "--scheme", "pint9"), "did you mean 'pint8'?"),
        (("train", "resnet8_narrow", "--out", "a", "--data", "mnist"), "--data: mnist: unknown; allowed: cifar100:DIR"),
        (("train", "resnet8_narrow", "--out", "a", "--data", "cifar10:nowhere"), "holds no data_batch_1.bin"),
        (("train", "resnet8_narrow", "--out", "a", "--set", "error.format=pint99"), "--set:1: error.format: unknown data format"),
        (("train", "resnet8_narrow", "--out", "a", "--batch", "2000"), "only 1437 to train with"),
        (("compare-schemes", "--batches", "4,x", "--out", "a"), "--batches: must be whole numbers"),
        (("trace", "no.such:model", "-o", "a.yaml"), "ModuleNotFoundError"),
        (("trace", "resnet20_cifar", "-o", "a.yaml", "--input", "3x32"), "must be channels x height x width"),
        (("cost", "nowhere", "eta_small"), "recipe.json: cannot be read: No such file"),
    ],
)
def test_bad_input_has_status_2_and_writes_nothing(run, tmp_path, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_without_torch_the_commands_say_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setattr("etasim.report.extras.find_spec", lambda name: None)
    for arguments in (QUICK[:2], ("compare-schemes",)):
        result = run(*arguments, "--out", "a")
        assert (result.exit_code, "pip install 'etasim[train]'" in result.stderr) == (2, True)
    (tmp_path / "a.onnx").touch()
    result = run("import", "a.onnx", "-o", "a.yaml")
    assert (result.exit_code, "pip install 'etasim[onnx]'" in result.stderr) == (2, True)


def test_importing_etasim_does_not_import_torch():
    code = "import sys, etasim.cli, etasim.training; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(loop.__file__).parents[2], check=False).returncode == 0


def test_a_grid_is_trained_once_and_continued(run, tmp_path):
    grid = ("compare-schemes", "--schemes", "fp32,pint8+error.format=bfp8", "--seeds", "0,1", "--train-samples", "32", "--epochs", "1")
    first = run(*grid, "--out", "grid")
    assert first.exit_code == 0, first.stderr
    assert "pint8+error.format=bfp8" in first.stdout
    rows = list(csv.DictReader((tmp_path / "grid/runs.csv").read_text().splitlines()))
    assert [(row["scheme"], row["seed"], row["status"]) for row in rows] == [
        ("fp32", "0", "ok"), ("fp32", "1", "ok"), ("pint8+error.format=bfp8", "0", "ok"), ("pint8+error.format=bfp8", "1", "ok"),
    ]  # fmt: skip
    assert (tmp_path / "grid/accuracy.png").stat().st_size > 1000
    assert "--resume continues that grid" in run(*grid, "--out", "grid").stderr
    lines = (tmp_path / "grid/runs.csv").read_text().splitlines()
    (tmp_path / "grid/runs.csv").write_text("\n".join(lines[:3]) + "\n")
    assert run(*grid, "--out", "grid", "--resume").exit_code == 0
    assert (tmp_path / "grid/runs.csv").read_text().splitlines() == lines
    assert "another --out" in run(*grid[:-1], "2", "--out", "grid", "--resume").stderr


def test_a_run_that_diverges_in_fp32_says_where_in_one_line(run, tmp_path):
    """Names of layers, whatever torch says of the place; nothing that was written is replaced."""
    for norm, rate in (("batch", "1e30"), ("own", "1e10"), ("l1_group", "1e38")):
        result = run(*QUICK, 3, "--out", norm, "--scheme", "fp32", "--norm", norm, "--learning-rate", rate)
        assert result.exit_code == 2
        (line,) = [line for line in result.stderr.splitlines() if "NaN" in line]
        assert re.fullmatch(
            r"resnet8_narrow:1: [\w.]+: holds NaN or infinity first, (in|after) iteration \d+; earlier checkpoints are kept, a lower "
            r"--learning-rate may help", line,
        )  # fmt: skip
        rows = list(csv.DictReader((tmp_path / norm / "metrics.csv").open())) if (tmp_path / norm / "metrics.csv").exists() else []
        assert all(np.isfinite(float(value)) for row in rows for value in row.values())


def test_a_model_whose_test_is_not_finite_is_not_kept(run, tmp_path, monkeypatch):
    evaluate = loop.Trainer.evaluate

    def broken(self):
        self.model.body.fc.weight.data[0, 0] = float("inf")
        return evaluate(self)

    monkeypatch.setattr(loop.Trainer, "evaluate", broken)
    result = run(*QUICK, 1, "--out", "a", "--scheme", "fp32")
    assert result.exit_code == 2
    assert "resnet8_narrow:1: fc.weight: holds NaN or infinity first, after iteration 2" in result.stderr
    assert not (tmp_path / "a" / checkpoint.CHECKPOINT).exists()


def test_traces_and_costs(run, tmp_path):
    assert run("trace", "resnet8_narrow", "-o", "net.yaml").exit_code == 0
    trained = run(*QUICK, 1, "--out", "a")
    assert (trained.exit_code, "etasim cost a eta_vc709" in trained.stdout) == (0, True)
    assert "etasim cost" not in run(*QUICK, 1, "--out", "b", "--norm", "batch").stdout
    assert (tmp_path / "a" / checkpoint.TRACE).read_text() == (tmp_path / "net.yaml").read_text()
    result = run("cost", "a", "eta_vc709", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["iterations"], found["fidelity"], found["scheme"]) == (2, "analytical", "pint8")
    estimate = summary(simulate(load_architecture("eta_vc709"), load_network(tmp_path / "net.yaml"), batch=16, fidelity="analytical"))
    assert found["energy_excluded"] == estimate["energy_excluded"]
    assert found["training_energy_j"] == pytest.approx(2 * estimate["energy_mj"] / 1e3)
    assert found["training_time_s"] == pytest.approx(2 * estimate["time_ms"] / 1e3)
    text = run("cost", "a", "eta_vc709").stdout
    assert "2 iterations of batch 16 of resnet8_narrow on eta_vc709, estimated in closed form: " in text
    assert (" without " in text) == (estimate["energy_excluded"] != "nothing")


def test_a_run_with_running_scales_goes_on_in_such_a_machine(run):
    """Its running spreads and radial gradients too, to the last bit."""
    trained = run(*QUICK, 1, "--out", "a", "--norm", "running_l1", "--scheme", "pint8")
    assert "etasim cost a eta_vc709" in trained.stdout
    assert "on eta_vc709 with the formats of pint8 (numerics.normalization)" in run("cost", "a", "eta_vc709").stdout
    change = ("--set", "numerics.normalization=running")
    assert "on eta_vc709, estimated" in run("cost", "a", "eta_vc709", *change).stdout
    result = run("run", "eta_vc709", "a/network.yaml", "--batch", 4, "--functional", "--tensors", "a/state.npz", *change, "--out", "sim")
    assert (result.exit_code, "values: exact" in result.stdout) == (0, True)
    assert np.ptp(np.load("a/state.npz")["conv1_norm.running_spread"]) > 0


def refused_cost(run, tmp_path, architecture=("eta_vc709",), **changes):
    """Lines of `etasim cost` for a run whose scheme has ``changes``; nothing is trained."""
    scheme = load_scheme("pint8", {name.replace("__", "."): value for name, value in changes.items()})
    (tmp_path / "a").mkdir(exist_ok=True)
    checkpoint.write_recipe(tmp_path / "a", Recipe(network="resnet8_narrow", scheme=scheme), 100)
    if not (tmp_path / "a" / checkpoint.TRACE).exists():
        assert run("trace", "resnet8_narrow", "-o", tmp_path / "a" / checkpoint.TRACE).exit_code == 0
    result = run("cost", "a", *architecture)
    assert result.exit_code == 2, result.stdout
    return result.stderr.splitlines()


def test_what_the_machine_does_not_compute_has_no_cost(run, tmp_path):
    lines = refused_cost(run, tmp_path, normalization__kind="batch", activation__format="fp32", error__rounding="stochastic")
    place = "a/recipe.json: scheme."
    assert lines == [
        f"{place}activation: pint8 cannot be trained there: the machine rounds codes with a shared exponent, to nearest",
        f"{place}error: pint8 cannot be trained there: the machine rounds codes with a shared exponent, to nearest",
        f"{place}normalization.kind: pint8 cannot be trained there: the machine has l1_group and running_l1 only",
    ]

    other = ("eta_vc709", "--set", "numerics.normalization=batch")
    assert refused_cost(run, tmp_path, other) == [
        "--set:1: numerics.normalization: the machine has batch, the run was trained with sample"
    ]
    assert json.loads(run("cost", "a", "eta_vc709", "--json").stdout)["changed"] == {}


def test_a_cost_is_that_of_the_formats_that_were_trained(run, tmp_path):
    """Each key that ARCH has otherwise is changed and told; time and energy are those of that machine."""
    changes = {"weight__format": "bfp8", "error__format": "mxint8", "normalization__group": 4, "momentum__format": "bfp8"}
    refused_cost(run, tmp_path, ("eta_vc709", "--set", "numerics.normalization=batch"), **changes)
    found = json.loads(run("cost", "a", "eta_vc709", "--json").stdout)
    assert found["changed"] == {
        "numerics.weight_segments": 1, "numerics.error_format": "mxint8", "data.momentum": "8 bit", "numerics.normalization_group": 4,
    }  # fmt: skip
    machine, batch = load_architecture("eta_vc709", found["changed"]), found["batch"]
    estimate = summary(simulate(machine, load_network(tmp_path / "a" / checkpoint.TRACE), batch=batch, fidelity="analytical"))
    assert found["iteration_time_ms"] == pytest.approx(estimate["time_ms"])
    assert found["iteration_energy_mj"] == pytest.approx(estimate["energy_mj"])


NO_RECIPES = ("", "[]", "[" * 100_000, '{"batch": 1e999, "iterations": 1}', '{"batch": true, "iterations": 2, "scheme": {}}')


@pytest.mark.parametrize("text", NO_RECIPES)
def test_a_damaged_recipe_has_no_cost(run, tmp_path, text):
    (tmp_path / "recipe.json").write_text(text)
    result = run("cost", tmp_path, "eta_vc709")
    assert (result.exit_code, result.stderr) == (2, f"{tmp_path}/recipe.json: damaged: not the recipe of a training run\n")
    (tmp_path / "recipe.json").unlink()
    os.mkfifo(tmp_path / "recipe.json")
    assert "recipe.json: cannot be read: not a regular file" in run("cost", tmp_path, "eta_vc709").stderr


def test_a_damaged_table_of_runs_is_refused(run, tmp_path):
    grid = ("compare-schemes", "--schemes", "fp32", "--seeds", "0", "--train-samples", "32", "--epochs", "1", "--out", "grid")
    assert run(*grid).exit_code == 0
    text = (tmp_path / "grid/runs.csv").read_text()
    for damaged in (text.replace(",ok,", ",ok,x"), text.replace("fp32,l1_group", "fp32"), text + '"'):
        (tmp_path / "grid/runs.csv").write_text(damaged)
        result = run(*grid, "--resume")
        assert (result.exit_code, "runs.csv" in result.stderr, "damaged" in result.stderr) == (2, True, True)


@pytest.mark.parametrize("accuracies", [(0.9972222222222222,) * 3, (0.9, 0.95, 0.97), (0.7,)])
def test_bars_of_the_comparison_span_the_seeds(tmp_path, accuracies):
    runs = [
        {"scheme": "pint8", "norm": "l1_group", "batch": 32, "seed": seed, "status": "ok", "test_accuracy": accuracy}
        for seed, accuracy in enumerate(accuracies)
    ]
    (cell,) = compare.cells(runs)
    assert cell["least_accuracy"] <= cell["mean_accuracy"] <= cell["greatest_accuracy"]
    assert draw_cells([cell], tmp_path / "accuracy.png").stat().st_size > 0
