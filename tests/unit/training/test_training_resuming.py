"""Runs that end in the middle of an epoch, grow, keep their best weights, or are of a model that etasim does not know."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import invoke

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from etasim.training import checkpoint, loop  # noqa: E402
from etasim.training.recipe import load_recipe  # noqa: E402

FEW = ("--train-samples", 96, "--test-samples", 64, "--batch", 16, "--threads", 1)
QUICK = ("train", "resnet8_narrow", *FEW)
ROOT = Path(loop.__file__).parents[2]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return invoke


def content(folder, name=checkpoint.CHECKPOINT):
    return torch.load(folder / name, weights_only=True)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) if isinstance(a[k], torch.Tensor) else a[k] == b[k] for k in a)


def started(tmp_path, *arguments):
    command = [sys.executable, "-c", "from etasim.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)


OPTIONS = ("--epochs", 2, "--ema", 0.9, "--clip", 5, "--nesterov", "--warmup", 1, "--data", "digits", "--augment", "mirror-crop")


def killed_within_an_epoch(tmp_path, *arguments):
    """A run that ends at its first checkpoint, or some iterations later."""
    process = started(tmp_path, *arguments, "--checkpoint-every", 1, "--out", "killed")
    while not (tmp_path / "killed" / checkpoint.CHECKPOINT).exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = content(tmp_path / "killed")
    assert (found["epoch"], 0 < found["position"] < 6) == (0, True)


def test_a_run_that_is_killed_within_an_epoch_ends_with_the_same_weights(run, tmp_path):
    assert run(*QUICK, *OPTIONS, "--out", "whole").exit_code == 0
    killed_within_an_epoch(tmp_path, *QUICK, *OPTIONS)
    assert run(*QUICK, *OPTIONS, "--out", "killed", "--resume").exit_code == 0
    whole, killed = content(tmp_path / "whole"), content(tmp_path / "killed")
    assert same(whole["model"], killed["model"])
    assert same(whole["average"], killed["average"])
    assert whole["history"] == killed["history"]
    for name in (checkpoint.METRICS, checkpoint.STATE, checkpoint.RECIPE):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_a_kill_while_a_checkpoint_is_written_leaves_the_old_one(run, tmp_path, monkeypatch):
    assert run(*QUICK, "--epochs", 1, "--out", "a").exit_code == 0
    before = (tmp_path / "a" / checkpoint.CHECKPOINT).read_bytes()
    code = (
        "import os, signal, torch; from etasim.cli import main; save = torch.save\n"
        "def killed(content, file):\n    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "torch.save = killed; main()"
    )
    command = [sys.executable, "-c", code, *map(str, (*QUICK, "--epochs", 2, "--checkpoint-every", 2, "--out", "a", "--resume"))]
    ended = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "a" / checkpoint.CHECKPOINT).read_bytes() == before
    assert run(*QUICK, "--epochs", 2, "--out", "a", "--resume").exit_code == 0
    assert not list(tmp_path.rglob(".etasim-*"))


def test_epochs_may_grow_and_with_a_constant_rate_nothing_shows_it(run, tmp_path):
    constant = (*QUICK, "--schedule", "constant")
    assert run(*constant, "--epochs", 1, "--out", "a").exit_code == 0
    assert run(*constant, "--epochs", 3, "--out", "a", "--resume").exit_code == 0
    assert run(*constant, "--epochs", 3, "--out", "b").exit_code == 0
    assert same(content(tmp_path / "a")["model"], content(tmp_path / "b")["model"])
    assert (tmp_path / "a" / checkpoint.METRICS).read_bytes() == (tmp_path / "b" / checkpoint.METRICS).read_bytes()
    fewer = run(*constant, "--epochs", 2, "--out", "a", "--resume")
    assert (fewer.exit_code, "epochs: the checkpoint has 3, the command says 2" in fewer.stderr) == (2, True)


def test_the_best_weights_are_kept_with_their_digest(run, tmp_path):
    assert run(*QUICK, "--epochs", 6, "--learning-rate", 0.2, "--out", "a").exit_code == 0
    rows = list(csv.DictReader((tmp_path / "a" / checkpoint.METRICS).read_text().splitlines()))
    accuracies = [float(row["test_accuracy"]) for row in rows]
    best = content(tmp_path / "a", checkpoint.BEST)
    assert best["epoch"] == accuracies.index(max(accuracies)) + 1
    trainer = loop.Trainer(load_recipe(None, {key: value for key, value in best["recipe"].items() if key != "format"}))
    trainer.model.load_state_dict(best["model"])
    assert trainer.evaluate()[1] == max(accuracies)
    path = tmp_path / "a" / checkpoint.CHECKPOINT
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    result = run(*QUICK, "--epochs", 6, "--learning-rate", 0.2, "--out", "a", "--resume")
    assert (result.exit_code, f"{path.relative_to(tmp_path)}: damaged: not what was written" in result.stderr) == (2, True)
    assert path.read_bytes() == damaged


MODEL = """
import torch
from torch import nn


def net(classes=10):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, classes),
    )


def wide():
    return net(11)
"""


def test_a_model_of_ones_own_is_trained_and_resumed_with_its_dropout(run, tmp_path):
    (tmp_path / "own_model.py").write_text(MODEL)
    own = ("train", "own_model:net", *FEW, "--epochs", 2, "--input", "3x16x16")
    result = run(*own, "--out", "whole")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "whole" / checkpoint.TRACE).read_text().startswith("name: own_model")
    killed_within_an_epoch(tmp_path, *own)
    assert run(*own, "--out", "killed", "--resume").exit_code == 0
    assert same(content(tmp_path / "whole")["model"], content(tmp_path / "killed")["model"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "own_model:wide"), "own_model:wide: gives values [1, 11] for an image, [1, 10] are expected"),
        (("train", "own_model:none"), "own_model:none: cannot be made: AttributeError"),
        (("train", "own_model:net", "--input", "1x8x8"), "--input CxHxW says what it reads"),
        (("train", "own_model:net", "--device", "cuda:7"), "--device: cuda:7: there is no such device here"),
        (("train", "own_model:net", "--device", "gpu"), "--device: gpu: there is no such device here"),
        (("train", "own_model:net", "--optimizer", "sdg"), "--optimizer: sdg: unknown; allowed: "),
        (("train", "own_model:net", "--no-decay", "x*"), "--no-decay: 'x*' fits no parameter"),
        (("train",), "recipe: network: is missing"),
    ],
)
def test_what_cannot_be_trained_is_refused(run, tmp_path, arguments, message):
    (tmp_path / "own_model.py").write_text(MODEL)
    result = run(*arguments, "--out", "a")
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "a").exists()
