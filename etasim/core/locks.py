"""What only one of several processes should do: each has a byte of a file, which a process locks and gives up however it ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

LOCKS = sys.platform != "win32"
"""Whether the system locks bytes of files for processes."""

if LOCKS:
    import fcntl


@cache
def _descriptor(file: Path) -> int:
    """``file``, open until the process ends: to close it would give up all that is locked there."""
    return os.open(file, os.O_RDWR | os.O_CREAT, 0o666)


@contextmanager
def alone(file: Path, byte: int, waits: bool = True) -> Iterator[bool]:
    """Whether this process has ``byte`` of ``file`` locked meanwhile, or no process can: a disk may know no locks. ``waits`` until no other
    one has it."""
    taken, is_alone = False, True
    if LOCKS:
        try:
            fcntl.lockf(_descriptor(file), fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB), 1, byte)
            taken = True
        except (BlockingIOError, PermissionError):
            is_alone = False
        except OSError:
            pass
    try:
        yield is_alone
    finally:
        if taken:
            with suppress(OSError):
                fcntl.lockf(_descriptor(file), fcntl.LOCK_UN, 1, byte)
