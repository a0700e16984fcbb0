"""The tensors that a unit leaves in DRAM during an iteration, created when they are first needed."""

from dataclasses import dataclass
from math import gcd, prod

from etasim.config import Architecture
from etasim.core.errors import InfeasibleError, Reason
from etasim.mapping.folding import Fold
from etasim.mapping.scales import has_second, packed, stored
from etasim.mapping.tensors import Content, Memory, Tensor
from etasim.ops import JOINED, OWN, PADDED
from etasim.program.commands import MAX_READS
from etasim.program.roles import tensor_number
from etasim.schedule.tiling import ceil_div
from etasim.workload.layer import Layer
from etasim.workload.lowering import Unit

STATISTICS_PER_CHANNEL = 2  # mean and spread
PARAMETERS_PER_CHANNEL = 2  # scale and offset; a bias is an offset
SIDED_MASK_BITS = 2  # whether errors pass, and the side of zero
LABEL_BITS = 32
NARROWEST_WINDOW_BITS = 4
SECOND = ".second"
"""Ends the name of a copy with scales along another axis."""


@dataclass(frozen=True)
class Grouping:
    """Channel groups of a convolution merged until each fills whole channel blocks (zeros stand between the merged ones)."""

    n_groups: int
    input_blocks: int
    output_blocks: int


@dataclass(frozen=True)
class Layout:
    """Where the values of an iteration lie: units, channel blocks of their outputs (-1: the network's input) and the channels that fill
    them one behind the other (`UnitTensors`), groups of convolutions, tensors in DRAM by unit and role; ``fold``: how the host lays out
    the input, None: as it is; ``never_stored``: names of tensors that live on chip alone."""

    lanes: int
    batch: int
    units: tuple[Unit, ...]
    fold: Fold | None
    blocks: dict[int, int]
    dense_channels: dict[int, tuple[int, ...]]
    groupings: dict[int, Grouping]
    tensors: dict[tuple[int, str], Tensor]
    never_stored: frozenset[str] = frozenset()


