"""The operations of ONNX that a trace can hold: one row for each, with all its inputs and attributes, in the form of `Arguments`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from etasim.ops import OPERATIONS
from etasim.training import layer_rules as rules
from etasim.training.arguments import Arguments, Refused
from etasim.training.onnx_tensors import Constant
from etasim.training.tensors import NO_BORDER, ModelOperation, ModelTensor
from etasim.training.trace_builder import TraceBuilder, Weight
from etasim.workload.trace import same_padding

_NORM_NOTE = "statistics of the machine are per sample and group of channels"
_ACTIVATION_NOTE = "computed as a ReLU"
_DROPPED = "not in the machine"
_FORMATS = "the machine has its own formats"
_REAL_TYPES = (1, 10, 11, 16)


@dataclass
class NodeCall:
    """One operation with what it was given; ``n_readers`` of the first input that is no constant, ``n_outputs`` that it writes."""

    builder: TraceBuilder
    operation: ModelOperation
    arguments: Arguments
    n_readers: int
    n_outputs: int
    weights: list[Weight] = field(default_factory=list)

    def value(self, name: str) -> ModelTensor:
        """The tensor that the operation reads as ``name``, which depends on the network's input."""
        value = self.arguments[name]
        if not isinstance(value, ModelTensor):
            raise Refused(f"{name} does not depend on the network's input")
        return value

    def weight(self, name: str) -> Weight | None:
        """The trained tensor that the operation reads as ``name``; None if it is left out."""
        constant = self.arguments[name]
        if constant is None:
            return None
        if not isinstance(constant, Constant):
            raise Refused(f"{name} depends on the network's input, a weight is expected")
        self.weights.append(Weight(constant.name, constant.shape))
        return self.weights[-1]

    def given_weight(self, name: str) -> Weight:
        """The trained tensor that the operation reads as ``name``."""
        weight = self.weight(name)
        if weight is None:
            raise Refused(f"{name} is left out")
        return weight

    def given_numbers(self, name: str) -> list[int]:
        """The whole numbers ``name``, an attribute or a constant."""
        numbers = self.numbers(name)
        if numbers is None:
            raise Refused(f"{name} is left out")
        return numbers

    def numbers(self, name: str) -> list[int] | None:
        """The whole numbers ``name``, an attribute or a constant; None if they are left out."""
        given = self.arguments[name]
        if isinstance(given, Constant):
            if given.values is None:
                raise Refused(f"the values of {name} are not known")
            return [int(number) for number in given.values.reshape(-1)]
        if isinstance(given, ModelTensor):
            raise Refused(f"{name} depends on the network's input")
        return None if given is None else list(given) if isinstance(given, Sequence) else [given]

    def number(self, name: str) -> Any:
        """One number, an attribute or a constant; None if it is left out or not known."""
        given = self.arguments[name]
        if isinstance(given, Constant):
            return given.values.item() if given.values is not None and given.values.size == 1 else None
        return given


class NodeRow(NamedTuple):
    """``inputs`` and ``attributes`` in the form of `Arguments`; ``rule``: what makes a value of a call."""

    inputs: str
    attributes: str
    rule: Callable[[NodeCall], ModelTensor]


def _window(call: NodeCall, source: ModelTensor, kernel: Sequence[int], dilation: Sequence[int]) -> dict[str, Any]:
    """Stride and padding of each side."""
    stride = call.numbers("strides") or [1, 1]
    pads = call.numbers("pads") or [0, 0, 0, 0]
    automatic = call.arguments["auto_pad"]
    if not len(kernel) == len(stride) == len(dilation) == 2 or len(pads) != 4:
        raise Refused(f"has {len(kernel)} dimensions, 2 are supported")
    padding = ((pads[0], pads[2]), (pads[1], pads[3]))
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        rows, columns = same_padding(_two(source.shape[2:]), _two(kernel), _two(stride), _two(dilation))
        padding = (rows, columns) if automatic == "SAME_UPPER" else (rows[::-1], columns[::-1])
    elif automatic == "VALID":
        padding = NO_BORDER
    elif automatic != "NOTSET":
        raise Refused(f"auto_pad={automatic!r:.40} is not supported")
    if min(map(min, padding)) < 0:
        raise Refused(f"pads={pads} cut pixels off, which is not supported")
    return {"stride": _two(stride), "padding": padding}


