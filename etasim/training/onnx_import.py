"""Traces from ONNX models. Shapes are enough: of a weight only its dimensions are read, and its data may be missing."""

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]

from etasim.config.errors import InputError, Problem
from etasim.config.files import read_regular
from etasim.training.arguments import Arguments, Refused
from etasim.training.import_report import IGNORED, ImportedModel
from etasim.training.onnx_operations import ROWS, NodeCall
from etasim.training.onnx_tensors import Constant, OnnxTensors
from etasim.training.tensors import ModelOperation, ModelTensor
from etasim.training.trace_builder import OwnCount, TraceBuilder, legal_name
from etasim.workload.network import Network

SAMPLES = 8191
"""Batch where the model leaves it open: a prime, so that an operation that mixes samples shows in the shapes."""

_MOST_BYTES = 2**31
"""Protobuf holds no more."""

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_OF_EQUALS = ("Add", "Sum", "Concat", "Mul", "Sub", "Div")
"""Operations whose inputs after the first are no weights."""

_NUMBERS_ONLY = ("Shape", "Size")
"""Operations that read only the shape of what they are given."""

_EXPORT = (
    "torch.onnx.export(model, images, FILE, dynamo=False, training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False)"
)


def import_onnx(path: Path, input_shape: tuple[int, ...] | None = None) -> ImportedModel:
    """The trace of the ONNX model in the file ``path``; ``input_shape`` where the model leaves it open.

    Raises InputError for a file that is no ONNX model, for operations that a trace cannot hold, for shapes that are not known, and if
    shapes, parameters or multiply-accumulates of the trace were not those of the model.
    """
    model = _read(path)
    image = _image(model.graph, path, input_shape)
    reader = _Reader(model, image, str(path), legal_name(path.stem))
    for index, node in enumerate(model.graph.node):
        reader.read(node, index)
    imported = reader.finish()
    note = _lost_normalization(imported.network)
    return ImportedModel(imported.network, imported.report, imported.own_macs, (*imported.notes, *note))


def _read(path: Path) -> onnx.ModelProto:
    try:
        kind = onnx.serialization.registry.get_format_from_file_extension(path.suffix) or "protobuf"
        model = onnx.load_model_from_string(read_regular(path, _MOST_BYTES), kind)
        _check_text(model)
        return onnx.inliner.inline_local_functions(model) if model.functions else model
    except OSError:
        raise
    except Exception as error:  # protobuf has errors of its own, which differ between its versions
        raise InputError([Problem(str(path), None, "", f"is not an ONNX model: {type(error).__name__}")]) from None


def _check_text(message: Message) -> None:
    """Raise ValueError for text that is no UTF-8, in all parts of ``message``: protobuf gives it as bytes."""
    for field, value in message.ListFields():
        if field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            continue
        for each in (value,) if isinstance(value, str | bytes | Message) else value:
            if isinstance(each, bytes):
                raise ValueError(f"{field.full_name} is no UTF-8")
            if isinstance(each, Message):
                _check_text(each)


def _image(graph: onnx.GraphProto, path: Path, input_shape: tuple[int, ...] | None) -> onnx.ValueInfoProto:
    """The network's input, its shape made concrete: the one that is no weight."""
    stored = {tensor.name for tensor in graph.initializer}
    operands = {name for node in graph.node if node.op_type not in _OF_EQUALS for name in node.input[1:]}
    inputs = [value for value in graph.input if value.name not in stored | operands]
    if len(inputs) != 1:
        names = f" ({', '.join(value.name for value in inputs)})" if inputs else ""
        raise InputError([Problem(str(path), None, "", f"has {len(inputs)} inputs{names}, one is expected: images")])
    (image,) = inputs
    dimensions = image.type.tensor_type.shape.dim
    given = (None, *(input_shape or ()))
    if input_shape is not None and len(dimensions) != len(given):
        text = f"has {len(given) - 1} sizes, the input {image.name} has {max(len(dimensions) - 1, 0)} beside the samples"
        raise InputError([Problem(str(path), None, "--input", text)])
    fixed = [dimension.dim_value or None for dimension in dimensions]
    if input_shape is not None and any(size and own and own != size for own, size in zip(fixed, given, strict=True)):
        sizes = "x".join(str(own or "?") for own in fixed[1:])
        raise InputError([Problem(str(path), None, "--input", f"the model says {sizes} of the input {image.name} itself")])
    for dimension, size in zip(dimensions, given if input_shape else [None] * len(dimensions), strict=True):
        if size:
            dimension.dim_value = size
    if dimensions and dimensions[0].dim_value < 1:
        dimensions[0].dim_value = SAMPLES
    if not dimensions or any(dimension.dim_value < 1 for dimension in dimensions):
        raise InputError([Problem(str(path), None, "--input", "the model leaves the shape of its images open: give it as CxHxW")])
    return image


