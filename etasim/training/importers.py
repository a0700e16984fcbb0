"""Whose files `etasim import` reads: importers by the suffix that such a file has."""

from pathlib import Path
from typing import Protocol

from etasim.core.registry import IMPORTERS
from etasim.training.import_report import ImportedModel

DEFAULT = "onnx"


class Importer(Protocol):
    """Reads a model of another program."""

    def __call__(self, file: Path, shape: tuple[int, ...] | None, /) -> ImportedModel:
        """The network of ``file``; ``shape``: of an image, if the model leaves it open. Raises InputError."""


def importer_of(file: Path) -> Importer:
    """The importer for the suffix of ``file``; of one that nobody claims: that of ONNX."""
    suffix = file.suffix.lstrip(".").lower()
    chosen: Importer = IMPORTERS[suffix if suffix in IMPORTERS else DEFAULT]
    return chosen


def _onnx(file: Path, shape: tuple[int, ...] | None, /) -> ImportedModel:
    from etasim.report.extras import need

    need("onnx")
    from etasim.training.onnx_import import import_onnx

    return import_onnx(file, shape)


IMPORTERS.add(DEFAULT, _onnx)
