"""Files that appear whole or not at all: written under a temporary name beside their place, then renamed."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_PREFIX = ".etasim-"


@contextmanager
def staged_folder(folder: Path, obsolete: Iterable[str] = ()) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``folder``; on success its files become ``folder``'s.

    A folder that exists keeps its other files; each file of the new set replaces its namesake, and
    ``obsolete`` names that the new set lacks go. On any error, Ctrl-C
    included, the temporary folder is removed and ``folder`` is as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder.parent))
    try:
        yield temporary
        with _uninterrupted():
            _publish(temporary, folder, obsolete)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name with the suffix of ``path`` beside it; on success the file there becomes ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _publish(temporary: Path, folder: Path, obsolete: Iterable[str]) -> None:
    temporary.chmod(0o777 & ~_umask())
    if not folder.exists():
        temporary.rename(folder)
        return
    for name in obsolete:
        if not (temporary / name).exists():
            (folder / name).unlink(missing_ok=True)
    for path in sorted(temporary.iterdir()):
        os.replace(path, folder / path.name)


def _umask() -> int:
    """The process's file creation mask, which tempfile ignores."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back, so that a set of files is never left half old and half new."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = []
    previous = signal.signal(signal.SIGINT, lambda *_: received.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if received:
        signal.raise_signal(signal.SIGINT)
