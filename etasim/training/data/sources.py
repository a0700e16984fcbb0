"""From the name of a source to its images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from etasim.config.errors import InputError, Problem, allowed_names
from etasim.report.extras import need
from etasim.training.data.archives import read_npz
from etasim.training.data.cifar import read_cifar
from etasim.training.data.folders import read_image_folder
from etasim.training.data.idx import read_idx
from etasim.training.data.images import TEST, TRAIN, ArrayImages, Images, Split
from etasim.workload.layer import Shape

_DIGITS_TEST = 360

_READERS: dict[str, tuple[str, Callable[[Path, Shape], Images]]] = {
    "idx": ("DIR", read_idx),
    "cifar10": ("DIR", lambda folder, shape: read_cifar("cifar10", folder, shape)),
    "cifar100": ("DIR", lambda folder, shape: read_cifar("cifar100", folder, shape)),
    "imagefolder": ("DIR", read_image_folder),
    "npz": ("FILE", read_npz),
}
SOURCES = ("digits", *(f"{kind}:{what}" for kind, (what, _) in _READERS.items()))


def load_images(source: str, shape: Shape) -> Images:
    """The images that ``source`` (one of SOURCES) names, as ``shape``. Raises InputError for what is missing, damaged or does not fit."""
    kind, _, place = source.partition(":")
    if source == "digits":
        return _digits(shape)
    if kind in _READERS and place:
        return _READERS[kind][1](Path(place), shape)
    if kind in _READERS:
        what = _READERS[kind][0]
        raise InputError([Problem("--data", 1, source, f"needs a {'file' if what == 'FILE' else 'folder'}: {kind}:{what}")])
    raise InputError([Problem("--data", 1, source, f"unknown; {allowed_names(source, SOURCES)}")])


def _digits(shape: Shape) -> ArrayImages:
    need("sklearn")
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # has no types

    digits = load_digits()
    pixels = torch.from_numpy(digits.images).to(torch.float32)[:, None] / 16
    images = functional.interpolate(pixels, shape[1:], mode="bilinear", align_corners=False)
    normal = ((images - images.mean()) / images.std()).expand(-1, shape.channels, -1, -1).contiguous().numpy()
    order = np.random.default_rng(0).permutation(len(images))
    labels = digits.target.astype(np.int64)
    parts = {TRAIN: order[:-_DIGITS_TEST], TEST: order[-_DIGITS_TEST:]}
    return ArrayImages({split: Split(normal[i], labels[i]) for split, i in parts.items()}, 10, shape)
