"""What of a mapping is pinned in YAML: ``mapping: {"conv1.ff": {clusters_k: 2, band_samples: 4}, "*.wg": {clusters_k: 4}}``.

A listing prints the plans in the very form that is read here.
"""

from fnmatch import fnmatchcase
from typing import Any

from etasim.config import Architecture, Pins
from etasim.core.errors import InfeasibleError
from etasim.schedule.array import ArraySizes
from etasim.schedule.choices import OUTERS
from etasim.schedule.problem import FREE, NOTHING_PINNED, Pinned, PinNumbers, Plan, Splits, TileShape
from etasim.schedule.tiling import divisors

AXES = {"ff": ("clusters_k", "clusters_pixel"), "bp": ("clusters_c", "clusters_pixel"), "wg": ("clusters_k", "clusters_c")}
"""Loops that a phase can split over clusters: that of the PEs' result channels first, then the other one. WG can split samples, too."""

ALL_AXES = ("clusters_k", "clusters_c", "clusters_pixel", "clusters_sample")


def pattern_of(architecture: Architecture, layer: str, phase: str) -> str | None:
    """The first pattern that matches ``layer.phase``."""
    return next((pattern for pattern in architecture.mapping.pins if fnmatchcase(f"{layer}.{phase}", pattern)), None)


def pinned(architecture: Architecture, layer: str, phase: str) -> Pinned:
    """What the first pattern gives that matches ``layer.phase``.

    Raises InfeasibleError, naming the pattern, for a split that the phase cannot make or that does not use every cluster, and for a key
    that the phase does not have.
    """
    pattern = pattern_of(architecture, layer, phase)
    if pattern is None:
        return NOTHING_PINNED
    pins = architecture.mapping.pins[pattern]
    if phase != "wg" and pins.stream_slices is not None:
        raise InfeasibleError(f"mapping.{pattern}.stream_slices: only wg holds sums of several slices of the streamed operand")
    if phase == "wg" and pins.reduction_blocks is not None:
        raise InfeasibleError(f"mapping.{pattern}.reduction_blocks: wg reduces over pixels; only ff and bp over channel blocks")
    given = {name: getattr(pins, name) for name in PinNumbers._fields}
    given["outer"] = OUTERS.index(pins.outer) if pins.outer else None
    numbers = PinNumbers(**{name: FREE if value is None else int(value) for name, value in given.items()})
    tiles = tuple(
        TileShape(tile.samples, tile.pixels, tile.blocks or FREE, tile.taps or FREE, int(tile.by_row)) for tile in pins.tiles or ()
    )
    return Pinned(_splits(pattern, pins, phase, architecture.array.clusters), numbers, tiles)


def _splits(pattern: str, pins: Pins, phase: str, clusters: int) -> Splits:
    first, second = AXES[phase]
    allowed = (first, second, "clusters_sample") if phase == "wg" else (first, second)
    for axis in ALL_AXES:
        if axis not in allowed and getattr(pins, axis) not in (None, 1):
            raise InfeasibleError(f"mapping.{pattern}.{axis}: {phase} can split over {', '.join(allowed[:-1])} and {allowed[-1]} only")
    a, b, parts = getattr(pins, first), getattr(pins, second), pins.clusters_sample or 1
    if a is None and b is None and pins.clusters_sample is None:
        return ()
    fitting = tuple(d for d in divisors(clusters // parts) if a in (None, d) and b in (None, clusters // parts // d))
    if clusters % parts or not fitting:
        given = " x ".join(f"{axis} = {getattr(pins, axis)}" for axis in allowed if getattr(pins, axis) is not None)
        raise InfeasibleError(f"mapping.{pattern}: {' x '.join(allowed)} must be array.clusters = {clusters}, got {given}")
    return tuple((d, parts) for d in fitting)


def pins_of(plan: Plan, phase: str, array: ArraySizes) -> dict[str, Any]:
    """All that can be pinned of a plan, as YAML has it; blocks of a slice where these leave PEs idle."""
    first, second = AXES[phase]
    rest, wg = array.clusters // (plan.split * plan.sample_parts), phase == "wg"
    split = {first: plan.split, second: rest} | ({"clusters_sample": plan.sample_parts} if plan.sample_parts > 1 else {})
    blocks = {"slice_blocks": plan.slice_blocks} if plan.slice_blocks < array.pe_blocks else {}
    slices = {"result_slices": plan.result_slices} | blocks | ({"stream_slices": plan.stream_slices} if wg else {})
    bands = {"band_samples": plan.bands[0].n_samples, "band_rows": plan.bands[0].end_row}
    moved = {"outer": plan.outer, "stream_resident": bool(plan.stream_resident), "stationary_resident": bool(plan.stationary_resident)}
    tiles = [
        {"samples": shape.samples, "pixels": shape.pixels}
        | ({"by_row": True} if shape.by_row else {})
        | ({} if wg else {"blocks": shape.slices_per_chunk, "taps": shape.taps_per_chunk})
        for shape in plan.shapes
    ]
    parts = {} if wg else {"reduction_blocks": plan.reduction_blocks}
    return split | slices | bands | moved | parts | {"tiles": tiles}


def refuse_unused(architecture: Architecture, operations: list[str]) -> None:
    """Raise InfeasibleError for a pattern that matches none of ``operations`` (``layer.phase``)."""
    for pattern in architecture.mapping.pins:
        if not any(fnmatchcase(name, pattern) for name in operations):
            example = f", for example {operations[0]}" if operations else ", and this network has none"
            raise InfeasibleError(f"mapping.{pattern}: no convolution has this name; names are layer.phase{example}")
