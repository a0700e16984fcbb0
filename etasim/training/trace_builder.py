"""Traces from models of other programs: layers as they are found, checked against what the model says of itself, with a report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple

from etasim.config.errors import InputError, Problem
from etasim.config.reading import Document, Mark, SourceMap, parse_yaml
from etasim.training.arguments import Refused
from etasim.training.import_report import APPROXIMATED, IGNORED, MODELLED, ImportedModel, Record, report_of
from etasim.training.tensors import NO_BORDER, ModelOperation, ModelTensor, text
from etasim.workload.graph import INPUT, LOSS
from etasim.workload.layer import Layer, Shape
from etasim.workload.network import Network
from etasim.workload.trace import build_network, dump_network

_RESERVED = (INPUT, LOSS)
_RAW = "as it is"


class Weight(NamedTuple):
    """A tensor of weights: ``name`` in the model, the same for all its uses; None: its values are not trained ones."""

    name: str | None
    shape: tuple[int, ...]
    is_frozen: bool = False


@dataclass(frozen=True)
class OwnCount:
    """What the model says of itself: trained values by name, forward multiply-accumulates of one sample."""

    parameters: Mapping[str, int]
    macs: int


@dataclass
class _Made:
    """A layer of the trace: its entry there, what made it, its maps and its weights in the model."""

    entry: dict[str, Any]
    operation: ModelOperation
    maps: Shape
    weights: Sequence[Weight]


@dataclass
class TraceBuilder:
    """Collects layers in the order of computation.

    ``name`` of the network; ``source``: what problems without a place of their own are reported at; ``samples``: the batch of all shapes.
    """

    name: str
    source: str
    samples: int
    records: list[Record] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)
    _made: dict[str, _Made] = field(default_factory=dict)
    _owner: dict[str, str] = field(default_factory=dict)
    _problems: list[Problem] = field(default_factory=list)
    _image: tuple[str, Shape] | None = None

    # names and problems

    def free_name(self, wanted: str) -> str:
        """``wanted`` as a name that no other layer has and that a trace does not reserve."""
        legal = legal_name(wanted)
        while legal in self._names or legal in _RESERVED:
            legal += "_"
        self._names.add(legal)
        return legal

    def refuse(self, operation: ModelOperation, reason: str) -> None:
        """An operation that cannot be in a trace."""
        is_said = operation.what in (operation.key, "output", "") or reason.startswith(("the module ", "the operation "))
        what = "" if is_said else f"{operation.what}: "
        problem = Problem(operation.file, operation.line, operation.key, what + reason)
        if problem not in self._problems:
            self._problems.append(problem)

    def record(self, operation: ModelOperation, status: str, note: str = "", layer: str = "") -> None:
        """What became of an operation."""
        self.records.append(Record(status, operation.what, note, layer))

    # the network's input

    def input(self, shape: tuple[int, ...]) -> ModelTensor:
        """The network's input, of ``shape`` [N, channels, height, width], or with fewer dimensions."""
        sizes = (*shape[1:], 1, 1, 1)[:3] if len(shape) <= 4 else (prod(shape[1:]), 1, 1)
        return ModelTensor(INPUT, Shape(*sizes), shape, is_input=True)

    def prepared(self, operation: ModelOperation) -> ModelTensor:
        """What the host makes of the input alone, in a way that only it needs to know."""
        return ModelTensor(INPUT, Shape(1, 1, 1), operation.shape, order=None, is_input=True, moved=operation)

    def _read_input(self, form: str, maps: Shape, operation: ModelOperation | None) -> None:
        """A layer reads the input ``form``: as it is, or as an operation of the host left it; there is one form for all."""
        if self._image is None:
            self._image = (form, maps)
        if self._image[0] != form:
            raise Refused(f"the network reads its input {self._image[0]} and {form}; a trace has one input", operation)

    def _settled(self, value: ModelTensor, fits: bool) -> ModelTensor:
        """``value``, or the prepared input in its place if it does not ``fit`` and the host can prepare it."""
        if not value.is_input:
            return value
        if fits:
            self._read_input(_RAW, value.maps, value.moved)
            return value
        if value.shape[:1] != (self.samples,) or len(value.shape) not in (2, 4) or value.moved is None:
            return value
        maps = Shape(*(*value.shape[1:], 1, 1)[:3])
        self._read_input(f"as {value.moved.name} makes it", maps, value.moved)
        return ModelTensor(INPUT, maps, value.shape)

    # how a layer reads a value

    def maps(self, value: ModelTensor, allows_border: bool = False) -> ModelTensor:
        """``value`` as [N, channels, rows, columns]; Refused if it is not."""
        value = self._settled(value, value.is_maps(self.samples) and (allows_border or not _has_border(value)))
        if not value.is_maps(self.samples):
            raise Refused(f"{self._difference(value)}; a layer reads it as maps [N, channels, rows, columns]", value.moved)
        return self.view(value, allows_border)

    def view(self, value: ModelTensor, allows_border: bool = False) -> ModelTensor:
        """``value`` in whatever order its elements are, but whole axes; Refused if its elements are not those of a layer."""
        value = self._settled(value, value.groups(self.samples) is not None and (allows_border or not _has_border(value)))
        if value.is_loss:
            raise Refused("is part of the loss only at the network's end", value.moved)
        if value.layer != INPUT and value.layer not in self._made:
            raise Refused("a tensor of zeros is supported as channels of a shortcut only", value.moved)
        if value.groups(self.samples) is None:
            raise Refused(self._difference(value), value.moved)
        if _has_border(value) and not allows_border:
            raise Refused("zeros around maps are supported in front of a convolution or pooling only", value.moved)
        return self._without_taken(value)

    def features(self, value: ModelTensor) -> ModelTensor:
        """``value`` as [N, features]; Refused if it is not."""
        value = self._settled(value, value.is_features(self.samples) and not _has_border(value))
        if not value.is_features(self.samples):
            raise Refused(f"{self._difference(value)}; a layer reads it as [N, features]", value.moved)
        return self.view(value)

    def _difference(self, value: ModelTensor) -> str:
        made = text(value.shape, self.samples)
        if value.order is None:
            return f"makes {made} of the network's input"
        return f"makes {made} of maps [{', '.join(map(str, value.maps))}], which no layer of a trace can do"

    def _without_taken(self, value: ModelTensor) -> ModelTensor:
        """Maps behind a shortcut become a layer."""
        if value.taken is None:
            return value
        taken = value.taken
        name = taken.operation.name
        if name not in self._made:
            keys = {"out_channels": value.maps.channels, "stride": _short(taken.stride)}
            self._made[name] = _Made({"name": name, "op": "shortcut", "from": value.layer, **keys}, taken.operation, value.maps, ())
        return replace(value, layer=name, taken=None)

    # layers

    def layer(
        self, operation: ModelOperation, op: str, values: Sequence[ModelTensor], result: ModelTensor, note: str = "",
        weights: Sequence[Weight] = (), **keys: Any
    ) -> ModelTensor:
        """A layer that reads ``values`` and writes ``result``; ``keys`` as in a trace; ``note``: how the trace differs from the model."""
        self._own(operation, weights)
        if any(weight.is_frozen for weight in weights):
            note = "; ".join(filter(None, (note, "frozen in the model, trained in the trace")))
        sources = [value.layer for value in values]
        entry = {"name": operation.name, "op": op, "from": sources if len(sources) > 1 else sources[0], **keys}
        self._made[operation.name] = _Made(entry, operation, result.maps, weights)
        self.record(operation, APPROXIMATED if note else MODELLED, note, operation.name)
        return replace(result, layer=operation.name, taken=None, border=NO_BORDER, is_input=False, moved=None)

    def _own(self, operation: ModelOperation, weights: Sequence[Weight]) -> None:
        """``weights`` belong to ``operation``, and to nothing else."""
        for weight in weights:
            if weight.name is None:
                raise Refused("has weights that are not parameters of the model")
            if weight.name in self._owner:
                raise Refused(f"shares {weight.name} with {self._owner[weight.name]}; each layer of a trace has weights of its own")
            self._owner[weight.name] = operation.key

    def takes_bias(self, value: ModelTensor) -> bool:
        """Whether ``value`` is what a convolution or linear layer without a bias writes."""
        made = self._made.get(value.layer)
        return made is not None and made.entry.get("bias") is False and value.taken is None

    def add_bias(self, operation: ModelOperation, value: ModelTensor, weight: Weight) -> None:
        """``weight`` is the bias of the layer that writes ``value``."""
        self._own(operation, [weight])
        made = self._made[value.layer]
        made.entry["bias"], made.weights = True, [*made.weights, weight]
        self.record(operation, MODELLED)

    def through(self, operation: ModelOperation, value: ModelTensor, note: str) -> ModelTensor:
        """An operation that the trace leaves out."""
        self.record(operation, IGNORED, note)
        return value

    def made(self, name: str) -> str:
        """The op of layer ``name``, empty for the network's input."""
        return self._made[name].entry["op"] if name in self._made else ""

    def is_exact(self, name: str) -> bool:
        """Whether layer ``name`` computes exactly what the model says."""
        return any(record.layer == name and not record.note for record in self.records)

    # the end

    def build(self, output: ModelTensor | None, operation: ModelOperation, own: OwnCount) -> ImportedModel:
        """The network that writes ``output`` (``operation``: the place of the output). Raises InputError with all problems."""
        last = None
        if not self._problems and output is not None:
            try:
                last = self._output(output, operation)
            except Refused as refusal:
                self.refuse(refusal.operation or operation, str(refusal))
        self._raise()
        assert last is not None, "an output that is not known has a problem"
        kept = _needed(self._made, last.layer)
        self._check_unused(kept, own)
        self._raise()
        network = self._network(kept, prod(last.maps))
        self._check(network, kept, own)
        self._raise()
        form, maps = self._image or (_RAW, None)
        notes = () if form == _RAW else (f"the trace reads the input {form}, {maps}: the host has to prepare it",)
        return ImportedModel(network, report_of(self.records, network), own.macs, notes)

    def _output(self, value: ModelTensor, operation: ModelOperation) -> ModelTensor:
        """The value that the loss reads."""
        is_loss = value.is_loss
        value = self.view(replace(value, is_loss=False))
        if value.shape[:1] != (self.samples,):
            raise Refused(f"the output is {text(value.shape, self.samples)}, which does not begin with the samples", value.moved)
        if value.layer == INPUT:
            raise Refused("no layer of a trace is between input and output")
        if value.maps.height * value.maps.width > 1 and len(value.shape) > 2 and not is_loss:
            self.record(operation, APPROXIMATED, "the loss takes all pixels of all channels as classes")
        return value

    def _raise(self) -> None:
        if self._problems:
            raise InputError(self._problems)

    def _check_unused(self, kept: Mapping[str, _Made], own: OwnCount) -> None:
        """Weights that do not reach the output would be lost without a word."""
        for name, made in self._made.items():
            if name not in kept and made.weights:
                self.refuse(made.operation, "nothing that reaches the output reads it; take it out of the model")
            elif name not in kept:
                self.record(made.operation, IGNORED, "nothing that reaches the output reads it")
        for name, size in _largest_parts({name: size for name, size in own.parameters.items() if name not in self._owner}, self._owner):
            message = f"its {size:,} parameters are not used on the way to the output; make the model without it"
            self._problems.append(Problem(self.source, None, name, message))

    def _network(self, kept: Mapping[str, _Made], classes: int) -> Network:
        """The network, as the reader of traces reads it; its problems are reported at the operations of the model."""
        marks = SourceMap({(): Mark(self.source, None, "")})
        for index, made in enumerate(kept.values()):
            operation = made.operation
            marks[("layers", index)] = Mark(operation.file, operation.line, f"{operation.key}: {operation.what}")
        shape = self._image[1]._asdict() if self._image is not None else {}
        data = {"name": self.name, "input": shape, "classes": classes, "layers": [made.entry for made in kept.values()]}
        network = build_network(Document(data, marks))
        back: Any
        back, source = parse_yaml(dump_network(network), self.source)
        written = build_network(Document(back, source))
        if written != network:
            raise InputError([Problem(self.source, None, "", "the trace would not read back as it was built")])
        return network

    def _check(self, network: Network, kept: Mapping[str, _Made], own: OwnCount) -> None:
        """Shapes, parameters and multiply-accumulates of the trace are those of the model."""
        for name, made in kept.items():
            layer: Layer = network[name]
            if layer.out_shape != made.maps:
                self.refuse(made.operation, f"{made.maps} in the model, {layer.out_shape} in the trace")
            parameters = sum(prod(weight.shape) for weight in made.weights)
            if layer.parameters != parameters:
                self.refuse(made.operation, f"{parameters:,} parameters in the model, {layer.parameters:,} in the trace")
        macs = sum(layer.macs_per_sample for layer in network.layers)
        for what, ours, theirs in (
            ("parameters", network.parameters, sum(own.parameters.values())), ("multiply-accumulates a sample", macs, own.macs),
        ):  # fmt: skip
            if ours != theirs and not self._problems:
                self._problems.append(Problem(self.source, None, "", f"the model has {theirs:,} {what}, the trace would have {ours:,}"))