def _two(sizes: Sequence[int]) -> tuple[int, int]:
    return sizes[0], sizes[1]


def _convolution(call: NodeCall) -> ModelTensor:
    source, weight, bias = call.value("X"), call.weight("W"), call.weight("B")
    if weight is None or len(weight.shape) != 4:
        raise Refused(f"has a kernel of {len(weight.shape) - 2 if weight else 0} dimensions, 2 are supported")
    kernel, dilation = weight.shape[2:], call.numbers("dilations") or [1, 1]
    if tuple(call.numbers("kernel_shape") or kernel) != kernel:
        raise Refused(f"kernel_shape={call.numbers('kernel_shape')} is not that of its weights, {list(kernel)}")
    window = _window(call, source, kernel, dilation)
    weights = [w for w in (weight, bias) if w is not None]
    return rules.convolution(
        call.builder, call.operation, source, weights, dilation=_two(dilation), groups=call.arguments["group"], **window
    )


def _gemm(call: NodeCall) -> ModelTensor:
    weight, bias = call.given_weight("B"), call.weight("C")
    out_features = weight.shape[0 if call.arguments["transB"] else -1]
    weights = [weight]
    if bias is not None:
        if bias.shape not in ((out_features,), (1, out_features)):
            raise Refused(f"C has the shape {list(bias.shape)}, a bias for each of {out_features} features is expected")
        weights.append(bias)
    return rules.linear(call.builder, call.operation, call.value("A"), weights, out_features)


def _matmul(call: NodeCall) -> ModelTensor:
    weight = call.given_weight("B")
    if len(weight.shape) != 2:
        raise Refused(f"B has the shape {list(weight.shape)}, a matrix is expected")
    return rules.linear(call.builder, call.operation, call.value("A"), [weight], weight.shape[1])


def _normalization(call: NodeCall, dimension: int = 1) -> ModelTensor:
    names = ("Scale", "B") if "Scale" in call.arguments else ("scale", "bias") if "bias" in call.arguments else ("scale", "B")
    source = call.value("X" if "X" in call.arguments else "input")
    weights = [weight for weight in map(call.weight, names) if weight is not None]
    return rules.normalization(call.builder, call.operation, source, weights, _NORM_NOTE, dimension)


def _layer_normalization(call: NodeCall) -> ModelTensor:
    last = len(call.operation.shape) - 1
    if call.arguments["axis"] not in (-1, last):
        raise Refused(f"axis={call.arguments['axis']}: only one over the channels, as the last dimension, is supported")
    return _normalization(call, last)


def _activation(call: NodeCall) -> ModelTensor:
    """An operation to the last bit, or one that the machine computes as a ReLU."""
    source = call.value("X" if "X" in call.arguments else "input")
    for kind, schema in OPERATIONS.items():
        given = schema.onnx.get(call.operation.what)
        if given is not None and all(call.number(name) == value for name, value in given.items()):
            return rules.activation(call.builder, call.operation, source, "", kind)
    return rules.activation(call.builder, call.operation, source, _ACTIVATION_NOTE)


def _clip(call: NodeCall) -> ModelTensor:
    least = call.number("min")
    if least != 0:
        raise Refused(f"from {'an unknown value' if least is None else least} on is not supported; from 0 on it is computed as a ReLU")
    call.arguments.all()
    return _activation(call)


def _pooling(op: str) -> Callable[[NodeCall], ModelTensor]:
    def rule(call: NodeCall) -> ModelTensor:
        source, kernel = call.value("X"), call.given_numbers("kernel_shape")
        window = _window(call, source, kernel, (1,) * len(kernel))
        if set(call.numbers("dilations") or (1,)) != {1}:
            raise Refused("dilations of a pooling are not supported")
        _ = call.arguments["ceil_mode"]  # the shape of the result says what it does
        if op == "avgpool" and not call.arguments["count_include_pad"] and window["padding"] != NO_BORDER:
            raise Refused("count_include_pad = 0 with padding is not supported: the machine counts padding as zero")
        return rules.pooling(call.builder, call.operation, op, source, kernel=_two(kernel), **window)

    return rule


