"""A bundle: one archive with the inputs of a run and what came of it, from which it repeats anywhere.

Members: ``bundle.json`` (versions, digests of the results), the files of the result folder, ``tensors/N.npz`` for each file of tensors that
``run.yaml`` names. Equal folders give equal archives. A bundle may be anybody's: it is read member by member, and nothing is unpacked.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etasim import __version__
from etasim.config.errors import InputError, Problem
from etasim.config.files import ARCHIVE_DAMAGE, open_regular
from etasim.config.reading import MOST_BYTES as MOST_TEXT_BYTES
from etasim.config.reading import Document, parse_yaml, read_yaml
from etasim.core.json_reading import JsonError, read_value
from etasim.core.provenance import note_read
from etasim.report.store import LAYERS, RESULTS, RUN, RUN_INFO, SERIES, STATE, TRAINING, json_text

if TYPE_CHECKING:
    from etasim.functional.archive import Wanted

MANIFEST = "bundle.json"
SCHEMA_VERSION = 1
REPEATED = (RESULTS, LAYERS, RUN, SERIES, TRAINING, STATE)
"""Files of a result that equal inputs make again."""
MOST_FILE_BYTES = 2**34
_BEGINNING = b"PK\3\4"
_AT_ONCE = 2**20
_WHEN = (1980, 1, 1, 0, 0, 0)
"""The date of every member: an archive does not depend on when it was made."""


class Bundle(NamedTuple):
    """What a bundle says of itself: the ``version`` of etasim that made it, the length of a sample of its series (None: it has none), and
    the `digest` of each file of its results."""

    version: str
    series_every: int | None
    digests: dict[str, str]


class Repetition(NamedTuple):
    """Files that a repeated run made ``equal`` to those of the bundle, and ``differing`` ones."""

    equal: tuple[str, ...]
    differing: tuple[str, ...]


def is_bundle(path: Path) -> bool:
    """Whether ``path`` is an archive."""
    try:
        with open_regular(path, MOST_FILE_BYTES) as file:
            return file.read(len(_BEGINNING)) == _BEGINNING
    except (OSError, ValueError):
        return False


def digest(path: Path) -> str:
    """SHA-256 of a file; of an .npz file, of what its members hold, because libraries compress the same into other bytes."""
    found = hashlib.sha256()
    if path.suffix != ".npz":
        found.update(path.read_bytes())
        return found.hexdigest()
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            found.update(f"{name}\0".encode())
            with archive.open(name) as member:
                while read := member.read(_AT_ONCE):
                    found.update(read)
    return found.hexdigest()


def write_bundle(folder: Path, path: Path) -> None:
    """Pack the result in ``folder``, and the tensors that its run.yaml names, into the archive ``path``.

    Raises InputError for a folder without an intact result, or tensors that are gone.
    """
    from etasim.report.inputs import inputs_of
    from etasim.report.reading import read_results
    from etasim.report.run_info import versions
    from etasim.report.series import read_series
    from etasim.report.staging import staged_file

    read_results(folder)
    inputs = inputs_of(folder)
    tensors = [Path(name) for name in inputs.functional.tensors] if inputs.functional else []
    missing = [name for name in tensors if not name.is_file()]
    if missing:
        where, message = str(folder / RUN), "is not there; a bundle needs it"
        raise InputError(Problem(where, None, "functional.tensors", f"{name} {message}") for name in missing)
    files = {name: folder / name for name in (*REPEATED, RUN_INFO) if (folder / name).exists()}
    about = {
        "schema_version": SCHEMA_VERSION, "versions": versions(),
        "series_every": int(read_series(folder).arrays["sample_cycles"]) if SERIES in files else None,
        "digests": {name: digest(file) for name, file in files.items() if name in REPEATED},
    }  # fmt: skip
    with staged_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST, _WHEN), json_text(about), zipfile.ZIP_DEFLATED)
        for name, file in (files | {f"tensors/{i}.npz": tensor for i, tensor in enumerate(tensors)}).items():
            _add(archive, name, file)


def _add(archive: zipfile.ZipFile, name: str, file: Path) -> None:
    """What is compressed already is stored."""
    member = zipfile.ZipInfo(name, _WHEN)
    member.compress_type = zipfile.ZIP_STORED if file.suffix == ".npz" else zipfile.ZIP_DEFLATED
    with file.open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
        while read := source.read(_AT_ONCE):
            target.write(read)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, with what its damage raises turned into an InputError."""
    from etasim.functional.archive import archive_in
    from etasim.numerics.errors import NumericsError

    note_read(path)
    try:
        with open_regular(path, MOST_FILE_BYTES) as file:
            try:
                archive = archive_in(file)
            except NumericsError:
                raise _refusal(path, "", "no bundle of etasim, or damaged") from None
            yield archive
    except OSError as error:
        raise _refusal(path, "", f"cannot be read: {error.strerror or error}") from None
    except ARCHIVE_DAMAGE as error:
        raise _refusal(path, "", f"no bundle of etasim, or damaged: {error}") from None


