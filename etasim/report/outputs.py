"""What a command will write, checked before it works: every target can be written, and none is a file that the command reads."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from etasim.config.errors import InputError, Problem
from etasim.core.provenance import files_read
from etasim.report.staging import made_folder, temporary_folder

Target = tuple[str, Path]
"""An option and a file that it makes the command write."""
STREAMS = (1, 2)


def check_outputs(targets: Iterable[Target], read: Iterable[Path] = ()) -> None:
    """Refuse ``targets`` that could not be written, that would be written twice, or that have been read (`etasim.core.provenance`; or are
    in ``read``): InputError with all problems. What shall be created is created, and removed again."""
    targets = [(option, Path(path)) for option, path in targets]
    in_use = _in_use([*read, *files_read()])
    of_targets = [list(_target_problems(option, path, in_use)) for option, path in targets]
    problems = [*chain(*of_targets), *_overlaps(targets)]
    possible = [target for target, own in zip(targets, of_targets, strict=True) if not own]
    folders = dict.fromkeys((option, _folder_of(path)) for option, path in possible)
    problems += [problem for option, folder in folders for problem in _folder_problems(option, folder)]
    if problems:
        raise InputError(dict.fromkeys(problems))


def check_replaced(targets: Iterable[Target], force: bool) -> None:
    """Refuse, unless ``force``, files that are there already: InputError."""
    there = [] if force else [(option, path) for option, path in targets if os.path.lexists(path)]
    if there:
        message = "is there already; choose another place, or let it go with --force"
        raise InputError(Problem(str(path), None, option, message) for option, path in there)


def check_output_folder(folder: Path, option: str = "--out") -> None:
    """Refuse, before any work, an output folder that could not be written: InputError."""
    problems = list(_folder_problems(option, folder))
    if problems:
        raise InputError(problems)


def _in_use(paths: Iterable[Path]) -> dict[tuple[int, int], str]:
    """Device and inode of each file that must not be replaced, and what it is."""
    found = {}
    for stream in STREAMS:
        with suppress(OSError):
            found[_identity(os.fstat(stream))] = "what the command prints goes there"
    for path in paths:
        with suppress(OSError):
            found[_identity(path.stat())] = "the command reads it"
    return found


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _folder_of(path: Path) -> Path:
    """Where ``path`` is written: beside the file that a link names."""
    return Path(os.path.realpath(path)).parent if path.is_symlink() else path.parent


def _target_problems(option: str, path: Path, in_use: dict[tuple[int, int], str]) -> Iterator[Problem]:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return  # to be created: its folder says whether that is possible
    if path.is_dir():
        yield Problem(str(path), None, option, "is a folder; a file is to be written there")
    elif not path.is_file():
        yield Problem(str(path), None, option, "is not a regular file, which could be replaced")
    elif reason := in_use.get(_identity(status)):
        yield Problem(str(path), None, option, f"would be overwritten, but {reason}; choose another place")
    else:
        yield from _replacement_problems(option, path)


def _replacement_problems(option: str, path: Path) -> Iterator[Problem]:
    """Whether a file may be replaced: removing it *as a folder* meets the same permissions and removes nothing."""
    try:
        os.rmdir(os.path.realpath(path))
    except PermissionError as error:
        yield Problem(str(path), None, option, f"cannot be replaced: {error.strerror}")
    except OSError:
        return  # it is not a folder, which is the answer looked for


def _overlaps(targets: Sequence[Target]) -> Iterator[Problem]:
    """Files that would be written twice, or in the place of a folder of others."""
    places = [Path(os.path.realpath(path)) for _, path in targets]
    for index, (option, path) in enumerate(targets):
        others = [(targets[i][0], place) for i, place in enumerate(places) if i != index]
        twice = next((name for name, place in others[:index] if place == places[index]), None)
        if twice is not None:
            yield Problem(str(path), None, option, f"is written by {twice} too; choose another place")
        inside = next((name for name, place in others if places[index] in place.parents), None)
        if inside is not None:
            yield Problem(str(path), None, option, f"is a folder of {inside}; choose another place")


def _folder_problems(option: str, folder: Path) -> Iterator[Problem]:
    """What keeps a file from being created in ``folder``, by trying."""
    try:
        existing = next((path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink()), None)
        if existing is not None and not existing.is_dir():
            yield Problem(str(existing), None, option, "is a file; a folder is expected")
            return
        with made_folder(folder), temporary_folder(folder) as temporary:
            (temporary / "file").touch()
    except (OSError, ValueError) as error:
        yield Problem(str(folder).replace("\\0", "\\\\0"), None, option, f"cannot be written: {getattr(error, 'strerror', None) or error}")
