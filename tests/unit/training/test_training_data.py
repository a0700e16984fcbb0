"""Images from local files, and what is wrong with them."""

import os
import pickle

import numpy as np
import pytest

from etasim.config.errors import InputError
from etasim.workload.layer import Shape

torch = pytest.importorskip("torch")

from etasim.training import data  # noqa: E402
from etasim.training.data import augmentation  # noqa: E402
from etasim.training.data import cifar as cifar_files  # noqa: E402
from etasim.training.data import images as in_memory  # noqa: E402

NAMES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
CIFAR = Shape(3, 32, 32)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Six files of four images each, in the ``suffix``'s format."""
    layout = cifar_files.LAYOUTS["cifar10"]._replace(images={"train": 4, "test": 4})
    monkeypatch.setitem(cifar_files.LAYOUTS, "cifar10", layout)
    random = np.random.default_rng(0)

    def write(binary: bool, folder=tmp_path):
        folder.mkdir(exist_ok=True)
        for number, name in enumerate(NAMES):
            pixels, labels = random.integers(0, 256, (4, 3072)).astype(np.uint8), [number, 0, 9, 3]
            if binary:
                np.concatenate([np.array(labels, np.uint8)[:, None], pixels], 1).tofile(folder / f"{name}.bin")
            else:
                with (folder / name).open("wb") as file:
                    pickle.dump({b"data": pixels, b"labels": labels, b"batch_label": b"x"}, file, protocol=2)
        return tmp_path

    return write


@pytest.mark.parametrize("binary", [True, False])
def test_both_formats_of_cifar_are_read(cifar, tmp_path, binary):
    folder = cifar(binary, tmp_path / f"cifar-10-batches-{'bin' if binary else 'py'}")
    images = data.load_images(f"cifar10:{folder}", CIFAR)
    assert (images.count("train"), images.count("test"), images.classes) == (20, 4, 10)
    x, y = images.batch("train", np.array([4, 6]), "none")
    assert x.shape == (2, 3, 32, 32)
    assert y.tolist() == [1, 9]
    assert images.splits["train"].pixels.dtype == np.uint8
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (images.mean, images.deviation))
    raw = x * deviation * 255 + mean * 255
    assert torch.allclose(raw, raw.round(), atol=1e-3)


def test_damaged_files_are_all_named(cifar, tmp_path):
    cifar(True)
    (tmp_path / "data_batch_2.bin").write_bytes(b"abc")
    (tmp_path / "test_batch.bin").unlink()
    content = np.fromfile(tmp_path / "data_batch_5.bin", np.uint8)
    content[3073] = 77
    content.tofile(tmp_path / "data_batch_5.bin")
    with pytest.raises(InputError) as caught:
        data.load_images(f"cifar10:{tmp_path}", CIFAR)
    lines = str(caught.value).splitlines()
    assert "data_batch_2.bin:1: has 3 bytes, 12,292 are expected" in lines[0]
    assert "the label of image 1 is 77, 0 ... 9 are expected" in lines[1]
    assert "test_batch.bin:1: cannot be read" in lines[2]


def test_a_pickle_that_would_run_code_is_refused(cifar, tmp_path):
    cifar(False)

    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "data_batch_2").write_bytes((tmp_path / "data_batch_2").read_bytes()[:6000])
    with pytest.raises(InputError, match=r"data_batch_1:1: holds more than arrays[\s\S]*data_batch_2:1: truncated"):
        data.load_images(f"cifar10:{tmp_path}", CIFAR)


HARMFUL = {
    "a value numbered far out": b"\x80\x02Nr\xff\xff\xff\xff.",
    "an array of a terabyte": b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.",
    "words of another file": b"cluster: eu\npassword: secret\n.",
    "nothing": b"",
    "labels that are words": pickle.dumps({b"data": np.zeros((4, 3072), np.uint8), b"labels": ["secret"] * 4}, protocol=2),
    "ragged labels": pickle.dumps({b"data": np.zeros((4, 3072), np.uint8), b"labels": [[1], [1, 2]]}, protocol=2),
    "pixels that are floats": pickle.dumps({b"data": np.zeros((4, 3072)), b"labels": [0] * 4}, protocol=2),
}


@pytest.mark.parametrize("case", HARMFUL)
def test_a_harmful_pickle_takes_nothing_and_is_not_quoted(cifar, tmp_path, case):
    cifar(False)
    (tmp_path / "data_batch_3").write_bytes(HARMFUL[case])
    with pytest.raises(InputError) as caught:
        data.load_images(f"cifar10:{tmp_path}", CIFAR)
    (problem,) = caught.value.problems
    assert problem.file.endswith("data_batch_3")
    assert "secret" not in problem.message


def test_pipes_and_devices_are_not_read(cifar, tmp_path):
    image = pytest.importorskip("PIL.Image")
    cifar(True)
    (tmp_path / "data_batch_2.bin").unlink()
    os.mkfifo(tmp_path / "data_batch_2.bin")
    (tmp_path / "test_batch.bin").unlink()
    (tmp_path / "test_batch.bin").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"batch_2\.bin:1: cannot be read: not a regular file\n.*test_batch.bin:1: cannot be read: not a"):
        data.load_images(f"cifar10:{tmp_path}", CIFAR)
    for split in ("train", "val"):
        (tmp_path / split / "cat").mkdir(parents=True)
        os.mkfifo(tmp_path / split / "cat/a.png")
    images = data.load_images(f"imagefolder:{tmp_path}", Shape(3, 16, 16))
    with pytest.raises(InputError, match=r"a\.png: cannot be read: not a regular file"):
        images.batch("train", np.array([0]), "none")
    (tmp_path / "train/cat/a.png").unlink()
    image.new("1", (20_000, 20_000)).save(tmp_path / "train/cat/a.png")
    with pytest.raises(InputError, match=r"a\.png: (has 20000 x 20000 pixels, more than 100,000,000|is not an image)"):
        images.batch("train", np.array([0]), "none")