def _refusal(path: Path, key: str, message: str) -> InputError:
    return InputError([Problem(str(path), None, key, message)])


def _text(path: Path, name: str) -> bytes:
    """The text of a member that is as short as such a text is."""
    with _opened(path) as archive:
        if archive.getinfo(name).file_size > MOST_TEXT_BYTES:
            raise _refusal(path, name, f"larger than {MOST_TEXT_BYTES:,} bytes")
        with archive.open(name) as member:
            return member.read(MOST_TEXT_BYTES)


def read_bundle(path: Path) -> Bundle:
    """What the bundle at ``path`` says of itself. Raises InputError for anything else, or a damaged one."""
    try:
        about: Any = read_value(_text(path, MANIFEST).decode("utf-8"))
    except (JsonError, UnicodeDecodeError) as error:
        raise _refusal(path, MANIFEST, f"damaged: {error}") from None
    if not isinstance(about, dict) or about.get("schema_version") != SCHEMA_VERSION:
        raise _refusal(path, MANIFEST, f"is of another version; etasim {__version__} reads {SCHEMA_VERSION}")
    made_by, every, digests = (about.get(name) for name in ("versions", "series_every", "digests"))
    is_whole = every is None or (type(every) is int and every > 0)
    if not (is_whole and isinstance(made_by, dict) and isinstance(digests, dict) and all(isinstance(d, str) for d in digests.values())):
        raise _refusal(path, MANIFEST, "damaged: not what etasim writes")
    return Bundle(str(made_by.get("etasim", "")), every, {name: digests[name] for name in REPEATED if name in digests})


def run_document(path: Path) -> Document:
    """The run.yaml at ``path``, or that of the bundle at ``path``, with the places of its keys. Raises InputError."""
    if not is_bundle(path):
        return read_yaml(path)
    read_bundle(path)
    data, source = parse_yaml(_text(path, RUN), f"{path}/{RUN}")
    if not isinstance(data, dict):
        raise _refusal(path, RUN, "must be a mapping of keys to values")
    return Document(data, source)


def bundled_arrays(path: Path, number: int, wanted: "Wanted") -> dict[str, np.ndarray]:
    """Arrays of the file of tensors that run.yaml of the bundle names as its ``number``-th. Raises InputError, and as `arrays_in`."""
    from etasim.functional.archive import arrays_in

    name = f"tensors/{number}.npz"
    with _opened(path) as archive:
        if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
            raise _refusal(path, name, "is compressed twice; etasim does not write that")
        with archive.open(name) as member:
            return arrays_in(member, wanted)


def compared(path: Path, folder: Path) -> Repetition | None:
    """The results in ``folder`` beside those of the bundle at ``path``; None if they are of other inputs."""
    wanted = {name: of for name, of in read_bundle(path).digests.items() if (folder / name).exists()}
    found = {name: digest(folder / name) for name in wanted}
    if found.get(RUN) != wanted.get(RUN):
        return None
    equal = {name: found[name] == wanted[name] for name in wanted}
    return Repetition(tuple(name for name, same in equal.items() if same), tuple(name for name, same in equal.items() if not same))


def verdict(path: Path, comparison: Repetition) -> str:
    """What a repeated run is told of the comparison."""
    if not comparison.differing:
        return f"the same as in {path}, to the byte: {', '.join(comparison.equal)}"
    return f"differs from {path}, made by etasim {read_bundle(path).version}: {', '.join(comparison.differing)}"
