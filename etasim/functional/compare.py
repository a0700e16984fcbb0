"""Compares what lies in DRAM with the integer reference, byte by byte, and names the first value that differs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from etasim.functional.packing import Key, Packing, from_bytes, region, to_bytes
from etasim.functional.samples import parameter_names, running_names
from etasim.numerics.reference import Value
from etasim.workload.lowering import Unit

PHASE_OF_ROLE = {
    "pre_normalization": "ff", "statistic": "ff", "magnitude": "ff", "window": "ff", "mask": "ff", "output": "ff",
    "error": "bp", "parameter_gradient": "bp", "weight_gradient": "wg", "filter_mean": "wg",
    "momentum": "wu", "master_weight": "wu", "weight": "wu", "parameter_momentum": "wu", "parameter": "wu",
    "spread": "wu", "radial": "wu",
}  # fmt: skip
"""Phase that writes tensors of a role, causes before effects; sums of contributions under way (``partial``) have no final value."""

UNSIGNED = ("mask", "window", "label")


@dataclass(frozen=True)
class Mismatch:
    """The first value that differs from the reference, at ``index`` of tensor ``name`` (``None``: outside of every value)."""

    layer: str
    phase: str
    name: str
    index: tuple[int, ...] | None
    got: int
    expected: int

    def __str__(self) -> str:
        where = "between the values" if self.index is None else f"[{', '.join(map(str, self.index))}]"
        return f"layer {self.layer}, phase {self.phase}: {self.name} {where}: got {self.got}, expected {self.expected}"


def layer_of(unit: Unit, role: str) -> str:
    """The layer of a unit to which a tensor belongs."""
    layer = {
        "output": unit.layers[-1],
        "mask": unit.activation or unit.head,
        **dict.fromkeys(
            ("statistic", "parameter", "parameter_gradient", "parameter_momentum", "magnitude", "spread", "radial"), unit.norm or unit.head
        ),
    }.get(role, unit.head)
    return layer.name


class DramValues:
    """The values in the DRAM of a functional machine."""

    def __init__(self, packing: Packing, image: np.ndarray) -> None:
        self.packing, self.image = packing, image
        never_stored = packing.layout.never_stored
        self.tensors = {key: tensor for key, tensor in packing.layout.tensors.items() if tensor.name not in never_stored}

    def write(self, key: Key, value: Value) -> None:
        """Put a tensor into DRAM."""
        tensor = self.tensors[key]
        region(self.image, tensor)[...] = self._bytes(key, value)

    def read(self, key: Key, like: Value) -> Value:
        """A tensor of DRAM with the shape, exponent and format of ``like``."""
        tensor = self.tensors[key]
        form = like.format
        data = region(self.image, tensor)
        elements = from_bytes(data, tensor.content, signed=isinstance(form, int) and key[1] not in UNSIGNED)
        integers = self.packing.unpack(key, elements, like.integers.shape)
        return Value(integers if isinstance(form, int) else form.table[integers].astype(np.int64), like.exponent, form)

    def _bytes(self, key: Key, value: Value) -> np.ndarray:
        elements = value.integers if isinstance(value.format, int) else value.codes()
        return to_bytes(self.packing.pack(key, elements), self.tensors[key].content)

    def mismatch(self, key: Key, expected: Value, name: str) -> Mismatch | None:
        """The first value of a tensor that is not the expected one."""
        wanted, there = self._bytes(key, expected), region(self.image, self.tensors[key])
        if np.array_equal(wanted, there):
            return None
        unit = self.packing.layout.units[key[0]]
        layer, phase = layer_of(unit, key[1]), PHASE_OF_ROLE[key[1]]
        got = self.read(key, expected).integers
        different = np.argwhere(got != expected.integers)
        if len(different):
            index = tuple(map(int, different[0]))
            return Mismatch(layer, phase, name, index, int(got[index]), int(expected.integers[index]))
        at = tuple(np.argwhere(wanted != there)[0])
        return Mismatch(layer, phase, name, None, int(there[at]), int(wanted[at]))


def tensor_names(units: tuple[Unit, ...]) -> Mapping[str, tuple[Key, int | None]]:
    """Public names of tensors: key, and the row of it that the name means (None: all)."""
    names: dict[str, tuple[Key, int | None]] = {}
    for unit in units:
        if not unit.head.schema.is_loss:
            names |= dict(_names_of(unit))
    return names


def _names_of(unit: Unit) -> Iterator[tuple[str, tuple[Key, int | None]]]:
    index, head = unit.index, unit.name
    if unit.is_convolution:
        yield f"{head}.{'ofmap' if len(unit.layers) > 1 else 'sums'}", ((index, "pre_normalization"), None)
    yield f"{unit.layers[-1].name}.ofmap", ((index, "output"), None)
    yield f"{head}.error", ((index, "error"), None)
    if unit.is_convolution:
        for role in ("weight", "weight_gradient", "master_weight", "momentum"):
            yield f"{head}.{role}", ((index, role), None)
    if unit.norm is not None:
        yield f"{unit.norm.name}.mean", ((index, "statistic"), 0)
        yield f"{unit.norm.name}.spread", ((index, "statistic"), 1)
        yield f"{unit.norm.name}.magnitude", ((index, "magnitude"), None)
        yield f"{head}.filter_mean", ((index, "filter_mean"), None)
        for name, role in running_names(unit).items():
            yield name, ((index, role), None)
    for row, name in enumerate(parameter_names(unit) or ()):
        if name:
            for suffix, role in (("", "parameter"), ("_gradient", "parameter_gradient"), ("_momentum", "parameter_momentum")):
                yield name + suffix, ((index, role), row)
    yield f"{layer_of(unit, 'mask')}.mask", ((index, "mask"), None)
    yield f"{head}.window", ((index, "window"), None)