class _Reader:
    """Values and constants of the tensors, by name; None for those behind a refused operation, and none of further outputs."""

    def __init__(self, model: onnx.ModelProto, image: onnx.ValueInfoProto, file: str, name: str) -> None:
        self._graph, self._file, self._tensors = model.graph, file, OnnxTensors(model)
        shape = self._tensors.shape(image.name) or ()  # which `_image` has made concrete
        self.builder = TraceBuilder(name, file, shape[0])
        self._values: dict[str, ModelTensor | None] = {image.name: self.builder.input(shape)}
        self.readers = Counter(name for node in model.graph.node for name in node.input)
        self.readers.update(output.name for output in model.graph.output)
        self._further: dict[str, str] = {}
        self._not_trained: set[str | None] = set()
        self._read: set[str | None] = set()
        self._macs = 0

    def read(self, node: onnx.NodeProto, index: int) -> None:
        """Read ``node``, whose sources were read before."""
        depends = any(name in self._values for name in node.input) and node.op_type not in _NUMBERS_ONLY
        operation = self._operation(node, node.name or f"{node.op_type}_{index}", ())
        try:
            for name in node.input:
                if name in self._further:
                    raise Refused(f"reads {name}, a further output of {self._further[name]}, which is not supported")
            self._tensors.follow(node, depends)
        except Refused as refusal:
            self.builder.refuse(operation, str(refusal))
            self._values |= dict.fromkeys(node.output)
            return
        if not depends:
            return
        self._further |= dict.fromkeys(node.output[1:], node.op_type)
        self._count(node)
        value = self._modelled(node, operation._replace(name=self.builder.free_name(operation.name)))
        self._values |= {node.output[0]: value} if node.output else {}

    def _operation(self, node: onnx.NodeProto, name: str, shape: tuple[int, ...]) -> ModelOperation:
        place = node.name or (node.output[0] if node.output else name)
        return ModelOperation(name, node.op_type, self._file, None, place, shape)

    def _modelled(self, node: onnx.NodeProto, operation: ModelOperation) -> ModelTensor | None:
        try:
            if node.domain not in ("", "ai.onnx") or node.op_type not in ROWS:
                raise Refused("is not supported")
            if any(self._values.get(name, name) is None for name in node.input):
                return None
            shape = self._tensors.shape(node.output[0])
            if shape is None:
                raise Refused("the shape of its result is not known; give --input, or save the model with its shapes")
            row = ROWS[node.op_type]
            given = [self._source(name) for name in node.input]
            attributes = {attribute.name: _attribute(attribute) for attribute in node.attribute}
            arguments = Arguments(row.inputs, given, {}, row.attributes, attributes)
            value_name = next(name for name in node.input if name in self._values)
            call = NodeCall(self.builder, operation._replace(shape=shape), arguments, self.readers[value_name], len(node.output))
            value = row.rule(call)
            arguments.check()
        except Refused as refusal:
            blamed = refusal.operation or operation
            self.builder.refuse(blamed, str(refusal))
            return None
        self._not_trained |= {c.name for c in given if isinstance(c, Constant)} - {weight.name for weight in call.weights}
        self._read |= {constant.name for constant in given if isinstance(constant, Constant)}
        return value

    def _source(self, name: str) -> ModelTensor | Constant | None:
        """What an operation reads as ``name``; None for an input that is left out."""
        if not name:
            return None
        found = self._values.get(name) or self._tensors.constant(name)
        if found is None:
            raise Refused(f"reads {name}, which is not known: nothing before it writes it, or not as its first output")
        return found

    def _count(self, node: onnx.NodeProto) -> None:
        """Add the multiply-accumulates of a product, from the shapes alone."""
        if node.op_type not in _PRODUCTS or len(node.input) < 2 or not node.output:
            return
        source, weight, result = (self._tensors.shape(name) for name in (node.input[0], node.input[1], node.output[0]))
        if source is None or weight is None or not result:
            return
        is_transposed = any(a.name == "transA" and a.i for a in node.attribute)
        terms = prod(weight[1:]) if node.op_type.startswith("Conv") else source[0 if is_transposed else -1]
        positions = prod(source) if node.op_type == "ConvTranspose" else prod(result)
        self._macs += positions * terms // self.builder.samples

    def finish(self) -> ImportedModel:
        """The network, if everything was modelled and is as the model says."""
        outputs = [output.name for output in self._graph.output]
        place = ModelOperation("output", "output", self._file, None, outputs[0] if outputs else "", ())
        last = None
        if len(outputs) != 1:
            self.builder.refuse(place, f"the model has {len(outputs)} outputs ({', '.join(outputs)}), a trace has one")
        elif self._values.get(outputs[0], place) is place:
            self.builder.refuse(place, self._unknown(outputs[0]))
        else:
            last = self._values[outputs[0]]
        named = {name for node in self._graph.node for name in node.input}
        stored = self._tensors.stored | {v.name: self._tensors.shape(v.name) or () for v in self._graph.input if v.name not in self._values}
        for name in stored.keys() - named:
            self.builder.record(place._replace(what=f"tensor {name}"), IGNORED, "no operation reads it")
        parameters = {name: prod(shape) for name, shape in stored.items() if name in self._read - self._not_trained}
        return self.builder.build(last, place, OwnCount(parameters, self._macs))


    def _unknown(self, output: str) -> str:
        """Why nothing is known of the model's output."""
        writers = [node for node in self._graph.node if output in node.output]
        if not writers:
            return "no operation writes it"
        if output != writers[0].output[0]:
            return f"it is a further output of {writers[0].op_type}, which is not supported"
        read, early = set[str](), set[str]()
        for node in self._graph.node:
            early |= read & set(node.output)
            read |= set(node.input)
        return "the output does not depend on the input" + "".join(f"; {name} is read before it is written" for name in sorted(early)[:1])


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _lost_normalization(network: Network) -> tuple[str, ...]:
    """What to do if convolutions have biases where a normalization is usual: an export for inference folds it into them."""
    convolutions = [layer for layer in network.layers if layer.kind == "conv"]
    n_all, biased = len(convolutions), [layer for layer in convolutions if layer.bias]
    bare = [layer for layer in biased if all(reader.kind != "norm" for reader in network.consumers(layer.name))]
    if not bare:
        return ()
    return (
        f"{len(bare)} of {n_all} convolutions have a bias and no normalization behind them. An export for inference folds batch "
        f"normalization into such biases: training it would be missing here. If the model has it, export it with\n  {_EXPORT}",
    )
