"""JSON that somebody else may have written, read in one place: what is none ends in one kind of error, with its line."""

import json
from collections.abc import Iterable
from typing import Any

MOST_LEVELS = 32
"""Of objects and lists within each other; our files have four."""


class JsonError(ValueError):
    """A text that is no JSON; the message says what is wrong, ``line`` where."""

    def __init__(self, message: str, line: int = 1):
        self.line = line
        super().__init__(message)


def read_value(text: str | bytes) -> Any:
    """The value that ``text`` says. Raises JsonError for what is no JSON, NaN and infinities among it, for a number of too many digits, and
    for more than ``MOST_LEVELS`` of objects and lists within each other."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise JsonError(error.msg, error.lineno) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # a number of too many digits, or none; bytes that are no text
        raise JsonError(str(error).split(":")[0]) from None
    _refuse_depth(value)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _refuse_depth(value: Any) -> None:
    """Level by level, for what Python reads at the edge of its stack it may not be able to print."""
    level = _nested([value])
    for _ in range(MOST_LEVELS):
        level = [below for each in level for below in _nested(each.values() if isinstance(each, dict) else each)]
    if level:
        raise _too_deep()


def _nested(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def _too_deep() -> JsonError:
    return JsonError(f"nested more than {MOST_LEVELS} deep")