def _global_pooling(op: str) -> Callable[[NodeCall], ModelTensor]:
    def rule(call: NodeCall) -> ModelTensor:
        source = call.value("X")
        return rules.whole_pooling(call.builder, call.operation, op, source, range(2, len(source.shape)))

    return rule


def _reduction(op: str) -> Callable[[NodeCall], ModelTensor]:
    def rule(call: NodeCall) -> ModelTensor:
        source, axes = call.value("data"), call.numbers("axes")
        _ = call.arguments["keepdims"]  # the shape of the result says it
        if not axes:
            raise Refused("over all dimensions, samples too, is not supported")
        return rules.whole_pooling(call.builder, call.operation, op, source, axes)

    return rule


def _addition(call: NodeCall) -> ModelTensor:
    given = call.arguments["inputs"] if "inputs" in call.arguments else [call.arguments["A"], call.arguments["B"]]
    values = [value for value in given if isinstance(value, ModelTensor)]
    constants = [constant for constant in given if isinstance(constant, Constant)]
    if len(values) == len(given):
        return rules.addition(call.builder, call.operation, values)
    if len(values) == 1 == len(constants) and not values[0].is_input:
        weight = Weight(constants[0].name, constants[0].shape)
        call.weights.append(weight)
        return rules.bias(call.builder, call.operation, values[0], weight, call.n_readers)
    return _arithmetic(call)


def _arithmetic(call: NodeCall) -> ModelTensor:
    """Of the network's input with constants, by the host."""
    given = list(call.arguments.all().values())
    values = [value for item in given for value in (item if isinstance(item, (list, tuple)) else [item]) if isinstance(value, ModelTensor)]
    return rules.host(call.builder, call.operation, values)


def _concatenation(call: NodeCall) -> ModelTensor:
    given = call.arguments["inputs"]
    if not all(isinstance(value, ModelTensor) for value in given):
        raise Refused("with a constant is not supported")
    return rules.concatenation(call.builder, call.operation, given, call.arguments["axis"])


def _reshape(name: str) -> Callable[[NodeCall], ModelTensor]:
    def rule(call: NodeCall) -> ModelTensor:
        call.arguments.all()  # the shape of the result says what they do
        return rules.reshape(call.builder, call.operation, call.value(name))

    return rule


def _through(name: str, note: str) -> Callable[[NodeCall], ModelTensor]:
    return lambda call: rules.dropped(call.builder, call.operation, call.value(name), note)


def _cast(call: NodeCall) -> ModelTensor:
    if call.arguments["to"] not in _REAL_TYPES:
        raise Refused("to numbers that are not real is not supported")
    return rules.dropped(call.builder, call.operation, call.value("input"), _FORMATS)


def _permutation(call: NodeCall) -> ModelTensor:
    source = call.value("data")
    return rules.permutation(call.builder, call.operation, source, call.numbers("perm") or range(len(source.shape))[::-1])


def _loss_part(call: NodeCall) -> ModelTensor:
    return rules.loss_part(call.builder, call.operation, call.value("input"), call.arguments["axis"])


def _padding(call: NodeCall) -> ModelTensor:
    source, pads, axes = call.value("data"), call.given_numbers("pads"), call.numbers("axes")
    value = call.number("constant_value") if call.arguments["constant_value"] is not None else call.arguments["value"]
    if call.arguments["mode"] != "constant" or value != 0:
        said = f"mode={call.arguments['mode']!r}, value {'unknown' if value is None else value}"
        raise Refused(f"{said}: only padding with zeros is supported")
    rank = len(source.shape)
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    sides = [(0, 0)] * rank
    for at, axis in enumerate(axes):
        sides[axis] = (pads[at], pads[at + len(axes)])
    return rules.padding(call.builder, call.operation, source, sides)


def _slicing(call: NodeCall) -> ModelTensor:
    source, starts, ends = call.value("data"), call.given_numbers("starts"), call.given_numbers("ends")
    axes, steps = call.numbers("axes"), call.numbers("steps")
    rank, parts = len(source.shape), [slice(None)] * len(source.shape)
    for at, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = (at if axes is None else axes[at] % rank), (1 if steps is None else steps[at])
        if step < 0 and not source.is_input:
            raise Refused(f"with the step {step} is not supported")
        parts[axis] = slice(start, None if step < 0 else end, step)
    return rules.slicing(call.builder, call.operation, source, parts)


