"""What the estimate was compared on with the cycle model, and why an estimate may be further off than it was there.

The machines of ``etasim selfcheck estimate`` are drawn from `AROUND`. An estimate of a machine that has a value outside, or of short
operations, is flagged: `doubts`.
"""

from collections.abc import Mapping
from functools import lru_cache
from numbers import Real
from typing import Any

from pydantic import BaseModel

from etasim.config import Architecture, BaseArchitecture
from etasim.schedule.array import array_of

Overrides = dict[str, Any]

PLACES: Overrides = {"noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto"}
"""What another number of clusters needs beside it."""

ARRAY = "array"
"""Every second machine has another one: what is sized first, and matters most."""


def shapes(*sizes: tuple[int, int, int]) -> tuple[Overrides, ...]:
    """Arrays of so many PEs in a cluster, columns and lanes; the mapping wants lanes that divide both others."""
    keys = ("array.pes_per_cluster", "array.columns", "array.lanes")
    return tuple(dict(zip(keys, size, strict=True)) for size in sizes)


AROUND: dict[str, dict[str, tuple[Any, ...]]] = {
    "eta_small": {
        ARRAY: shapes((4, 4, 2), (2, 8, 2), (4, 4, 4), (8, 8, 2), (8, 8, 4), (2, 2, 2), (4, 8, 4), (2, 4, 1)),
        "array.clusters": (1, 4), "array.psum_depth": (4, 16, 32), "array.stream_scratchpad": ("512 B", "2 KiB"),
        "array.stationary_scratchpad": ("256 B", "1 KiB"),
        "buffers.activation.size": ("8 KiB", "32 KiB"), "buffers.weight.size": ("8 KiB", "32 KiB"),
        "buffers.error.size": ("16 KiB", "64 KiB"), "buffers.error.banks": (4, 16), "buffers.activation.ports": ("1RW", "2RW"),
        "noc.link_width": ("32 bit", "128 bit"), "noc.buffer_depth": (2, 8), "noc.virtual_channels": (4,), "noc.multicast": (False,),
        "dram.channels": (2,), "dma.outstanding_bursts": (8, 32), "dma.commands_in_flight": (1, 4), "controller.queue_depth": (1, 4),
        "unified_core.lanes": (2, 8, 16), "unified_core.count": (2,), "core.clock": ("100 MHz", "300 MHz"),
        "buffers.error.read_latency": (1, 4),
    },
    "eta_vc709": {
        ARRAY: shapes((16, 8, 8), (8, 16, 8), (32, 8, 8), (16, 16, 8), (16, 16, 16), (8, 8, 4), (4, 8, 4), (8, 4, 4), (16, 16, 4)),
        "array.clusters": (2, 8), "array.psum_depth": (32, 128, 256), "array.stream_scratchpad": ("8 KiB", "32 KiB"),
        "array.stationary_scratchpad": ("2 KiB", "8 KiB"), "buffers.activation.size": ("512 KiB", "2 MiB"),
        "buffers.weight.size": ("512 KiB", "1 MiB"), "buffers.error.size": ("512 KiB", "2 MiB"), "buffers.error.banks": (8, 32),
        "buffers.activation.ports": ("1RW", "2RW"), "noc.link_width": ("128 bit", "512 bit"), "noc.buffer_depth": (4, 16),
        "noc.virtual_channels": (4,), "noc.multicast": (False,), "dram.channels": (1, 4), "dma.outstanding_bursts": (16, 64, 128),
        "dma.commands_in_flight": (2, 8), "controller.queue_depth": (2, 8), "unified_core.lanes": (12, 48, 64),
        "unified_core.count": (2,), "core.clock": ("150 MHz", "300 MHz"), "buffers.error.read_latency": (1, 4),
        "dram.controller_latency": (10, 40),
    },
}  # fmt: skip
"""Values by key and shipped architecture, or overrides of several keys that fit together; what is shipped itself is left out, so that
what is drawn always differs."""


