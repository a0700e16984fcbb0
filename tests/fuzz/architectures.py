"""Random machines: overrides of any key of the schema, moves that change together what belongs together, whole files."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from etasim.config import Architecture, InputError, find_input, load_architecture, read_yaml, shipped_names
from etasim.config.dram_part import DramPart
from etasim.config.loading import apply_overrides, build_architecture
from etasim.config.reading import Document, Mark, SourceMap
from etasim.program.commands import BUFFERS

from .choices import Seeded
from .schema import Leaf, all_leaves, end, value_at

BASES = ("eta_small",) * 5 + ("eta_vc709", "vc706_8bit", "stratix10_mx_16bit")
LARGEST_COUNT = 64
"""Of counts that a random machine takes: the ends of the ranges are `leaves`' business."""

Overrides = dict[str, Any]


def random_machine(choices: Seeded) -> tuple[str, Overrides]:
    """A base and overrides; of those that give no valid machine few are kept."""
    base, overrides = choices.one_of(BASES), {}
    machine = _built(base, overrides)
    for _ in range(choices.small(0, 10)):
        tried = overrides | choices.one_of(MOVES)(choices, machine)
        try:
            machine = _built(base, tried)
        except InputError:
            if choices.chance(0.97):
                continue
            return base, tried
        overrides = tried
    return base, overrides


@cache
def _resolved(base: str) -> Document:
    """A base with everything said in place: read once, because reading YAML takes longer than all else here."""
    return Document(load_architecture(base).resolved(), SourceMap({(): Mark(base, 1, "")}))


def _built(base: str, overrides: Overrides) -> Architecture:
    return build_architecture(apply_overrides(_resolved(base), overrides))


@cache
def _settable() -> tuple[Leaf, ...]:
    """Leaves that an override of one key reaches: no entries of lists and mappings."""
    return tuple(leaf for leaf in all_leaves(Architecture) if all(isinstance(step, str) and step != "fuzz" for step in leaf.path))


def _one_leaf(choices: Seeded, machine: Architecture) -> Overrides:
    leaf = choices.one_of(_settable())
    return {".".join(leaf.path): random_value(choices, leaf, value_at(machine.resolved(), leaf.path))}


