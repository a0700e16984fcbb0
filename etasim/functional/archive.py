"""Arrays from an .npz file that may be damaged, or made to do harm: nothing is expanded before it is known what it becomes.

What a file says of itself in its own words (names apart) is never quoted: a message must not show what lies in a file that is something
else.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from etasim.config.files import open_regular
from etasim.core.provenance import note_read
from etasim.numerics.errors import require

MOST_FILE_BYTES = 2**34
MOST_ARRAY_BYTES = 2**31
"""Of one array. Of a network's tensors the shape is known; samples, whose number is not, are more than a run can take long before."""
MOST_DIRECTORY_BYTES = 2**22
"""Of the list of members, which is read as a whole; one takes about 100 bytes."""

_ENCRYPTED = 1
_END, _END_SIZE, _MOST_COMMENT = b"PK\5\6", 22, 2**16
_DIRECTORY_SIZE = slice(12, 16)
_NOT_NPZ = "not an .npz archive, or a truncated one"
_MOST_FAULTS, _MOST_NAME = 20, 100
_NUMBERS = "biufc"

Wanted = Callable[[str, tuple[int, ...], np.dtype], bool]
"""Whether an array of this name, shape and type is one that is used."""


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype
    n_bytes: int
    """Of header and values together."""


def read_arrays(path: Path, wanted: Wanted) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file by name. One that is not ``wanted`` is not read: zeros of its shape, which take no memory, stand for it,
    so that whoever looks at shapes and types can say what is wrong.

    Raises OSError for a file that cannot be read, is no regular one or larger than 16 GiB; NumericsError for one that is not an .npz
    archive, or is damaged, encrypted, holds other things than numbers or an array of more than 2 GiB. A fault without a name is about the
    file.
    """
    note_read(path)
    with open_regular(path, MOST_FILE_BYTES) as file:
        return arrays_in(file, wanted)


def arrays_in(file: IO[bytes], wanted: Wanted) -> dict[str, np.ndarray]:
    """As `read_arrays`, of an open file that can seek."""
    arrays, faults, unwanted = {}, [], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive = archive_in(file)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            try:
                if name in arrays:
                    raise _FaultError("is there twice")
                arrays[name], is_wanted = _array(archive, member, name, wanted)
                unwanted += not is_wanted
            except _FaultError as error:
                faults.append((name[:_MOST_NAME], str(error)))
    if len(faults) + unwanted > _MOST_FAULTS:
        faults = [("", f"holds {len(faults) + unwanted:,} arrays that are damaged or do not fit the network"), *faults[:_MOST_FAULTS]]
    require(faults)
    return arrays


class _FaultError(Exception):
    """Why an array is not read."""


def archive_in(file: IO[bytes]) -> ZipFile:
    """The archive in ``file``, whose list of members is short enough to be read. Raises NumericsError."""
    size = file.seek(0, 2)
    file.seek(max(size - _END_SIZE - _MOST_COMMENT, 0))
    _, found, end = file.read().rpartition(_END)
    directory_bytes = int.from_bytes((found + end)[_DIRECTORY_SIZE], "little")
    if not found or directory_bytes > MOST_DIRECTORY_BYTES:
        require([("", "has too many members" if found else _NOT_NPZ)])
    try:
        return ZipFile(file)
    except Exception:  # zipfile raises of everything when it reads what is not an archive
        require([("", _NOT_NPZ)])
        raise


def _array(archive: ZipFile, member: ZipInfo, name: str, wanted: Wanted) -> tuple[np.ndarray, bool]:
    """The array in ``member`` and True, or zeros and False for one that is not wanted. Raises _FaultError."""
    if member.flag_bits & _ENCRYPTED:
        raise _FaultError("is encrypted; numpy.savez writes what can be read")
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise _FaultError("is compressed as numpy does not; numpy.savez or numpy.savez_compressed write what can be read")
    header = _attempt(_read_header, archive, member)
    if header.dtype.kind not in _NUMBERS:
        raise _FaultError(f"holds {'Python objects' if header.dtype.hasobject else 'text or records'}, numbers are expected")
    if not wanted(name, header.shape, header.dtype):
        return _attempt(np.broadcast_to, np.zeros((), header.dtype), header.shape), False
    if header.n_bytes > MOST_ARRAY_BYTES:
        raise _FaultError(f"takes {header.n_bytes:,} bytes, at most {MOST_ARRAY_BYTES:,} are read")
    if header.n_bytes != member.file_size:
        raise _FaultError("is damaged: not as long as its shape says")
    return _attempt(_read_values, archive, member), True


def _attempt(read: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except Exception:  # numpy, zipfile and zlib raise of everything when they read what is damaged
        raise _FaultError("is not an array, or damaged") from None


def _read_header(archive: ZipFile, member: ZipInfo) -> _Header:
    """Of version 1.0, which numpy writes for arrays of numbers; the header of others may be 4 GiB long."""
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        n_values = 1
        for size in shape:
            n_values *= int(size)
        return _Header(tuple(map(int, shape)), dtype, file.tell() + n_values * dtype.itemsize)


def _read_values(archive: ZipFile, member: ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise ValueError
        return array
