"""Traces from ONNX models. Shapes are enough: of a weight only its dimensions are read, and its data may be missing."""

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from etasim.config.errors import InputError, Problem
from etasim.training.trace_builder import ImportedModel, TraceBuilder, n_classes, whole_map
from etasim.workload.layer import Shape

_NORM_NOTE = "statistics of the machine are per sample and group of channels"
_ACTIVATION_NOTE = "computed as a ReLU"
_IGNORED = {
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Transpose"), "no work: only the shape changes"),
    **dict.fromkeys(("Dropout", "Cast"), "not in the machine"),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), "the machine has its own formats"),
    **dict.fromkeys(("Softmax", "LogSoftmax"), "part of the loss"),
}
_WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_NORMS = ("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization")
_ACTIVATIONS = ("Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Mish")


class _Operation(NamedTuple):
    """A node: its ``attributes``, the ``data`` it reads (tensors that depend on the input), the ``shapes`` of all it reads and writes."""

    node: onnx.NodeProto
    attributes: Mapping[str, Any]
    data: list[str]
    shapes: Mapping[str, tuple[int, ...]]

    def shape(self, index: int) -> tuple[int, ...]:
        """Dimensions of input ``index``; ValueError if they are not known."""
        name = self.node.input[index]
        if name not in self.shapes:
            raise ValueError(f"the shape of {name!r} is not known; give --input, or save the model with its shapes")
        return self.shapes[name]


def import_onnx(path: Path, input_shape: tuple[int, int, int] | None = None) -> ImportedModel:
    """The trace of the ONNX model in the file ``path``; ``input_shape`` where the model leaves it open.

    Raises InputError for a file that is no ONNX model, for operations that a trace cannot hold, and for shapes that are not known.
    """
    graph, shapes = _read(path, input_shape)
    weights = {tensor.name for tensor in graph.initializer}
    source = next(value.name for value in graph.input if value.name not in weights)
    builder = TraceBuilder(_name(path.stem), Shape(*shapes[source][1:]))
    builder.start(source)
    names: set[str] = set()
    for index, node in enumerate(graph.node):
        data = [name for name in node.input if builder.knows(name)]
        if not data:
            continue
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        name = _name(node.name or f"{node.op_type}_{index}")
        while name in names:
            name += "_"
        names.add(name)
        try:
            _add(builder, name, _Operation(node, attributes, data, shapes))
        except ValueError as error:
            builder.refuse(node.name or node.output[0], f"{node.op_type}: {error}")
            builder.skip(node.output[0], data[0], node.op_type, "")
    output = graph.output[0].name
    return builder.build(output, n_classes(shapes.get(output, ())))


def _read(path: Path, input_shape: tuple[int, int, int] | None) -> tuple[onnx.GraphProto, dict[str, tuple[int, ...]]]:
    """The graph of a model, and the shapes of its tensors with a batch of one."""
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # protobuf has errors of its own, which differ between its versions
        raise InputError([Problem(str(path), 1, "", f"is not an ONNX model: {type(error).__name__}")]) from None
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    images = [value for value in inputs if len(value.type.tensor_type.shape.dim) == 4]
    consumed = {name for node in graph.node if node.op_type in _WITH_WEIGHTS for name in node.input[1:]}
    images = [value for value in images if value.name not in consumed]
    if len(images) != 1:
        raise InputError([Problem(str(path), 1, "", f"has {len(images)} inputs of 4 dimensions, one is expected: images")])
    dimensions = images[0].type.tensor_type.shape.dim
    for dimension, size in zip(dimensions, (1, *(input_shape or (0, 0, 0))), strict=True):
        if size:
            dimension.dim_value = size
    if any(dimension.dim_value < 1 for dimension in dimensions):
        raise InputError([Problem(str(path), 1, "--input", "the model leaves the shape of its images open: give it as CxHxW")])
    graph.ClearField("value_info")
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise InputError([Problem(str(path), 1, "", f"its shapes do not fit: {str(error).splitlines()[0]}")]) from None
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dimension.dim_value > 0 for dimension in tensor.shape.dim):
            shapes[value.name] = tuple(dimension.dim_value for dimension in tensor.shape.dim)
    ordered = [images[0].name, *(value.name for value in graph.input if value.name != images[0].name)]
    by_name = {value.name: onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in graph.input}
    graph.ClearField("input")
    graph.input.extend(by_name[name] for name in ordered)
    return graph, shapes


