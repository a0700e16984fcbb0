"""Which tensors are in DRAM when: from their first write to their last read.

Pictures (`etasim.report.residency_plots`) and pages (`etasim.report.page.tensor_charts`) are drawn from this.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.report.series import StoredSeries

IN_DRAM = "DRAM"


class Residents(NamedTuple):
    """Tensors that some command touches: their layers, classes by number, bytes and cycles [tensor, (from, until)]."""

    names: list[str]
    layers: list[str]
    classes: np.ndarray
    n_bytes: np.ndarray
    cycles: np.ndarray
    homes: list[str]
    """Where each lives, of a machine that forwards results on chip too."""

    @property
    def stays(self) -> np.ndarray:
        """Which are there all the time: weights, momentum."""
        always: np.ndarray = (self.cycles == (0, self.cycles.max(initial=0))).all(axis=1)
        return always


def residents_of(series: StoredSeries) -> Residents:
    """The tensors of a series that are in DRAM for a while."""
    arrays = series.arrays
    used = np.flatnonzero(arrays["tensor_cycles"][:, 1] > arrays["tensor_cycles"][:, 0])
    names, kinds = arrays["tensors"][used, 0].tolist(), arrays["tensors"][used, 1].tolist()
    classes = arrays["tensor_classes"].tolist()
    layers = [name.rpartition(".")[0] or name for name in names]
    homes = arrays["tensor_homes"][used].tolist() if "tensor_homes" in arrays else [IN_DRAM] * len(used)
    numbers = np.array([classes.index(kind) for kind in kinds])
    return Residents(names, layers, numbers, arrays["tensor_bytes"][used], arrays["tensor_cycles"][used], homes)


def never_stored(series: StoredSeries) -> list[dict[str, Any]]:
    """Rows of the table for the tensors that live on chip alone."""
    arrays = series.arrays
    homes = arrays["tensor_homes"].tolist() if "tensor_homes" in arrays else []
    return [
        {"tensor": name, "class": kind, "bytes": n_bytes, "from_ms": None, "until_ms": None, "lives_in": f"{home}; never stored"}
        for (name, kind), n_bytes, home in zip(arrays["tensors"].tolist(), arrays["tensor_bytes"].tolist(), homes, strict=False)
        if not home.startswith(IN_DRAM)
    ]


def bytes_by_class(found: Residents, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Cycles at which something changes, one more than stretches between them, and the bytes in DRAM [stretch, tensor class]."""
    edges = np.unique(found.cycles)
    changes = np.zeros((len(edges), n_classes), np.int64)
    for way, sign in enumerate((1, -1)):
        np.add.at(changes, (np.searchsorted(edges, found.cycles[:, way]), found.classes), sign * found.n_bytes)
    return edges, changes.cumsum(axis=0)[:-1]