def test_other_sizes_are_refused(tmp_path):
    with pytest.raises(InputError, match="CIFAR-10 has images of 3 x 32 x 32"):
        data.load_images(f"cifar10:{tmp_path}", Shape(3, 224, 224))


def test_folders_of_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for split in ("train", "val"):
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / split / name).mkdir(parents=True)
            image.new("RGB", (40, 20), (255 * label, 0, 0)).save(tmp_path / split / name / "a.png")
    images = data.load_images(f"imagefolder:{tmp_path}", Shape(3, 16, 16))
    x, y = images.batch("train", np.array([1, 0]), "none")
    assert (x.shape, y.tolist(), images.classes) == ((2, 3, 16, 16), [1, 0], 2)
    assert x[0, 0].min() > 2
    (tmp_path / "val/dog/b.png").write_text("no image")
    with pytest.raises(InputError, match=r"b\.png: is not an image, or damaged"):
        data.load_images(f"imagefolder:{tmp_path}", Shape(3, 16, 16)).batch("test", np.arange(3), "none")
    (tmp_path / "val/emu").mkdir()
    with pytest.raises(InputError, match="emu:1: is not a class of train"):
        data.load_images(f"imagefolder:{tmp_path}", Shape(3, 16, 16))
    with pytest.raises(InputError, match="holds no images"):
        data.load_images(f"imagefolder:{tmp_path}/nowhere", Shape(3, 16, 16))


def test_digits_are_split_once_for_all():
    pytest.importorskip("sklearn")
    images = data.load_images("digits", CIFAR)
    assert (images.count("train"), images.count("test")) == (1437, 360)
    x, _ = images.batch("test", np.arange(5), "none")
    assert x.shape == (5, 3, 32, 32)
    assert torch.equal(x[:, 0], x[:, 2])


def test_augmentation_depends_on_its_generator_alone():
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).view(2, 3, 8, 8)

    def varied(seed):
        return augmentation.mirror_crop(x, *augmentation.crops(2, Shape(3, 8, 8), torch.Generator().manual_seed(seed), slice(None)))

    first, again = varied(5), varied(5)
    assert torch.equal(first, again)
    assert first.shape == x.shape
    assert not torch.equal(first, varied(6))


def test_a_batch_is_varied_as_its_images_one_by_one_would_be():
    """Mirror, pad by an eighth, cut: with the numbers that the generator gives, in that order."""
    x = torch.randn(40, 3, 16, 24)
    drawn = augmentation.crops(40, Shape(3, 16, 24), torch.Generator().manual_seed(3), slice(None))
    found = augmentation.mirror_crop(x, *drawn)
    generator = torch.Generator().manual_seed(3)
    mirrored = (torch.rand(40, generator=generator) < 0.5).tolist()
    tops, lefts = (torch.randint(2 * p + 1, (40,), generator=generator).tolist() for p in (2, 3))
    for i in range(40):
        image = x[i].flip(2) if mirrored[i] else x[i]
        padded = torch.nn.functional.pad(image, (3, 3, 2, 2))
        assert torch.equal(found[i], padded[:, tops[i] : tops[i] + 16, lefts[i] : lefts[i] + 24])


def test_random_boxes_lie_inside_and_have_the_shares_and_ratios_of_the_recipe():
    sizes = [(500, 375), (40, 400), (3, 2), (1, 1)] * 500
    find = augmentation.random_boxes(len(sizes), torch.Generator().manual_seed(1))
    boxes = [find[i](size) for i, size in enumerate(sizes)]
    for (width, height), box in zip(sizes, boxes, strict=True):
        assert 0 <= box.left < box.right <= width
        assert 0 <= box.top < box.bottom <= height
    large = boxes[::4]
    shares = [(b.right - b.left) * (b.bottom - b.top) / (500 * 375) for b in large]
    ratios = [(b.right - b.left) / (b.bottom - b.top) for b in large]
    assert (min(shares) > 0.078, max(shares) > 0.9) == (True, True)
    assert 0.74 < min(ratios) < 0.8 < 1.2 < max(ratios) < 1.35
    assert 200 < sum(box.mirrored for box in large) < 300


def test_the_middle_of_an_image_has_the_ratio_that_is_asked_for():
    assert augmentation.middle_box(1.0, 1.0, (500, 375)) == (62.5, 0, 437.5, 375, False)
    assert augmentation.middle_box(1.0, 224 / 256, (100, 256)) == (6.25, 84.25, 93.75, 171.75, False)


def test_mean_and_deviation_are_those_of_the_pixels():
    pixels = np.random.default_rng(1).integers(0, 256, (50, 3, 7, 5)).astype(np.uint8)
    pixels[:, 2] = 9
    mean, deviation = in_memory.measured(pixels)
    assert mean == pytest.approx((pixels / 255).mean((0, 2, 3)))
    assert deviation[:2] == pytest.approx((pixels / 255).std((0, 2, 3))[:2])
    assert deviation[2] == 1
