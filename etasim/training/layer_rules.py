"""How the operations of any model become layers of a trace; Refused where a trace cannot hold them.

Each function takes the builder, the operation and the values that it reads, and returns the value that it writes.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from etasim.training.arguments import Refused
from etasim.training.import_report import APPROXIMATED, MODELLED
from etasim.training.tensors import (
    CHANNELS,
    COLUMNS,
    NO_BORDER,
    PIXELS,
    ROWS,
    SAMPLES,
    ZEROS,
    Border,
    ModelOperation,
    ModelTensor,
    Sides,
    Taken,
    permuted,
    text,
)  # fmt: skip
from etasim.training.trace_builder import TraceBuilder, Weight
from etasim.workload.layer import Shape

SHAPE_ONLY = "no work: only the shape changes"
LOSS_PART = "part of the loss"
BY_HOST = "done by the host, before the network"
_NOTHING = "changes nothing"
_ZEROS_LAST = "all channels of zeros stand behind the others"


def convolution(
    builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, weights: Sequence[Weight], *,
    stride: tuple[int, int], padding: Border,
    dilation: tuple[int, int], groups: int,
) -> ModelTensor:  # fmt: skip
    """Of maps with weights [K, C / groups, R, S], and a bias if there are two of them."""
    value = builder.maps(value, allows_border=True)
    shape = weights[0].shape
    keys: dict[str, Any] = {
        "kernel": list(shape[2:]),
        "stride": list(stride),
        "padding": _joined(padding, value.border),
        "dilation": list(dilation),
    }
    result = ModelTensor(operation.name, Shape(*operation.shape[1:]), operation.shape)
    return builder.layer(
        operation, "conv", [value], result, weights=weights, out_channels=shape[0], groups=groups, bias=len(weights) > 1, **keys
    )


def linear(
    builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, weights: Sequence[Weight], out_features: int
) -> ModelTensor:
    """Of all features of a sample; of the channels of each pixel, which is a 1 x 1 convolution."""
    keys: dict[str, Any] = {"out_channels": out_features, "bias": len(weights) > 1}
    groups = value.groups(builder.samples) if len(value.shape) > 2 else None
    is_pixelwise = groups is not None and groups[0] == (SAMPLES,) and groups[-1] == (CHANNELS,)
    if not is_pixelwise:
        value = builder.features(value)
        result = ModelTensor(operation.name, Shape(out_features, 1, 1), operation.shape)
        return builder.layer(operation, "linear", [value], result, weights=weights, **keys)
    value = builder.view(value)
    result = replace(value, maps=value.maps._replace(channels=out_features), shape=operation.shape)
    return builder.layer(operation, "conv", [value], result, weights=weights, kernel=1, **keys)


def bias(builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, weight: Weight, n_readers: int) -> ModelTensor:
    """A constant that is added to the sums of a layer, which nothing else reads, is its bias."""
    channels = value.maps.channels
    groups = value.groups(builder.samples)
    at = None if groups is None else next((d for d, group in enumerate(groups) if group == (CHANNELS,)), None)
    expected = [1] * len(operation.shape)
    if at is not None:
        expected[at] = channels
    shape = (*[1] * (len(operation.shape) - len(weight.shape)), *weight.shape)
    if at is None or list(shape) != expected or n_readers > 1 or not builder.takes_bias(value):
        raise Refused("adds a constant that is not the bias of a layer in front of it")
    builder.add_bias(operation, value, weight)
    return value


def normalization(
    builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, weights: Sequence[Weight], note: str, dimension: int = 1
) -> ModelTensor:
    """With a scale and an offset for each channel; ``dimension`` holds the channels."""
    value = builder.view(value)
    groups, channels = value.known_groups(builder.samples), value.maps.channels
    if groups[dimension] != (CHANNELS,) and not (channels == 1 == value.shape[dimension]):
        raise Refused(f"normalizes dimension {dimension} of {text(value.shape, builder.samples)}, which is not that of the channels")
    if [weight.shape for weight in weights] != [(channels,)] * 2:
        raise Refused(f"the machine's normalization has a scale and an offset for each of the {channels} channels, this one has not")
    return builder.layer(operation, "norm", [value], value, note, weights)


def activation(builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, note: str, kind: str = "relu") -> ModelTensor:
    """A layer ``kind``."""
    value = builder.view(value)
    return builder.layer(operation, kind, [value], value, note)


def addition(builder: TraceBuilder, operation: ModelOperation, values: Sequence[ModelTensor]) -> ModelTensor:
    """Of tensors that are alike."""
    if len(values) == 1:
        return builder.through(operation, values[0], _NOTHING)
    values = [builder.view(value) for value in values]
    first = values[0]
    for value in values:
        if value.maps != first.maps or value.groups(builder.samples) != first.groups(builder.samples) or value.shape != first.shape:
            shapes = " and ".join(f"{text(v.shape, builder.samples)} of maps [{', '.join(map(str, v.maps))}]" for v in (first, value))
            raise Refused(f"adds {shapes}; a trace adds maps of equal shapes")
    return builder.layer(operation, "add", values, replace(first, shape=operation.shape))


def concatenation(builder: TraceBuilder, operation: ModelOperation, values: Sequence[ModelTensor], dimension: int) -> ModelTensor:
    """Along the channels; channels of zeros make a shortcut."""
    dimension %= len(operation.shape)
    data = [value for value in values if value.layer != ZEROS]
    if len(data) == 1 and len(values) > 1:
        at = values.index(data[0])
        zeros = [sum(value.shape[dimension] for value in part) for part in (values[:at], values[at + 1 :])]
        sides = [(0, 0) if d != dimension else (zeros[0], zeros[1]) for d in range(len(operation.shape))]
        return padding(builder, operation, data[0], sides)
    if len(values) == 1:
        return builder.through(operation, replace(data[0], shape=operation.shape), _NOTHING)
    if any(value.is_input and value.order is None for value in data) and all(value.is_input for value in data):
        return builder.through(operation, builder.prepared(operation), BY_HOST)
    values = [builder.view(value) for value in values]
    first = values[0]
    for value in values:
        if not _begins_with_channels(builder, value, dimension) or value.order != first.order or value.maps[1:] != first.maps[1:]:
            raise Refused(f"along dimension {dimension} of {text(value.shape, builder.samples)}: only channels of equal maps are joined")
    maps = first.maps._replace(channels=sum(value.maps.channels for value in values))
    return builder.layer(operation, "concat", values, replace(first, maps=maps, shape=operation.shape))


def _begins_with_channels(builder: TraceBuilder, value: ModelTensor, dimension: int) -> bool:
    """Whether joining values along ``dimension`` is joining their channels."""
    if value.is_maps(builder.samples):
        return dimension == 1
    return value.known_groups(builder.samples)[dimension][:1] == (CHANNELS,)


def pooling(
    builder: TraceBuilder, operation: ModelOperation, op: str, value: ModelTensor, *, kernel: Sides, stride: Sides, padding: Border
) -> ModelTensor:
    """Of maps. Windows of a max pooling may reach over the end of the maps: ``padding`` is then what the model gives."""
    if kernel == (1, 1) and padding == NO_BORDER == value.border:
        return _strided(builder, operation, value, stride)
    value = builder.maps(value, allows_border=True)
    is_max = op == "maxpool"
    if is_max and value.border != NO_BORDER and not (builder.made(value.layer) == "relu" and builder.is_exact(value.layer)):
        raise Refused("zeros around maps are not the machine's padding of a max pooling, unless a ReLU made the maps")
    sides = _joined(padding, value.border)
    result = ModelTensor(operation.name, Shape(*operation.shape[1:]), operation.shape)
    for axis, (size, k, s) in enumerate(zip(value.maps[1:], kernel, stride, strict=True)):
        before, after = sides[axis]
        positions = operation.shape[2 + axis]
        if positions > (size + before + after - k) // s + 1:
            if not is_max:
                raise Refused("ceil_mode: windows that reach over the padding are averages of fewer pixels; the machine's are not")
            sides[axis][1] = (positions - 1) * s + k - size - before
    return builder.layer(operation, op, [value], result, kernel=list(kernel), stride=list(stride), padding=sides)


def _strided(builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, stride: tuple[int, int]) -> ModelTensor:
    """Every stride-th pixel, what a pooling with windows of one pixel takes."""
    if stride == (1, 1):
        return builder.through(operation, value, _NOTHING)
    steps = (slice(None), slice(None), slice(None, None, stride[0]), slice(None, None, stride[1]))
    return slicing(builder, operation, value, steps)


def whole_pooling(builder: TraceBuilder, operation: ModelOperation, op: str, value: ModelTensor, dimensions: Sequence[int]) -> ModelTensor:
    """Over all of ``dimensions``, which hold rows, columns or both."""
    value = builder.view(value)
    pooled = {dimension % len(value.shape) for dimension in dimensions}
    axes = {axis for dimension in pooled for axis in value.known_groups(builder.samples)[dimension]}
    if 0 in pooled or not axes <= PIXELS or (1 in pooled and value.is_maps(builder.samples)):
        raise Refused(f"over dimensions {sorted(pooled)} of {text(value.shape, builder.samples)}: only rows and columns are pooled")
    if not axes:
        return builder.through(operation, replace(value, shape=operation.shape), _NOTHING)
    kernel = [value.maps.height if ROWS in axes else 1, value.maps.width if COLUMNS in axes else 1]
    maps = Shape(value.maps.channels, value.maps.height // kernel[0], value.maps.width // kernel[1])
    return builder.layer(operation, op, [value], replace(value, maps=maps, shape=operation.shape), kernel=kernel)


def adaptive_pooling(builder: TraceBuilder, operation: ModelOperation, op: str, value: ModelTensor) -> ModelTensor:
    """To as many windows as the result has."""
    value = builder.maps(value)
    sizes, positions = value.maps[1:], operation.shape[2:]
    if any(size % count for size, count in zip(sizes, positions, strict=True)):
        raise Refused(f"from {sizes[0]} x {sizes[1]} to {positions[0]} x {positions[1]} has windows of different sizes")
    kernel = (sizes[0] // positions[0], sizes[1] // positions[1])
    return pooling(builder, operation, op, value, kernel=kernel, stride=kernel, padding=NO_BORDER)


def reshape(builder: TraceBuilder, operation: ModelOperation, value: ModelTensor) -> ModelTensor:
    """The same elements in the same order in other dimensions."""
    if prod(value.shape) != prod(operation.shape):
        raise Refused(f"from {text(value.shape, builder.samples)} to {text(operation.shape, builder.samples)} is not a reshape")
    value = _movable(builder, value)
    return builder.through(operation, replace(value, shape=operation.shape, moved=operation), SHAPE_ONLY)


def permutation(builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, dimensions: Sequence[int]) -> ModelTensor:
    """The dimensions in another order."""
    value = _movable(builder, value)
    order = permuted(value, builder.samples, tuple(d % len(value.shape) for d in dimensions))
    if order is None and not value.is_input:
        raise Refused(f"permutes parts of the axes of maps [{', '.join(map(str, value.maps))}], which no layer of a trace can do")
    return builder.through(operation, replace(value, shape=operation.shape, order=order, moved=operation), SHAPE_ONLY if order else BY_HOST)


def _movable(builder: TraceBuilder, value: ModelTensor) -> ModelTensor:
    """``value`` without a border, which cannot be reshaped."""
    if value.border == NO_BORDER:
        return value
    if value.is_input:
        return replace(value, order=None, border=NO_BORDER, taken=None)
    raise Refused("zeros around maps are supported in front of a convolution or pooling only", value.moved)


def slicing(builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, taken: Sequence[slice]) -> ModelTensor:
    """Every stride-th row and column of maps; all else is the host's work, of the network's input."""
    starts_and_steps = [_regular(part, size) for part, size in zip(taken, value.shape, strict=True)]
    if all(part == (0, 1) for part in starts_and_steps):
        return builder.through(operation, value, _NOTHING)
    if value.is_maps(builder.samples) and value.border == NO_BORDER and value.layer != ZEROS and None not in starts_and_steps:
        (first, *starts), (one, channel_step, *steps) = zip(*starts_and_steps, strict=True)
        if not any((first, *starts)) and one == channel_step == 1:
            return _shortcut(builder, operation, value, tuple(steps), (0, 0))
    if value.is_input:
        return host(builder, operation, [value])
    raise Refused("takes a part of a tensor; a trace can take every stride-th row and column from the first on, of all channels")


def _regular(part: slice, size: int) -> tuple[int, int] | None:
    """Start and step of a slice that goes on to the end; None for any other."""
    start, stop, step = part.indices(size)
    return (start, step) if step > 0 and len(range(start, stop, step)) == len(range(start, size, step)) else None


def padding(builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, sides: Sequence[Sides]) -> ModelTensor:
    """Zeros before and after each dimension: channels of zeros make a shortcut, a border goes into the layer behind it."""
    if not any(map(any, sides)):
        return builder.through(operation, value, _NOTHING)
    is_possible = value.is_maps(builder.samples) and value.layer != ZEROS and not any(sides[0]) and min(map(min, sides)) >= 0
    if not is_possible:
        if value.is_input:
            return host(builder, operation, [value])
        raise Refused("pads something else than channels, rows and columns of maps [N, channels, rows, columns] with zeros")
    if any(sides[1]):
        value = _shortcut(builder, operation, value, (1, 1), sides[1])
    else:
        builder.record(operation, MODELLED)
    rows, columns = ((old[0] + new[0], old[1] + new[1]) for old, new in zip(value.border, sides[2:], strict=True))
    return replace(value, border=(rows, columns), shape=operation.shape, moved=operation)


def _shortcut(builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, stride: tuple[int, int], zeros: Sides) -> ModelTensor:
    """Fewer pixels and more channels, together with those that a shortcut before it took."""
    old = value.taken or Taken((1, 1), 0, 0, operation)
    taken = Taken((old.stride[0] * stride[0], old.stride[1] * stride[1]), old.before + zeros[0], old.after + zeros[1], operation)
    channels, height, width = value.maps
    maps = Shape(channels + sum(zeros), -(-height // stride[0]), -(-width // stride[1]))
    builder.record(operation, APPROXIMATED if zeros[0] else MODELLED, _ZEROS_LAST if zeros[0] else "")
    return replace(value, maps=maps, shape=operation.shape, taken=taken, moved=operation)


def loss_part(builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, dimension: int | None) -> ModelTensor:
    """A softmax over the classes."""
    rank = len(value.shape)
    if (1 if dimension is None else dimension % rank) != 1 or prod(value.shape) != builder.samples * value.shape[1]:
        raise Refused(f"along dimension {dimension} of {text(value.shape, builder.samples)}: only one over the classes is part of the loss")
    return builder.through(operation, replace(value, is_loss=True, moved=operation), LOSS_PART)


def dropped(builder: TraceBuilder, operation: ModelOperation, value: ModelTensor, note: str) -> ModelTensor:
    """An operation that the trace leaves out."""
    return builder.through(operation, value, note)


def host(builder: TraceBuilder, operation: ModelOperation, values: Sequence[ModelTensor]) -> ModelTensor:
    """Work on the network's input alone."""
    if len(values) != 1 or not values[0].is_input:
        raise Refused("is not supported")
    return builder.through(operation, builder.prepared(operation), BY_HOST)


def _joined(padding: Border, border: Border) -> list[list[int]]:
    return [[old + new for old, new in zip(*sides, strict=True)] for sides in zip(border, padding, strict=True)]
