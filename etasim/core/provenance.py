"""Which files a command has read, so that it writes over none of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_read: ContextVar[list[Path] | None] = ContextVar("files read", default=None)


@contextmanager
def files_noted() -> Iterator[list[Path]]:
    """Note every file that is read in this block; yields the list, which grows."""
    files: list[Path] = []
    token = _read.set(files)
    try:
        yield files
    finally:
        _read.reset(token)


def note_read(path: str | Path) -> None:
    """To be called by whatever reads a file that a user can name."""
    if (files := _read.get()) is not None:
        files.append(Path(path))


def files_read() -> list[Path]:
    """What has been read since the block began; nothing outside of one."""
    return list(_read.get() or ())
