"""CIFAR-10 and CIFAR-100 from local files, of the binary or the python format."""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from etasim.config.errors import InputError, Problem
from etasim.config.files import open_regular, read_regular
from etasim.training.data.images import TEST, TRAIN, ArrayImages, Split, label_problem, refuse, unreadable
from etasim.workload.layer import Shape

SHAPE = Shape(3, 32, 32)
_MOST_BYTES = 2**28
_PIXELS = SHAPE.channels * SHAPE.height * SHAPE.width


class CifarLayout(NamedTuple):
    """``files``: names by split, ``images`` in a file of each split; ``label_bytes`` before the pixels of a binary record, the last of them
    the label; ``label_key`` of the python format; ``folders`` that its archives make; mean and deviation of the training, by channel."""

    title: str
    classes: int
    files: dict[str, tuple[str, ...]]
    images: dict[str, int]
    label_bytes: int
    label_key: bytes
    folders: tuple[str, str]
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    @property
    def foreign(self) -> str:
        """What to say of a file that is something else."""
        return f"truncated or not the python format of {self.title}"


LAYOUTS = {
    "cifar10": CifarLayout(
        "CIFAR-10", 10, {TRAIN: tuple(f"data_batch_{i}" for i in range(1, 6)), TEST: ("test_batch",)}, {TRAIN: 10_000, TEST: 10_000},
        1, b"labels", ("cifar-10-batches-bin", "cifar-10-batches-py"), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616),
    ),
    "cifar100": CifarLayout(
        "CIFAR-100", 100, {TRAIN: ("train",), TEST: ("test",)}, {TRAIN: 50_000, TEST: 10_000},
        2, b"fine_labels", ("cifar-100-binary", "cifar-100-python"), (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762),
    ),
}  # fmt: skip


def read_cifar(kind: str, folder: Path, shape: Shape) -> ArrayImages:
    """``kind`` of LAYOUTS from the files in ``folder``, or in the folder in it that the archive makes. Raises InputError."""
    layout = LAYOUTS[kind]
    if shape != SHAPE:
        raise InputError([Problem(str(folder), 1, "--data", f"{layout.title} has images of {SHAPE}, the network reads {shape}")])
    first = layout.files[TRAIN][0]
    places = [folder, *(folder / name for name in layout.folders)]
    found = next(((place, suffix) for place in places for suffix in (".bin", "") if (place / (first + suffix)).is_file()), None)
    if found is None:
        raise InputError([Problem(str(folder), 1, "", f"holds no {first}.bin and no {first}: not {layout.title}")])
    place, suffix = found
    read = _read_binary if suffix else _read_python
    problems: list[Problem] = []
    splits = {}
    for split, names in layout.files.items():
        files = []
        for name in names:
            path = place / f"{name}{suffix}"
            try:
                files.append(_checked(*read(path, layout, split), layout, split))
            except (OSError, ValueError) as error:
                problems.append(Problem(str(path), 1, "", unreadable(error)))
        if len(files) == len(names):
            pixels, labels = (np.concatenate(parts) for parts in zip(*files, strict=True))
            splits[split] = Split(pixels.reshape(-1, *SHAPE), labels.astype(np.int64))
    refuse(problems)
    return ArrayImages(splits, layout.classes, shape, layout.mean, layout.deviation, ("mirror-crop", "none"))


def _read_binary(path: Path, layout: CifarLayout, split: str) -> tuple[np.ndarray, np.ndarray]:
    record, images = layout.label_bytes + _PIXELS, layout.images[split]
    data = np.frombuffer(read_regular(path, _MOST_BYTES), np.uint8)
    if data.size != record * images:
        raise ValueError(f"has {data.size:,} bytes, {record * images:,} are expected: truncated or not {layout.title}")
    records = data.reshape(images, record)
    return records[:, layout.label_bytes :], records[:, layout.label_bytes - 1]


class _Pickled(np.ndarray):
    """An array of a pickle, made empty whatever the pickle asks for; its state, which lies in the file, gives it its size."""

    def __new__(cls, *_: object) -> "_Pickled":
        return super().__new__(cls, (0,), np.uint8)


def _bytes_of(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2; other codecs could make much of little."""
    return text.encode("latin1")


class _ForeignError(Exception):
    """A pickle of something else."""


class _ArraysOnly(pickle._Unpickler):
    """Unpickles arrays of numbers and plain values, nothing that could run code or take more memory than its file. (Python's own unpickler,
    because the one in C gives 64 GiB to five bytes that number a value far out.)"""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {"_reconstruct": _Pickled, "ndarray": _Pickled, "dtype": np.dtype} if module.startswith("numpy") else {}
        found = _bytes_of if (module, name) == ("_codecs", "encode") else allowed.get(name)
        if found is None:
            raise _ForeignError
        return found


def _read_python(path: Path, layout: CifarLayout, split: str) -> tuple[np.ndarray, np.ndarray]:
    with open_regular(path, _MOST_BYTES) as file:
        try:
            content = _ArraysOnly(file, encoding="bytes").load()
            return np.asarray(content[b"data"]).view(np.ndarray), np.asarray(content[layout.label_key])
        except _ForeignError:
            raise ValueError(f"holds more than arrays: not the python format of {layout.title}") from None
        except Exception:  # what a damaged pickle raises is up to its bytes
            raise ValueError(layout.foreign) from None


def _checked(pixels: np.ndarray, labels: np.ndarray, layout: CifarLayout, split: str) -> tuple[np.ndarray, np.ndarray]:
    expected = (layout.images[split], _PIXELS)
    if pixels.shape != expected or labels.shape != expected[:1]:
        raise ValueError(f"holds images {pixels.shape} and labels {labels.shape}, {expected} and {expected[:1]} are expected")
    if pixels.dtype != np.uint8 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError("holds no images of bytes with integers as labels")
    if problem := label_problem(labels, layout.classes):
        raise ValueError(problem)
    return pixels, labels
