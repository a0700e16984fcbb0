"""Many machines from one file: read once, validated once, and then only the sections that an override touches."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from etasim.config.architecture import Architecture
from etasim.config.catalog import find_input
from etasim.config.loading import apply_overrides, build_architecture, named_files, read_with_bases
from etasim.config.reading import Document, SourceMap

DEPENDENT = {"array": ("noc",)}
"""Sections whose values are derived from another one: where the network places clusters follows from their number."""

NAMING_FILES = ("dram.part", "energy.extends", "board.extends")
"""Keys whose values are names of files."""


class BaseArchitecture:
    """An architecture that is the base of many: ``architecture`` as the file has it, `varied` with overrides.

    `varied` gives what `load_architecture` gives for the same file and overrides, in a tenth of the time: sections without an override
    are not validated again, because a section never changes once it is there.
    """

    def __init__(self, path_or_name: str | Path):
        """Raises InputError with all problems of the file."""
        written = read_with_bases(find_input("configs", path_or_name))
        self.architecture = build_architecture(written)
        self._written, self._complete = written, named_files(written)

    def kept(self) -> dict[str, Any]:
        """All of it as plain values, from which `restored` makes an equal base where there is no file any more."""
        return {"written": self._written.data, "complete": self._complete.data}

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Self:
        """The base that was `kept`. Raises InputError for one of another version."""
        base = cls.__new__(cls)
        base._written, base._complete = (Document(kept[name], SourceMap()) for name in ("written", "complete"))
        base.architecture = build_architecture(base._complete)
        return base

    def varied(self, overrides: Mapping[str, Any]) -> Architecture:
        """The architecture with ``overrides`` by key path. Raises InputError, as `load_architecture` does."""
        names_a_file = any(f"{name}.".startswith(f"{key}.") or key.startswith(f"{name}.") for key in overrides for name in NAMING_FILES)
        document = apply_overrides(self._written if names_a_file else self._complete, overrides)
        return build_architecture(Document(document.data | self._untouched(overrides), document.source))

    def _untouched(self, keys: Iterable[str]) -> dict[str, Any]:
        """The sections, as they were validated, that keep their values when ``keys`` get new ones."""
        touched = {key.partition(".")[0] for key in keys}
        touched.update(*(DEPENDENT.get(section, ()) for section in touched))
        return {name: value for name, value in self.architecture if name in self._written.data and name not in touched}
