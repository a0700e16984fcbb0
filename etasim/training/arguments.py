"""What an operation was given: each argument is read by whoever models the operation, has a value that changes nothing, or is refused."""

import ast
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

_NEEDED, ANY = object(), object()
"""In place of a default: none, and whatever the argument is."""


class Refused(ValueError):
    """An operation that a trace cannot hold, and why; ``operation``: the one to blame, if it is another than that which found out."""

    def __init__(self, reason: str, operation: Any = None) -> None:
        super().__init__(reason)
        self.operation = operation


@lru_cache(maxsize=1024)
def _row(text: str) -> dict[str, Any]:
    """Names and neutral values of ``a *b c=0 d=*``."""
    row = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        row[name] = _NEEDED if not equals else ANY if value == "*" else ast.literal_eval(value)
    return row


class Arguments:
    """Values by name, of those that ``row`` and ``attributes`` list; Refused if there are others.

    ``row`` is a line of a table, such as ``input *sizes stride=None inplace=*``: without an equals sign an argument must be given and read;
    with one it is read, or it must be the value behind the sign; ``=*`` stands for all values. ``*sizes`` takes all positional arguments
    from there on, or the one sequence of them. ``attributes`` are of a module: never positional.
    """

    def __init__(
        self, row: str, positional: Sequence[Any], named: Mapping[str, Any], attributes: str = "", values: Mapping[str, Any] | None = None
    ) -> None:
        names = list(_row(row))
        rest = [name for name in names if name.startswith("*")]
        if rest:
            first = names.index(rest[0])
            more = tuple(positional[first:])
            if more:
                positional = (*positional[:first], more[0] if len(more) == 1 and isinstance(more[0], (list, tuple)) else more)
        if len(positional) > len(names):
            raise Refused(f"has {len(positional)} arguments, known are: {', '.join(names) or 'none'}")
        self._row = {name.removeprefix("*"): value for name, value in (_row(row) | _row(attributes)).items()}
        self._given = dict(zip(self._row, positional, strict=False)) | dict(named) | dict(values or {})
        self._read: set[str] = set()
        unknown = [name for name in self._given if name not in self._row]
        if unknown:
            raise Refused(f"the argument {unknown[0]}={self._given[unknown[0]]!r:.60} is not supported")

    def __getitem__(self, name: str) -> Any:
        """The argument ``name``, or its neutral value; Refused if it is missing."""
        self._read.add(name)
        value = self._given.get(name, self._row[name])
        if value is _NEEDED:
            raise Refused(f"has no {name}")
        return None if value is ANY else value

    def __contains__(self, name: str) -> bool:
        return name in self._row

    def all(self) -> dict[str, Any]:
        """All arguments that were given, read."""
        self._read |= self._given.keys()
        return dict(self._given)

    def check(self) -> None:
        """Refused if an argument that nobody read has another value than its neutral one."""
        for name, value in self._given.items():
            neutral = self._row[name]
            if name not in self._read and neutral is not ANY and not _equal(value, neutral):
                allowed = "" if neutral is _NEEDED else f", only {neutral!r} is"
                raise Refused(f"{name}={value!r:.60} is not supported{allowed}")


def _equal(value: Any, neutral: Any) -> bool:
    """Whether ``value`` is ``neutral``, in one number or in one for each axis."""
    if isinstance(value, (list, tuple)) and not isinstance(neutral, (list, tuple)):
        return len(value) > 0 and all(_equal(item, neutral) for item in value)
    return type(value) in (type(neutral), int, float) and value == neutral


def pair(value: Any) -> tuple[int, int]:
    """A number for both axes, or one for each."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    values = values * 2 if len(values) == 1 else values
    if len(values) != 2 or not all(isinstance(item, int) for item in values):
        raise Refused(f"{value!r:.60} is not a number or one for each of height and width")
    return values