def legal_name(text: str) -> str:
    """``text`` as a name in a trace."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "_.+-") else "_" for char in text)[:190].strip("_") or "layer"


def _has_border(value: ModelTensor) -> bool:
    return value.border != NO_BORDER


def _largest_parts(unused: Mapping[str, int], used: Iterable[str]) -> list[tuple[str, int]]:
    """The largest modules (by path) that hold ``unused`` tensors only, and the sum of their sizes."""
    kept = {name[:at] for name in used for at, char in enumerate(name) if char == "."}
    sizes: dict[str, int] = {}
    for name, size in unused.items():
        parts = name.split(".")
        paths = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
        part = next((path for path in paths if path not in kept), name)
        sizes[part] = sizes.get(part, 0) + size
    return list(sizes.items())


def _short(pair: tuple[int, int]) -> int | list[int]:
    return pair[0] if pair[0] == pair[1] else list(pair)


def _needed(made: Mapping[str, _Made], output: str) -> dict[str, _Made]:
    """Layers that the layer ``output`` depends on, in order."""
    wanted = {output}
    kept: list[str] = []
    for name in reversed(list(made)):
        if name in wanted:
            kept.append(name)
            sources = made[name].entry["from"]
            wanted.update([sources] if isinstance(sources, str) else sources)
    return {name: made[name] for name in reversed(kept)}