def random_value(choices: Seeded, leaf: Leaf, present: Any) -> Any:
    """A value that the field may take: near the present one, or anywhere among the small ones."""
    if leaf.names:
        return choices.one_of(leaf.names)
    if leaf.type is bool:
        return choices.chance(0.5)
    if leaf.type is float and leaf.quantity is None:
        return choices.one_of([0.0, 0.1, 0.3, 0.5, 0.9, 1.0, 2.5, 40.0])
    if leaf.quantity is not None and isinstance(present, str) and choices.chance(0.7):
        number, unit = present.split(" ", 1)
        factor, divisor = choices.one_of([(1, 2), (1, 4), (2, 1), (3, 1), (3, 2), (7, 3), (1, 1)])
        top, _, bottom = number.partition("/")
        scaled = float(top) * factor / (divisor * float(bottom or 1))
        return f"{scaled:g} {unit}" if scaled % 1 and leaf.quantity != "size" else f"{max(round(scaled), 1)} {unit}"
    if leaf.is_number:
        if isinstance(present, int) and choices.chance(0.6):
            return max(choices.one_of([present // 2, present * 2, present + 1, present - 1, present * 3]), 0)
        return leaf.written(choices.one_of([1 << choices.whole(0, 12), choices.small(0, min(end(leaf) or LARGEST_COUNT, LARGEST_COUNT))]))
    return choices.one_of(["fuzz", present])


def _array(choices: Seeded, machine: Architecture) -> Overrides:
    """The PE array, with a network that grows with it."""
    names = ("clusters", "pes_per_cluster", "columns", "lanes")
    sizes = {f"array.{name}": choices.one_of([1, 2, 2, 3, 4, 4, 5, 6, 8, 16]) for name in choices.some_of(names, 1)}
    lanes = sizes.get("array.lanes")
    if lanes and choices.chance(0.7):
        sizes |= {f"array.{name}": lanes * choices.whole(1, 3) for name in ("pes_per_cluster", "columns")}
    return sizes | {f"noc.{key}": "auto" for key in ("columns", "rows", "placement")}


def _network(choices: Seeded, machine: Architecture) -> Overrides:
    """Physical networks for the message classes, concentration, another topology."""
    changes: Overrides = {}
    if choices.chance(0.5):
        classes, parts = choices.mixed(["stream", "stationary", "psum"]), choices.whole(1, 3)
        groups = [classes[i::parts] for i in range(parts)]
        changes["noc.networks"] = [{"classes": group, "link_width": f"{choices.one_of([8, 32, 64, 96, 256])} bit"} for group in groups]
    if choices.chance(0.5):
        changes["noc.topology"] = choices.one_of(["mesh", "torus", "tree", "crossbar"])
        changes["noc.concentration"] = choices.one_of([1, 1, 2, 3, 4])
        changes |= {f"noc.{key}": "auto" for key in ("columns", "rows", "placement")}
    return changes | {"noc.virtual_channels": choices.one_of([1, 2, 2, 3, 4]), "noc.reduction": choices.chance(0.4)}


@cache
def _part(name: str) -> dict[str, Any]:
    return read_yaml(find_input("configs/dram", name)).data


def _memory(choices: Seeded, machine: Architecture) -> Overrides:
    """Another part, its geometry, ranks and channels, and an address mapping that fits."""
    names = shipped_names("configs/dram")
    part = deepcopy(_part(choices.one_of(names)))
    if choices.chance(0.3):
        part["organisation"] |= {key: choices.one_of([1, 2, 4, 8]) for key in choices.some_of(["bank_groups", "banks"])}
        part["organisation"] |= {"rows": 1 << choices.whole(10, 17)}
    ranks = choices.one_of([1, 1, 2, 4])
    bits = DramPart.model_validate(part).address_bits(ranks)
    fields = []
    for name, n_bits in bits.items():
        upper = choices.whole(0, n_bits) if choices.chance(0.3) else 0
        fields += [f"{name}:{n}" for n in (upper, n_bits - upper) if n]
    interleave = f"{64 << choices.whole(0, 6)} B"
    return {
        "dram.part": part, "dram.ranks": ranks, "dram.mapping": ",".join(choices.mixed(fields)),
        "dram.channels": choices.one_of([1, 1, 2, 4, 8]), "dram.channel_interleave": interleave,
    }  # fmt: skip


def _policy(choices: Seeded, machine: Architecture) -> Overrides:
    """How the controllers schedule."""
    leaf = {".".join(leaf.path): leaf for leaf in _settable()}
    low = choices.one_of([0.0, 0.1, 0.2, 0.5])
    named = {f"dram.{key}": choices.one_of(leaf[f"dram.{key}"].names) for key in ("scheduler", "page_policy")}
    queues = {f"dram.{key}": choices.small(1, 64) for key in ("read_queue", "write_queue")}
    return named | queues | {"dram.write_low_watermark": low, "dram.write_high_watermark": choices.one_of([low + 0.1, 0.8, 1.0])}


def _ideal(choices: Seeded, machine: Architecture) -> Overrides:
    return {f"{part}.ideal": True for part in choices.some_of(("dram", "noc", "buffers", "unified_core"))}


def _tables(choices: Seeded, machine: Architecture) -> Overrides:
    """Energies and a board, shipped ones or none."""
    changes: Overrides = {"energy": {"extends": choices.one_of(shipped_names("configs/energy"))}}
    if choices.chance(0.5):
        changes["board"] = {"extends": choices.one_of(shipped_names("configs/boards"))}
    return changes


def _splits(choices: Seeded, machine: Architecture) -> Overrides:
    """How operations split over clusters."""
    keys = choices.some_of(["clusters_k", "clusters_c", "clusters_pixel", "clusters_sample"], 1)
    pattern = choices.one_of(["*", "conv*", "fc", "linear*"])
    return {"mapping": {pattern: {key: choices.one_of([1, 1, 2, 3]) for key in keys}}}


def _sizes(choices: Seeded, machine: Architecture) -> Overrides:
    """Small memories, so that what fits and what does not both occur."""
    changes: Overrides = {}
    for name in choices.some_of(BUFFERS):
        row_bytes = machine.buffers.word_size_bytes * getattr(machine.buffers, name).banks
        changes[f"buffers.{name}.size"] = f"{row_bytes << choices.whole(0, 9)} B"
    pads = {f"array.{name}_scratchpad": f"{64 << choices.whole(0, 6)} B" for name in ("stream", "stationary") if choices.chance(0.5)}
    return changes | pads | ({"array.psum_depth": choices.small(1, 64)} if choices.chance(0.4) else {})


def _host(choices: Seeded, machine: Architecture) -> Overrides:
    """A host that brings the inputs, or none any more."""
    if machine.host is not None and choices.chance(0.3):
        return {"host": None}
    rate = f"{choices.one_of([1, 3, 40, 500, 1601, 12800, 100000])} MB/s"
    latency = f"{choices.one_of([1, 70, 1000, 30000])} ns"
    return {"host.link_rate": rate, "host.latency": latency, "host.commands_in_flight": choices.one_of([1, 2, 2, 7])}


def _second(choices: Seeded, machine: Architecture) -> Overrides:
    """A second-level buffer of any size, or none any more."""
    if machine.buffers.second is not None and choices.chance(0.3):
        return {"buffers.second": None}
    banks = choices.one_of([1, 2, 4, 8])
    size = banks * machine.buffers.word_size_bytes << choices.whole(0, 12)
    ports, latency = choices.one_of(["1RW", "1R1W", "2RW"]), choices.one_of([1, 2, 3, 20])
    keys = {"size": f"{size} B", "banks": banks, "ports": ports, "read_latency": latency}
    return {f"buffers.second.{key}": value for key, value in keys.items()}


def _forwarding(choices: Seeded, machine: Architecture) -> Overrides:
    """Results that live on chip, or no longer."""
    return {"mapping.forwarding": not machine.mapping.forwarding}


MOVES: tuple[Callable[[Seeded, Architecture], Overrides], ...] = (
    _one_leaf, _one_leaf, _one_leaf, _one_leaf, _host, _host, _second, _second, _forwarding,
    _array, _network, _memory, _policy, _ideal, _tables, _splits, _sizes,
)  # fmt: skip


def nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides as the sections of a file."""
    data: dict[str, Any] = {}
    for key, value in overrides.items():
        *sections, last = key.split(".")
        inner = data
        for section in sections:
            if not isinstance(inner.get(section), dict):
                inner[section] = {}  # what follows a value such as ``auto`` takes its place
            inner = inner[section]
        inner[last] = value
    return data
