"""Images in one .npz file."""

from pathlib import Path

import numpy as np

from etasim.config.errors import InputError, Problem
from etasim.functional.archive import read_arrays
from etasim.numerics.errors import NumericsError
from etasim.training.data.images import TEST, TRAIN, ArrayImages, Split, label_problem, measured, refuse, shape_problem
from etasim.workload.layer import Shape

_PARTS = ((TRAIN, "images"), (TRAIN, "labels"), (TEST, "images"), (TEST, "labels"))
NAMES = tuple(
    dict(zip(_PARTS, names.split(), strict=True))
    for names in ("train_images train_labels test_images test_labels", "x_train y_train x_test y_test")
)
"""What the four arrays are called, in either way."""
COLOURS = (1, 3)


def read_npz(path: Path, shape: Shape) -> ArrayImages:
    """Images [N, H, W], [N, C, H, W] or [N, H, W, C] of bytes, and labels [N] or [N, 1], from ``path``. Raises InputError."""
    arrays = _arrays(path)
    problems: list[Problem] = []
    splits: dict[str, Split] = {}
    classes: int | None = None
    for split in (TRAIN, TEST):
        (images_name, images), (labels_name, labels) = arrays[split, "images"], arrays[split, "labels"]
        pixels = _channels_first(images)
        flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if pixels is None:
            found = f"{images.dtype} {list(images.shape)}"
            message = f"must hold bytes (uint8) as [N, H, W], [N, C, H, W] or [N, H, W, C] with 1 or 3 channels, got {found}"
            problems.append(Problem(str(path), None, images_name, message))
        elif message_ := shape_problem(Shape(*pixels.shape[1:]), shape):
            problems.append(Problem(str(path), None, images_name, message_))
        if flat.ndim != 1 or not np.issubdtype(flat.dtype, np.integer) or len(flat) != len(images):
            found = f"{labels.dtype} {list(labels.shape)}"
            problems.append(Problem(str(path), None, labels_name, f"must hold an integer for each of {len(images):,} images, got {found}"))
        elif message_ := label_problem(flat, classes):
            problems.append(Problem(str(path), None, labels_name, message_))
        elif pixels is not None:
            classes = int(flat.max()) + 1 if classes is None else classes
            splits[split] = Split(np.ascontiguousarray(pixels), flat.astype(np.int64))
    refuse(problems)
    assert classes is not None, "the labels of the training are in order"
    return ArrayImages(splits, classes, shape, *measured(splits[TRAIN].pixels))


def _arrays(path: Path) -> dict[tuple[str, str], tuple[str, np.ndarray]]:
    """Name and array of each part. Raises InputError."""
    wanted = {name for names in NAMES for name in names.values()}
    try:
        found = read_arrays(path, lambda name, shape, dtype: name in wanted)
    except OSError as error:
        raise InputError([Problem(str(path), None, "", f"cannot be read: {error.strerror or error}")]) from None
    except NumericsError as error:
        raise InputError(Problem(str(path), None, name, message) for name, message in error.faults) from None
    names = max(NAMES, key=lambda names: len(found.keys() & set(names.values())))
    missing = [name for name in names.values() if name not in found]
    refuse(Problem(str(path), None, name, f"is missing; the arrays are {', '.join(NAMES[0].values())}") for name in missing)
    return {part: (name, found[name]) for part, name in names.items()}


def _channels_first(images: np.ndarray) -> np.ndarray | None:
    """As [N, C, H, W]; None for what are no images. Channels come first where both readings are possible."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not images.size:
        return None
    if images.ndim == 3:
        return images[:, None]
    if images.shape[1] in COLOURS:
        return images
    return images.transpose(0, 3, 1, 2) if images.shape[3] in COLOURS else None
