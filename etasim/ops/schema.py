"""What an operation is, said once: the row that traces, layers, the mapper, the functional machine and the importers read.

A module of this folder adds its row to `OPERATIONS`; so does a module of a package beside etasim (`etasim.core.registry`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from etasim.core import registry

SAME, OWN, JOINED, PADDED = "same", "own", "joined", "padded"
"""Where the channels of an output lie: as those of the (first) input, in blocks of its own, part by part, as those of the input with
others behind them."""

NORMALIZATION, ACTIVATION = "normalization", "activation"
"""What can follow an operation without leaving the chip."""

LARGEST_KERNEL = 2**18
"""Positions of a kernel, and of strides within one: the planner has a table of them. A linear layer reads its maps with as many."""


class LaneWork(NamedTuple):
    """What a lane does, by its units: products of up to 25 x 18 bit, additions (also roundings, comparisons), quotients. The schedule of
    `docs/models/arithmetic.md` that they follow from is `docs/models/lane_work.md`."""

    multiplies: int = 0
    adds: int = 0
    divides: int = 0

    def slots(self, multipliers: int, adders: int, divider_cycles: int) -> int:
        """Cycles in which a lane takes no other element: units are pipelined, a divider is not."""
        return max(-(-self.multiplies // multipliers), -(-self.adds // adders), self.divides * divider_cycles)


NO_WORK = LaneWork()


@dataclass(frozen=True)
class Pass:
    """One pass of the unified core over a tile.

    ``reads``, ``writes``: roles (`etasim.program.roles.ROLES`) of its operands and of its results; a command has those of them that its
    unit has. ``work``: elements that go through a lane for each of the tile's (numerator, denominator), of each pixel of its window if
    ``per_window``. ``each``: what a lane does to one of these; ``of_plane``: once for each lane of a plane.
    ``kernel``: ``module:name`` of what it does to values, with pieces of operands at hand if it ``streams`` (`etasim.functional.passes`).
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    kernel: str
    streams: bool = True
    work: tuple[int, int] = (1, 1)
    per_window: bool = False
    each: LaneWork = NO_WORK
    of_plane: LaneWork = NO_WORK


def _first(shapes: Sequence[Any]) -> Any:
    return shapes[0]


def as_many_channels(layer: Any) -> Iterator[tuple[str, str]]:
    """Faults of a layer whose output has other channels than its input."""
    if layer.out_channels != layer.in_channels:
        yield "out_channels", f"must be the input's {layer.in_channels} channels, got {layer.out_channels}"


def any_channels(_layer: Any) -> Iterator[tuple[str, str]]:
    """No faults: the output has the channels that the layer says."""
    return iter(())


@dataclass(frozen=True)
class OpSchema:
    """An operation: ``op`` of a layer in a trace, ``kind`` of a `etasim.workload.Layer`.

    The layer. ``keys`` of a trace beside name, op and from. ``joins`` two inputs at least, else it reads one. ``joined(shapes)``: the shape
    that it reads; ValueError says why its inputs do not join. ``flattens``: it reads maps as channels of one pixel. ``pools``: its windows
    follow each other where no stride is given. ``faults(layer)``: (field, message) of what is wrong. ``channel_parameters``: trained
    values for each channel, beside weights and biases. ``is_loss``: it ends the network.

    The unit. ``on_array``: the PE array computes it, with weights. ``fuses``: what may follow it on the chip, in order; ``fused_as``: what
    it is there itself. ``channels`` of its output: SAME, OWN, JOINED, PADDED. ``keeps_exponent``: its output has that of its input.

    The passes. ``forward``: from operands to the output; the first of them is done while the array drains if ``is_drained``. ``keeps``:
    roles of what FF leaves for BP and WU. ``error``: from the contributions to the unit's error, where it is not masked alone.
    ``in_pieces``: neither needs a whole plane. ``brings``, ``error_brings``: roles of per-channel values that the lanes need first.
    ``backward``: from the error to a contribution to its input's; None: the error itself is one. ``activation``: ``module:name`` of a
    kernel ``(pieces, row, mask, n_elements, unit)`` (`etasim.functional.activations`).

    A normalization. ``variants``: what takes its place, by ``numerics.normalization``. Of those: ``gradient``, what follows WG;
    ``update_weights``, on weights in WU, for which the lanes need ``update_brings``; ``update``, on what belongs to channels.

    The importers. ``torch``, ``onnx``: names of the modules, functions, methods or operators that are it to the last bit, with the
    arguments for which they are.
    """

    keys: tuple[str, ...] = ()
    joins: bool = False
    joined: Callable[[Sequence[Any]], Any] = _first
    flattens: bool = False
    pools: bool = False
    faults: Callable[[Any], Iterator[tuple[str, str]]] = as_many_channels
    channel_parameters: int = 0
    is_loss: bool = False
    on_array: bool = False
    fuses: tuple[str, ...] = ()
    fused_as: str = ""
    channels: str = SAME
    keeps_exponent: bool = False
    forward: tuple[Pass, ...] = ()
    is_drained: bool = False
    keeps: tuple[str, ...] = ()
    error: tuple[Pass, ...] = ()
    in_pieces: bool = False
    brings: tuple[str, ...] = ()
    error_brings: tuple[str, ...] = ()
    backward: Pass | None = None
    variants: "Mapping[str, OpSchema]" = field(default_factory=dict)
    gradient: Pass | None = None
    update_weights: Pass | None = None
    update_brings: tuple[str, ...] = ()
    update: tuple[Pass, ...] = ()
    activation: str = ""
    torch: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    onnx: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_trained(self) -> bool:
        """Whether a layer has weights or parameters whatever its keys."""
        return self.on_array or self.channel_parameters > 0

    @property
    def passes(self) -> tuple[Pass, ...]:
        """All passes of its own."""
        single = (self.backward, self.gradient, self.update_weights)
        return (*self.forward, *self.error, *(step for step in single if step), *self.update)

    @property
    def reads_sums(self) -> bool:
        """Whether BP reads what FF has normalized."""
        return any("pre_normalization" in step.reads for step in self.error)


OPERATIONS: registry.Registry[OpSchema] = registry.OPERATIONS
