"""A run that goes on from a checkpoint comes to the bytes of an undisturbed one, wherever it was killed; no other run goes on from it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from small_networks import TINY, architecture

from etasim import simulate
from etasim.cli import main
from etasim.config import InputError
from etasim.core.sealed import PART, replace_sealed
from etasim.machine.arguments import ArgumentError
from etasim.machine.checkpoint import Checkpoints

EVERY = 700
SAMPLE = {"functional": True, "iterations": 3, "seed": 5}


@pytest.fixture
def snapshots(monkeypatch, tmp_path):
    """Copies of every checkpoint that is written, in order."""
    write, kept = Checkpoints._write, []

    def copy(self, arrays):
        write(self, arrays)
        kept.append(shutil.copy(self.path, tmp_path / f"{len(kept)}.npz"))

    monkeypatch.setattr(Checkpoints, "_write", copy)
    return kept


def outcome(tmp_path, **options):
    """All that a simulation tells."""
    result = simulate(architecture(), TINY, batch=2, timeline=tmp_path / "timeline.json", **options)
    told = [result.total_cycles, result.layers, result.components, (tmp_path / "timeline.json").read_bytes()]
    if result.values is not None:
        told += [result.values.steps, {name: value.integers.tobytes() for name, value in result.values.tensors.items()}]
        told += [{name: array.tobytes() for name, array in result.values.state.items()}, result.values.mismatch]
    return told


@pytest.mark.parametrize("options", [{}, SAMPLE], ids=["cycles", "values"])
def test_a_run_goes_on_from_any_checkpoint(snapshots, tmp_path, options):
    undisturbed = outcome(tmp_path, **options)
    assert outcome(tmp_path, checkpoint=tmp_path / "c.npz", checkpoint_every=EVERY, **options) == undisturbed
    saved = list(snapshots)
    expected = undisturbed[0] // EVERY * options.get("iterations", 1)
    assert len(saved) >= expected > 3
    for path in (saved[0], saved[len(saved) // 2], saved[-1]):
        assert outcome(tmp_path, checkpoint=path, resume=True, **options) == undisturbed


def test_without_a_checkpoint_a_run_begins(tmp_path):
    assert outcome(tmp_path, checkpoint=tmp_path / "none.npz", resume=True) == outcome(tmp_path)


OTHERS = {
    "architecture": {"architecture": architecture(core__clock="150 MHz")},
    "arguments": {"batch": 3},
    "tensors": {"tensors": {"conv1.weight": np.ones((4, 3, 3, 3))}},
}


@pytest.mark.parametrize("differs", OTHERS)
def test_no_other_run_goes_on(tmp_path, differs):
    options = {"architecture": architecture(), "network": TINY, "batch": 2, "functional": True}
    simulate(**options, checkpoint=tmp_path / "c.npz", checkpoint_every=EVERY)
    with pytest.raises(InputError, match=f"of another run: the .*{differs}.* differ"):
        simulate(**options | OTHERS[differs], checkpoint=tmp_path / "c.npz", resume=True)


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "foreign"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    path = tmp_path / "c.npz"
    simulate(architecture(), TINY, batch=2, checkpoint=path, checkpoint_every=EVERY)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    path.write_bytes({"cut": whole[:-1000], "bit": bytes(changed), "empty": b"", "foreign": b"PK" + bytes(100)}[damage])
    with pytest.raises(InputError, match=r"c\.npz: .*(damaged|is empty)"):
        simulate(architecture(), TINY, batch=2, checkpoint=path, resume=True)


@pytest.mark.parametrize("name", ["stamp", "values.exponents"])
def test_a_checkpoint_whose_texts_are_nested_without_end_is_refused(tmp_path, name):
    """Whole and sealed, but not as a run writes it."""
    path = tmp_path / "c.npz"
    options = {"batch": 1, "functional": True, "iterations": 2, "checkpoint": path}
    simulate(architecture(), TINY, **options, checkpoint_every=EVERY)
    with np.load(path) as archive:
        arrays = dict(archive) | {name: np.frombuffer(b"[" * 100_000, np.uint8)}
    assert len(arrays["values.steps"]) == 1
    replace_sealed(path, lambda file: np.savez(file, **arrays))
    with pytest.raises(InputError, match=r"c\.npz: .*nested more than 32 deep; another --out"):
        simulate(architecture(), TINY, **options, resume=True)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"resume": True}, "resume: needs a file"),
        ({"checkpoint_every": 5}, "checkpoint_every: needs a file"),
        ({"checkpoint_every": 0, "checkpoint": "c.npz"}, "checkpoint_every: must be a whole number of at least 1"),
        ({"resume": True, "checkpoint": "c.npz", "fidelity": "analytical"}, "resume: an estimate is done at once"),
    ],
)
def test_arguments_that_cannot_be(options, wrong):
    with pytest.raises(ArgumentError, match=wrong):
        simulate(architecture(), TINY, **options)


def command(out, *options):
    return ["run", "eta_vc709", "digits_cnn", "--batch", "4", "--functional", "--iterations", "2", "--out", str(out), *options]


def contents(folder):
    """Bytes of all results but for what the computer did."""
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.name != "run_info.json"}


def killed(out, listing, while_writing):
    """Start or resume the run and kill it once it has written a checkpoint, or while it writes one; whether it came to its end before."""
    arguments = [sys.executable, "-m", "etasim", *command(out, "--resume", "--checkpoint-every", "400", "--listing", str(listing))]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    checkpoint = out / "checkpoint.npz"
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    while process.poll() is None:
        is_writing = Path(f"{checkpoint}{PART}").exists()
        has_written = checkpoint.exists() and checkpoint.stat().st_mtime_ns != before
        if is_writing if while_writing else has_written:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.0005)
    stderr = process.communicate()[1].decode()
    assert process.returncode in (0, -signal.SIGKILL), stderr
    return process.returncode == 0


def run(*arguments):
    return CliRunner().invoke(main, arguments)


def test_a_killed_command_comes_to_the_same_bytes(tmp_path):
    """SIGKILL after checkpoints and while they are written; what is left goes on, and leaves nothing else."""
    assert run(*command(tmp_path / "undisturbed", "--listing", str(tmp_path / "a.txt"))).exit_code == 0
    out, n_kills = tmp_path / "killed", 0
    for round_number in range(6):
        if killed(out, tmp_path / "b.txt", while_writing=round_number % 2 == 1):
            break
        n_kills += 1
    assert n_kills >= 2
    if round_number == 5:
        assert run(*command(out, "--listing", str(tmp_path / "b.txt"))).exit_code == 2
        assert run(*command(out, "--resume", "--listing", str(tmp_path / "b.txt"))).exit_code == 0
    assert contents(out) == contents(tmp_path / "undisturbed")
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
