"""A network as the reference walks it: units, their shapes, who owns an exponent, who contributes to an error."""

from functools import cached_property

from etasim.numerics.reference.value import Key
from etasim.workload import INPUT, Network, Shape
from etasim.workload.lowering import Unit, lower

SAME_EXPONENT_KINDS = ("maxpool", "shortcut")
"""Heads whose output has, as that of an activation, the exponent of their input, unless it lies in a concatenation."""


class Graph:
    """Units of a network by index, -1 being the network's input; all answers follow from the network alone."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.units: tuple[Unit, ...] = lower(network)

    @property
    def loss(self) -> Unit:
        """The last unit."""
        return self.units[-1]

    def name(self, index: int) -> str:
        """Name of unit ``index`` in keys of tensors."""
        return self.units[index].name if index >= 0 else INPUT

    def shape(self, index: int) -> Shape:
        """Shape of one sample of the output of unit ``index``."""
        return self.units[index].layers[-1].out_shape if index >= 0 else self.network.input_shape

    def weight_shape(self, unit: Unit) -> tuple[int, int, int, int]:
        """[K, C / groups, R, S] of the convolution that heads a unit; the kernel of a linear layer covers the maps that it reads."""
        head = unit.head
        if head.kind == "linear":
            return (head.out_channels, *self.shape(unit.inputs[0]))
        return (head.out_channels, head.in_channels // head.groups, head.kernel_height, head.kernel_width)

    def segments(self, index: int) -> tuple[int, ...]:
        """Channels of each of the maps that concatenations joined in the output of unit ``index``; a shortcut adds to the last."""
        if index < 0:
            return (self.network.input_shape.channels,)
        unit = self.units[index]
        if unit.head.kind == "concat":
            return tuple(channels for i in unit.inputs for channels in self.segments(i))
        if unit.is_convolution:
            return (unit.head.out_channels,)
        before = self.segments(unit.inputs[0])
        if unit.head.kind == "shortcut":
            return (*before[:-1], before[-1] + unit.head.out_channels - unit.head.in_channels)
        return before

    def normalization_segments(self, unit: Unit) -> tuple[int, ...]:
        """Channels of each of the maps that the normalization of a unit reads; no group spans two of them."""
        return self.segments(unit.index if unit.is_convolution else unit.inputs[0])

    def needs_error(self, index: int) -> bool:
        """Whether the output of unit ``index`` collects contributions to its error."""
        return index >= 0 and self.units[index].needs_error

    def output_owner(self, index: int) -> int:
        """The unit whose output has the exponent that the output of unit ``index`` shares."""
        if index < 0:
            return index
        unit = self.units[index]
        concatenation = next((reader for reader in unit.consumers if self.units[reader].head.kind == "concat"), None)
        if concatenation is not None:
            return self.output_owner(concatenation)
        selects = unit.head.kind in SAME_EXPONENT_KINDS or unit.head is unit.activation
        return self.output_owner(unit.inputs[0]) if selects else index

    @cached_property
    def _output_owners(self) -> dict[Key, Key]:
        return {(self.name(i), "output"): (self.name(self.output_owner(i)), "output") for i in range(-1, len(self.units))}

    def owner(self, key: Key) -> Key:
        """The tensor that owns the exponent of tensor ``key``: itself, but for outputs that share one."""
        return self._output_owners.get(key, key)
