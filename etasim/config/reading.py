"""YAML with the place of every key, so that each problem can name its file and line."""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from etasim.config.errors import InputError, Problem, allowed_names, key_text
from etasim.config.files import close_to, read_regular
from etasim.config.scalars import PlainScalars, refusal
from etasim.core.provenance import note_read

CParser: Any = yaml.cyaml.CParser if yaml.__with_libyaml__ else None  # type: ignore[attr-defined]  # PyYAML's own name

KeyPath = tuple[str | int, ...]

MOST_BYTES = 2**20
"""Of a YAML file: about ten thousand layers."""

MOST_LEVELS = 32
"""Of mappings and lists within each other; our files have six."""

_NAME_LIKE = re.compile(r"[\w.*?!\[\]+ -]{1,64}")
_READ_OTHERWISE = re.compile(rb"[^\n -~]|[|>?%\\&*!]|---|\.\.\.")
"""Tabs, block scalars, complex keys, directives, escapes, more than ASCII: in these, two readers of YAML part."""
_QUOTED = re.compile(r"'([^']*)'")


class Mark(NamedTuple):
    """Where a value was written, and under which name there."""

    file: str
    line: int | None
    key: str


class SourceMap(dict[KeyPath, Mark]):
    """The mark of every key path of a document; the empty path stands for the whole of it."""

    def mark(self, path: KeyPath) -> Mark:
        """Mark of ``path``; a path that was not written down has the line of its nearest parent."""
        for length in range(len(path), -1, -1):
            mark = self.get(path[:length])
            if mark is not None:
                rest = key_text(path[length:])
                joint = "." if mark.key and rest and not rest.startswith("[") else ""
                return mark._replace(key=mark.key + joint + rest)
        return Mark("", 0, key_text(path))

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A problem with the value at ``path``."""
        return Problem(*self.mark(path), message)


class Document(NamedTuple):
    """Plain values (mappings, lists, scalars) and where each of them was written."""

    data: dict[str, Any]
    source: SourceMap


class _Loader(PlainScalars):
    """Without aliases, which hide where a value was written and can grow without bound, without tags, and not too deep."""

    _level = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        reader: Any = self  # typed in part
        event = reader.peek_event()
        mark = event.start_mark
        if self._level > MOST_LEVELS:
            raise yaml.composer.ComposerError(None, None, f"nested more than {MOST_LEVELS} deep", mark)
        if isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not supported; write the value out", mark)
        if event.tag is not None:
            raise yaml.composer.ComposerError(None, None, "tags are not supported; write a plain value", mark)
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        return node


if CParser is not None:

    class _QuickLoader(_Loader, CParser):  # type: ignore[misc]  # CParser has no type
        """With the events of libyaml, which takes a tenth of the time. It is another reader of YAML: only for `_is_alike`."""

        check_event, get_event, peek_event = CParser.check_event, CParser.get_event, CParser.peek_event

        def __init__(self, text: str | bytes):
            for each in (CParser, Composer, SafeConstructor, Resolver):
                each.__init__(self, *([text] if each is CParser else []))


def _is_alike(text: str | bytes) -> bool:
    """Whether libyaml, if it is there, finds in ``text`` what PyYAML does, unless it refuses it."""
    return CParser is not None and _READ_OTHERWISE.search(text if isinstance(text, bytes) else text.encode("utf-8", "replace")) is None


def _composed(text: str | bytes) -> tuple[_Loader, yaml.Node | None]:
    """The one document of ``text``, and what makes values of it; what is wrong is said by PyYAML, whose words are the same everywhere."""
    if _is_alike(text):
        with suppress(yaml.YAMLError):
            quick = _QuickLoader(text)
            return quick, quick.get_single_node()
    loader = _Loader(text)
    return loader, loader.get_single_node()


def _shown(step: str | int) -> str | int:
    """A key as messages may quote it: what is no name may be the content of a file that is none of ours."""
    return step if isinstance(step, int) or _NAME_LIKE.fullmatch(step) else "(not a name)"


def _walk(node: yaml.Node, path: KeyPath, file: str, source: SourceMap, problems: list[Problem]) -> None:
    """Mark every value below ``node``; collect duplicate keys, keys that are not names, and numbers that are not decimal."""
    if isinstance(node, yaml.ScalarNode):
        message = refusal(node)
        if message:
            problems.append(Problem(file, node.start_mark.line + 1, source.mark(path).key, message))
        return
    if isinstance(node, yaml.SequenceNode):
        children = [(index, item, item) for index, item in enumerate(node.value)]
    else:
        children = [(key.value, key, value) for key, value in node.value]
    for step, place, value in children:
        line = place.start_mark.line + 1
        if isinstance(node, yaml.MappingNode) and place.tag != "tag:yaml.org,2002:str":
            problems.append(Problem(file, line, source.mark(path).key, "a key must be a name; put quotes around it if it is one"))
            continue
        below = (*path, step)
        if below in source:
            problems.append(Problem(file, line, source[below].key, f"duplicate key, first given in line {source[below].line}"))
            continue
        source[below] = Mark(file, line, key_text([_shown(name) for name in below]))
        _walk(value, below, file, source, problems)


def parse_yaml(text: str | bytes, file: str) -> tuple[object, SourceMap]:
    """The value of one YAML document and its source map; InputError names ``file`` and the line."""
    source = SourceMap({(): Mark(file, 1, "")})
    problems: list[Problem] = []
    try:
        loader, node = _composed(text)
        if node is None:
            return None, source
        _walk(node, (), file, source, problems)
        data = None if problems else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = _QUOTED.sub(lambda found: found[0] if found[1][:1] == "<" or len(found[1]) < 2 else "a word", str(error.problem))
        raise InputError([Problem(file, mark.line + 1 if mark else 1, "", f"not valid YAML: {what}")]) from None
    except (yaml.YAMLError, UnicodeError):
        raise InputError([Problem(file, 1, "", "not a text file: it holds characters that YAML does not allow")]) from None
    if problems:
        raise InputError(problems)
    return data, source


_parsed = lru_cache(maxsize=16)(parse_yaml)
"""What files say, by their text: a search reads the same ones for every machine."""


def read_yaml(path: str | Path, keys: Collection[str] = ()) -> Document:
    """Values and source map of the YAML file at ``path``, whose outermost value must be a mapping with one of ``keys``, if there are any.

    Raises InputError, with a line for each problem, for a file that is missing, unreadable, no regular file, larger than ``MOST_BYTES``,
    binary, empty, not YAML, not a mapping, or has duplicate keys. No message quotes text of a file that may be none of ours.
    """
    file = str(path)
    note_read(file)
    try:
        text = read_regular(path, MOST_BYTES)
    except OSError as error:
        close = close_to(path) if isinstance(error, FileNotFoundError) else ""
        raise InputError([Problem(file, 1, "", f"cannot be read: {error.strerror or error}{close}")]) from None
    except ValueError:
        raise InputError([Problem(file.replace("\0", "\\0"), 1, "", "cannot be read: not a file name")]) from None
    data, source = _parsed(text, file)
    data, source = deepcopy(data), SourceMap(source)
    if data is None:
        raise InputError([Problem(file, 1, "", "is empty; a mapping of keys to values is expected")])
    if not isinstance(data, dict):
        raise InputError([Problem(file, 1, "", f"holds a {type(data).__name__}; a mapping of keys to values is expected")])
    if keys and data.keys().isdisjoint(keys):
        raise InputError([Problem(file, 1, "", f"holds none of the keys that are expected here; {allowed_names('', keys)}")])
    return Document(data, source)


def merge(base: Document, over: Document) -> Document:
    """``base`` with the values of ``over`` in their place; mappings are merged key by key."""
    replaced: dict[KeyPath, Any] = {}
    merged: set[KeyPath] = set()
    data = _merge_values(base.data, over.data, (), replaced, merged)
    kept = dict(base.source)
    for path in replaced:
        kept.pop(path, None)
    trees = {path for path, value in replaced.items() if isinstance(value, (Mapping, list, tuple))}
    if trees:
        kept = {path: mark for path, mark in kept.items() if not any(path[: len(tree)] == tree for tree in trees)}
    added = {path: mark for path, mark in over.source.items() if path not in merged}
    return Document(data, SourceMap(kept | added))


def _merge_values(base: Any, over: Any, path: KeyPath, replaced: dict[KeyPath, Any], merged: set[KeyPath]) -> Any:
    """``replaced``: what had a value that is gone, and that value; ``merged``: mappings that both have."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        replaced[path] = base
        return over
    merged.add(path)
    result = dict(base)
    for key, value in over.items():
        result[key] = _merge_values(base[key], value, (*path, key), replaced, merged) if key in base else value
    return result
