"""Spatial unrolling pinned in YAML: ``mapping: {"conv1.ff": {clusters_k: 2, clusters_pixel: 2}, "*.wg": {clusters_k: 4}}``."""

from fnmatch import fnmatchcase

from etasim.config import Architecture
from etasim.mapping.array import InfeasibleError
from etasim.mapping.tiling import divisors

AXES = {"ff": ("clusters_k", "clusters_pixel"), "bp": ("clusters_c", "clusters_pixel"), "wg": ("clusters_k", "clusters_c")}
"""Loops that a phase can split over clusters: that of the PEs' result channels first, then the other one."""


def pinned_split(architecture: Architecture, layer: str, phase: str) -> tuple[int, ...]:
    """Clusters along the first axis of ``phase`` if a pattern matches ``layer.phase`` (the first one that does), else no restriction.

    Raises InfeasibleError, naming the pattern, for a split that the phase cannot make or that does not use every cluster.
    """
    for pattern, split in architecture.mapping.items():
        if fnmatchcase(f"{layer}.{phase}", pattern):
            return _split(pattern, split, phase, architecture.array.clusters)
    return ()


def _split(pattern: str, split, phase: str, clusters: int) -> tuple[int, ...]:
    first, second = AXES[phase]
    for axis in ("clusters_k", "clusters_c", "clusters_pixel"):
        if axis not in (first, second) and getattr(split, axis) not in (None, 1):
            raise InfeasibleError(f"mapping.{pattern}.{axis}: {phase} can split over {first} and {second} only")
    a, b = getattr(split, first), getattr(split, second)
    if a is None and b is None:
        return ()
    a, b = (a or clusters // b), (b or clusters // a)
    if a * b != clusters:
        raise InfeasibleError(f"mapping.{pattern}: {first} x {second} must be array.clusters = {clusters}, got {a} x {b}")
    return tuple(d for d in divisors(clusters) if d == a)


def refuse_unused(architecture: Architecture, operations: list[str]) -> None:
    """Raise InfeasibleError for a pattern that matches none of ``operations`` (``layer.phase``)."""
    for pattern in architecture.mapping:
        if not any(fnmatchcase(name, pattern) for name in operations):
            raise InfeasibleError(f"mapping.{pattern}: no convolution has this name; names are layer.phase, for example {operations[0]}")
