"""How a wrong input is reported: every problem at once, each with its place."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from etasim.core.registry import allowed_names as allowed_names
from etasim.core.registry import suggest as suggest

NUMBERED = "--set"
"""An option that is given several times."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with an input; ``key`` is empty where the whole file is meant, ``line`` None where a file has no lines.

    ``file`` may be an option of the command line, which has no lines; of `NUMBERED` ones ``line`` says which.
    """

    file: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        has_lines = self.line is not None and (not self.file.startswith("-") or self.file == NUMBERED)
        place = self.file if not has_lines else f"{self.file}:{self.line}"
        parts = (place, self.key, self.message)
        line = ": ".join(part for part in parts if part)
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


class InputError(Exception):
    """Bad input; ``problems`` lists all that was found, and ``str()`` has one line for each."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def key_text(path: Sequence[str | int]) -> str:
    """A key path as people write it: ``("layers", 3, "kernel")`` is ``layers[3].kernel``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
