"""One layer of a network: its shape algebra and the multiply-accumulate operations of training it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from etasim.config.errors import allowed_names
from etasim.ops import OPERATIONS, OpSchema
from etasim.ops.schema import LARGEST_KERNEL

MAC_PHASES = ("ff", "bp", "wg")

LARGEST_SIDE = 2**20
"""Channels, rows, columns and any side of a window."""

LARGEST_MAP = 2**32
"""Elements of one sample's maps: what the largest DRAM holds of them."""

LARGEST_WEIGHTS = 2**36

_WINDOW = {"kernel": 1, "stride": 1, "pad": 0, "pad_end": 0, "dilation": 1}
"""Neutral values of the window parameters."""


class Shape(NamedTuple):
    """Size of one sample's feature maps."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels} x {self.height} x {self.width}"


class Fault(NamedTuple):
    """What is wrong with one layer; ``field`` is a field of Layer, or empty for the layer as a whole."""

    layer: str
    field: str
    message: str


class NetworkError(ValueError):
    """A layer or network that cannot be; ``faults`` lists why."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.layer}.{fault.field}: {fault.message}" for fault in self.faults))


@dataclass(frozen=True)
class Layer:
    """A layer and the shapes of one sample that it reads and writes.

    ``inputs`` names the layers it reads (``input`` is the network's input). A ``linear`` layer is a 1 x 1 convolution
    of 1 x 1 maps whose channels are the flattened input. A ``shortcut`` takes every stride-th pixel and adds zero
    channels up to ``out_channels``; it has no parameters. ``pad_height`` rows lie above the maps and ``pad_end_height`` below, as many
    if that is not given; so do columns.

    Raises NetworkError, with all faults, for a layer that cannot be.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    in_channels: int
    out_channels: int
    in_height: int = 1
    in_width: int = 1
    kernel_height: int = 1
    kernel_width: int = 1
    stride_height: int = 1
    stride_width: int = 1
    pad_height: int = 0
    pad_width: int = 0
    dilation_height: int = 1
    dilation_width: int = 1
    groups: int = 1
    bias: bool = False
    pad_end_height: int = None  # type: ignore[assignment]  # as many as before, once constructed
    pad_end_width: int = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for axis in ("height", "width"):
            if getattr(self, f"pad_end_{axis}") is None:
                object.__setattr__(self, f"pad_end_{axis}", getattr(self, f"pad_{axis}"))
        faults = list(_value_faults(self)) or list(_shape_faults(self)) or list(_size_faults(self))
        if faults:
            raise NetworkError(Fault(self.name, field, message) for field, message in faults)

    @property
    def in_shape(self) -> Shape:
        """Shape of one sample at the input."""
        return Shape(self.in_channels, self.in_height, self.in_width)

    @property
    def out_shape(self) -> Shape:
        """Shape of one sample at the output."""
        return Shape(self.out_channels, self.out_height, self.out_width)

    @cached_property
    def out_height(self) -> int:
        """Rows of the output maps (P)."""
        return _positions(self, "height")

    @cached_property
    def out_width(self) -> int:
        """Columns of the output maps (Q)."""
        return _positions(self, "width")

    @property
    def schema(self) -> OpSchema:
        """The operation."""
        return OPERATIONS[self.kind]

    @property
    def weights(self) -> int:
        """Elements of the weight tensor, K * C / groups * R * S; zero without one."""
        if not self.schema.on_array:
            return 0
        return self.out_channels * (self.in_channels // self.groups) * self.kernel_height * self.kernel_width

    @property
    def parameters(self) -> int:
        """Trained values: weights and biases; scale and offset of a normalization for each channel."""
        return self.weights + self.out_channels * (self.schema.channel_parameters + self.bias)

    @property
    def macs_per_sample(self) -> int:
        """Multiply-accumulates of the forward pass, P * Q * K * C / groups * R * S; padded positions count.

        The weight gradient needs as many, the backward pass as many or fewer: see `macs_per_sample_in`.
        """
        return self.out_height * self.out_width * self.weights

    def macs_per_sample_in(self, phase: str) -> int:
        """Multiply-accumulates of ``ff``, ``bp`` or ``wg``.

        The backward pass gives padding no error: it has no more than each input pixel with the kernel positions that meet it, which are
        fewer than those of the forward pass where padding makes the maps grow.
        """
        if phase != "bp":
            return self.macs_per_sample
        met = [min(_positions(self, axis) * getattr(self, f"kernel_{axis}"), _meetings(self, axis)) for axis in ("height", "width")]
        return met[0] * met[1] * self.out_channels * (self.in_channels // self.groups) if self.schema.on_array else 0

    def zero_insertion_macs_per_sample(self, phase: str) -> int:
        """Multiply-accumulates of a design that inserts zeros for the stride, in ``ff``, ``bp`` or ``wg``.

        Such a design stretches the output error dO to stride * P rows and stride * Q columns, and runs both the
        backward pass and the weight gradient as stride-1 convolutions over the stretched maps, which multiplies the
        work of both by stride_height * stride_width. The forward pass needs no insertion.
        """
        if phase == "ff":
            return self.macs_per_sample
        return self.macs_per_sample * self.stride_height * self.stride_width


def _along(layer: Layer, axis: str, *names: str) -> tuple[int, ...]:
    """Fields of ``layer`` along ``axis`` (``height`` or ``width``)."""
    return tuple(getattr(layer, f"{name}_{axis}") for name in names)


def _positions(layer: Layer, axis: str) -> int:
    """Window positions along ``axis`` (``height`` or ``width``); less than one if the window does not fit."""
    size, kernel, stride, dilation = _along(layer, axis, "in", "kernel", "stride", "dilation")
    return (size + _padding(layer, axis) - dilation * (kernel - 1) - 1) // stride + 1


def _padding(layer: Layer, axis: str) -> int:
    """Padding on both sides together."""
    return sum(_along(layer, axis, "pad", "pad_end"))


def _meetings(layer: Layer, axis: str) -> int:
    """Pairs of an input pixel and a kernel position along ``axis`` that some window position brings together, on maps without end."""
    size, kernel, stride, pad, dilation = _along(layer, axis, "in", "kernel", "stride", "pad", "dilation")
    first = ((position * dilation - pad) % stride for position in range(kernel))
    return sum(-(-(size - pixel) // stride) for pixel in first if pixel < size)


def _value_faults(layer: Layer) -> Iterator[tuple[str, str]]:
    """Faults of single values, as (field, message)."""
    if layer.kind not in OPERATIONS:
        yield "kind", f"unknown kind {layer.kind!r}; {allowed_names(layer.kind, OPERATIONS)}"
        return
    schema, applies = layer.schema, {*layer.schema.keys}
    if "padding" in applies:
        applies |= {"pad", "pad_end"}
    for field in ("in_channels", "out_channels", "in_height", "in_width", "groups"):
        if getattr(layer, field) < 1:
            yield field, f"must be at least 1, got {getattr(layer, field)}"
        elif getattr(layer, field) > LARGEST_SIDE and not schema.flattens:
            yield field, f"must be at most {LARGEST_SIDE:,}, got {getattr(layer, field):,}"
    for name, neutral in _WINDOW.items():
        for field in (f"{name}_height", f"{name}_width"):
            value = getattr(layer, field)
            if name in applies and not neutral <= value <= LARGEST_SIDE:
                yield field, f"must be from {neutral} to {LARGEST_SIDE:,}, got {value:,}"
            elif name not in applies and value != neutral:
                yield field, f"does not apply to a layer of kind {layer.kind}"
    if layer.groups != 1 and "groups" not in applies:
        yield "groups", f"does not apply to a layer of kind {layer.kind}"
    if layer.bias and "bias" not in applies:
        yield "bias", f"does not apply to a layer of kind {layer.kind}"
    if schema.joins and len(layer.inputs) < 2:
        yield "inputs", f"a layer of kind {layer.kind} needs at least two inputs, got {len(layer.inputs)}"
    if not schema.joins and len(layer.inputs) != 1:
        yield "inputs", f"a layer of kind {layer.kind} needs exactly one input, got {len(layer.inputs)}"


def _size_faults(layer: Layer) -> Iterator[tuple[str, str]]:
    """What is too large to be planned, as (field, message), before any table of it is made."""
    for field, shape in (("in_channels", layer.in_shape), ("out_channels", layer.out_shape)):
        elements = shape.channels * shape.height * shape.width
        if elements > LARGEST_MAP:
            yield field, f"maps of {shape} have {elements:,} elements, at most {LARGEST_MAP:,} are possible"
    positions = layer.kernel_height * layer.kernel_width
    classes = min(layer.stride_height, layer.in_height) * min(layer.stride_width, layer.in_width)
    if layer.schema.on_array and positions * classes > LARGEST_KERNEL:
        what = f"{positions:,} kernel positions times {classes:,} strides"
        yield "kernel_height", f"{what}, at most {LARGEST_KERNEL:,} are possible"
    if layer.weights > LARGEST_WEIGHTS:
        yield "out_channels", f"{layer.weights:,} weights, at most {LARGEST_WEIGHTS:,} are possible"


def _shape_faults(layer: Layer) -> Iterator[tuple[str, str]]:
    """Faults between values that are each possible, as (field, message)."""
    for axis in ("height", "width"):
        yield from _window_faults(layer, axis)
    for field in ("in_channels", "out_channels"):
        if getattr(layer, field) % layer.groups:
            yield "groups", f"must divide {field} = {getattr(layer, field)}, got {layer.groups}"
    yield from layer.schema.faults(layer)


def _window_faults(layer: Layer, axis: str) -> Iterator[tuple[str, str]]:
    """Faults of the windows along ``axis``, as (field, message)."""
    if _positions(layer, axis) < 1:
        size, padding = getattr(layer, f"in_{axis}"), _padding(layer, axis)
        span = getattr(layer, f"dilation_{axis}") * (getattr(layer, f"kernel_{axis}") - 1) + 1
        yield f"kernel_{axis}", f"the kernel spans {span} pixels, the padded input has {size + padding} (input {size}, padding {padding})"
