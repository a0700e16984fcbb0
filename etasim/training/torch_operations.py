"""The operations of PyTorch that a trace can hold: one row for each, with every argument that it has.

Rows are in the form of `Arguments`: an argument is read by the rule, or must have the value behind the equals sign, or (``=*``) makes no
difference for a trace.
"""

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from etasim.training import layer_rules as rules
from etasim.training.arguments import Refused, pair
from etasim.training.in_place import OPERATORS
from etasim.training.layers import Add, Concat, Shortcut
from etasim.training.tensors import NO_BORDER, ZEROS, ModelTensor
from etasim.training.trace_builder import Weight
from etasim.workload.layer import Shape

if TYPE_CHECKING:
    from etasim.training.torch_reader import Call

_DROPPED = "not in the machine"


class Row(NamedTuple):
    """``arguments`` of a call and ``attributes`` of a module; ``rule``: what makes a value of a call."""

    arguments: str
    rule: Callable[[Any], ModelTensor]
    attributes: str = ""

    @property
    def is_of_host(self) -> bool:
        """Whether only the host can do it, to the network's input."""
        return self.rule in (_arithmetic, _host)


def _module(attributes: str, rule: Callable[[Any], ModelTensor]) -> Row:
    return Row("input", rule, attributes)


def _convolution(call: "Call") -> ModelTensor:
    arguments, weights = call.arguments, call.weights("weight", "bias")
    stride, dilation, given = pair(arguments["stride"]), pair(arguments["dilation"]), arguments["padding"]
    if given == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, weights[0].shape[2:], strict=True)]
        padding: Any = tuple((total // 2, total - total // 2) for total in totals)
    else:
        padding = tuple((side, side) for side in pair(0 if given == "valid" else given))
    return rules.convolution(
        call.builder, call.operation, call.value(), weights, stride=stride, padding=padding, dilation=dilation, groups=arguments["groups"]
    )


def _linear(call: "Call") -> ModelTensor:
    weights = call.weights("weight", "bias")
    return rules.linear(call.builder, call.operation, call.value(), weights, weights[0].shape[0])


def _normalization(call: "Call") -> ModelTensor:
    return rules.normalization(call.builder, call.operation, call.value(), call.weights("weight", "bias"), call.note)


def _activation(call: "Call") -> ModelTensor:
    return rules.activation(call.builder, call.operation, call.value(), call.note, call.kind)


def _pooling(op: str) -> Callable[[Any], ModelTensor]:
    def rule(call: "Call") -> ModelTensor:
        arguments = call.arguments
        kernel = pair(arguments["kernel_size"])
        stride = pair(arguments["stride"] or kernel)
        padding: Any = tuple((side, side) for side in pair(arguments["padding"]))
        ceil_mode = arguments["ceil_mode"]
        if op == "avgpool":
            if not arguments["count_include_pad"] and padding != NO_BORDER:
                raise Refused("count_include_pad=False with padding is not supported: the machine counts padding as zero")
            divisor = arguments["divisor_override"]
            if divisor not in (None, kernel[0] * kernel[1]):
                raise Refused(f"divisor_override={divisor!r} is not supported: the machine divides by the window's pixels")
        if type(ceil_mode) is not bool:
            raise Refused(f"ceil_mode={ceil_mode!r:.60} is not supported")
        return rules.pooling(call.builder, call.operation, op, call.value(), kernel=kernel, stride=stride, padding=padding)

    return rule


def _adaptive_pooling(op: str) -> Callable[[Any], ModelTensor]:
    def rule(call: "Call") -> ModelTensor:
        call.arguments.all()  # the shape of the result says it
        return rules.adaptive_pooling(call.builder, call.operation, op, call.value())

    return rule


def _whole_pooling(op: str) -> Callable[[Any], ModelTensor]:
    def rule(call: "Call") -> ModelTensor:
        dimensions, _ = call.arguments["dim"], call.arguments["keepdim"]  # the shape of the result says whether they are kept
        if dimensions is None:
            raise Refused("over all dimensions, samples too, is not supported")
        dimensions = (dimensions,) if isinstance(dimensions, int) else dimensions
        return rules.whole_pooling(call.builder, call.operation, op, call.value(), dimensions)

    return rule


def _sum(call: "Call") -> ModelTensor:
    """Of two tensors; adding a number is work that only the host does."""
    first, second = call.arguments["input"], call.arguments["other"]
    if isinstance(first, ModelTensor) and isinstance(second, ModelTensor):
        return rules.addition(call.builder, call.operation, [first, second])
    return _arithmetic(call)


def _arithmetic(call: "Call") -> ModelTensor:
    """Of the network's input with numbers or constants, by the host; a product with 0 is a tensor of zeros."""
    given = [call.arguments[name] for name in ("input", "other")]
    values = [value for value in given if isinstance(value, ModelTensor)]
    numbers = [value for value in given if isinstance(value, (int, float)) and not isinstance(value, bool)]
    name, number = getattr(call.operation, "what", ""), numbers[0] if numbers else None
    if name in ("mul", "mul_", "imul") and number == 0:
        return ModelTensor(ZEROS, values[0].maps, call.operation.shape, moved=call.operation)
    is_neutral = number == (0 if name in ("add", "add_", "iadd", "sub", "isub") else 1)
    if is_neutral and isinstance(given[0], ModelTensor) and len(values) == 1:
        return rules.dropped(call.builder, call.operation, given[0], "changes nothing")
    if any(isinstance(value, Weight) and value.name is not None for value in given) or len(values) != 1 or not values[0].is_input:
        raise Refused(f"the operation {name} is not supported")
    return rules.host(call.builder, call.operation, values)


def _concatenation(call: "Call") -> ModelTensor:
    by_dim, by_axis = call.arguments["dim"], call.arguments["axis"]
    dimension = by_dim if by_axis is None else by_axis
    return rules.concatenation(call.builder, call.operation, call.values("tensors"), dimension)


def _shortcut(call: "Call") -> ModelTensor:
    value = call.builder.maps(call.value())
    stride, channels = pair(call.arguments["stride"]), call.arguments["out_channels"]
    result = ModelTensor("", Shape(*call.operation.shape[1:]), call.operation.shape)
    keys = {"out_channels": channels, "stride": list(stride)}
    return call.builder.layer(call.operation, "shortcut", [value], result, **keys)


def _reshape(call: "Call") -> ModelTensor:
    """The shape of the result says what the arguments do."""
    if any(isinstance(argument, torch.dtype) for argument in (call.arguments.all().get("shape") or ())):
        raise Refused("as another type is not supported")
    return rules.reshape(call.builder, call.operation, call.value())


def _through(note: str) -> Callable[[Any], ModelTensor]:
    def rule(call: "Call") -> ModelTensor:
        return rules.dropped(call.builder, call.operation, call.value(), note)

    return rule


def _permutation(call: "Call") -> ModelTensor:
    return rules.permutation(call.builder, call.operation, call.value(), call.arguments["dims"])


def _transposition(call: "Call") -> ModelTensor:
    value = call.value()
    order = list(range(len(value.shape)))
    first, second = call.arguments["dim0"], call.arguments["dim1"]
    order[first], order[second] = order[second], order[first]
    return rules.permutation(call.builder, call.operation, value, order)


def _slicing(call: "Call") -> ModelTensor:
    value, index = call.value(), call.arguments["index"]
    parts = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        taken = len([part for part in parts if part is not None]) - 1
        parts[at : at + 1] = [slice(None)] * (len(value.shape) - taken)
    parts += [slice(None)] * (len(value.shape) - len([part for part in parts if part is not None]))
    parts = [part for part in parts if part is not None]
    parts = [slice(None) if part in (0, -1) and size == 1 else part for part, size in zip(parts, value.shape, strict=True)]
    if any(not isinstance(part, slice) for part in parts):
        return rules.host(call.builder, call.operation, [value])
    if len(call.operation.shape) != len(parts):  # dimensions of one element were taken out or put in
        if any(part != slice(None) for part in parts):
            raise Refused("takes a part of a tensor and changes its dimensions in one")
        return rules.reshape(call.builder, call.operation, value)
    return rules.slicing(call.builder, call.operation, value, parts)


def _padding(call: "Call") -> ModelTensor:
    value, given, mode = call.value(), call.arguments["pad"], call.arguments["mode"]
    if mode != "constant" or call.arguments["value"] not in (None, 0):
        raise Refused(f"mode={mode!r}, value={call.arguments['value']!r}: only padding with zeros is supported")
    pads = list(given) if isinstance(given, (list, tuple)) else [given] * 4
    sides = [(0, 0)] * (len(value.shape) - len(pads) // 2) + [tuple(pads[at : at + 2]) for at in range(len(pads) - 2, -1, -2)]
    return rules.padding(call.builder, call.operation, value, sides)


def _padding_module(call: "Call") -> ModelTensor:
    if "value" in call.arguments and call.arguments["value"] != 0:
        raise Refused(f"value={call.arguments['value']!r}: only padding with zeros is supported")
    left, right, above, below = call.arguments["padding"]
    return rules.padding(call.builder, call.operation, call.value(), [(0, 0), (0, 0), (above, below), (left, right)])


def _loss_part(call: "Call") -> ModelTensor:
    return rules.loss_part(call.builder, call.operation, call.value(), call.arguments["dim"])


def _host(call: "Call") -> ModelTensor:
    """Any rearrangement of the network's input."""
    values = [call.value()]
    if not values[0].is_input:
        raise Refused("moves values between channels, rows and columns or takes a part of them, which no layer of a trace can do")
    call.arguments.all()
    return rules.host(call.builder, call.operation, values)


def _zeros(call: "Call") -> ModelTensor:
    call.arguments.all()
    return ModelTensor(ZEROS, Shape(1, 1, 1), call.operation.shape, moved=call.operation)


_CONV = "kernel_size=* in_channels=* out_channels=* stride padding dilation groups padding_mode='zeros' output_padding=0"
_BATCH = "num_features=* eps=* momentum=* affine=* track_running_stats=*"
_MAX = "kernel_size stride=None padding=0 dilation=1 ceil_mode=False return_indices=False"
_AVERAGE = "kernel_size stride=None padding=0 ceil_mode=False count_include_pad=True divisor_override=None"

MODULES: dict[type, Row] = {
    nn.Conv2d: _module(_CONV, _convolution),
    nn.Linear: _module("in_features=* out_features=*", _linear),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d), _module(_BATCH, _normalization)),
    nn.GroupNorm: _module("num_groups=* num_channels=* eps=* affine=*", _normalization),
    **dict.fromkeys((nn.ReLU, nn.SiLU, nn.Mish, nn.Hardswish), _module("inplace=*", _activation)),
    nn.ReLU6: _module("inplace=* min_val=* max_val=*", _activation),
    nn.Hardtanh: _module("min_val=* max_val=* inplace=* min_value=* max_value=*", _activation),
    nn.LeakyReLU: _module("negative_slope=* inplace=*", _activation),
    nn.ELU: _module("alpha=* inplace=*", _activation),
    nn.GELU: _module("approximate=*", _activation),
    **dict.fromkeys((nn.Sigmoid, nn.Tanh), _module("", _activation)),
    nn.MaxPool2d: _module(_MAX, _pooling("maxpool")),
    nn.AvgPool2d: _module(_AVERAGE, _pooling("avgpool")),
    nn.AdaptiveAvgPool2d: _module("output_size", _adaptive_pooling("avgpool")),
    nn.AdaptiveMaxPool2d: _module("output_size return_indices=False", _adaptive_pooling("maxpool")),
    nn.ZeroPad2d: _module("padding value=0", _padding_module),
    nn.ConstantPad2d: _module("padding value", _padding_module),
    nn.Flatten: _module("start_dim end_dim", _reshape),
    nn.Unflatten: _module("dim unflattened_size", _reshape),
    nn.Identity: _module("args=* kwargs=*", _through(rules.SHAPE_ONLY)),
    **dict.fromkeys((nn.Dropout, nn.Dropout2d), _module("p=* inplace=*", _through(_DROPPED))),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), _module("dim", _loss_part)),
    nn.PixelUnshuffle: _module("downscale_factor", _host),
    Add: Row("*tensors", lambda call: rules.addition(call.builder, call.operation, call.values("tensors"))),
    Concat: Row("*tensors", lambda call: rules.concatenation(call.builder, call.operation, call.values("tensors"), 1)),
    Shortcut: _module("out_channels stride", _shortcut),
}

