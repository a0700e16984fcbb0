"""`etasim reproduce-accuracy`: the networks of the paper by their recipes, and the claims that they fill."""

import json

import numpy as np
import pytest
from command_line import invoke

torch = pytest.importorskip("torch")

from etasim.report.published import ACCURACY_NETWORKS, CLAIMS, trained_claims  # noqa: E402
from etasim.training import accuracy  # noqa: E402
from etasim.training.data import cifar  # noqa: E402


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """Files in CIFAR-10's binary format, of 20 images each."""
    monkeypatch.setitem(cifar.LAYOUTS, "cifar10", cifar.LAYOUTS["cifar10"]._replace(images={"train": 20, "test": 20}))
    folder, random = tmp_path / "cifar", np.random.default_rng(0)
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        random.integers(0, 10, (20, 3073)).astype(np.uint8).tofile(folder / f"{name}.bin")
    return folder


def test_each_network_has_a_run_for_each_scheme(tmp_path):
    runs = accuracy.runs_of(
        tmp_path, {"cifar10": tmp_path / "c", "imagefolder": tmp_path / "i"}, ["pint8", "fp32"], {"epochs": 3, "warmup": 0.5}
    )
    assert [run.recipe.network for run in runs] == [name for name in ACCURACY_NETWORKS for _ in range(2)]
    assert {(run.recipe.epochs, run.recipe.warmup) for run in runs} == {(3, 0.5)}
    assert [run.recipe.data for run in runs[4:7]] == [f"cifar10:{tmp_path}/c"] * 2 + [f"imagefolder:{tmp_path}/i"]
    assert len({run.folder for run in runs}) == 10
    assert len(accuracy.runs_of(tmp_path, {"cifar10": tmp_path}, ["pint8"], {})) == 3


def test_accuracies_fill_the_claims(cifar10, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "ACCURACY_NETWORKS", {"resnet20_cifar": ACCURACY_NETWORKS["resnet20_cifar"]})
    options = ("--cifar10", cifar10, "--epochs", 1, "--train-samples", 20, "--test-samples", 10, "--threads", 1, "--schedule", "constant")
    refused = invoke("reproduce-accuracy", tmp_path / "a", *options)
    assert (refused.exit_code, "128 samples, but there are only 20 to train with" in refused.stderr) == (2, True)
    recipe = accuracy.load_recipe
    monkeypatch.setattr(accuracy, "load_recipe", lambda name, given={}: recipe(name, dict(given) | ({"batch": 10} if given else {})))
    result = invoke("reproduce-accuracy", tmp_path / "a", *options, "--schemes", "pint8,fp32")
    assert result.exit_code == 0, result.stderr
    rows = json.loads((tmp_path / "a/accuracy.json").read_text())["rows"]
    assert [(row["network"], row["scheme"], row["iterations"]) for row in rows] == [
        ("resnet20_cifar", name, 2) for name in ("pint8", "fp32")
    ]
    claims = trained_claims(tmp_path / "a")
    assert [claim.claim for claim in claims] == [claim.claim for claim in CLAIMS]
    assert [claim.verdict for claim in claims].count("trained") == 1
    best = [100 * row["best_accuracy"] for row in rows]
    assert claims[1].reason == (
        f"best test accuracy: pint8 {best[0]:.2f} % (1 epochs), fp32 {best[1]:.2f} % (1 epochs); the abstract gives no figure"
    )
    again = invoke("reproduce-accuracy", tmp_path / "a", *options, "--schemes", "pint8,fp32")
    assert (again.exit_code, again.stderr) == (0, "")


def test_what_is_missing_is_said(tmp_path):
    result = invoke("reproduce-accuracy", tmp_path / "a")
    assert (result.exit_code, "--imagenet must say where images lie" in result.stderr) == (2, True)
    assert "--data: --cifar10 and --imagenet say" in invoke("reproduce-accuracy", tmp_path / "a", "--data", "digits").stderr
    result = invoke("reproduce", "--accuracy", tmp_path)
    assert (result.exit_code, result.stderr) == (2, f"{tmp_path}/accuracy.json: cannot be read: No such file or directory\n")
    (tmp_path / "accuracy.json").write_text('{"rows": [{"network": "resnet20_cifar"}]}')
    result = invoke("reproduce", "--accuracy", tmp_path)
    assert (result.exit_code, result.stderr) == (2, f"{tmp_path}/accuracy.json: damaged: not what etasim reproduce-accuracy writes\n")
