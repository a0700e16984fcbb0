"""What of a design-space file with mistakes can still be judged, so that one run finds all of them.

What is wrong gives way to the least that leaves the rest as it was: an unknown key goes, an axis without steps keeps its keys, an
objective without a direction its metric. The marks move with what stays, so problems found later have the lines of the file.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import ValidationError

from etasim.config import Problem
from etasim.config.reading import KeyPath, SourceMap
from etasim.config.validation import violations
from etasim.explore.space_file import SpaceFile

STAND_INS = {"architecture": "-", "networks": ["-"]}
"""For sections that must be there and are wrong."""


class SoundContent(NamedTuple):
    """``content`` with the marks of its values in ``source``; ``problems`` of what is not in it; ``absent``: sections of which nothing is
    left; ``vague``: architecture keys whose values are not known, because the axis that sets them is wrong."""

    content: SpaceFile
    source: SourceMap
    problems: list[Problem]
    absent: frozenset[str]
    vague: frozenset[str]


def sound_content(data: dict[str, Any], source: SourceMap) -> SoundContent:
    """What of ``data`` can be judged, and every problem of the rest."""
    problems: dict[Problem, None] = {}
    absent: set[str] = set()
    vague: set[str] = set()
    while True:
        try:
            content = SpaceFile.model_validate(data)
        except ValidationError as error:
            kinds = {item["loc"]: item["type"] for item in error.errors(include_url=False)}
            kinds = {place: kind for place, kind in kinds.items() if not _follows(place, kinds)}
            found = (source.problem(*each) for each in violations(error, SpaceFile) if not _follows(each[0], kinds))
            problems |= dict.fromkeys(found)
        else:
            return SoundContent(content, source, list(problems), frozenset(absent), frozenset(vague))
        strange = [place for place, kind in kinds.items() if kind == "extra_forbidden"]
        places = strange or [*_entries(data, kinds)]  # what a strange key hides is found when that is gone
        for place in sorted(set(places), reverse=True):
            rest = None if strange else _mended(data, place, kinds)
            if rest is None:
                data, source = _without(data, place), _marks_without(data, source, place)
            else:
                data = _replaced(data, place, rest)
                vague |= {*rest.get("keys", []), rest.get("key", "")} if place[0] == "axes" else set()
        for name, stand_in in STAND_INS.items():
            if not data.get(name):
                data, absent = data | {name: stand_in}, absent | {name}


def _follows(place: KeyPath, places: Iterable[KeyPath]) -> bool:
    """Whether what is wrong at ``place`` only follows from what is wrong within it: too few entries are left."""
    return any(other[: len(place)] == place != other for other in places)


def _entries(data: Any, places: Iterable[KeyPath]) -> Iterable[KeyPath]:
    """The entries of sections, or the sections, within which ``places`` lie."""
    for place in places:
        section = data.get(place[0])
        yield place[: 1 + (len(place) > 1 and isinstance(section, (dict, list)))]


def _mended(data: dict[str, Any], place: KeyPath, wrong: Iterable[KeyPath]) -> dict[str, Any] | None:
    """An entry without what is ``wrong`` of it; None if nothing is left."""
    entry = data[place[0]][place[1]] if len(place) > 1 and place[0] in ("axes", "objectives") else None
    if not isinstance(entry, dict):
        return None
    rest = _axis(entry) if place[0] == "axes" else _objective(entry, {path[2:3] for path in wrong if path[:2] == place})
    return None if rest == entry else rest


def _axis(entry: dict[str, Any]) -> dict[str, Any]:
    """An axis of the same keys with one step, whose values nobody knows."""
    keys = entry.get("keys")
    names = {name: entry[name] for name in ("name", "key") if isinstance(entry.get(name), str)}
    if isinstance(keys, list) and keys and all(isinstance(key, str) for key in keys):
        return names | {"keys": keys, "values": [[None] * len(keys)]}
    return names | {"values": [None]}


def _objective(entry: dict[str, Any], wrong: set[KeyPath]) -> dict[str, Any]:
    """An objective of the same metric."""
    if ("direction",) in wrong:
        return entry | {"direction": "maximize"}
    return {name: entry[name] for name in ("metric", "direction") if name in entry}


def _replaced(data: dict[str, Any], place: Any, entry: Any) -> dict[str, Any]:
    section, i = place
    return data | {section: [*data[section][:i], entry, *data[section][i + 1 :]]}


def _without(data: Any, place: KeyPath) -> Any:
    """``data`` without the value at ``place``, if there is one; a list without entries goes with its last."""
    step, below = place[0], place[1:]
    if isinstance(data, list):
        return [_without(entry, below) if i == step else entry for i, entry in enumerate(data) if below or i != step]
    if step not in data:
        return data
    rest = _without(data[step], below) if below else []
    kept = {key: value for key, value in data.items() if key != step}
    return kept if rest == [] else {key: rest if key == step else value for key, value in data.items()}


def _marks_without(data: Any, source: SourceMap, place: KeyPath) -> SourceMap:
    """The marks of what is left; entries of a section that is a list move up behind the one at ``place``."""
    if len(place) != 2 or not isinstance(data[place[0]], list):
        return source
    section, gone = place
    moved = SourceMap()
    for path, mark in source.items():
        if path[:2] != place:
            number: Any = path[1] if path[:1] == (section,) and len(path) > 1 else -1
            moved[(section, number - 1, *path[2:]) if number > gone else path] = mark
    return moved
