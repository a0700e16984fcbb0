"""Zip archives (of numpy, of torch) that say themselves whether they are whole: their comment is the digest of all that is before it."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

PART = ".part"
"""Suffix of an archive that is being written; what a kill leaves of it, the next one replaces."""

_MARK = b"etasim checkpoint, sha256 "
_TAIL_BYTES = len(_MARK) + 2 * hashlib.sha256().digest_size
_NO_COMMENT = bytes(2)
"""How a zip archive without a comment ends: its length."""
_AT_ONCE = 2**20


def replace_sealed(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Replace the archive ``path`` by what ``write`` writes, at once: a kill leaves the old one or the new one."""
    part = path.with_name(path.name + PART)
    with part.open("w+b") as file:
        write(file)
        seal(file)
    os.replace(part, path)


def seal(file: BinaryIO) -> None:
    """Put the digest of the archive in ``file`` (open to read and write) into its comment, and all of it on the disk."""
    file.seek(-len(_NO_COMMENT), os.SEEK_END)
    file.write(_TAIL_BYTES.to_bytes(len(_NO_COMMENT), "little") + _MARK)
    file.write(_digest(file, file.tell()))
    file.flush()
    os.fsync(file.fileno())


def check_seal(file: BinaryIO) -> None:
    """Raises ValueError that says what is wrong with the archive in ``file``, which is left at its beginning."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise ValueError("is empty")
    file.seek(max(size - _TAIL_BYTES, 0))
    mark, digest = file.read(len(_MARK)), file.read()
    if mark != _MARK:
        raise ValueError("has no digest: damaged, or of an earlier version of etasim, whose runs this one does not continue")
    if _digest(file, size - len(digest)) != digest:
        raise ValueError("damaged: not what was written")
    file.seek(0)


def _digest(file: BinaryIO, n_bytes: int) -> bytes:
    """Digest of the first ``n_bytes`` of ``file``, which is left behind them."""
    digest = hashlib.sha256()
    file.seek(0)
    while n_bytes and (read := file.read(min(n_bytes, _AT_ONCE))):
        digest.update(read)
        n_bytes -= len(read)
    return digest.hexdigest().encode()
