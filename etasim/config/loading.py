"""From YAML files and ``--set`` options to an Architecture, with every problem reported at its place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from etasim.config.architecture import Architecture, Dram
from etasim.config.base import Section
from etasim.config.board import Board
from etasim.config.catalog import find_input
from etasim.config.dram_part import DramPart
from etasim.config.energy import EnergyTable
from etasim.config.errors import InputError, Problem, key_text
from etasim.config.reading import Document, KeyPath, Mark, SourceMap, merge, parse_yaml, read_yaml
from etasim.config.validation import violations

OVERRIDES_FILE = "--set"
PART = ("dram", "part")
TABLES: dict[str, tuple[str, type[Section]]] = {"energy": ("configs/energy", EnergyTable), "board": ("configs/boards", Board)}
"""Sections that may extend a shipped file: the folder of these files, and what they hold."""

LONGEST_CHAIN = 16
"""Files that extend each other."""


def load_architecture(path_or_name: str | Path, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Architecture:
    """The architecture of a YAML file or shipped name, with ``key.path=value`` overrides applied in order.

    ``overrides`` is a sequence of ``key.path=value`` texts (values are YAML) or a mapping from key path to value.
    Raises InputError with all problems; one in an override has the file ``--set`` and the number of the override, from 1, as line.
    """
    document = read_with_bases(find_input("configs", path_or_name))
    return build_architecture(apply_overrides(document, overrides))


def read_with_bases(first: Path) -> Document:
    """The YAML file at ``first`` merged over the file it ``extends``, and so on; InputError for a cycle."""
    chain: list[Path] = []
    documents: list[Document] = []
    path: Path | None = first
    while path is not None:
        document = read_yaml(path, Architecture.keys())
        documents.append(document)
        chain.append(path.resolve())
        base, mark = document.data.pop("extends", None), document.source.mark(("extends",))
        path = None if base is None else _find_named("configs", base, mark)
        if path is not None and path.resolve() in chain:
            names = " extends ".join(item.name for item in [*chain, path])
            raise InputError([Problem(*mark, f"a cycle: {names}")])
        if path is not None and len(chain) == LONGEST_CHAIN:
            raise InputError([Problem(*mark, f"more than {LONGEST_CHAIN} files extend each other")])
    merged = documents.pop()
    while documents:
        merged = merge(merged, documents.pop())
    return merged


def _find_named(kind: str, name: object, mark: Mark) -> Path:
    """The file that the value ``name`` at ``mark`` refers to, relative to the file that says so."""
    if not isinstance(name, str):
        raise InputError([Problem(*mark, f"must be a file or a shipped name, got {name!r}")])
    folder = None if mark.file == OVERRIDES_FILE else Path(mark.file).parent
    try:
        return find_input(kind, name, folder)
    except InputError as error:
        raise InputError(Problem(*mark, f"{name!r}: {problem.message}") for problem in error.problems) from None


def apply_overrides(document: Document, overrides: Sequence[str] | Mapping[str, Any]) -> Document:
    """``document`` with every override merged over it; InputError lists the malformed ones."""
    problems: list[Problem] = []
    entries = overrides.items() if isinstance(overrides, Mapping) else [(text, None) for text in overrides]
    for index, (text, value) in enumerate(entries, 1):
        try:
            key, value = (text, value) if isinstance(overrides, Mapping) else _split_override(text, index)
            document = merge(document, _override_document(key, value, index))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return document


def _split_override(text: str, index: int) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError([Problem(OVERRIDES_FILE, index, text, "must have the form key.path=value")])
    try:
        return key.strip(), parse_yaml(value, OVERRIDES_FILE)[0]
    except InputError as error:
        raise InputError(Problem(OVERRIDES_FILE, index, key, problem.message) for problem in error.problems) from None


def _override_document(key: str, value: Any, index: int) -> Document:
    path = tuple(key.split("."))
    if not all(path):
        raise InputError([Problem(OVERRIDES_FILE, index, key, "is not a key path such as core.clock")])
    if path[0] == "extends":
        raise InputError([Problem(OVERRIDES_FILE, index, key, "belongs into a file; name the base as the architecture instead")])
    written = [path[:n] for n in range(1, len(path) + 1)] + list(_paths_below(value, path))
    for step in reversed(path):
        value = {step: value}
    return Document(value, SourceMap({place: Mark(OVERRIDES_FILE, index, key_text(place)) for place in written}))


def _paths_below(value: object, path: KeyPath) -> Iterator[KeyPath]:
    """The paths of all that a value holds."""
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for step, below in entries:
        yield (*path, step)
        yield from _paths_below(below, (*path, step))


def build_architecture(document: Document) -> Architecture:
    """The architecture that a merged document describes; InputError has all problems, sorted by place."""
    problems: list[Problem] = []
    unread: list[tuple[str, ...]] = []
    for read, keys in READERS.items():
        try:
            document = read(document)
        except InputError as error:
            problems += error.problems
            unread += keys
    try:
        architecture = Architecture.model_validate(document.data)
    except ValidationError as error:
        for path, message in violations(error, Architecture):
            if not any(path[: len(key)] == key for key in unread):
                problems.append(document.source.problem(path, message))
    if problems:
        raise InputError(sorted(set(problems)))
    return architecture


def named_files(document: Document) -> Document:
    """``document`` with the content of every file that it names in the place of the name. Raises InputError."""
    for read in READERS:
        document = read(document)
    return document


def _with_part(document: Document) -> Document:
    """``document`` with the DRAM part's file in the place of its name, and inline sections merged over it."""
    dram = document.data.get("dram")
    if not isinstance(dram, dict) or "part" not in dram:
        return document
    data, source = document
    if not isinstance(dram["part"], dict):
        part = read_yaml(_find_named("configs/dram", dram["part"], source.mark(PART)), DramPart.keys())
        mounted = SourceMap({(*PART, *path): mark for path, mark in part.source.items()})
        document = merge(Document(data | {"dram": dram | {"part": None}}, source), Document({"dram": {"part": part.data}}, mounted))
    for key in Dram.MERGED_KEYS:
        if key in dram:
            inside = {(*PART, *path[1:]): mark for path, mark in source.items() if path[:2] == ("dram", key)}
            document = merge(document, Document({"dram": {"part": {key: dram[key]}}}, SourceMap(inside)))
    return Document(_without(document.data, Dram.MERGED_KEYS), document.source)