_POOL = "auto_pad='NOTSET' ceil_mode=0 dilations=None kernel_shape pads=None strides=None"
_TWO = NodeRow("A B", "", _arithmetic)

ROWS: dict[str, NodeRow] = {
    "Conv": NodeRow("X W B=None", "auto_pad='NOTSET' dilations=None group=1 kernel_shape=None pads=None strides=None", _convolution),
    "Gemm": NodeRow("A B C=None", "alpha=1 beta=1 transA=0 transB=0", _gemm),
    "MatMul": NodeRow("A B", "", _matmul),
    "Relu": NodeRow("X", "", _activation),
    **dict.fromkeys(("LeakyRelu", "Elu"), NodeRow("X", "alpha=*", _activation)),
    **dict.fromkeys(("Selu", "HardSigmoid"), NodeRow("X", "alpha=* gamma=* beta=*", _activation)),
    "Gelu": NodeRow("X", "approximate=*", _activation),
    **dict.fromkeys(("Sigmoid", "HardSwish", "Tanh", "Softplus", "Mish"), NodeRow("X", "", _activation)),
    "Clip": NodeRow("input min=None max=None", "min=None max=None", _clip),
    "MaxPool": NodeRow("X", f"{_POOL} storage_order=*", _pooling("maxpool")),
    "AveragePool": NodeRow("X", f"{_POOL} count_include_pad=0", _pooling("avgpool")),
    "GlobalAveragePool": NodeRow("X", "", _global_pooling("avgpool")),
    "GlobalMaxPool": NodeRow("X", "", _global_pooling("maxpool")),
    "ReduceMean": NodeRow("data axes=None", "axes=None keepdims=1 noop_with_empty_axes=0", _reduction("avgpool")),
    "ReduceMax": NodeRow("data axes=None", "axes=None keepdims=1 noop_with_empty_axes=0", _reduction("maxpool")),
    "Add": NodeRow("A B", "", _addition),
    "Sum": NodeRow("*inputs", "", _addition),
    **dict.fromkeys(("Mul", "Sub", "Div"), _TWO),
    "Concat": NodeRow("*inputs", "axis", _concatenation),
    "BatchNormalization": NodeRow("X scale B input_mean=* input_var=*", "epsilon=* momentum=* training_mode=* spatial=1", _normalization),
    "InstanceNormalization": NodeRow("input scale B", "epsilon=*", _normalization),
    "GroupNormalization": NodeRow("X scale bias", "epsilon=* num_groups=* stash_type=*", _normalization),
    "LayerNormalization": NodeRow("X Scale B=None", "axis=-1 epsilon=* stash_type=*", _layer_normalization),
    "Flatten": NodeRow("input", "axis=1", _reshape("input")),
    "Reshape": NodeRow("data shape", "allowzero=*", _reshape("data")),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), NodeRow("data axes=None", "axes=None", _reshape("data"))),
    "Identity": NodeRow("input", "", _through("input", rules.SHAPE_ONLY)),
    "Transpose": NodeRow("data", "perm=None", _permutation),
    "Dropout": NodeRow("data ratio=* training_mode=*", "ratio=* seed=*", _through("data", _DROPPED)),
    "Cast": NodeRow("input", "to saturate=* round_mode=*", _cast),
    **dict.fromkeys(
        ("QuantizeLinear", "DequantizeLinear"),
        NodeRow("x y_scale=* y_zero_point=*", "axis=* saturate=* block_size=* output_dtype=* precision=*", _through("x", _FORMATS)),
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax"), NodeRow("input", "axis=-1", _loss_part)),
    "Pad": NodeRow("data pads constant_value=None axes=None", "mode='constant' pads=None value=0", _padding),
    "Slice": NodeRow("data starts ends axes=None steps=None", "starts=None ends=None axes=None", _slicing),
    "SpaceToDepth": NodeRow("A", "blocksize=* mode=*", _arithmetic),
}
