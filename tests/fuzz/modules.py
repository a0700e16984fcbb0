"""Python modules of a case: found in its folder alone, and forgotten after it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def imported_from(folder: Path, name: str) -> Iterator[None]:
    """Inside, the module ``name`` is that of ``folder``, which is the working folder."""
    before, writes = Path.cwd(), sys.dont_write_bytecode
    os.chdir(folder)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        os.chdir(before)
        sys.dont_write_bytecode = writes
        sys.modules.pop(name, None)
        sys.path_importer_cache.clear()