_TWO = "input other"
_SUM = "input other alpha=1 out=None"

FUNCTIONS: dict[Callable[..., Any] | str, Row] = {
    functional.conv2d: Row("input weight bias=None stride=1 padding=0 dilation=1 groups=1", _convolution),
    functional.linear: Row("input weight bias=None", _linear),
    functional.batch_norm: Row("input running_mean=* running_var=* weight=None bias=None training=* momentum=* eps=*", _normalization),
    functional.group_norm: Row("input num_groups=* weight=None bias=None eps=*", _normalization),
    **dict.fromkeys((operator.add, operator.iadd), Row(_TWO, _sum)),
    **dict.fromkeys((torch.add, "add", "add_"), Row(_SUM, _sum)),
    **dict.fromkeys((operator.mul, operator.imul, operator.truediv, operator.itruediv), Row(_TWO, _arithmetic)),
    **dict.fromkeys((torch.mul, "mul", "mul_"), Row("input other out=None", _arithmetic)),
    **dict.fromkeys((torch.div, "div", "div_"), Row("input other rounding_mode=None out=None", _arithmetic)),
    **dict.fromkeys((operator.sub, operator.isub), Row(_TWO, _arithmetic)),
    **dict.fromkeys((torch.sub, "sub", "sub_"), Row(_SUM, _arithmetic)),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), Row("tensors dim=0 out=None axis=None", _concatenation)),
    **dict.fromkeys((functional.relu, functional.relu6, functional.silu), Row("input inplace=*", _activation)),
    **dict.fromkeys((torch.relu, "relu", "relu_", torch.relu_), Row("input", _activation)),
    functional.gelu: Row("input approximate=*", _activation),
    functional.leaky_relu: Row("input negative_slope=* inplace=*", _activation),
    **dict.fromkeys((functional.max_pool2d, torch.max_pool2d), Row(f"input {_MAX}", _pooling("maxpool"))),
    functional.avg_pool2d: Row(f"input {_AVERAGE}", _pooling("avgpool")),
    functional.adaptive_avg_pool2d: Row("input output_size", _adaptive_pooling("avgpool")),
    functional.adaptive_max_pool2d: Row("input output_size return_indices=False", _adaptive_pooling("maxpool")),
    **dict.fromkeys((torch.mean, "mean"), Row("input dim=None keepdim=False dtype=None out=None", _whole_pooling("avgpool"))),
    **dict.fromkeys((torch.amax, "amax"), Row("input dim=None keepdim=False out=None", _whole_pooling("maxpool"))),
    **dict.fromkeys((torch.flatten, "flatten"), Row("input start_dim=0 end_dim=-1", _reshape)),
    "view": Row("input *shape", _reshape),
    **dict.fromkeys((torch.reshape, "reshape"), Row("input *shape", _reshape)),
    **dict.fromkeys((torch.squeeze, "squeeze"), Row("input dim=None", _reshape)),
    **dict.fromkeys((torch.unsqueeze, "unsqueeze"), Row("input dim", _reshape)),
    **dict.fromkeys((torch.unflatten, "unflatten"), Row("input dim sizes", _reshape)),
    "contiguous": Row("input memory_format=*", _through(rules.SHAPE_ONLY)),
    **dict.fromkeys((torch.permute, "permute"), Row("input *dims", _permutation)),
    **dict.fromkeys((torch.transpose, "transpose", torch.swapaxes, "swapaxes"), Row("input dim0 dim1", _transposition)),
    operator.getitem: Row("input index", _slicing),
    functional.pad: Row("input pad mode='constant' value=None", _padding),
    functional.dropout: Row("input p=* training=* inplace=*", _through(_DROPPED)),
    functional.dropout2d: Row("input p=* training=* inplace=*", _through(_DROPPED)),
    **dict.fromkeys((functional.log_softmax, functional.softmax), Row("input dim=None _stacklevel=* dtype=None", _loss_part)),
    **dict.fromkeys((torch.log_softmax, torch.softmax, "log_softmax", "softmax"), Row("input dim dtype=None", _loss_part)),
    functional.pixel_unshuffle: Row("input downscale_factor", _host),
    **dict.fromkeys((torch.flip, "flip"), Row("input *dims", _host)),
    torch.zeros: Row("*size out=None dtype=* layout=* device=* requires_grad=* pin_memory=*", _zeros),
    "new_zeros": Row("input *size dtype=* layout=* device=* requires_grad=* pin_memory=*", _zeros),
    torch.zeros_like: Row("input dtype=* layout=* device=* requires_grad=* memory_format=*", _zeros),
}

IN_PLACE = (*OPERATORS, "add_", "mul_", "sub_", "div_", "relu_", torch.relu_)
VIEWS = (
    nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout2d, torch.flatten, "flatten", "view", torch.reshape, "reshape",
    torch.squeeze, "squeeze", torch.unsqueeze, "unsqueeze", torch.unflatten, "unflatten", "contiguous", torch.permute, "permute",
    torch.transpose, "transpose", torch.swapaxes, "swapaxes", operator.getitem, functional.dropout, functional.dropout2d,
)  # fmt: skip
"""What gives the elements of its first argument, not a copy."""
