"""Batches of a run: the same bytes however many processes read them, and errors that name the file."""

import numpy as np
import pytest
from command_line import invoke

from etasim.config.errors import InputError
from etasim.workload.layer import Shape

torch = pytest.importorskip("torch")
image = pytest.importorskip("PIL.Image")

from etasim.training.data import BatchLoader, load_images  # noqa: E402
from etasim.training.data.loader import evenly  # noqa: E402

SHAPE = Shape(3, 24, 32)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for split, n in (("train", 12), ("val", 5)):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(n):
                size = (40 + 3 * i, 90 - 2 * i, 3)
                coarse = random.integers(0, 256, size).astype(np.uint8)
                image.fromarray(coarse).save(tmp_path / split / name / f"{i:02}.{'jpg' if i % 2 else 'png'}")
    return tmp_path


def loaded(folder, workers, augment="imagenet", seed=3, samples=(0, 0), sizes=(5, 4), share=(0, 1)):
    return BatchLoader(load_images(f"imagefolder:{folder}", SHAPE), augment, seed, sizes, workers, samples, share)


def content(loader, epoch, first=0):
    return [(x.numpy().tobytes(), y.tolist()) for x, y in loader.epoch(epoch, first)]


@pytest.mark.parametrize("augment", ["imagenet", "mirror-crop", "none"])
def test_any_number_of_workers_gives_the_same_bytes(folder, augment):
    alone = loaded(folder, 0, augment)
    assert alone.per_epoch == 4
    first = content(alone, 0)
    assert first != content(alone, 1)
    assert content(alone, 0, 2) == first[2:]
    tests = [(x.numpy().tobytes(), y.tolist()) for x, y in alone.test()]
    for workers in (1, 2):
        others = loaded(folder, workers, augment)
        assert content(others, 0) == first
        assert content(others, 0, 3) == first[3:]
        assert [(x.numpy().tobytes(), y.tolist()) for x, y in others.test()] == tests
    assert content(loaded(folder, 0, augment, seed=4), 0) != first
    assert sorted(label for _, labels in tests for label in labels) == [0] * 5 + [1] * 5


@pytest.mark.parametrize("augment", ["imagenet", "mirror-crop"])
def test_processes_share_the_batches_of_one(folder, augment):
    whole = loaded(folder, 0, augment, sizes=(6, 4))
    parts = [loaded(folder, 0, augment, sizes=(6, 4), share=(rank, 3)) for rank in range(3)]
    for batch, *shares in zip(whole.epoch(1), *(part.epoch(1) for part in parts), strict=True):
        for i in range(2):
            assert torch.equal(batch[i], torch.cat([share[i] for share in shares]))
    tests = [batch for part in parts for batch in part.test()]
    assert sorted(y.tolist() for _, y in tests) == sorted(y.tolist() for _, y in whole.test())


def test_few_samples_are_of_all_classes(folder):
    assert evenly(10, 0).tolist() == list(range(10))
    assert evenly(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly(3, 8).tolist() == [0, 1, 2]
    loader = loaded(folder, 0, samples=(10, 4))
    assert (loader.n_train, loader.n_test) == (10, 4)
    assert sorted(label for _, y in loader.epoch(0) for label in y.tolist()) == [0] * 5 + [1] * 5
    assert [y.tolist() for _, y in loader.test()] == [[0, 0, 1, 1]]


def test_a_test_image_is_cut_in_the_middle_and_never_varied(folder):
    """224 of 256 parts of the shorter side; a border that lies outside, farther than the filter reaches, is not seen."""
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[3:237, 4:316] = 255
    image.fromarray(pixels).save(folder / "val/cat/00.png")
    images = load_images(f"imagefolder:{folder}", SHAPE)
    x, _ = images.batch("test", np.array([0]), "imagenet")
    assert x[0, 0].min() == x[0, 0].max()
    whole, _ = images.batch("test", np.array([0]), "none")
    assert whole[0, 0].min() < whole[0, 0].max()


def test_a_large_jpeg_is_decoded_smaller_with_the_same_picture(folder):
    rows, columns = np.mgrid[0:960, 0:1280]
    smooth = np.stack([rows / 960 * 255, columns / 1280 * 255, np.full(rows.shape, 90)], -1).astype(np.uint8)
    for suffix in ("jpg", "png"):
        image.fromarray(smooth).save(folder / f"train/cat/large.{suffix}", **({"quality": 98} if suffix == "jpg" else {}))
    images = load_images(f"imagefolder:{folder}", SHAPE)
    at = {name: i for i, name in enumerate(images.files["train"].names)}
    x, _ = images.batch("train", np.array([at["cat/large.jpg"], at["cat/large.png"]]), "none")
    assert float((x[0] - x[1]).abs().max()) < 0.05


@pytest.mark.parametrize("workers", [0, 2])
def test_a_truncated_picture_is_named_in_whatever_process(folder, workers):
    damaged = folder / "train/dog/03.jpg"
    damaged.write_bytes(damaged.read_bytes()[:600])
    with pytest.raises(InputError) as caught:
        content(loaded(folder, workers), 0)
    assert str(caught.value) == f"{damaged}: is not an image, or damaged or truncated"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_is_damaged_during_a_run_leaves_the_old_checkpoint(folder, tmp_path, workers):
    options = ("train", "resnet8_narrow", "--data", f"imagefolder:{folder}", "--batch", 8, "--threads", 1, "--workers", workers)
    whole = invoke(*options, "--epochs", 1, "--out", tmp_path / "a")
    assert whole.exit_code == 0, whole.stderr
    before = (tmp_path / "a/checkpoint.pt").read_bytes()
    damaged = folder / "val/dog/01.jpg"
    damaged.write_bytes(damaged.read_bytes()[:300])
    (tmp_path / "b").mkdir()
    (tmp_path / "b/checkpoint.pt").write_bytes(before)
    result = invoke(*options, "--epochs", 1, "--out", tmp_path / "c")
    assert (result.exit_code, result.stderr.count(f"{damaged}: is not an image, or damaged or truncated")) == (2, 1)
    assert (tmp_path / "a/checkpoint.pt").read_bytes() == before


def test_an_augmentation_that_a_source_cannot_do_is_refused(tmp_path):
    pytest.importorskip("sklearn")
    result = invoke("train", "resnet8_narrow", "--augment", "imagenet", "--out", tmp_path / "a")
    assert result.exit_code == 2
    assert "--augment: imagenet: is not for these images: digits has mirror-crop, none" in result.stderr


def test_the_test_runs_every_few_epochs_and_at_the_end(tmp_path):
    pytest.importorskip("sklearn")
    quick = ("train", "resnet8_narrow", "--train-samples", 32, "--test-samples", 40, "--batch", 16, "--threads", 1)
    result = invoke(*quick, "--epochs", 5, "--evaluate-every", 2, "--out", tmp_path / "a")
    assert result.exit_code == 0, result.stderr
    rows = [line.split(",") for line in (tmp_path / "a/metrics.csv").read_text().splitlines()[1:]]
    assert [row[-1] != "" for row in rows] == [False, True, False, True, True]
    assert 0 <= float(rows[1][-1]) * 40 <= 40
    assert float(rows[1][-1]) * 40 == pytest.approx(round(float(rows[1][-1]) * 40))
