"""Files that appear whole or not at all: written under a temporary name in the folder they are for, then renamed.

A temporary name is locked as long as its owner lives. So what a killed process left is known as such, and whoever writes into that folder
next removes it. Where the system has no such locks, nothing is removed.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from etasim.config.errors import InputError, Problem
from etasim.report.ending import undone_by, uninterrupted

fcntl: Any
try:
    import fcntl
except ImportError:
    fcntl = None

TEMPORARY_PREFIX = ".etasim-"
COMMITTED = f"{TEMPORARY_PREFIX}committed"
"""A set of files that is complete and on its way into the folder: what a kill leaves of it is brought to its end."""
GONE = ".gone"
"""Suffix of a name, in a committed set, whose file goes."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of writing, which do not say where."""


@contextmanager
def staged_folder(folder: Path, obsolete: Iterable[str] = ()) -> Iterator[Path]:
    """Yield an empty temporary folder in ``folder``; on success its files become ``folder``'s, all of them or none.

    A folder that exists keeps its other files; each file of the new set replaces its namesake, and ``obsolete`` names that the new set
    lacks go. On any error, Ctrl-C included, ``folder`` is as it was. Nobody else can stage this folder meanwhile: InputError.
    """
    with reserved_folder(folder), temporary_folder(folder) as temporary:
        yield temporary
        with uninterrupted():
            _publish(temporary, folder, obsolete)


@contextmanager
def reserved_folder(folder: Path) -> Iterator[None]:
    """Hold ``folder``, made if it is missing, for this process alone. Raises InputError if another one holds it."""
    with made_folder(folder):
        handle = _lock(folder)
        if handle is None:
            message = "another etasim is writing into it; wait for its end, or choose another folder"
            raise InputError([Problem(str(folder), None, "--out", message)])
        try:
            if (folder / COMMITTED).exists():
                _bring_into_place(folder)
            yield
        finally:
            os.close(handle)


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name with the suffix of ``path`` beside it; on success the file there becomes ``path``. A link is followed."""
    path = Path(os.path.realpath(path))

    def make() -> str:
        handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        return name

    with made_folder(path.parent), _temporary(path.parent, make) as temporary:
        yield temporary
        with uninterrupted():
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """``text`` as the whole of ``path``, or no change."""
    with staged_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def finish_publication(folder: Path) -> None:
    """Bring to its end what a killed process had begun to put into ``folder``, before anyone reads there."""
    if (folder / COMMITTED).exists():
        with reserved_folder(folder):
            pass


def _publish(temporary: Path, folder: Path, obsolete: Iterable[str]) -> None:
    """Commit the set by one rename, then put its files into their places; if one of them cannot go there, put all back."""
    for name in obsolete:
        if not (temporary / name).exists() and (folder / name).exists():
            (temporary / f"{name}{GONE}").touch()
    names = [path.name.removesuffix(GONE) for path in temporary.iterdir()]
    with temporary_folder(folder) as kept:
        for name in names:
            if (folder / name).exists():
                _keep(folder / name, kept / name)
        temporary.rename(folder / COMMITTED)
        try:
            _bring_into_place(folder)
        except OSError:
            for name in names:
                with suppress(OSError):
                    os.replace(kept / name, folder / name) if (kept / name).exists() else (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / COMMITTED, ignore_errors=True)
            raise


def _keep(path: Path, copy: Path) -> None:
    """``copy`` is what ``path`` holds, whatever takes its place."""
    try:
        os.link(path, copy)
    except OSError:  # a file system without hard links, or a folder, which cannot be replaced anyway
        shutil.copy2(path, copy)


def _bring_into_place(folder: Path) -> None:
    """Move every file of the committed set to its name; repeated after a kill, it does what was left to do."""
    for path in sorted((folder / COMMITTED).iterdir()):
        if path.suffix == GONE:
            (folder / path.stem).unlink(missing_ok=True)
            path.unlink()
        else:
            os.replace(path, folder / path.name)
    (folder / COMMITTED).rmdir()


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """``folder`` exists; what had to be made for that goes again if it stays empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]

    def remove() -> None:
        with suppress(OSError):
            for path in missing:
                path.rmdir()

    with undone_by(remove):
        folder.mkdir(parents=True, exist_ok=True)
        yield


def temporary_folder(folder: Path) -> AbstractContextManager[Path]:
    """A new, empty folder in ``folder``, which goes at the end."""
    return _temporary(folder, lambda: tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder))


@contextmanager
def _temporary(folder: Path, make: Callable[[], str]) -> Iterator[Path]:
    """What ``make`` makes in ``folder``, locked, and removed at the end; first what killed processes left there goes."""
    remove_leftovers(folder)
    path, handle = _own(make)
    with undone_by(lambda: _remove(path)):
        try:
            yield path
        except OSError as error:
            if error.errno in FULL and error.filename is None:
                error.filename = str(folder)
            raise
        finally:
            os.close(handle)


def _own(make: Callable[[], str]) -> tuple[Path, int]:
    """A new path and the handle that locks it. Until it is locked, another process may take it for a leftover and remove it."""
    while True:
        path = Path(make())
        with suppress(FileNotFoundError):
            handle = _lock(path)
            if handle is not None and path.exists():
                return path, handle
            if handle is not None:
                os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files and folders in ``folder`` that no living process holds."""
    if fcntl is None:
        return
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(OSError):  # held by another process, or not ours to remove
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.name != COMMITTED:
                    _remove(path)
            finally:
                os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lock(path: Path) -> int | None:
    """A handle that locks ``path`` until it is closed; None if another one does. Where there are no locks, nobody is kept out."""
    if fcntl is None:
        return os.open(os.devnull, os.O_RDONLY)
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:
        pass  # a file system that knows no locks
    return handle


def _umask() -> int:
    """The process's file creation mask, which tempfile ignores."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
