"""A run that is saved now and then, and goes on from there: the arrays of a machine, of its values and of the watch, in one file.

The file is always whole: it is written beside, sealed and renamed (`etasim.core.sealed`). Its stamp has a digest of everything that the run
depends on, so that no other run goes on from it.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from etasim import __version__
from etasim.config.errors import InputError, Problem
from etasim.config.files import ARCHIVE_DAMAGE, open_regular
from etasim.core.channel import NEVER
from etasim.core.jit import PACKAGE
from etasim.core.json_reading import JsonError, read_value
from etasim.core.provenance import note_read
from etasim.core.sealed import check_seal, replace_sealed
from etasim.core.trees import Arrays, arrays_of, fill
from etasim.machine.elaborate import Links, States
from etasim.machine.inputs import FunctionalInputs, Inputs
from etasim.mapping import Mapping as TileMapping
from etasim.noc import no_memo
from etasim.workload import dump_network

if TYPE_CHECKING:
    from etasim.functional import FunctionalRun

STAMP = "stamp"
ANEW = "another --out begins a new run, and so does --overwrite without --resume"
_MOST_BYTES = 2**36

def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def stamp_of(inputs: Inputs, mapping: TileMapping, seen: tuple[int | None, bool]) -> dict[str, str]:
    """Digests of what a run depends on, and what is ``seen`` of it (length of samples, whether intervals are recorded), by the name that a
    message gives it."""
    values = inputs.functional or FunctionalInputs()
    plain = (inputs.batch, inputs.phases, inputs.functional is not None, values.seed, values.iterations, *seen)
    arrays = [part for name, array in sorted(values.arrays.items()) for part in (name.encode(), str(array.dtype).encode(), array.tobytes())]
    return {
        "version of etasim": f"{__version__} {_digest(*(path.read_bytes() for path in sorted(PACKAGE.rglob('*.py'))))}",
        "architecture": _digest(json.dumps(inputs.architecture.resolved(), sort_keys=True, default=str).encode()),
        "network": _digest(dump_network(inputs.network).encode()),
        "arguments": _digest(json.dumps(plain).encode()),
        "tensors": _digest(*arrays),
        "program": _digest(*(table.tobytes() for table in mapping.program), *(mapping.windows.contents if mapping.windows else ())),
    }


class Kept(NamedTuple):
    """What changes while a machine runs; ``samples`` taken, none of a run without series; ``slots`` of windows (`Loaded`), none of a run
    that has the whole program."""

    states: States
    links: Links
    watch: np.ndarray
    samples: tuple[np.ndarray, ...]
    slots: np.ndarray


def _lasting(kept: Kept) -> Kept:
    """All of it, but for what the network has learned, which changes no result."""
    return kept._replace(states=kept.states._replace(noc=kept.states.noc._replace(memo=no_memo())))


class Checkpoints:
    """Saves a run in the file ``path`` about every ``every`` core cycles (None: never).

    ``beside``: what is saved besides the machine, called when it is.
    """

    def __init__(self, path: Path | None, every: int | None, stamp: dict[str, str]):
        self.path, self._every, self._stamp = path and Path(path), every, stamp
        self.beside: Callable[[], Arrays] = dict
        self._due = NEVER

    def until(self, now: int, most: int) -> int:
        """The core cycle to run to from ``now``: ``most`` cycles further, or to where the run must be saved."""
        self._due = NEVER if self._every is None else (now // self._every + 1) * self._every
        return min(now + most, self._due)

    def keep(self, kept: Kept) -> None:
        """Save the run if it is where it must be. The log of events must be empty."""
        if kept.states.time[0] >= self._due:
            self._write(arrays_of(_lasting(kept), "machine") | self.beside())

    def restore(self, kept: Kept, saved: Arrays) -> None:
        """Bring a new machine to where it was ``saved``."""
        fill(_lasting(kept), "machine", saved)

    def resume(self, values: "FunctionalRun", saved: Arrays) -> None:
        """Bring values to where they were ``saved``. Raises InputError for exponents that are damaged."""
        try:
            values.resume(saved)
        except JsonError as error:
            raise self.refusal(f"damaged: {error}; {ANEW}") from None

    def _write(self, arrays: Arrays) -> None:
        assert self.path is not None, "who saves knows where"
        contents: dict[str, Any] = {**arrays, STAMP: np.frombuffer(json.dumps(self._stamp).encode(), np.uint8)}
        replace_sealed(self.path, lambda file: np.savez(file, **contents))

    def read(self) -> Arrays | None:
        """What was saved, None if nothing was. Raises InputError for a file that is damaged, or of another run, and says in what."""
        assert self.path is not None, "who reads knows where"
        if not self.path.exists():
            return None
        note_read(self.path)
        try:
            with open_regular(self.path, _MOST_BYTES) as file:
                check_seal(file)
                with np.load(file, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
            found = read_value(arrays.pop(STAMP).tobytes())
        except OSError as error:
            raise self.refusal(f"cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise self.refusal(f"{error}; {ANEW}") from None
        except KeyError:
            raise self.refusal(f"not a checkpoint of a run; {ANEW}") from None
        differing = [name for name, digest in self._stamp.items() if found.get(name) != digest]
        if differing:
            raise self.refusal(f"is of another run: the {', the '.join(differing)} differ; {ANEW}")
        return arrays

    def refusal(self, message: str) -> InputError:
        """An error about the file."""
        return InputError([Problem(str(self.path), None, "", message)])


NO_CHECKPOINTS = Checkpoints(None, None, {})


def saved_cycle(path: Path) -> int | None:
    """The core cycle at which the run in ``path`` was saved; None of a file that is none, or is gone."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            return int(saved["machine.states.time"][0])
    except (OSError, *ARCHIVE_DAMAGE):
        return None