def grouping(layer: Layer, lanes: int, input_blocks: int) -> Grouping:
    """Merged groups of ``layer`` and the channel blocks of one of them; one dense group if the input's blocks do not line up."""
    per_input, per_output = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    merged = 1
    if layer.groups > 1:
        merged = max(lanes // gcd(per_input, lanes), lanes // gcd(per_output, lanes))
        if layer.groups % merged or input_blocks * lanes != layer.in_channels:
            merged = layer.groups
    n_groups = layer.groups // merged
    if n_groups == 1:
        return Grouping(1, input_blocks, ceil_div(layer.out_channels, lanes))
    return Grouping(n_groups, merged * per_input // lanes, merged * per_output // lanes)


class UnitTensors:
    """Tensors by unit and role. Roles of feature maps: output, pre_normalization, mask, statistic, window, error, partial.

    ``dense_channels`` [unit]: numbers of channels of its output (-1: the network's input) that fill blocks one behind the other; what
    follows begins at a block of its own. ``stretches`` [unit]: (rows, columns) by which zeros stretch the error of a unit's output, where
    they do.
    """

    def __init__(
        self, architecture: Architecture, lanes: int, memory: Memory, batch: int, units: tuple[Unit, ...], input_channels: int,
        input_pixels: tuple[int, int], stretches: dict[int, tuple[int, int]],
    ):  # fmt: skip
        self.architecture, self.lanes, self.memory, self.batch = architecture, lanes, memory, batch
        self.units, self.input_channels, self.stretches = units, input_channels, stretches
        self.dense_channels: dict[int, tuple[int, ...]] = {-1: (input_channels,)}
        self.pixels: dict[int, int] = {-1: prod(input_pixels)}
        self.widths: dict[int, int] = {-1: input_pixels[1]}
        for unit in units:
            self.dense_channels[unit.index] = self._dense_channels(unit)
            self._refuse_bad_sum(unit)
            shape = unit.layers[-1].out_shape
            self.pixels[unit.index], self.widths[unit.index] = shape.height * shape.width, shape.width
        self.blocks = {index: sum(ceil_div(n, lanes) for n in dense) for index, dense in self.dense_channels.items()}
        self._tensors: dict[tuple[int, str], Tensor] = {}

    def _dense_channels(self, unit: Unit) -> tuple[int, ...]:
        """A concatenation's parts begin at blocks of their own, unless the part before fills its last block."""
        head, before = unit.head, self.dense_channels[unit.inputs[0]]
        if head.schema.channels == JOINED:
            dense: list[int] = []
            for n_channels in (n for i in unit.inputs for n in self.dense_channels[i]):
                if dense and dense[-1] % self.lanes == 0:
                    dense[-1] += n_channels
                else:
                    dense.append(n_channels)
            return tuple(dense)
        if head.schema.channels == OWN:
            return (head.out_channels,)
        if head.schema.channels == PADDED:
            return (*before[:-1], before[-1] + head.out_channels - head.in_channels)
        return before

    def _refuse_bad_sum(self, unit: Unit) -> None:
        """Raises InfeasibleError for maps that cannot be added, in whatever phase: their errors lie as differently as their values."""
        if not unit.head.schema.joins or unit.head.schema.channels == JOINED:
            return
        reason = ""
        if len({self.dense_channels[i] for i in unit.inputs}) > 1:
            reason = f"adds maps that lie differently: a concatenation joined maps whose channels do not fill {self.lanes} lanes"
        elif len(unit.inputs) > MAX_READS:
            reason = f"the unified core adds at most {MAX_READS} maps at once, got {len(unit.inputs)}"
        if reason:
            raise InfeasibleError(Reason(f"{unit.head.name}: {reason}", layer=unit.head.name))

    def layout(self, fold: Fold | None, groupings: dict[int, Grouping], never_stored: frozenset[str]) -> Layout:
        """What the functional machine needs to know of the tensors that exist."""
        blocks, dense_channels = dict(self.blocks), dict(self.dense_channels)
        return Layout(self.lanes, self.batch, self.units, fold, blocks, dense_channels, groupings, dict(self._tensors), never_stored)

    def elements(self, index: int) -> int:
        """Elements of one plane (a channel block of a sample) of a unit's output."""
        return self.pixels[index] * self.lanes

    def stretch(self, index: int) -> tuple[int, int]:
        """Rows and columns that a row and a column of the error of unit ``index`` take, zeros included."""
        return self.stretches.get(index, (1, 1))

    def _kind(self, index: int, role: str) -> tuple[str, int]:
        """Tensor class and bits of a feature map."""
        data = self.architecture.data
        if role == "window":
            return "mask", self._window_bits(index)
        return {
            "output": ("activation", data.activation_bits),
            "pre_normalization": ("pre_normalization", data.pre_normalization_bits),
            "mask": ("mask", self._mask_bits(index)),
            "error": ("error", data.error_bits),
            "partial": ("error", data.pre_normalization_bits),
        }[role]

    def _mask_bits(self, index: int) -> int:
        """Bits of the mask of unit ``index``."""
        has_sides = self.units[index].norm is not None and self.architecture.numerics.normalization == "running"
        return SIDED_MASK_BITS if has_sides else 1

    def _window_bits(self, index: int) -> int:
        """Bits that tell the positions of a pooling window apart: a power of two, so that elements do not cross bytes."""
        head, bits = self.units[index].head, NARROWEST_WINDOW_BITS
        while head.kernel_height * head.kernel_width > 1 << bits:
            bits *= 2
        return bits

    def content(self, index: int, role: str, second: bool = False) -> Content:
        """What a feature map of unit ``index`` holds, in DRAM or not; ``second``: the copy that WG reads, where there is one."""
        down, across = self.stretch(index) if role == "error" else (1, 1)
        along_pixels, home = second and has_second(self.architecture, role), self._home(index) if role == "output" else index
        extent = self.batch * self.pixels[index] if along_pixels else self.blocks[home] * self.lanes
        codes = stored(self.architecture, role, extent, self.widths[index] * across)
        if index < 0 and self.architecture.data.input_layout == "packed":
            codes = packed(self.input_channels, self.lanes, self.widths[index], self.architecture.data.activation_bits)
        return Content(tensor_number(index, role), self.elements(index) * down * across, self._kind(index, role)[1], stored=codes)

    def map(self, index: int, role: str, second: bool = False) -> Tensor:
        """A feature map of unit ``index`` (-1: the network's input), one plane for each channel block and sample; ``second``: the copy that
        WG reads, where there is one."""
        second = second and has_second(self.architecture, role)
        key = (index, f"{role}{SECOND}" if second else role)
        if key not in self._tensors:
            joined = self._part_of_concatenation(index, second) if role == "output" and index >= 0 else None
            self._tensors[key] = joined or self._new_map(index, role, second)
        return self._tensors[key]

    def _new_map(self, index: int, role: str, second: bool) -> Tensor:
        name = f"{'input' if index < 0 else self.units[index].name}.{role}{SECOND if second else ''}"
        content = self.content(index, role, second)
        tensor = self.memory.tensor(name, self._kind(index, role)[0], self.blocks[index], self.batch, content)
        tensor.from_host = index < 0
        return tensor

    def _home(self, index: int) -> int:
        """The unit in whose output that of unit ``index`` lies: itself, or the outermost concatenation."""
        joins = [c for c in (self.units[index].consumers if index >= 0 else ()) if self.units[c].head.schema.channels == JOINED]
        return self._home(joins[0]) if joins else index

    def _part_of_concatenation(self, index: int, second: bool) -> Tensor | None:
        """A branch writes straight into the concatenation that reads it (the first one, if there are several)."""
        for consumer in self.units[index].consumers:
            if self.units[consumer].head.schema.channels == JOINED:
                first, _ = next(part for part in self.parts(consumer) if part[1] == index)
                return self.map(consumer, "output", second).slice(first, self.blocks[index])
        return None

    def second_output(self, index: int) -> bool:
        """Whether WG reads the output of unit ``index`` from a copy of its own."""
        consumers = [self.units[c] for c in self.units[index].consumers]
        reads = any(c.is_convolution or (c.head.schema.channels == JOINED and self.second_output(c.index)) for c in consumers)
        return reads and has_second(self.architecture, "output")

    def parts(self, concat: int) -> list[tuple[int, int]]:
        """(first channel block, unit) of each map that the concatenation ``concat`` joins."""
        inputs = self.units[concat].inputs
        return [(sum(self.blocks[i] for i in inputs[:position]), index) for position, index in enumerate(inputs)]

    def per_channel(self, index: int, role: str) -> Tensor:
        """Statistics (per sample, but running ones), or parameters and their gradient, momentum and master copy (per block), of a unit's
        channels."""
        key = (index, role)
        if key not in self._tensors:
            data = self.architecture.data
            tensor_class, bits, count, grain = {
                "statistic": ("statistic", data.statistic_bits, STATISTICS_PER_CHANNEL, self._statistic_grain()),
                "parameter": ("master_weight", data.master_weight_bits, PARAMETERS_PER_CHANNEL, "block"),
                "parameter_momentum": ("momentum", data.momentum_bits, PARAMETERS_PER_CHANNEL, "block"),
                "parameter_gradient": ("weight_gradient", data.weight_gradient_bits, PARAMETERS_PER_CHANNEL, "block"),
                **dict.fromkeys(("magnitude", "spread", "radial", "filter_mean"), ("statistic", data.statistic_bits, 1, "block")),
            }[role]
            name = f"{self.units[index].name}.{role}"
            content = Content(tensor_number(index, role), self.lanes * count, bits, grain)
            planes = self.batch if grain == "plane" else 1
            self._tensors[key] = self.memory.tensor(name, tensor_class, self.blocks[index], planes, content)
        return self._tensors[key]

    def _statistic_grain(self) -> str:
        """Whether each sample has statistics of its own."""
        return "block" if self.architecture.numerics.normalization == "batch" else "plane"

    def labels(self, index: int) -> Tensor:
        """The class of each sample, read by the loss ``index``."""
        key = (index, "label")
        if key not in self._tensors:
            content = Content(tensor_number(index, "label"), self.batch, LABEL_BITS, "block")
            self._tensors[key] = self.memory.tensor(f"{self.units[index].name}.label", "activation", 1, 1, content)
            self._tensors[key].from_host = True
        return self._tensors[key]

    def weights(self, index: int, role: str, groups: Grouping, kernel_positions: int, second: bool = False) -> Tensor:
        """Weights of a convolution, or their gradient, master copy or momentum: one plane for each output block of each group; ``second``:
        the copy that BP reads, where there is one."""
        key = (index, f"{role}{SECOND}" if second and has_second(self.architecture, role) else role)
        if key not in self._tensors:
            content, name = self.weight_content(index, role, groups, kernel_positions, second), f"{self.units[index].name}.{key[1]}"
            self._tensors[key] = self.memory.tensor(name, role, groups.n_groups * groups.output_blocks, 1, content)
        return self._tensors[key]

    def weight_content(self, index: int, role: str, groups: Grouping, kernel_positions: int, second: bool = False) -> Content:
        """What `weights` hold, in DRAM or not."""
        data = self.architecture.data
        bits = {
            "weight": data.weight_bits,
            "weight_gradient": data.weight_gradient_bits,
            "master_weight": data.master_weight_bits,
            "momentum": data.momentum_bits,
        }[role]
        along_outputs = second and has_second(self.architecture, role)
        extent = self.lanes * (groups.output_blocks if along_outputs else groups.input_blocks)
        elements = groups.input_blocks * kernel_positions * self.lanes**2
        return Content(tensor_number(index, role), elements, bits, stored=stored(self.architecture, role, extent, self.lanes))
