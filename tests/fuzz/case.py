"""One case: commands that are called in this process, and the faults that they show.

A command must end with exit status 0, or 2 and a message; a case that knows better allows other statuses. Nothing here catches what
a command raises: the worker reports it as a traceback.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from etasim.cli import main
from etasim.config import InputError
from etasim.report.staging import TEMPORARY_PREFIX

from .choices import Seeded

SHORT = 160


class Fault(NamedTuple):
    """``sort``: traceback, hang, memory, crash, status, figure, leftover, warning; ``key`` groups faults that are the same."""

    sort: str
    key: str
    detail: str


class Ran(NamedTuple):
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


class Case:
    """A case in its own empty ``folder``, with its ``choices``; ``said`` is told each command before it runs."""

    def __init__(self, choices: Seeded, folder: Path, said: Callable[[str], None] = lambda command: None):
        self.choices, self.folder, self._said = choices, folder, said
        self.faults: list[Fault] = []
        self.statuses: list[str] = []
        self.messages: list[str] = []
        self.damaged: list[str] = []

    def fault(self, sort: str, key: str, detail: Any = "") -> None:
        """Note a fault."""
        self.faults.append(Fault(sort, key, str(detail)[:400]))

    def note(self, what: str) -> None:
        """Say what the case is about."""
        self._say(f"# {what}")

    def _say(self, what: str) -> None:
        self._said(what.replace(f"{self.folder}/", ""))

    def etasim(self, *arguments: Any, allowed: Iterable[int] = (0, 2)) -> Ran:
        """Run a command. Faults: a status that is not ``allowed``, status 2 without a message, a warning of numpy, temporary files."""
        words = [str(argument) for argument in arguments]
        self._say("etasim " + " ".join(_quoted(word) for word in words))
        ran = self._watched(words)
        self.statuses.append(str(ran.status))
        self.messages.append(ran.err)
        if ran.status not in allowed:
            self.fault("status", f"{words[0]}: exit status {ran.status}: {_first_line(ran.err)}", ran.err[-400:])
        if ran.status == 2 and not ran.err.strip():
            self.fault("status", f"{words[0]}: exit status 2 without a message")
        for path in sorted(self.folder.rglob(f"{TEMPORARY_PREFIX}*")):
            self.fault("leftover", f"{words[0]}: a temporary file is left", path.name)
        return ran

    def _watched(self, words: list[str]) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            warnings.simplefilter("always")
            try:
                main.main(args=words, prog_name="etasim")
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        for warning in caught:
            if issubclass(warning.category, RuntimeWarning) and "etasim" in warning.filename:
                self.fault("warning", f"{Path(warning.filename).name}:{warning.lineno}: {warning.message}")
        return Ran(status, out.getvalue(), err.getvalue())

    def call(self, what: str, function: Callable[[], Any], refusals: tuple[type[Exception], ...] = (InputError,)) -> Any:
        """What ``function()`` gives, or None if it refuses its input with one of ``refusals`` and says why."""
        self._say(what)
        try:
            value = function()
        except refusals as error:
            self.statuses.append("refused")
            if not str(error).strip():
                self.fault("status", f"{what.split()[0]}: refused without a message", type(error).__name__)
            return None
        self.statuses.append("0")
        return value

    def write(self, name: str, content: str | bytes) -> Path:
        """A file of the case."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return path


def _quoted(word: str) -> str:
    short = word if len(word) <= SHORT else f"{word[:SHORT]}... ({len(word)} characters)"
    return short if short and not any(char.isspace() or char in "'\"{}[]*" for char in short) else repr(short)


def _first_line(text: str) -> str:
    return next((line.strip()[:SHORT] for line in text.splitlines() if line.strip()), "no message")
