"""Images in IDX files (MNIST, Fashion-MNIST and their like), compressed by gzip or not."""

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from etasim.config.errors import InputError, Problem
from etasim.config.files import open_regular
from etasim.training.data.images import TEST, TRAIN, ArrayImages, Split, label_problem, measured, refuse, shape_problem, unreadable
from etasim.workload.layer import Shape

PREFIXES = {TRAIN: "train", TEST: "t10k"}
IMAGES, LABELS = ("images-idx3-ubyte", "images.idx3-ubyte"), ("labels-idx1-ubyte", "labels.idx1-ubyte")
"""How the files are called, as they are distributed and as some archives rename them."""
_BYTES = 0x08
_MOST_BYTES = 2**31


def read_idx(folder: Path, shape: Shape) -> ArrayImages:
    """The images of ``folder``: ``train-images-idx3-ubyte[.gz]``, ``t10k-images-idx3-ubyte[.gz]`` and their labels. Raises InputError."""
    problems: list[Problem] = []
    paths, arrays = {}, {}
    for split, prefix in PREFIXES.items():
        for what, suffixes, n_axes in (("images", IMAGES, 3), ("labels", LABELS, 1)):
            names = [f"{prefix}-{suffix}{packed}" for suffix in suffixes for packed in ("", ".gz")]
            path = next((folder / name for name in names if (folder / name).exists()), folder / names[0])
            paths[split, what] = str(path)
            if split == TRAIN and what == "images" and not path.exists():
                raise InputError([Problem(str(folder), None, "", f"holds no {names[0]} and no {names[1]}: not a folder of IDX files")])
            try:
                arrays[split, what] = _read(path, n_axes)
            except (OSError, ValueError) as error:
                problems.append(Problem(str(path), None, "", unreadable(error)))
    refuse(problems)
    classes = int(arrays[TRAIN, "labels"].max(initial=0)) + 1
    for split in PREFIXES:
        images, labels = arrays[split, "images"], arrays[split, "labels"]
        if len(images) != len(labels):
            problems.append(Problem(paths[split, "labels"], None, "", f"holds {len(labels):,} labels of {len(images):,} images"))
        elif message := label_problem(labels, None if split == TRAIN else classes):
            problems.append(Problem(paths[split, "labels"], None, "", message))
        if message := shape_problem(Shape(1, *images.shape[1:]), shape):
            problems.append(Problem(paths[split, "images"], None, "", message))
    refuse(problems)
    splits = {split: Split(arrays[split, "images"][:, None], arrays[split, "labels"].astype(np.int64)) for split in PREFIXES}
    return ArrayImages(splits, classes, shape, *measured(splits[TRAIN].pixels))


def _read(path: Path, n_axes: int) -> np.ndarray:
    """The array of bytes in an IDX file. Raises OSError or ValueError."""
    with open_regular(path, _MOST_BYTES) as file:
        try:
            content = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            magic = content.read(4 + 4 * n_axes)
            if len(magic) < 4 + 4 * n_axes or magic[:4] != bytes([0, 0, _BYTES, n_axes]):
                raise ValueError(f"is not an IDX file of bytes with {n_axes} axes")
            sizes = [int.from_bytes(magic[i : i + 4], "big") for i in range(4, len(magic), 4)]
            n_bytes = prod(sizes)
            if n_bytes > _MOST_BYTES:
                raise ValueError(f"is said to hold {n_bytes:,} bytes, at most {_MOST_BYTES:,} are read")
            values = content.read(n_bytes + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise ValueError("is damaged or truncated: not what gzip wrote") from None
    if len(values) != n_bytes:
        found = f"{len(values):,}" if len(values) < n_bytes else "more"
        raise ValueError(f"holds {found} bytes of values, {n_bytes:,} are expected: truncated or damaged")
    return np.frombuffer(values, np.uint8).reshape(sizes)
