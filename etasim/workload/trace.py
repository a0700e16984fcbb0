"""Traces: networks as YAML, one layer a line.

``name``, ``input: {channels, height, width}``, ``classes``, ``layers``: a list of ``{name, op, from, out_channels, kernel,
stride, padding, dilation, groups, bias}``. ``from`` defaults to the layer before; pairs are ``[height, width]``; ``padding:
[[above, below], [left, right]]`` where opposite sides differ; ``padding: same`` keeps ceil(size / stride) positions, an odd pixel going
below or right; a pooling layer's stride defaults to its kernel. The loss may be left out.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, PlainValidator, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from etasim.config.base import Count, Name, NameIn, Section, Switch, require
from etasim.config.catalog import find_input
from etasim.config.errors import InputError, Problem
from etasim.config.reading import Document, KeyPath, read_yaml
from etasim.config.scalars import PlainDumper
from etasim.config.validation import violations
from etasim.ops import OPERATIONS
from etasim.workload.graph import INPUT, joined_shape, topological_order, unknown_layer
from etasim.workload.layer import LARGEST_SIDE, Fault, Layer, NetworkError, Shape
from etasim.workload.network import Network

SAME = "same"

Pair = tuple[int, int]
"""Of rows and of columns, or before and after them."""

_REQUIRED_KEYS = ("out_channels", "kernel")


def _is_size(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST_SIDE


def _refusal(what: str, value: object) -> PydanticCustomError:
    return PydanticCustomError("pair", "{reason}", {"reason": f"must be {what}, got {value!r:.40}"})


def _pair(value: object) -> Pair:
    """One whole number or ``[height, width]``, each at least 1."""
    pair = value if isinstance(value, (list, tuple)) else (value, value)
    if len(pair) != 2 or not all(_is_size(size, 1) for size in pair):
        raise _refusal(f"a whole number from 1 to {LARGEST_SIDE}, or [height, width] of such", value)
    return (pair[0], pair[1])


def _padding(value: object) -> tuple[Pair, Pair] | str:
    """``same``, or pixels before and after the rows and the columns: a pair, each of which may itself be a pair."""
    if value == SAME:
        return SAME
    pair = value if isinstance(value, (list, tuple)) else (value, value)
    sides = [side if isinstance(side, (list, tuple)) else (side, side) for side in pair]
    if len(sides) != 2 or not all(len(side) == 2 and all(_is_size(size, 0) for size in side) for side in sides):
        what = f"a whole number from 0 to {LARGEST_SIDE}, [height, width] or [[above, below], [left, right]] of such, or {SAME!r}"
        raise _refusal(what, value)
    return (tuple(sides[0]), tuple(sides[1]))


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise PydanticCustomError("names", "{reason}", {"reason": f"must be the name of a layer or a list of names, got {value!r:.40}"})


class Entry(Section):
    """One layer as the trace writes it."""

    name: Name
    op: Annotated[str, NameIn(OPERATIONS)]
    inputs: Annotated[tuple[str, ...] | None, PlainValidator(_names)] = Field(None, alias="from")
    out_channels: Count | None = None
    kernel: Annotated[Pair | None, PlainValidator(_pair)] = None
    stride: Annotated[Pair | None, PlainValidator(_pair)] = None
    padding: Annotated[tuple[Pair, Pair] | str, PlainValidator(_padding)] = ((0, 0), (0, 0))
    dilation: Annotated[Pair, PlainValidator(_pair)] = (1, 1)
    groups: Count = 1
    bias: Switch = False

    @model_validator(mode="after")
    def _keys_fit_op(self) -> Self:
        own = OPERATIONS[self.op].keys
        given = {type(self).model_fields[field].alias or field for field in self.model_fields_set}
        allowed = ("name", "op", "from", *own)
        require(
            [((key,), f"does not apply to op {self.op}; allowed: {', '.join(allowed)}") for key in sorted(given.difference(allowed))]
            + [((key,), f"is missing; op {self.op} needs it") for key in own if key in _REQUIRED_KEYS and key not in given]
        )
        return self


class Input(Section):
    """Shape of one sample."""

    channels: Count
    height: Count
    width: Count


class Trace(Section):
    """A trace before its shapes are known."""

    name: Name
    input: Input
    classes: Count
    layers: Annotated[tuple[Entry, ...], Field(min_length=1)]


def load_network(path_or_name: str | Path) -> Network:
    """The network of a trace file or shipped name; InputError lists every problem with its line."""
    return build_network(read_yaml(find_input("traces", path_or_name), Trace.keys()))


def build_network(document: Document) -> Network:
    """The network that a document in the form of a trace describes; InputError has all problems, sorted by place."""
    source = document.source
    try:
        trace = Trace.model_validate(document.data)
    except ValidationError as error:
        wrong = [*violations(error, Trace), *_unknown_inputs(document.data)]
        raise InputError(sorted({source.problem(path, message) for path, message in wrong})) from None
    shape = Shape(trace.input.channels, trace.input.height, trace.input.width)
    try:
        return Network(trace.name, shape, trace.classes, _layers(trace.layers, shape))
    except NetworkError as error:
        raise InputError(sorted({_problem(fault, trace.layers, document) for fault in error.faults})) from None


def _unknown_inputs(data: Any) -> Iterator[tuple[KeyPath, str]]:
    """Names that layers read and no layer has, of a trace that is wrong elsewhere too, as far as all layers have names."""
    layers = data.get("layers") if isinstance(data, dict) else None
    entries = [entry for entry in layers if isinstance(entry, dict)] if isinstance(layers, list) else []
    names = [entry.get("name") for entry in entries]
    if not isinstance(layers, list) or len(entries) != len(layers) or not all(isinstance(name, str) for name in names):
        return
    known = {INPUT, *map(str, names)}
    for index, entry in enumerate(entries):
        sources = entry.get("from")
        for name in [sources] if isinstance(sources, str) else sources if isinstance(sources, list) else []:
            if isinstance(name, str) and name not in known:
                yield ("layers", index, "from"), unknown_layer(name, known)


def _layers(entries: Sequence[Entry], input_shape: Shape) -> tuple[Layer, ...]:
    """Layers with their shapes, inferred in topological order; what depends on a faulty layer is left out."""
    named = _named(entries)
    shapes: dict[str, Shape] = {INPUT: input_shape}
    layers: list[Layer] = []
    faults: list[Fault] = []
    for name in topological_order({name: inputs for name, (_, inputs) in named.items()}):
        entry, inputs = named[name]
        if not shapes.keys() >= set(inputs):
            continue
        try:
            layer = _layer(entry, inputs, joined_shape(name, entry.op, [shapes[source] for source in inputs]))
            layers.append(layer)
            shapes[name] = layer.out_shape
        except NetworkError as error:
            faults += error.faults
    if faults:
        raise NetworkError(faults)
    return tuple(layers)


def _named(entries: Sequence[Entry]) -> dict[str, tuple[Entry, tuple[str, ...]]]:
    """Entries and the names of their inputs; an entry without ``from`` reads the entry before."""
    named: dict[str, tuple[Entry, tuple[str, ...]]] = {}
    faults = []
    before = INPUT
    for entry in entries:
        if entry.name in named or entry.name == INPUT:
            reason = "is reserved for the network's input" if entry.name == INPUT else "is used twice"
            faults.append(Fault(entry.name, "name", f"the name {entry.name!r} {reason}"))
        named[entry.name] = (entry, entry.inputs or (before,))
        before = entry.name
    if faults:
        raise NetworkError(faults)
    return named


def _layer(entry: Entry, inputs: tuple[str, ...], shape: Shape) -> Layer:
    kernel = entry.kernel or (1, 1)
    stride = entry.stride or (kernel if OPERATIONS[entry.op].pools else (1, 1))
    padding = entry.padding
    if isinstance(padding, str):
        padding = same_padding((shape.height, shape.width), kernel, stride, entry.dilation)
    (above, below), (left, right) = padding
    return Layer(
        name=entry.name,
        kind=entry.op,
        inputs=inputs,
        in_channels=shape.channels,
        out_channels=entry.out_channels or shape.channels,
        in_height=shape.height,
        in_width=shape.width,
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        stride_height=stride[0],
        stride_width=stride[1],
        pad_height=above,
        pad_width=left,
        pad_end_height=below,
        pad_end_width=right,
        dilation_height=entry.dilation[0],
        dilation_width=entry.dilation[1],
        groups=entry.groups,
        bias=entry.bias,
    )


def same_padding(sizes: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Padding before and after the rows and the columns that gives ceil(size / stride) positions; an odd pixel goes after them."""
    pads = []
    for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        pads.append((total // 2, total - total // 2))
    return (pads[0], pads[1])


_KEY_OF_FIELD = {
    "inputs": "from", "kind": "op",
    "pad_height": "padding", "pad_width": "padding", "pad_end_height": "padding", "pad_end_width": "padding",
}  # fmt: skip


def _problem(fault: Fault, entries: Sequence[Entry], document: Document) -> Problem:
    """The place of a fault in the trace; a name that is used twice is reported where it is last used."""
    index = next((i for i in reversed(range(len(entries))) if entries[i].name == fault.layer), None)
    if index is None:
        return document.source.problem(("layers",), fault.message)
    key = _KEY_OF_FIELD.get(fault.field) or fault.field.removesuffix("_height").removesuffix("_width")
    path = ("layers", index, key) if key else ("layers", index)
    return document.source.problem(path, fault.message)


def dump_network(network: Network) -> str:
    """The trace of ``network``, one layer a line; reading it back gives an equal network."""
    head = {"name": network.name, "input": network.input_shape._asdict(), "classes": network.classes}
    lines = [_flow({key: value})[1:-1] for key, value in head.items()]
    before = INPUT
    lines.append("layers:")
    for layer in network.layers:
        lines.append(f"  - {_flow(_entry(layer, before))}")
        before = layer.name
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=PlainDumper, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True)
    return text.strip()


def _entry(layer: Layer, before: str) -> dict[str, Any]:
    """The keys of ``layer`` that differ from their defaults when ``before`` is the layer before it."""
    entry: dict[str, Any] = {"name": layer.name, "op": layer.kind}
    if layer.inputs != (before,):
        entry["from"] = layer.inputs[0] if len(layer.inputs) == 1 else list(layer.inputs)
    kernel = (layer.kernel_height, layer.kernel_width)
    values = {
        "out_channels": (layer.out_channels, None),
        "kernel": (kernel, None),
        "stride": ((layer.stride_height, layer.stride_width), kernel if layer.schema.pools else (1, 1)),
        "padding": (_sides((layer.pad_height, layer.pad_end_height), (layer.pad_width, layer.pad_end_width)), (0, 0)),
        "dilation": ((layer.dilation_height, layer.dilation_width), (1, 1)),
        "groups": (layer.groups, 1),
        "bias": (layer.bias, False),
    }
    for key in layer.schema.keys:
        value, default = values[key]
        if value != default:
            entry[key] = _short(value) if isinstance(value, tuple) else value
    return entry


def _short(pair: tuple[Any, ...]) -> Any:
    """One number for a pair of equal ones."""
    return pair[0] if pair[0] == pair[1] and isinstance(pair[0], int) else list(pair)


def _sides(rows: Pair, columns: Pair) -> tuple[Any, Any]:
    """Padding in its short form where opposite sides are equal."""
    if rows[0] == rows[1] and columns[0] == columns[1]:
        return (rows[0], columns[0])
    return (list(rows), list(columns))
