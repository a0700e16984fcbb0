"""Labelled images: scikit-learn's digits, CIFAR-10 from local files, folders of images. Nothing is downloaded."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.nn import functional

from etasim.config.errors import InputError, Problem, allowed_names
from etasim.config.files import open_regular, read_regular
from etasim.training.extras import need
from etasim.workload.layer import Shape

SOURCES = ("digits", "cifar10:DIR", "imagefolder:DIR")
CIFAR_SHAPE = Shape(3, 32, 32)
CIFAR_CLASSES = 10
IMAGES_PER_FILE = 10_000
_CIFAR_FILES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_CIFAR_MEAN, _CIFAR_DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_FOLDER_MEAN, _FOLDER_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DIGITS_TEST = 360
_MOST_CIFAR_BYTES, _MOST_IMAGE_BYTES, _MOST_PIXELS = 2**26, 2**28, 10**8
_NOT_CIFAR = "truncated or not the python format of CIFAR-10"
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp")

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images [N, C, H, W], float32, and their classes [N], int64."""


class Images(Protocol):
    """``classes``, and by split (``train``, ``test``) the number of images and batches of them."""

    @property
    def classes(self) -> int: ...

    @property
    def augments(self) -> bool: ...

    def count(self, split: str) -> int: ...

    def batch(self, split: str, indices: torch.Tensor) -> Batch: ...


class TensorImages(NamedTuple):
    """Images in memory: ``images`` and ``labels`` by split."""

    images: dict[str, torch.Tensor]
    labels: dict[str, torch.Tensor]
    classes: int
    augments: bool

    def count(self, split: str) -> int:
        """Images of a split."""
        return len(self.labels[split])

    def batch(self, split: str, indices: torch.Tensor) -> Batch:
        """The images ``indices``."""
        return self.images[split][indices], self.labels[split][indices]


class FolderImages(NamedTuple):
    """Images read when they are needed, resized and cropped to ``shape``."""

    files: dict[str, list[tuple[Path, int]]]
    shape: Shape
    classes: int
    augments: bool = True

    def count(self, split: str) -> int:
        """Images of a split."""
        return len(self.files[split])

    def batch(self, split: str, indices: torch.Tensor) -> Batch:
        """The images ``indices``. Raises InputError for a file that is no image."""
        chosen = [self.files[split][int(i)] for i in indices]
        images = torch.stack([_read_image(path, self.shape) for path, _ in chosen])
        return images, torch.tensor([label for _, label in chosen])


def load_images(source: str, shape: Shape) -> Images:
    """The images that ``source`` (one of SOURCES) names, as ``shape``. Raises InputError for what is missing, damaged or does not fit."""
    kind, _, folder = source.partition(":")
    if kind == "digits" and not folder:
        return _digits(shape)
    if kind in ("cifar10", "imagefolder") and folder:
        return (_cifar10 if kind == "cifar10" else _image_folder)(Path(folder), shape)
    raise InputError([Problem("--data", 1, source, f"unknown; {allowed_names(source, SOURCES)}")])


def augmented(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """``images`` mirrored at random and cut at random from an eighth of padding."""
    n, _, height, width = images.shape
    mirrored = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    images = torch.where(mirrored, images.flip(3), images)
    pad = (height // 8, width // 8)
    padded = functional.pad(images, (pad[1], pad[1], pad[0], pad[0]))
    tops, lefts = (torch.randint(2 * p + 1, (n,), generator=generator).tolist() for p in pad)
    return torch.stack([image[:, t : t + height, x : x + width] for image, t, x in zip(padded, tops, lefts, strict=True)])


def _digits(shape: Shape) -> TensorImages:
    need("sklearn")
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # has no types

    digits = load_digits()
    pixels = torch.from_numpy(digits.images).to(torch.float32)[:, None] / 16
    images = functional.interpolate(pixels, shape[1:], mode="bilinear", align_corners=False)
    images = ((images - images.mean()) / images.std()).expand(-1, shape.channels, -1, -1).contiguous()
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(images)))
    split = {"train": order[:-_DIGITS_TEST], "test": order[-_DIGITS_TEST:]}
    labels = torch.from_numpy(digits.target).to(torch.int64)
    return TensorImages({k: images[i] for k, i in split.items()}, {k: labels[i] for k, i in split.items()}, 10, False)


