"""YAML with the place of every key, so that each problem can name its file and line."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from etasim.config.errors import InputError, Problem, key_text
from etasim.config.provenance import note_read

KeyPath = tuple[str | int, ...]


class Mark(NamedTuple):
    """Where a value was written, and under which name there."""

    file: str
    line: int
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

    data: dict
    source: SourceMap


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases, which hide where a value was written and can grow without bound, and without tags."""

    def compose_node(self, parent, index):
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not supported; write the value out", event.start_mark)
        if event.tag is not None:
            raise yaml.composer.ComposerError(None, None, "tags are not supported; write a plain value", event.start_mark)
        return super().compose_node(parent, index)


def _walk(node: yaml.Node, path: KeyPath, file: str, source: SourceMap, problems: list[Problem]) -> None:
    """Mark every value below ``node``; collect duplicate keys and keys that are not names."""
    if isinstance(node, yaml.SequenceNode):
        children = [(index, item, item) for index, item in enumerate(node.value)]
    elif isinstance(node, yaml.MappingNode):
        children = [(key.value, key, value) for key, value in node.value]
    else:
        return
    for step, place, value in children:
        line = place.start_mark.line + 1
        if isinstance(node, yaml.MappingNode) and place.tag != "tag:yaml.org,2002:str":
            problems.append(Problem(file, line, key_text(path), "a key must be a name; put quotes around it if it is one"))
            continue
        below = (*path, step)
        if below in source:
            problems.append(Problem(file, line, key_text(below), f"duplicate key, first given in line {source[below].line}"))
            continue
        source[below] = Mark(file, line, key_text(below))
        _walk(value, below, file, source, problems)


def parse_yaml(text: str | bytes, file: str) -> tuple[object, SourceMap]:
    """The value of one YAML document and its source map; InputError names ``file`` and the line."""
    source = SourceMap({(): Mark(file, 1, "")})
    problems: list[Problem] = []
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, source
        _walk(node, (), file, source, problems)
        data = None if problems else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError([Problem(file, mark.line + 1 if mark else 1, "", f"not valid YAML: {error.problem}")]) from None
    except (yaml.YAMLError, UnicodeError):
        raise InputError([Problem(file, 1, "", "not a text file: it holds characters that YAML does not allow")]) from None
    except RecursionError:
        raise InputError([Problem(file, 1, "", "not valid input: nested too deeply")]) from None
    except (ValueError, OverflowError) as error:
        raise InputError([Problem(file, 1, "", f"not valid input: {error}")]) from None
    if problems:
        raise InputError(problems)
    return data, source


def read_yaml(path: str | Path) -> Document:
    """Values and source map of the YAML file at ``path``, whose outermost value must be a mapping.

    Raises InputError, with a line for each problem, for a file that is missing, unreadable, binary, empty, not YAML,
    not a mapping, or has duplicate keys.
    """
    file = str(path)
    note_read(file)
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise InputError([Problem(file, 1, "", f"cannot be read: {error.strerror or error}")]) from None
    except ValueError:
        raise InputError([Problem(file.replace("\0", "\\0"), 1, "", "cannot be read: not a file name")]) from None
    data, source = parse_yaml(text, file)
    if data is None:
        raise InputError([Problem(file, 1, "", "is empty; a mapping of keys to values is expected")])
    if not isinstance(data, dict):
        raise InputError([Problem(file, 1, "", f"holds a {type(data).__name__}; a mapping of keys to values is expected")])
    return Document(data, source)


def merge(base: Document, over: Document) -> Document:
    """``base`` with the values of ``over`` in their place; mappings are merged key by key."""
    replaced: set[KeyPath] = set()
    merged: set[KeyPath] = set()
    data = _merge_values(base.data, over.data, (), replaced, merged)
    kept = {path: mark for path, mark in base.source.items() if not any(path[:n] in replaced for n in range(len(path) + 1))}
    added = {path: mark for path, mark in over.source.items() if path not in merged}
    return Document(data, SourceMap(kept | added))


def _merge_values(base: object, over: object, path: KeyPath, replaced: set[KeyPath], merged: set[KeyPath]) -> object:
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        replaced.add(path)
        return over
    merged.add(path)
    result = dict(base)
    for key, value in over.items():
        result[key] = _merge_values(base[key], value, (*path, key), replaced, merged) if key in base else value
    return result
