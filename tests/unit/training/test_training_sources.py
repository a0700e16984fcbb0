"""Sources that hold all images in a few files: IDX, CIFAR-100, npz; what is read, and what is refused with the file's name."""

import gzip
import pickle

import numpy as np
import pytest

from etasim.config.errors import InputError
from etasim.workload.layer import Shape

torch = pytest.importorskip("torch")

from etasim.training import data  # noqa: E402
from etasim.training.data import cifar  # noqa: E402

CIFAR = Shape(3, 32, 32)


def idx(array, kind=8):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path):
    random = np.random.default_rng(0)
    for prefix, n in (("train", 30), ("t10k", 10)):
        images = idx(random.integers(0, 256, (n, 28, 28)))
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 10))
    return tmp_path


def refusals(source, shape=CIFAR):
    with pytest.raises(InputError) as caught:
        data.load_images(source, shape)
    return str(caught.value).splitlines()


def test_idx_files_are_read_compressed_or_not(mnist):
    images = data.load_images(f"idx:{mnist}", CIFAR)
    assert (images.count("train"), images.count("test"), images.classes) == (30, 10, 10)
    x, y = images.batch("train", np.array([3, 29]), "none")
    assert (x.shape, x.dtype, y.tolist()) == ((2, 3, 32, 32), torch.float32, [3, 9])
    assert torch.equal(x[:, 0], x[:, 2])
    raw = np.frombuffer(gzip.decompress((mnist / "train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8).reshape(30, 28, 28)
    back = x[:, 0] * images.deviation[0] * 255 + images.mean[0] * 255
    assert np.array_equal(back.round().numpy()[:, 2:30, 2:30], raw[[3, 29]])
    assert back.abs().round()[:, :2].max() == 0
    everything, _ = images.batch("train", np.arange(30), "none")
    inner = everything[:, 0, 2:30, 2:30]
    assert (float(inner.mean()), float(inner.std(correction=0))) == (pytest.approx(0, abs=1e-6), pytest.approx(1))


def test_what_is_wrong_with_idx_files_is_said_with_their_names(mnist):
    (mnist / "t10k-labels-idx1-ubyte").unlink()
    packed = (mnist / "train-images-idx3-ubyte.gz").read_bytes()
    (mnist / "train-images-idx3-ubyte.gz").write_bytes(packed[: len(packed) // 2])
    (mnist / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(30) % 10)[:-4])
    (mnist / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros((2, 3, 3)), kind=13)))
    lines = refusals(f"idx:{mnist}")
    assert [line.removeprefix(f"{mnist}/") for line in lines] == [
        "train-images-idx3-ubyte.gz: is damaged or truncated: not what gzip wrote",
        "train-labels-idx1-ubyte: holds 26 bytes of values, 30 are expected: truncated or damaged",
        "t10k-images-idx3-ubyte.gz: is not an IDX file of bytes with 3 axes",
        "t10k-labels-idx1-ubyte: cannot be read: No such file or directory",
    ]


def test_labels_out_of_range_are_refused(mnist):
    labels = np.arange(30) % 10
    labels[7] = 77
    (mnist / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(9)))
    first, second = refusals(f"idx:{mnist}")
    assert first.endswith("train-labels-idx1-ubyte: the label of image 7 is 77, 0 ... 9 are expected")
    assert second.endswith("t10k-labels-idx1-ubyte: holds 9 labels of 10 images")
    (mnist / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(30) % 5))
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(10)))
    assert refusals(f"idx:{mnist}")[0].endswith("t10k-labels-idx1-ubyte: the label of image 5 is 5, 0 ... 4 are expected")


def test_a_wrong_folder_and_a_wrong_size_are_refused(mnist, tmp_path):
    (tmp_path / "empty").mkdir()
    (line,) = refusals(f"idx:{tmp_path}/empty")
    assert line == f"{tmp_path}/empty: holds no train-images-idx3-ubyte and no train-images-idx3-ubyte.gz: not a folder of IDX files"
    assert all(
        "holds images of 1 x 28 x 28, the network reads 3 x 224 x 224" in line for line in refusals(f"idx:{mnist}", Shape(3, 224, 224))
    )
    assert refusals("cifar100:") == ["--data: cifar100:: needs a folder: cifar100:DIR"]
    assert refusals("npz") == ["--data: npz: needs a file: npz:FILE"]


