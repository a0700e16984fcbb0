"""Images in folders of classes, decoded when they are needed."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from etasim.config.errors import InputError, Problem
from etasim.config.files import open_regular
from etasim.report.extras import need
from etasim.training.data.augmentation import TEST_SIDE, Box, crops, middle_box, mirror_crop, random_boxes
from etasim.training.data.images import TEST, TRAIN, Batch, Draw, refuse
from etasim.workload.layer import Shape

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MOST_IMAGE_BYTES, _MOST_PIXELS = 2**28, 10**8
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp")
_REDUCING_GAP = 2.0
"""An image that is more than twice as large as what is made of it is first reduced by whole pixels."""


class LabelledFiles(NamedTuple):
    """``names`` of files below ``place``, and their ``labels`` [N], int64."""

    place: Path
    names: list[str]
    labels: np.ndarray


class FolderImages(NamedTuple):
    """Images read when they are needed, cut and resized to ``shape``."""

    files: dict[str, LabelledFiles]
    shape: Shape
    classes: int
    augmentations: tuple[str, ...] = ("imagenet", "mirror-crop", "none")

    def count(self, split: str) -> int:
        """Images of a split."""
        return len(self.files[split].names)

    def batch(self, split: str, indices: np.ndarray, augment: str, draw: Draw | None = None) -> Batch:
        """The images ``indices``; see `Images`. ``imagenet``: a random part of each, mirrored at random; of a test image the middle 7/8 of
        the shorter side. Else the middle, as large as it can be. Raises InputError for a file that is no image."""
        files = self.files[split]
        chosen = indices[draw.part] if draw else indices
        paths = [files.place / files.names[i] for i in chosen]
        middle = partial(middle_box, self.shape.width / self.shape.height, TEST_SIDE if augment == "imagenet" else 1.0)
        is_random = draw and augment == "imagenet"
        boxes: list[Callable[[tuple[int, int]], Box]]
        boxes = random_boxes(len(indices), draw.generator)[draw.part] if draw and is_random else [middle] * len(paths)
        pixels = np.stack([_read_image(path, self.shape, box) for path, box in zip(paths, boxes, strict=True)])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        mean, deviation = (torch.tensor(values).view(-1, 1, 1) * 255 for values in (_MEAN, _DEVIATION))
        images = images.sub_(mean).div_(deviation)
        if draw and augment == "mirror-crop":
            images = mirror_crop(images, *crops(len(indices), self.shape, draw.generator, draw.part))
        return images, torch.from_numpy(files.labels[chosen])


def read_image_folder(folder: Path, shape: Shape) -> FolderImages:
    """``folder``/train/CLASS/IMAGE and ``folder``/val (or test)/CLASS/IMAGE; classes by the sorted names of their folders."""
    need("PIL")
    if shape.channels != len(_MEAN):
        raise InputError([Problem(str(folder), None, "--data", f"holds images of 3 channels, the network reads {shape}")])
    test = next((folder / name for name in ("val", "test") if (folder / name).is_dir()), folder / "val")
    names = sorted(_folders(folder / "train"))
    files = {split: _labelled(place, names) for split, place in ((TRAIN, folder / "train"), (TEST, test))}
    problems = [Problem(str(folder), 1, split, "holds no images in folders of classes") for split in files if not files[split].names]
    problems += [Problem(str(test / name), 1, "", "is not a class of train") for name in _folders(test) if name not in names]
    if not problems:
        empty = set(range(len(names))) - set(files[TRAIN].labels.tolist())
        problems += [Problem(str(folder / "train" / names[label]), None, "", "holds no images") for label in sorted(empty)]
    refuse(problems)
    return FolderImages(files, shape, len(names))


def _folders(place: Path) -> list[str]:
    return [entry.name for entry in os.scandir(place) if entry.is_dir()] if place.is_dir() else []


def _labelled(place: Path, names: list[str]) -> LabelledFiles:
    found = [(f"{name}/{file}", label) for label, name in enumerate(names) for file in _images(place / name)]
    return LabelledFiles(place, [name for name, _ in found], np.array([label for _, label in found], np.int64))


def _images(place: Path) -> Iterator[str]:
    if place.is_dir():
        yield from sorted(entry.name for entry in os.scandir(place) if entry.name.lower().endswith(SUFFIXES))


def _read_image(path: Path, shape: Shape, box_in: Callable[[tuple[int, int]], Box]) -> np.ndarray:
    """uint8 [height, width, 3]: the part of the image that ``box_in`` finds in its size; a JPEG is decoded no larger than that needs."""
    from PIL import Image

    with _named(path), open_regular(path, _MOST_IMAGE_BYTES) as opened, Image.open(opened) as file:
        size = file.size
        if size[0] * size[1] > _MOST_PIXELS:
            raise InputError([Problem(str(path), None, "", f"has {size[0]} x {size[1]} pixels, more than {_MOST_PIXELS:,}")])
        left, top, right, bottom, mirrored = box_in(size)
        share = (size[0] / (right - left), size[1] / (bottom - top))
        file.draft("RGB", (round(shape.width * share[0]), round(shape.height * share[1])))
        x, y = file.width / size[0], file.height / size[1]
        image = file if file.mode == "RGB" else file.convert("RGB")
        part_of_it = (left * x, top * y, right * x, bottom * y)
        image = image.resize((shape.width, shape.height), Image.Resampling.BILINEAR, part_of_it, _REDUCING_GAP)
    pixels = np.asarray(image)
    return pixels[:, ::-1] if mirrored else pixels


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which file an error is about; decoders of images raise of everything, and quote what they read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:
        system = error.strerror if isinstance(error, OSError) else None
        reason = f"cannot be read: {system}" if system else "is not an image, or damaged or truncated"
        raise InputError([Problem(str(path), None, "", reason)]) from None
