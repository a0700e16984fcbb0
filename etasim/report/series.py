"""series.npz: the series of a run in its folder, with the energy that each part takes (docs/series.md)."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from etasim.config.errors import InputError, Problem
from etasim.config.files import ARCHIVE_DAMAGE, open_regular
from etasim.core.json_reading import read_value
from etasim.core.provenance import note_read
from etasim.core.trees import Arrays
from etasim.machine.result import RunResult
from etasim.machine.series import Series
from etasim.report.energy_series import energy_by_part
from etasim.report.store import RESULTS, SERIES, read_text

VERSION = 2
AGAIN = "run the simulation again"
_MOST_BYTES = 2**31
_COMPRESSION = 1
"""Of 9 levels: the fastest, because samples are mostly small numbers and zeros."""


class StoredSeries(NamedTuple):
    """A series read back: its ``arrays`` by their names in docs/series.md."""

    arrays: Arrays

    @property
    def ends(self) -> np.ndarray:
        """The core cycle after each sample."""
        return self.arrays["ends"]

    @property
    def clock_hz(self) -> float:
        """Cycles of the core in a second."""
        return float(self.arrays["core_clock_hz"])

    @property
    def lengths_s(self) -> np.ndarray:
        """Seconds of each sample."""
        lengths: np.ndarray = np.diff(self.ends, prepend=0)
        return lengths / self.clock_hz

    @property
    def edges_ms(self) -> np.ndarray:
        """Where samples begin and end, in milliseconds from the beginning: one more than samples."""
        edges: np.ndarray = np.concatenate([[0], self.ends])
        return edges / self.clock_hz * 1e3

    def per_second(self, name: str) -> np.ndarray:
        """An amount as a rate: of what happened in each sample, divided by its length."""
        amounts = self.arrays[name]
        rates: np.ndarray = amounts / self.lengths_s.reshape(-1, *[1] * (amounts.ndim - 1))
        return rates

    def by_operation(self, name: str) -> np.ndarray:
        """``work_NAME`` as a table [sample, operation]."""
        table = np.zeros((len(self.ends), len(self.arrays["operations"])), np.int64)
        table[self.arrays["work_sample"], self.arrays["work_operation"]] = self.arrays[f"work_{name}"]
        return table


def write_series(result: RunResult, series: Series, folder: Path, results_text: str) -> None:
    """Write series.npz of a result whose results.json has ``results_text``. Equal inputs give equal bytes."""
    arrays = {
        "version": np.array(VERSION), "results_sha256": np.array(hashlib.sha256(results_text.encode()).hexdigest()),
        "sample_cycles": np.array(series.sample_cycles), "core_clock_hz": np.array(float(result.architecture.core.clock_hz)),
        "ends": series.ends, **series.arrays, **energy_by_part(result, series),
    }  # fmt: skip
    written = io.BytesIO()  # a file would be written, and sought in, piece by piece
    with zipfile.ZipFile(written, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(_small(array), order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getbuffer(), zipfile.ZIP_DEFLATED, _COMPRESSION)
    (folder / SERIES).write_bytes(written.getbuffer())


def _small(array: np.ndarray) -> np.ndarray:
    """Whole numbers in 4 bytes where they fit."""
    if array.dtype == np.int64 and array.size and array.min() > -(2**31) and array.max() < 2**31:
        return array.astype(np.int32)
    return array


def read_series(folder: Path) -> StoredSeries:
    """The series of the result in ``folder``.

    Raises InputError if there is none, if it is damaged or of another version, or belongs to another result than the one beside it.
    """
    path = folder / SERIES
    arrays = _read(path)
    version = arrays.get("version")
    if version is None or version.shape != () or int(version) != VERSION:
        shown = "has no version" if version is None else f"is of version {version}"
        raise _refusal(path, f"{shown}; this version of etasim reads {VERSION}; {AGAIN}")
    _check(path, arrays)
    digest = hashlib.sha256(read_text(folder / RESULTS).encode()).hexdigest()
    if str(arrays["results_sha256"]) != digest:
        raise _refusal(path, f"is of another run than {RESULTS} beside it; {AGAIN}")
    return StoredSeries({name: array.astype(np.int64) if array.dtype == np.int32 else array for name, array in arrays.items()})


def _read(path: Path) -> Arrays:
    if not path.exists():
        raise _refusal(path, f"is missing: {_why_missing(path.with_name(RESULTS))}")
    note_read(path)
    try:
        with open_regular(path, _MOST_BYTES) as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror or error}") from None
    except ARCHIVE_DAMAGE as error:
        raise _refusal(path, f"damaged: {type(error).__name__}; {AGAIN}") from None


def _why_missing(results: Path) -> str:
    found = read_value(read_text(results)) if results.exists() else {}
    if isinstance(found, dict) and found.get("fidelity") == "analytical":
        return "an estimate has no series: run the simulation, with --fidelity cycle"
    return "the run was made without a series; run it again without --no-series"


def _check(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse a file without what every series has, in its shapes."""
    for name, n_axes in _AXES.items():
        if name not in arrays or arrays[name].ndim != n_axes:
            raise _refusal(path, f"damaged: {name} {'is missing' if name not in arrays else 'has another shape'}; {AGAIN}")
    n = len(arrays["ends"])
    sampled = [name for name in _AXES if name in _PER_SAMPLE and len(arrays[name]) != n]
    steps = np.diff(arrays["ends"], prepend=0)
    if sampled or not n or (steps <= 0).any():
        raise _refusal(path, f"damaged: {sampled[0] if sampled else 'ends'} has another length; {AGAIN}")


_PER_SAMPLE = (
    "dram_read_bytes", "dram_write_bytes", "class_read_bytes", "class_write_bytes", "cluster_cycles", "link_flits", "port_words",
    "held_bytes", "commands_waiting", "energy_joule", "unified_busy_cycles", "buffer_read_words", "noc_flits_injected",
)  # fmt: skip
_AXES: Mapping[str, Any] = {
    "results_sha256": 0, "sample_cycles": 0, "core_clock_hz": 0, "ends": 1, "tensor_classes": 1, "operations": 2, "buffers": 1,
    "buffer_bytes": 1, "port_parts": 1, "flit_classes": 1, "links": 2, "link_targets": 1, "causes": 1, "engines": 1, "held": 1,
    "energy_parts": 1, "work_sample": 1, "work_operation": 1, "tensors": 2, "tensor_bytes": 1, "tensor_cycles": 2,
    **dict.fromkeys(_PER_SAMPLE, 2), "held_bytes": 3, "link_flits": 3,
}  # fmt: skip
"""Arrays that every series has, by the number of their axes."""


def _refusal(path: Path, message: str) -> InputError:
    return InputError([Problem(str(path), None, "", message)])
