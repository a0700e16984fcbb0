"""Labelled images: where they come from, how they are varied, and in which order a run takes them. Nothing is downloaded."""

from etasim.core.lazy import lazy

AUGMENTATIONS = ("none", "mirror-crop", "imagenet")
"""How images of the training are varied (`etasim.training.data.augmentation`); here, because the command line names them."""

DEFAULT = "default"
"""In the place of an augmentation: that of the source."""

_HOME = {
    "SOURCES": "sources",
    "load_images": "sources",
    "Images": "images",
    "ArrayImages": "images",
    "FolderImages": "folders",
    "BatchLoader": "loader",
}

__getattr__, __dir__ = lazy(__name__, _HOME)