def _with_table(section: str, document: Document) -> Document:
    """``document`` with the file that ``section`` extends under what it says itself."""
    table = document.data.get(section)
    if not (isinstance(table, dict) and "extends" in table):
        return document
    data, source = document
    kind, content = TABLES[section]
    base = read_yaml(_find_named(kind, table["extends"], source.mark((section, "extends"))), content.keys())
    if "extends" in base.data:
        raise InputError([base.source.problem(("extends",), "a file that others extend must not extend another one")])
    mounted = SourceMap({(section, *path): mark for path, mark in base.source.items()})
    own = {path: mark for path, mark in source.items() if path[:1] == (section,)}
    rest = Document({key: value for key, value in data.items() if key != section}, source)
    own_keys = {key: value for key, value in table.items() if key != "extends"}
    return merge(merge(rest, Document({section: base.data}, mounted)), Document({section: own_keys}, SourceMap(own)))


def _without(data: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return data | {"dram": {key: value for key, value in data["dram"].items() if key not in keys}}


READERS: dict[Callable[[Document], Document], tuple[tuple[str, ...], ...]] = {
    _with_part: (PART, *(("dram", key) for key in Dram.MERGED_KEYS)),
    **{partial(_with_table, section): ((section,),) for section in TABLES},
}
"""What puts the content of a named file in the place of its name, and the keys that cannot be judged where that fails."""
