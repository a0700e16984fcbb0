"""Spatial unrolling pinned in YAML: ``mapping: {"conv1.ff": {clusters_k: 2, clusters_pixel: 2}, "*.wg": {clusters_k: 4}}``."""

from fnmatch import fnmatchcase

from etasim.config import Architecture
from etasim.config.architecture import ClusterSplit
from etasim.core.errors import InfeasibleError
from etasim.schedule.problem import Splits
from etasim.schedule.tiling import divisors

AXES = {"ff": ("clusters_k", "clusters_pixel"), "bp": ("clusters_c", "clusters_pixel"), "wg": ("clusters_k", "clusters_c")}
"""Loops that a phase can split over clusters: that of the PEs' result channels first, then the other one. WG can split samples, too."""

ALL_AXES = ("clusters_k", "clusters_c", "clusters_pixel", "clusters_sample")


def pinned_splits(architecture: Architecture, layer: str, phase: str) -> Splits:
    """The splits that the first pattern allows that matches ``layer.phase``; none of them: no restriction.

    Raises InfeasibleError, naming the pattern, for a split that the phase cannot make or that does not use every cluster.
    """
    for pattern, split in architecture.mapping.items():
        if fnmatchcase(f"{layer}.{phase}", pattern):
            return _splits(pattern, split, phase, architecture.array.clusters)
    return ()


def _splits(pattern: str, split: ClusterSplit, phase: str, clusters: int) -> Splits:
    first, second = AXES[phase]
    allowed = (first, second, "clusters_sample") if phase == "wg" else (first, second)
    for axis in ALL_AXES:
        if axis not in allowed and getattr(split, axis) not in (None, 1):
            raise InfeasibleError(f"mapping.{pattern}.{axis}: {phase} can split over {', '.join(allowed[:-1])} and {allowed[-1]} only")
    a, b, parts = getattr(split, first), getattr(split, second), split.clusters_sample or 1
    if a is None and b is None and split.clusters_sample is None:
        return ()
    fitting = tuple(d for d in divisors(clusters // parts) if a in (None, d) and b in (None, clusters // parts // d))
    if clusters % parts or not fitting:
        given = " x ".join(f"{axis} = {getattr(split, axis)}" for axis in allowed if getattr(split, axis) is not None)
        raise InfeasibleError(f"mapping.{pattern}: {' x '.join(allowed)} must be array.clusters = {clusters}, got {given}")
    return tuple((d, parts) for d in fitting)


def refuse_unused(architecture: Architecture, operations: list[str]) -> None:
    """Raise InfeasibleError for a pattern that matches none of ``operations`` (``layer.phase``)."""
    for pattern in architecture.mapping:
        if not any(fnmatchcase(name, pattern) for name in operations):
            example = f", for example {operations[0]}" if operations else ", and this network has none"
            raise InfeasibleError(f"mapping.{pattern}: no convolution has this name; names are layer.phase{example}")
