"""Two processes that train together, by torchrun and gloo on this processor, beside one process."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

import etasim  # noqa: E402

ROOT = Path(etasim.__file__).parents[1]
QUICK = ("train", "resnet8_narrow", "--train-samples", "32", "--test-samples", "300", "--batch", "16", "--epochs", "1", "--threads", "1",
         "--device", "cpu")  # fmt: skip


def trained(folder: Path, processes: int, *options: str) -> Path:
    """A run by ``processes``; one alone runs as any."""
    module = ["-m", "etasim", *QUICK, *options, "--out", str(folder)]
    team = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, *(team if processes > 1 else []), *module], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {name: array for name, array in np.load(folder / "state.npz").items() if name not in ("inputs", "labels")}


def apart(a: Path, b: Path) -> float:
    """The greatest difference of a weight or momentum, in parts of the greatest value of its tensor."""
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    return max(np.abs(first[name] - second[name]).max() / max(np.abs(first[name]).max(), 1e-30) for name in first)


UNIT = 2.0**-15
"""Of 16 bits, in parts of the greatest value of a tensor."""


CASES = [("fp32", "running_l1", 2e-5), ("pint8", "l1_group", 8 * UNIT)]


@pytest.mark.parametrize(("scheme", "norm", "bound"), CASES)
def test_two_processes_train_as_one(tmp_path, scheme, norm, bound):
    """For two iterations: in fp32 up to the order of sums. In pint8 codes have the exponents of the whole batch; what differs is the 16-bit
    rounding of each process's part of a weight gradient, of momentum and of weights: some units. Then they go on from their checkpoint."""
    options = ("--scheme", scheme, "--norm", norm, *(("--set", "error.rounding=stochastic") if scheme == "pint8" else ()))
    alone = trained(tmp_path / "one", 1, *options)
    together = trained(tmp_path / "two", 2, *options)
    assert apart(alone, together) < bound
    rows = [next(csv.DictReader((folder / "metrics.csv").read_text().splitlines())) for folder in (alone, together)]
    assert float(rows[0]["train_loss"]) == pytest.approx(float(rows[1]["train_loss"]), rel=1e-3)
    assert abs(float(rows[0]["test_accuracy"]) - float(rows[1]["test_accuracy"])) <= 2 / 300
    assert {path.name for path in alone.iterdir()} == {path.name for path in together.iterdir()}
    if scheme == "pint8":
        trained(together, 2, *options, "--epochs", "2", "--resume")
        assert len((together / "metrics.csv").read_text().splitlines()) == 3


def test_a_batch_that_two_cannot_share_is_refused(tmp_path):
    module = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "etasim", *QUICK, "--batch", "15"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, *module, "--out", tmp_path / "a"], env=environment, capture_output=True, text=True)
    assert ended.returncode != 0
    assert "--batch: 15 samples cannot be shared equally by 2 processes" in ended.stderr
    assert not (tmp_path / "a").exists()
