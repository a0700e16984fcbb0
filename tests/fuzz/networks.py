"""Random networks as plain data of a trace: every operation, odd windows, branches and joins, tiny and wide maps; small in all."""

from collections.abc import Mapping
from typing import Any

from random_networks import graph, single_layer

from etasim.workload.graph import joined_shape
from etasim.workload.layer import Shape

from .choices import NoExample, Seeded

LARGEST_MACS, LARGEST_VALUES = 100_000, 4_000
"""Multiply-accumulates of a sample in FF, and values of its largest map: what keeps a simulation short."""

Trace = dict[str, Any]


def random_trace(choices: Seeded) -> Trace:
    """A network; nearly all of them chain."""
    if choices.chance(0.25):
        sketch = choices.example_of(choices.one_of([graph, single_layer]))
        return _document(sketch.shape, [*sketch.entries, {"name": "fc", "op": "linear", "out_channels": sketch.classes}], sketch.classes)
    return choices.example_of(_grown)


def _document(shape: tuple[int, int, int], entries: list[dict], classes: int) -> Trace:
    channels, height, width = shape
    size = {"channels": channels, "height": height, "width": width}
    return {"name": "fuzz", "input": size, "classes": classes, "layers": entries}


def _grown(choices: Seeded) -> Trace:
    """Layer after layer; what nothing reads is joined at the end."""
    side = choices.one_of([1, 2, 3, 5, 7, 8, 12, 16])
    shape = Shape(choices.small(1, 20), side, choices.one_of([side, side, 1, choices.whole(1, 40)]))
    growth = _Growth(choices, shape)
    for _ in range(choices.small(1, 9)):
        growth.grow()
    return _document(shape, *growth.finish())


class _Growth:
    """The entries so far, and the shape of what each gives."""

    def __init__(self, choices: Seeded, shape: Shape):
        self.choices, self.shapes, self.entries, self.macs = choices, {"input": shape}, [], 0

    def grow(self) -> None:
        """One more layer; choices that fit nothing add none."""
        choices = self.choices
        names = list(self.shapes)
        source = names[-1] if choices.chance(0.75) else choices.one_of(names)
        op = choices.one_of(["conv"] * 5 + ["norm", "relu"] * 2 + ["linear", "maxpool", "avgpool", "add", "concat", "shortcut"])
        sources = [source]
        if op in ("add", "concat"):
            same = [name for name in names if _joins(op, self.shapes[name], self.shapes[source])]
            sources = choices.mixed(same)[: choices.whole(2, 5)]
            if len(sources) < 2 and choices.chance(0.9):
                return
        try:
            self.add(op, sources, self._keys(op, self.shapes[source]))
        except NoExample:
            return

    def add(self, op: str, sources: list[str], keys: Mapping[str, Any]) -> None:
        """An entry that reads ``sources``. Raises NoExample if its result would be empty or large."""
        name, before = f"{op}{len(self.entries)}", self.entries[-1]["name"] if self.entries else "input"
        shape = joined_shape(name, op, [self.shapes[source] for source in sources])
        kernel, groups = _pair(keys.get("kernel", 1)), keys.get("groups", 1)
        stride, dilation, padding = (_pair(keys.get(key, least)) for key, least in (("stride", 1), ("dilation", 1), ("padding", 0)))
        windows = zip(shape[1:], kernel, stride, dilation, padding, strict=True)
        height, width = ((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, d, p in windows)
        result = Shape(keys.get("out_channels", shape.channels), height, width)
        macs = result.channels * height * width * shape.channels // groups * kernel[0] * kernel[1] if op in ("conv", "linear") else 0
        self.choices.only_if(min(height, width) > 0 and result.channels * height * width <= LARGEST_VALUES)
        self.choices.only_if(self.macs + macs <= LARGEST_MACS)
        named = {} if sources == [before] and self.choices.chance(0.9) else {"from": sources if len(sources) > 1 else sources[0]}
        self.entries.append({"name": name, "op": op, **named, **keys})
        self.shapes[name], self.macs = result, self.macs + macs

    def _keys(self, op: str, shape: Shape) -> dict[str, Any]:
        choices = self.choices
        if op == "linear":
            return {"out_channels": choices.small(1, 40), **({"bias": True} if choices.chance(0.4) else {})}
        if op == "shortcut":
            return {"out_channels": shape.channels + choices.small(0, 9), "stride": choices.small(1, 3)}
        if op in ("maxpool", "avgpool"):
            kernel = [choices.small(1, 4), choices.small(1, 4)]
            pool = {"kernel": kernel, "padding": [choices.whole(0, k // 2) for k in kernel]}
            return pool | ({"stride": [choices.small(1, 4), choices.small(1, 4)]} if choices.chance(0.7) else {})
        return self._convolution(shape) if op == "conv" else {}

    def _convolution(self, shape: Shape) -> dict[str, Any]:
        choices = self.choices
        groups = choices.one_of([1, 1, 1, *(g for g in range(1, shape.channels + 1) if shape.channels % g == 0)])
        square = choices.small(1, 7)
        keys = {
            "out_channels": groups * choices.small(1, 9),
            "kernel": square if choices.chance(0.5) else [choices.small(1, 7), choices.small(1, 7)],
            "padding": choices.one_of([0, square // 2, [choices.small(0, 4), choices.small(0, 4)]]),
        }
        extra = {"stride": [choices.small(1, 4), choices.small(1, 4)], "dilation": [choices.small(1, 3), choices.small(1, 3)], "bias": True}
        keys |= {key: extra[key] for key in extra if choices.chance(0.3)}
        return keys | ({"groups": groups} if groups > 1 else {})

    def finish(self) -> tuple[list[dict], int]:
        """The entries and the number of classes, after what joins the loose ends."""
        choices, classes = self.choices, self.choices.small(1, 12)
        read = {name for i in range(len(self.entries)) for name in _reads(self.entries, i)}
        loose = [name for name in self.shapes if name != "input" and name not in read]
        choices.only_if(bool(loose))
        if len(loose) == 1 and choices.chance(0.2):
            values = self.shapes[loose[0]]
            return self.entries, values.channels * values.height * values.width
        self.choices.only_if(len(loose) <= 4)
        for name in loose:
            self.add("linear", [name], {"out_channels": classes})
        if len(loose) > 1:
            self.add("add", [entry["name"] for entry in self.entries[-len(loose) :]], {})
        if choices.chance(0.2):
            self.entries.append({"name": "loss", "op": "loss"})
        return self.entries, classes


def _joins(op: str, one: Shape, other: Shape) -> bool:
    return one == other if op == "add" else one[1:] == other[1:]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _reads(entries: list[dict], index: int) -> list[str]:
    """Names that an entry reads."""
    before = entries[index - 1]["name"] if index else "input"
    sources = entries[index].get("from", before)
    return [sources] if isinstance(sources, str) else sources