def overridden(key: str, value: Any) -> Overrides:
    """What a value of `AROUND` overrides."""
    return dict(value) if isinstance(value, dict) else {key: value}


def placed(overrides: Mapping[str, Any]) -> Overrides:
    """``overrides`` that stand alone: another number of clusters brings its places."""
    return {**PLACES, **overrides} if "array.clusters" in overrides else dict(overrides)


SECTIONS = ("core", "array", "noc", "buffers", "dma", "dram", "host", "unified_core", "controller", "data", "numerics")
"""What sets the time of a machine."""

UNCOMPARED = (
    "array.accumulator_width", "noc.columns", "noc.rows", "noc.placement", "noc.energy_per_flit_hop", "dram.part.name", "dram.part.source",
    "dram.part.currents_ma", "numerics.normalization_group", "numerics.reciprocal",
)  # fmt: skip
"""Keys below `SECTIONS` that move no time, or places, which every number of clusters has its own of."""

LATENCIES = 10
"""Of fetching and feeding a word, below which an operation is short. What is short decides the time by its latencies, of which the estimate
knows less than of rates: before there were flags, 173 random machines had errors of up to 33 % below 8 latencies and 16 % above; what flags
leave now is on docs/models/analytical.md."""


def doubts(architecture: Architecture, n_operations: int, total_cycles: int) -> list[str]:
    """Why an estimate of ``total_cycles`` may be further off than where it was compared, one text each; nothing if it was there."""
    outside = min((_outside(architecture, base) for base in AROUND), key=len)
    rates = array_of(architecture).rates
    latency, each = float(rates.load_cycles + rates.feed_cycles), total_cycles / max(n_operations, 1)
    if each < LATENCIES * latency:
        outside.append(f"operations are short: {each:,.0f} cycles each, {each / latency:.1f} times what fetching and feeding a word takes")
    return outside


def _outside(architecture: Architecture, base: str) -> list[str]:
    """Keys whose values were not met around the shipped architecture ``base``."""
    seen, found = _compared(base), []
    for key, (value, text) in _leaves(architecture).items():
        values = seen.get(key, {None: "none"})
        if value in values:
            continue
        if len(values) > 1 and all(isinstance(each, Real) and not isinstance(each, bool) for each in (value, *values)):
            least, greatest = min(values), max(values)
            if not least < value < greatest:
                found.append(f"{key}: {text}, compared from {values[least]} to {values[greatest]}")
        else:
            found.append(f"{key}: {text}, compared {' and '.join(sorted(values.values()))}")
    return found


@lru_cache
def _compared(base: str) -> dict[str, dict[Any, str]]:
    """Values of each key of the machines around ``base``, and its own, with what a file says for them."""
    shipped = BaseArchitecture(base)
    machines = [shipped.architecture]
    for key, values in AROUND[base].items():
        machines += [shipped.varied(placed(overridden(key, value))) for value in values]
    seen: dict[str, dict[Any, str]] = {}
    for machine in machines:
        for key, (value, text) in _leaves(machine).items():
            seen.setdefault(key, {})[value] = text
    return seen


def _leaves(architecture: Architecture) -> dict[str, tuple[Any, str]]:
    """Values that set the time, by key, with what a file says for them."""
    found: dict[str, tuple[Any, str]] = {}
    for name, tree in architecture.resolved().items():
        if name in SECTIONS:
            _add_leaves(found, name, getattr(architecture, name), tree)
    return found


def _add_leaves(found: dict[str, tuple[Any, str]], key: str, value: Any, tree: Any) -> None:
    if key in UNCOMPARED:
        return
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            _add_leaves(found, f"{key}.{field.alias or name}", getattr(value, name), tree.get(field.alias or name))
    else:
        found[key] = value, "none" if value is None else str(tree).lower() if isinstance(value, bool) else str(tree)
