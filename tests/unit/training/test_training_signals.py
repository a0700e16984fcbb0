"""Training that signals end at random moments: the last finished checkpoint is whole, the run goes on from it, and nothing is left behind.

Processes are forked from one that has imported PyTorch, so that a trial takes as long as its training.
"""

import multiprocessing
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from etasim.report.staging import TEMPORARY_PREFIX  # noqa: E402
from etasim.training import checkpoint, load_scheme  # noqa: E402
from etasim.training.recipe import Recipe  # noqa: E402

EPOCHS = 3
RECIPE = Recipe(network="resnet8_narrow", scheme=load_scheme("pint8"), batch=16, epochs=EPOCHS, train_samples=32)
SIZE = ("--train-samples", "32", "--batch", "16", "--threads", "1", "--epochs", str(EPOCHS))
COMMAND = ("train", "resnet8_narrow", *SIZE, "--resume", "--out")
GONE_AFTER_SECONDS = 2.0
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def _etasim(folder: Path) -> None:
    """The command line, as a process of its own."""
    from etasim.cli import main

    sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - as long as the process lives
    sys.argv = ["etasim", *COMMAND, str(folder)]
    main()


@pytest.fixture(scope="module")
def start():
    """Begin or continue the training in a folder."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["etasim.cli", "etasim.training.loop", "etasim.training.pictures", "sklearn.datasets", "torch._dynamo"])

    def begin(folder: Path):
        process = context.Process(target=_etasim, args=(folder,))
        process.start()
        return process

    return begin


def written(folder: Path) -> dict[str, bytes]:
    """What does not depend on when the run ended."""
    return {name: (folder / name).read_bytes() for name in (checkpoint.METRICS, checkpoint.STATE, checkpoint.RECIPE, checkpoint.TRACE)}


def epoch_of(folder: Path) -> int:
    return checkpoint.read_checkpoint(folder, RECIPE)["epoch"] if (folder / checkpoint.CHECKPOINT).exists() else 0


def wait_for_epoch(folder: Path, epoch: int, process) -> None:
    """Until the checkpoint of ``epoch`` is there; the files that follow from it are then being written."""
    while process.is_alive() and epoch_of(folder) < epoch:
        time.sleep(0.002)


def test_an_ended_run_goes_on_as_if_nothing_had_been(start, tmp_path):
    choose, done, whole, ended = random.Random(11), 0, tmp_path / "whole", tmp_path / "ended"
    began = time.monotonic()
    process = start(whole)
    process.join()
    seconds = time.monotonic() - began
    assert process.exitcode == 0
    for trial, ending in enumerate((*ENDINGS, signal.SIGKILL)):
        process = start(ended)
        if trial % 2:
            wait_for_epoch(ended, done + 1, process)
        time.sleep(choose.random() * seconds / EPOCHS)
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.kill(process.pid, ending)
        process.join(GONE_AFTER_SECONDS)
        assert process.exitcode in (0, -ending, 128 + ending), (ending, process.exitcode)
        if ending != signal.SIGKILL:
            assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*"))
        before, done = done, epoch_of(ended)
        assert before <= done
    process = start(ended)
    process.join()
    assert process.exitcode == 0
    assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*"))
    assert written(ended) == written(whole)
    weights = [checkpoint.read_checkpoint(folder, RECIPE)["model"] for folder in (whole, ended)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items() if isinstance(value, torch.Tensor))


def test_nobody_trains_where_somebody_trains(start, tmp_path):
    first = start(tmp_path / "run")
    wait_for_epoch(tmp_path / "run", 1, first)
    os.kill(first.pid, signal.SIGSTOP)
    second = start(tmp_path / "run")
    second.join()
    os.kill(first.pid, signal.SIGCONT)
    first.join()
    assert (first.exitcode, second.exitcode) == (0, 2)


def test_figures_that_a_kill_prevented_are_written_by_the_next_run(start, tmp_path):
    process = start(tmp_path / "run")
    process.join()
    expected = written(tmp_path / "run")
    for name in (checkpoint.METRICS, checkpoint.STATE):
        (tmp_path / "run" / name).unlink()
    process = start(tmp_path / "run")
    process.join()
    assert (process.exitcode, written(tmp_path / "run")) == (0, expected)
