"""Damaged files of every kind that a command reads."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from . import corpus
from .case import Case
from .choices import Seeded
from .damage import FLIP, damaged


@cache
def _sound(name: str, variant: int) -> tuple[Path, list[str]]:
    """A folder with sound files of a kind, made once, and the names of those to damage; reading them must work."""
    folder = Path(tempfile.mkdtemp(prefix="sound-"))
    case = Case(Seeded("sound", name, variant), folder)
    names = corpus.kinds()[name].make(case)
    if case.faults or any(status != "0" for status in case.statuses):
        raise AssertionError(f"no sound {name}: {case.faults} {case.messages}")
    return folder, names


def attempt(case: Case, seed: int, number: int) -> None:
    """One file of one kind, damaged once, or in rare cases twice."""
    choices = case.choices
    names = tuple(corpus.kinds())
    name = names[number % len(names)]
    kind = corpus.kinds()[name]
    folder, files = _sound(name, choices.whole(0, 1))
    shutil.copytree(folder, case.folder, dirs_exist_ok=True)
    file = choices.one_of(files)
    done = []
    for _ in range(1 if choices.chance(0.9) else 2):
        what, content = damaged(choices, (case.folder / file).read_bytes())
        case.write(file, content)
        done.append(what)
    case.damaged = [file]
    case.note(f"{name}: {file}: {', '.join(done)}")
    kind.read(case)
    if kind.has_digest and done == [FLIP] and case.statuses and case.statuses[-1] == "0":
        case.fault("figure", f"{name}: a flipped byte goes unnoticed")
