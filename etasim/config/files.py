"""Opening what a user, or a file of a user, names: a regular file of bounded size, and nothing else."""

import errno
import lzma
import os
import stat
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from etasim.core.registry import suggest

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
"""A pipe that nobody writes must not be waited for, should one take the file's place between the look and the opening."""


ARCHIVE_DAMAGE = (
    ValueError, LookupError, TypeError, ArithmeticError, EOFError, SyntaxError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
    lzma.LZMAError,
)  # fmt: skip
"""What zipfile, its decompressors and numpy raise while they read an archive that is damaged, OSError aside."""


def open_regular(path: str | Path, most_bytes: int) -> BinaryIO:
    """The regular file at ``path`` (or behind a symbolic link), open for reading bytes.

    Raises OSError for anything else (a folder, a pipe, a device, which is not even opened) and for more than ``most_bytes``.
    """
    _refuse(os.stat(path), path, most_bytes)
    file = os.fdopen(os.open(path, _FLAGS), "rb")
    try:
        _refuse(os.fstat(file.fileno()), path, most_bytes)
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: str | Path, most_bytes: int) -> bytes:
    """Content of the regular file at ``path``. Raises OSError as `open_regular` does, and for a file that holds more than it says."""
    with open_regular(path, most_bytes) as file:
        content = file.read(most_bytes + 1)
    if content is None or len(content) > most_bytes:
        raise _too_large(path, most_bytes)
    return content


MOST_LETTERS_LEFT_OUT = 2
"""At the end of a name that was meant; what is longer is another file, such as ``results.zip`` beside ``results``."""


def close_to(path: str | Path) -> str:
    """The end of a message about a file that is not there: what lies there under a name that is close, or nothing."""
    path = Path(path)
    missing = next((each for each in (*reversed(path.parents), path) if not os.path.lexists(each)), None)
    if missing is None:
        return ""
    try:
        found = suggest(missing.name, (name for name in os.listdir(missing.parent) if not name.startswith(".")))
    except (OSError, ValueError):
        return ""
    if found is None or (found.startswith(missing.name) and len(found) - len(missing.name) > MOST_LETTERS_LEFT_OUT):
        return ""
    return f"; did you mean '{missing.parent / found / path.relative_to(missing)}'?"


def _refuse(found: os.stat_result, path: str | Path, most_bytes: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if found.st_size > most_bytes:
        raise _too_large(path, most_bytes)


def _too_large(path: str | Path, most_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes", str(path))
