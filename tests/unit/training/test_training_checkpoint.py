"""The checkpoint of a training run: read as it was written, or refused."""

import os
import random

import pytest

from etasim.config.errors import InputError

torch = pytest.importorskip("torch")

from etasim.core.sealed import seal  # noqa: E402
from etasim.training import checkpoint, load_scheme  # noqa: E402
from etasim.training.recipe import Recipe  # noqa: E402

RECIPE = Recipe(network="resnet8_narrow", scheme=load_scheme("pint8"))
CONTENT = {"recipe": RECIPE.plain(), "epoch": 3, "model": {"w": torch.arange(6.0)}, "history": [{"epoch": 1, "test_loss": 0.5}]}


@pytest.fixture
def written(tmp_path):
    checkpoint.write_checkpoint(tmp_path, CONTENT)
    return tmp_path / checkpoint.CHECKPOINT


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        checkpoint.read_checkpoint(path.parent, RECIPE)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(path), None)
    return problem.message


def test_a_checkpoint_is_what_was_written_and_torch_reads_it(written):
    for content in (checkpoint.read_checkpoint(written.parent, RECIPE), torch.load(written, weights_only=True)):
        assert {name: value for name, value in content.items() if name != "model"} == {k: v for k, v in CONTENT.items() if k != "model"}
        assert torch.equal(content["model"]["w"], CONTENT["model"]["w"])


def test_any_flipped_byte_is_noticed(written):
    content, choose = written.read_bytes(), random.Random(1)
    end = range(len(content) - 130, len(content))
    for at in [*choose.sample(range(len(content)), 300), *end]:
        damaged = bytearray(content)
        damaged[at] ^= choose.randrange(1, 256)
        written.write_bytes(damaged)
        assert "damaged" in refusal(written), at


def test_any_cut_and_anything_added_is_noticed(written):
    content = written.read_bytes()
    for length in [*range(0, len(content), 11), *range(len(content) - 130, len(content))]:
        written.write_bytes(content[:length])
        assert ("damaged" if length else "is empty") in refusal(written), length
    written.write_bytes(content + b"\n")
    assert "damaged" in refusal(written)


def test_a_checkpoint_without_a_digest_is_not_continued(written):
    """An earlier version wrote it, and trained otherwise."""
    torch.save(CONTENT, written)
    assert refusal(written) == (
        "has no digest: damaged, or of an earlier version of etasim, whose runs this one does not continue; another --out starts a new run"
    )


def test_only_regular_files_are_opened(written):
    for make in (lambda: os.mkfifo(written), lambda: written.symlink_to("/dev/zero"), lambda: written.mkdir()):
        written.unlink()
        make()
        assert refusal(written).startswith("cannot be read: ")
        if written.is_dir():
            break


def test_a_digest_alone_makes_no_checkpoint(written):
    """Whoever writes the digest too gets no further than torch, which reads weights only."""
    with written.open("w+b") as file:
        file.write(b"not an archive")
        seal(file)
    assert refusal(written) == "not a checkpoint of etasim"