def _cifar10(folder: Path, shape: Shape) -> TensorImages:
    """From the binary (``data_batch_1.bin``) or python (``data_batch_1``) files in ``folder`` or in the folder that its archive makes."""
    if shape != CIFAR_SHAPE:
        raise InputError([Problem(str(folder), 1, "--data", f"CIFAR-10 has images of {CIFAR_SHAPE}, the network reads {shape}")])
    candidates = [folder, folder / "cifar-10-batches-bin", folder / "cifar-10-batches-py"]
    first = _CIFAR_FILES["train"][0]
    found = next(((place, suffix) for place in candidates for suffix in (".bin", "") if (place / (first + suffix)).is_file()), None)
    if found is None:
        raise InputError([Problem(str(folder), 1, "", f"holds no {first}.bin and no {first}: not CIFAR-10")])
    place, suffix = found
    read = _read_cifar_binary if suffix else _read_cifar_python
    problems: list[Problem] = []
    raw: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"train": [], "test": []}
    for split, names in _CIFAR_FILES.items():
        for name in names:
            try:
                raw[split].append(_checked(*read(place / f"{name}{suffix}")))
            except (OSError, ValueError) as error:
                message = f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
                problems.append(Problem(str(place / f"{name}{suffix}"), 1, "", message))
    if problems:
        raise InputError(problems)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) * 255 for values in (_CIFAR_MEAN, _CIFAR_DEVIATION))
    images, labels = {}, {}
    for split, files in raw.items():
        pixels = torch.from_numpy(np.concatenate([pixels for pixels, _ in files])).view(-1, *CIFAR_SHAPE)
        images[split] = (pixels.to(torch.float32) - mean) / deviation
        labels[split] = torch.from_numpy(np.concatenate([labels for _, labels in files]).astype(np.int64))
    return TensorImages(images, labels, CIFAR_CLASSES, True)


def _read_cifar_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    record = 1 + int(np.prod(CIFAR_SHAPE))
    data = np.frombuffer(read_regular(path, _MOST_CIFAR_BYTES), np.uint8)
    if data.size != record * IMAGES_PER_FILE:
        raise ValueError(f"has {data.size:,} bytes, {record * IMAGES_PER_FILE:,} are expected: truncated or not CIFAR-10")
    records = data.reshape(IMAGES_PER_FILE, record)
    return records[:, 1:], records[:, 0]


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


def _read_cifar_python(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with open_regular(path, _MOST_CIFAR_BYTES) as file:
        try:
            content = _ArraysOnly(file, encoding="bytes").load()
            return np.asarray(content[b"data"]).view(np.ndarray), np.asarray(content[b"labels"])
        except _ForeignError:
            raise ValueError("holds more than arrays: not the python format of CIFAR-10") from None
        except Exception:  # what a damaged pickle raises is up to its bytes
            raise ValueError(_NOT_CIFAR) from None


def _checked(pixels: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    expected = (IMAGES_PER_FILE, int(np.prod(CIFAR_SHAPE)))
    if pixels.shape != expected or labels.shape != expected[:1]:
        raise ValueError(f"holds images {pixels.shape} and labels {labels.shape}, {expected} and {expected[:1]} are expected")
    if pixels.dtype != np.uint8 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError("holds no images of bytes with integers as labels")
    wrong = (labels < 0) | (labels >= CIFAR_CLASSES)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"the label of image {at} is {int(labels[at])}, 0 ... {CIFAR_CLASSES - 1} are expected")
    return pixels, labels


def _image_folder(folder: Path, shape: Shape) -> FolderImages:
    """``folder``/train/CLASS/IMAGE and ``folder``/val (or test)/CLASS/IMAGE; classes by the sorted names of their folders."""
    need("PIL")
    test = next((folder / name for name in ("val", "test") if (folder / name).is_dir()), folder / "val")
    names = sorted(path.name for path in _folders(folder / "train"))
    files = {split: list(_labelled(place, names)) for split, place in (("train", folder / "train"), ("test", test))}
    problems = [Problem(str(folder), 1, split, "holds no images in folders of classes") for split, found in files.items() if not found]
    problems += [Problem(str(path), 1, "", "is not a class of train") for path in _folders(test) if path.name not in names]
    if problems:
        raise InputError(problems)
    return FolderImages(files, shape, len(names))


def _folders(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []


def _labelled(place: Path, names: list[str]) -> Iterator[tuple[Path, int]]:
    for label, name in enumerate(names):
        if (place / name).is_dir():
            yield from ((path, label) for path in sorted((place / name).iterdir()) if path.suffix.lower() in _IMAGE_SUFFIXES)


def _read_image(path: Path, shape: Shape) -> torch.Tensor:
    from PIL import Image

    try:
        with open_regular(path, _MOST_IMAGE_BYTES) as opened, Image.open(opened) as file:
            if file.width * file.height > _MOST_PIXELS:
                raise InputError([Problem(str(path), None, "", f"has {file.width} x {file.height} pixels, more than {_MOST_PIXELS:,}")])
            image = file.convert("RGB")
    except InputError:
        raise
    except Exception as error:  # decoders of images raise of everything, and quote what they read
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else "is not an image, or damaged"
        raise InputError([Problem(str(path), None, "", reason)]) from None
    scale = max(shape.height / image.height, shape.width / image.width)
    image = image.resize((max(round(image.width * scale), shape.width), max(round(image.height * scale), shape.height)))
    left, top = (image.width - shape.width) // 2, (image.height - shape.height) // 2
    pixels = np.asarray(image.crop((left, top, left + shape.width, top + shape.height)), np.float32) / 255
    normal = (pixels - np.array(_FOLDER_MEAN, np.float32)) / np.array(_FOLDER_DEVIATION, np.float32)
    return torch.from_numpy(normal.transpose(2, 0, 1).copy())