def _add(builder: TraceBuilder, name: str, operation: _Operation) -> None:
    """One layer, or an operation that the trace leaves out. Raises ValueError for what it cannot hold."""
    node = operation.node
    kind = node.op_type
    output = node.output[0]
    if kind in _IGNORED:
        builder.skip(output, operation.data[0], kind, _IGNORED[kind])
        return
    if kind == "Add" and len(operation.data) == 1:
        builder.skip(output, operation.data[0], kind, "addition of a constant")
        return
    op, note, keys = _layer(operation)
    builder.add(output, name, op, operation.data, kind, note, **keys(operation))


def _layer(operation: _Operation) -> tuple[str, str, Callable[[_Operation], dict[str, Any]]]:
    """Kind of a trace's layer, how it differs, and what gives its keys."""
    kind = operation.node.op_type
    if kind in _NORMS:
        return "norm", _NORM_NOTE, _no_keys
    if kind in _ACTIVATIONS:
        return "relu", _ACTIVATION_NOTE, _no_keys
    if kind not in _LAYERS:
        raise ValueError("is not supported")
    return _LAYERS[kind][0], "", _LAYERS[kind][1]


def _no_keys(operation: _Operation) -> dict[str, Any]:
    return {}


def _convolution(operation: _Operation) -> dict[str, Any]:
    weight, attributes = operation.shape(1), operation.attributes
    if len(weight) != 4:
        raise ValueError(f"has a kernel of {len(weight) - 2} dimensions, 2 are supported")
    return {
        "out_channels": weight[0], "kernel": weight[2:], "groups": attributes.get("group", 1), "bias": len(operation.node.input) > 2,
        "dilation": tuple(attributes.get("dilations", (1, 1))), **_window(operation),
    }  # fmt: skip


def _window(operation: _Operation) -> dict[str, Any]:
    """Stride and padding, which a trace has alike on opposite sides."""
    attributes = operation.attributes
    stride = tuple(attributes.get("strides", (1, 1)))
    automatic = attributes.get("auto_pad", b"NOTSET").decode()
    if automatic.startswith("SAME"):
        return {"stride": stride, "padding": "same"}
    pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
    if pads[:2] != pads[2:]:
        raise ValueError(f"pads {list(pads)} differ between opposite sides")
    return {"stride": stride, "padding": pads[:2]}


def _gemm(operation: _Operation) -> dict[str, Any]:
    weight = operation.shape(1)
    return {"out_channels": weight[0 if operation.attributes.get("transB", 0) else 1], "bias": len(operation.node.input) > 2}


def _matmul(operation: _Operation) -> dict[str, Any]:
    if len(operation.data) != 1 or len(operation.shape(1)) != 2:
        raise ValueError("of two tensors that depend on the input is not supported")
    return {"out_channels": operation.shape(1)[1]}


def _pool(operation: _Operation) -> dict[str, Any]:
    attributes = operation.attributes
    if attributes.get("ceil_mode") or set(attributes.get("dilations", (1,))) != {1}:
        raise ValueError("ceil_mode and dilations are not supported")
    keys = {"kernel": tuple(attributes["kernel_shape"]), **_window(operation)}
    if operation.node.op_type == "AveragePool" and keys["padding"] != (0, 0) and not attributes.get("count_include_pad", 0):
        raise ValueError("count_include_pad = 0 with padding is not supported: the machine counts padding as zero")
    return keys


def _global_pool(operation: _Operation) -> dict[str, Any]:
    shape = operation.shape(0)
    if operation.node.op_type == "ReduceMean" and prod(operation.shapes.get(operation.node.output[0], (0,))) != prod(shape[:2]):
        raise ValueError("over other axes than height and width is not supported")
    return {"kernel": whole_map(shape, (1, 1))}


def _concat(operation: _Operation) -> dict[str, Any]:
    if operation.attributes.get("axis") not in (1, -3):
        raise ValueError(f"along axis {operation.attributes.get('axis')} is not supported, only channels are")
    if len(operation.data) != len(operation.node.input):
        raise ValueError("with a constant is not supported")
    return {}


_LAYERS: dict[str, tuple[str, Callable[[_Operation], dict[str, Any]]]] = {
    "Conv": ("conv", _convolution),
    "Gemm": ("linear", _gemm),
    "MatMul": ("linear", _matmul),
    "Relu": ("relu", _no_keys),
    "MaxPool": ("maxpool", _pool),
    "AveragePool": ("avgpool", _pool),
    "GlobalAveragePool": ("avgpool", _global_pool),
    "ReduceMean": ("avgpool", _global_pool),
    "Add": ("add", _no_keys),
    "Sum": ("add", _no_keys),
    "Concat": ("concat", _concat),
}


def _name(text: str) -> str:
    """``text`` as the name of a layer."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "_.+-") else "_" for char in text).strip("_") or "layer"