def test_a_header_that_promises_too_much_takes_no_memory(mnist):
    (mnist / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12))
    assert "at most 2,147,483,648 are read" in refusals(f"idx:{mnist}")[0]


@pytest.mark.parametrize("binary", [True, False])
def test_cifar_100_has_fine_labels(tmp_path, monkeypatch, binary):
    monkeypatch.setitem(cifar.LAYOUTS, "cifar100", cifar.LAYOUTS["cifar100"]._replace(images={"train": 6, "test": 3}))
    random = np.random.default_rng(0)
    for name, n in (("train", 6), ("test", 3)):
        pixels, fine = random.integers(0, 256, (n, 3072)).astype(np.uint8), [99 - i for i in range(n)]
        if binary:
            np.concatenate([np.full((n, 1), 7, np.uint8), np.array(fine, np.uint8)[:, None], pixels], 1).tofile(tmp_path / f"{name}.bin")
        else:
            with (tmp_path / name).open("wb") as file:
                pickle.dump({b"data": pixels, b"fine_labels": fine, b"coarse_labels": [7] * n}, file, protocol=2)
    images = data.load_images(f"cifar100:{tmp_path}", CIFAR)
    assert (images.classes, images.batch("train", np.array([0, 5]), "none")[1].tolist()) == (100, [99, 94])
    assert images.augmentations[0] == "mirror-crop"


def arrays(**changes):
    random = np.random.default_rng(0)
    names = {"train_images": random.integers(0, 256, (20, 32, 32, 3)).astype(np.uint8), "train_labels": np.arange(20) % 4}
    names |= {"test_images": random.integers(0, 256, (8, 32, 32, 3)).astype(np.uint8), "test_labels": np.arange(8) % 4}
    return names | changes


@pytest.mark.parametrize("layout", ["last", "first", "grey", "keras"])
def test_an_npz_holds_channels_first_or_last_or_none(tmp_path, layout):
    held = arrays()
    expected = held["train_images"].transpose(0, 3, 1, 2)
    for name in ("train_images", "test_images"):
        held[name] = held[name].transpose(0, 3, 1, 2) if layout == "first" else held[name][..., 0] if layout == "grey" else held[name]
    if layout == "keras":
        held = dict(zip(("x_train", "y_train", "x_test", "y_test"), held.values(), strict=True))
        held |= {name: held[name][:, None] for name in ("y_train", "y_test")}
    np.savez_compressed(tmp_path / "a.npz", **held)
    images = data.load_images(f"npz:{tmp_path}/a.npz", CIFAR)
    assert (images.classes, images.count("test")) == (4, 8)
    pixels = images.splits["train"].pixels
    assert np.array_equal(pixels, expected[:, :1] if layout == "grey" else expected)
    assert images.batch("test", np.arange(8), "none")[0].shape == (8, 3, 32, 32)


def test_what_is_wrong_with_an_npz_is_said_by_array(tmp_path):
    path = tmp_path / "a.npz"

    def of(**changes):
        np.savez(path, **{name: array for name, array in arrays(**changes).items() if array is not None})
        return [line.removeprefix(f"{path}: ") for line in refusals(f"npz:{path}")]

    labels = np.arange(20) % 4
    labels[5] = -1
    assert of(train_labels=labels) == ["train_labels: the label of image 5 is -1, 0 ... 3 are expected"]
    assert of(test_labels=np.arange(8)) == ["test_labels: the label of image 4 is 4, 0 ... 3 are expected"]
    assert of(test_labels=np.arange(7)) == ["test_labels: must hold an integer for each of 8 images, got int64 [7]"]
    assert of(train_images=np.zeros((20, 32, 32)))[0].startswith("train_images: must hold bytes (uint8) as [N, H, W]")
    assert of(test_images=None)[0].startswith("test_images: is missing; the arrays are train_images, train_labels")
    assert "holds images of 3 x 40 x 40" in of(train_images=np.zeros((20, 40, 40, 3), np.uint8))[0]
    path.write_bytes(path.read_bytes()[:500])
    assert refusals(f"npz:{path}")[0].startswith(f"{path}: ")
    assert refusals(f"npz:{tmp_path}/none.npz") == [f"{tmp_path}/none.npz: cannot be read: No such file or directory"]
