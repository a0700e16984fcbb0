"""What the emitters of an iteration share: units, tensors, the operations of the report, and how a unit looks to the planner."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from etasim.config import Architecture
from etasim.config.data import Data
from etasim.core.errors import InfeasibleError, Reason
from etasim.mapping.folding import as_convolution, fold_of
from etasim.mapping.scales import COPY
from etasim.mapping.steps import Lanes, lanes_of, raw_contents, with_scales
from etasim.mapping.tensors import Content, Memory, Tensor
from etasim.mapping.tiles import ELEMENTS_OF_A_BYTE, Rows, Tile
from etasim.mapping.values import Grouping, UnitTensors, grouping
from etasim.mapping.works import Convolve, Gradients, Operands, ResultMaps
from etasim.ops import OpSchema, Pass
from etasim.schedule.array import ArraySizes, array_of
from etasim.schedule.mappers import mapper_of
from etasim.schedule.nest import Nest, nest_of
from etasim.schedule.patterns import Pattern, backward, forward, inserted_backward, inserted_gradient
from etasim.schedule.pinning import pinned, pins_of
from etasim.schedule.problem import NOTHING_FOLLOWS, Band, ConvProblem, Follow, Pinned, Plan
from etasim.schedule.tiling import ceil_div
from etasim.workload import Layer, Network
from etasim.workload.lowering import Unit, lower


@dataclass
class Operation:
    """A row of the report: a layer, part of ``unit``, in a phase. ``nest`` for what the PE array computes, and ``pins``: the plan as an
    architecture pins it; ``products``: those of its MACs that meet no padding."""

    layer: str
    phase: str
    kind: str
    macs: int
    zero_insertion_macs: int
    unit: int = -1
    nest: Nest | None = None
    pins: dict[str, Any] = field(default_factory=dict)
    compulsory_bytes: dict[str, int] = field(default_factory=dict)
    products: int = 0


class AskedPlan(NamedTuple):
    """A convolution as the planner was asked for it: ``layer.phase``, its problem, and what is pinned of it."""

    name: str
    problem: ConvProblem
    pins: Pinned


class Planned(NamedTuple):
    """A convolution of one channel group, the plan chosen for it, and its loops."""

    problem: ConvProblem
    plan: Plan
    nest: Nest


class Iteration:
    """State of the mapping of one iteration. ``current``: the operation under way; ``asked``: convolutions that were planned."""

    def __init__(self, architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...]):
        self.architecture, self.network, self.batch, self.phases = architecture, network, batch, phases
        self.array: ArraySizes = array_of(architecture)
        self.lanes = lanes_of(architecture)
        self.memory = Memory(architecture.dram)
        self.units = lower(network)
        readers = [unit.head for unit in self.units if -1 in unit.inputs]
        lanes = self.array.lanes
        self.fold = fold_of(architecture.data.input_layout, readers, network.input_shape, lanes)
        shape = self.fold.folded.in_shape if self.fold else network.input_shape
        size = shape.height, shape.width
        self.values = UnitTensors(architecture, lanes, self.memory, batch, self.units, shape.channels, size, self._stretches())
        self.operations: list[Operation] = []
        self.current = 0
        self.asked: list[AskedPlan] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._unit_of = {layer.name: unit.index for unit in self.units for layer in unit.layers}

    @property
    def trains(self) -> bool:
        """Whether the iteration keeps what BP and WG need."""
        return "bp" in self.phases or "wg" in self.phases

    def _stretches(self) -> dict[int, tuple[int, int]]:
        """Strides of the convolutions whose errors are stored with zeros."""
        if not self.architecture.array.zero_insertion:
            return {}
        layers = {unit.index: self.convolution(unit) for unit in self.units if unit.is_convolution}
        strides = {index: (layer.stride_height, layer.stride_width) for index, layer in layers.items()}
        return {index: stride for index, stride in strides.items() if stride != (1, 1)}

    def over_batch(self, unit: Unit) -> bool:
        """Whether the normalization of ``unit`` takes its statistics from all samples, and so waits for the last one."""
        return unit.norm is not None and self.architecture.numerics.normalization == "batch"

    def norm_schema(self, unit: Unit) -> OpSchema | None:
        """How the normalization of ``unit`` is done. Raises InfeasibleError for a running scale without filters before it."""
        if unit.norm is None:
            return None
        schema = unit.norm.schema
        found = schema.variants.get(self.architecture.numerics.normalization, schema)
        if found.update_weights is not None and not unit.is_convolution:
            reason = f"{unit.norm.name}: follows no convolution or linear layer, whose filters a running scale needs"
            raise InfeasibleError(Reason(reason, key="numerics.normalization", layer=unit.norm.name))
        return found

    def in_pieces(self, unit: Unit) -> bool:
        """Whether the normalization of ``unit``, and its error, need no whole planes: rows, which fill whole bytes, will do."""
        schema = self.norm_schema(unit)
        is_aligned = unit.head.out_width * self.array.lanes % ELEMENTS_OF_A_BYTE == 0
        return schema is not None and schema.in_pieces and is_aligned and self.values.stretch(unit.index) == (1, 1)

    def begin(self, layer: Layer, phase: str, planned: "Planned | None" = None) -> int:
        """Number of the operation ``layer`` x ``phase``, new or known, which is under way from now on."""
        key = (layer.name, phase)
        if key not in self._numbers:
            works = phase in self.network.phases_of(layer)
            macs = self.batch * layer.macs_per_sample_in(phase) if works else 0
            inserted = self.batch * layer.zero_insertion_macs_per_sample(phase) if works else 0
            self._numbers[key] = len(self.operations)
            compulsory = compulsory_bytes(layer, phase, self.batch, self.architecture.data) if works else {}
            unit = self._unit_of[layer.name]
            products = self.batch * products_per_sample(layer) if works and macs else 0
            self.operations.append(Operation(layer.name, phase, layer.kind, macs, inserted, unit, None, {}, compulsory, products))
        self.current = self._numbers[key]
        if planned:  # also of one that began with what the unified core does first
            self.operations[self.current].nest = planned.nest
            self.operations[self.current].pins = pins_of(planned.plan, phase, self.array)
        return self.current

    def located(self, error: InfeasibleError) -> InfeasibleError:
        """``error`` with the layer and phase under way, if it is about one and does not say which."""
        if not self.operations or any(reason.layer or reason.key.startswith("dram.") for reason in error.reasons):
            return error
        at = self.operations[self.current]
        reasons = (reason._replace(message=f"{at.layer} ({at.phase}): {reason.message}", layer=at.layer) for reason in error.reasons)
        return InfeasibleError(*reasons, changes=error.changes)

    def convolution(self, unit: Unit) -> Layer:
        """The convolution that the array computes for a unit: a linear layer reads its input's maps with a kernel of their size, the
        first layer the input as the host lays it out."""
        head = unit.head
        if self.fold is not None and head is self.fold.head:
            return self.fold.folded
        return as_convolution(head, self.units[unit.inputs[0]].layers[-1].out_shape if unit.inputs[0] >= 0 else self.network.input_shape)

    def grouping(self, unit: Unit) -> Grouping:
        return grouping(self.convolution(unit), self.array.lanes, self.values.blocks[unit.inputs[0]])

    def problem(self, unit: Unit, phase: str, follow: Follow = NOTHING_FOLLOWS) -> ConvProblem:
        """The convolution of one channel group as the planner sees it."""
        layer, groups, data = self.convolution(unit), self.grouping(unit), self.architecture.data
        blocks = (groups.output_blocks, groups.input_blocks) if phase == "bp" else (groups.input_blocks, groups.output_blocks)
        stream, stationary = self._operands(unit, phase)
        return ConvProblem(
            name=unit.name, phase=phase, patterns=self._patterns(unit, layer, phase),
            kernel_positions=layer.kernel_height * layer.kernel_width, stream_blocks=blocks[0], result_blocks=blocks[1], batch=self.batch,
            stream_vector_bits=self._vector_bits(stream), stationary_vector_bits=self._vector_bits(stationary),
            result_element_bytes=result_bytes(phase, data), follow=follow, product_bits=stream.bits + stationary.bits,
        )  # fmt: skip

    def _operands(self, unit: Unit, phase: str) -> tuple[Content, Content]:
        """What a convolution reads: the streamed maps, and what is held."""
        values, source = self.values, unit.inputs[0]
        if phase == "wg":
            return values.content(source, "output", second=True), values.content(unit.index, "error", second=True)
        streamed, layer = values.content(source, "output") if phase == "ff" else values.content(unit.index, "error"), self.convolution(unit)
        positions = layer.kernel_height * layer.kernel_width
        return streamed, values.weight_content(unit.index, "weight", self.grouping(unit), positions, second=phase == "bp")

    def _vector_bits(self, content: Content) -> int:
        """Of the lanes of a pixel or weight."""
        return content.stored.vector_bits if content.stored is not None else self.array.lanes * content.bits

    def _patterns(self, unit: Unit, layer: Layer, phase: str) -> tuple[Pattern, ...]:
        if phase == "ff":
            return (forward(layer),)
        if unit.index in self.values.stretches:
            return inserted_backward(layer) if phase == "bp" else (inserted_gradient(layer),)
        return backward(layer) if phase == "bp" else (forward(layer),)

    def planned(self, unit: Unit, phase: str, follow: Follow = NOTHING_FOLLOWS) -> Planned:
        """How a convolution is laid onto the array in a phase. Raises InfeasibleError if it fits no tiling."""
        problem = self.problem(unit, phase, follow)
        pins = pinned(self.architecture, unit.name, phase)
        self.asked.append(AskedPlan(f"{unit.name}.{phase}", problem, pins))
        chosen = mapper_of(self.architecture.mapper)(self.array, problem, 1, pins)[0]
        return Planned(problem, chosen, nest_of(self.array, problem, chosen))

    def convolve(self, unit: Unit, phase: str, planned: Planned, operands: Operands, results: ResultMaps | Gradients) -> Convolve:
        """One channel group of a convolution."""
        operation, kernel_width = self.begin(unit.head, phase, planned), self.convolution(unit).kernel_width
        return Convolve(operation, self.array, *planned, operands, kernel_width, results)

    def copies_for_gradients(self, unit: Unit) -> bool:
        """Whether FF of ``unit`` writes the copy of its output that WG reads."""
        return "wg" in self.phases and self.writes_copies and self.values.second_output(unit.index)

    @property
    def writes_copies(self) -> bool:
        """Whether who makes codes that share scales makes them for both directions."""
        return self.architecture.numerics.second_direction in (None, COPY)

    def planes(self, index: int) -> tuple[int, int, int]:
        """Blocks, samples, and elements of each plane of the output of unit ``index``."""
        return self.values.blocks[index], self.batch, self.values.elements(index)

    def weights(self, unit: Unit, role: str, second: bool = False) -> Tensor:
        layer = self.convolution(unit)
        return self.values.weights(unit.index, role, self.grouping(unit), layer.kernel_height * layer.kernel_width, second)

    def whole(self, chosen: Plan) -> bool:
        """Whether finished tiles hold whole planes, so that the unified core can go on with them in place."""
        height = self._height(chosen)
        return all(band.first_row == 0 and band.end_row == height for band in chosen.bands)

    @staticmethod
    def _height(chosen: Plan) -> int:
        return max(band.end_row for band in chosen.bands)

    def tile(self, index: int, first_block: int, blocks: tuple[int, int], band: Band, height: int) -> Tile:
        """A tile of results of the array, in maps of unit ``index`` that are ``height`` rows high; blocks count from ``first_block``."""
        row = self.values.elements(index) // height
        whole = (band.first_row, band.end_row) == (0, height)
        end_sample = band.first_sample + band.n_samples
        return Tile(
            (first_block + blocks[0], first_block + blocks[1]), (band.first_sample, end_sample),
            None if whole else (band.first_row * row, band.end_row * row), is_last=(end_sample, band.end_row) == (self.batch, height),
        )  # fmt: skip

    def rows(self, unit: Unit, backward: bool) -> Rows:
        """How the rows of a pooling layer's or a shortcut's maps meet, forward or for the error of its input."""
        head, lanes = unit.head, self.array.lanes
        out_row, in_row = head.out_width * lanes, head.in_width * lanes
        stride, pad, kernel = head.stride_height, head.pad_height, head.kernel_height
        if backward:
            return Rows(
                head.in_height, head.out_height, in_row, out_row,
                lambda first, end: (ceil_div(first + pad - kernel + 1, stride), (end - 1 + pad) // stride + 1),
            )  # fmt: skip
        return Rows(
            head.out_height, head.in_height, out_row, in_row,
            lambda first, end: (first * stride - pad, (end - 1) * stride - pad + kernel),
        )  # fmt: skip

    def error_rows(self, unit: Unit) -> Rows | None:
        """How the rows of a stretched error and of the maps that it is made from meet; None for an error as large as these."""
        (down, across), head, lanes = self.values.stretch(unit.index), unit.head, self.array.lanes
        if (down, across) == (1, 1):
            return None
        row = head.out_width * lanes
        return Rows(
            down * head.out_height, head.out_height, across * row, row, lambda first, end: (first // down, (end - 1) // down + 1)
        )  # fmt: skip


def following(
    lanes: Lanes, n_elements: int, steps: Sequence[Pass], kept: Content, loads: Iterable[Content], stores: Sequence[Content],
    is_hidden: bool = False, in_pieces: bool = False, core_is_next: bool = False,
) -> Follow:  # fmt: skip
    """What follows the results ``kept`` of the array, ``n_elements`` a plane: ``steps`` on ``lanes`` with what they load and store beside
    these."""
    raw, steps = raw_contents(stores), with_scales(steps, stores)
    loaded, stored, waiting = (sum(8 * content.plane_bytes for content in contents) / n_elements for contents in (loads, stores, raw))
    work = float(lanes.of_element(steps, n_elements))
    return Follow(len(steps), work, loaded, stored, kept.bits + loaded + stored + waiting, is_hidden, in_pieces, core_is_next)


def result_bytes(phase: str, data: Data) -> int:
    """Bytes of an element that the array writes."""
    return (data.weight_gradient_bits if phase == "wg" else data.pre_normalization_bits) // 8


@lru_cache(maxsize=4096)
def products_per_sample(layer: Layer) -> int:
    """Multiply-accumulates of a convolution whose operand lies in the map, not in its padding: the same in FF, BP and WG."""
    taps, pairs = forward(layer).taps, layer.out_channels * (layer.in_channels // layer.groups)
    rows = [sum(0 <= i * layer.stride_height + tap.dy < layer.in_height for i in range(layer.out_height)) for tap in taps]
    cols = [sum(0 <= j * layer.stride_width + tap.dx < layer.in_width for j in range(layer.out_width)) for tap in taps]
    return pairs * sum(down * across for down, across in zip(rows, cols, strict=True))


@lru_cache(maxsize=4096)
def compulsory_bytes(layer: Layer, phase: str, batch: int, data: Data) -> dict[str, int]:
    """Bytes that a convolution moves at the least: every operand element that a product needs, and the weight gradients, once."""
    taps = forward(layer).taps
    rows = {i * layer.stride_height + tap.dy for tap in taps for i in range(layer.out_height)}
    cols = {j * layer.stride_width + tap.dx for tap in taps for j in range(layer.out_width)}
    n_inputs = len(rows & set(range(layer.in_height))) * len(cols & set(range(layer.in_width)))
    inputs = batch * layer.in_channels * n_inputs * data.activation_bits // 8
    met_rows = {(i, tap.dy) for tap in taps for i in range(layer.out_height) if 0 <= i * layer.stride_height + tap.dy < layer.in_height}
    met_cols = {(j, tap.dx) for tap in taps for j in range(layer.out_width) if 0 <= j * layer.stride_width + tap.dx < layer.in_width}
    n_met = len({i for i, _ in met_rows}) * len({j for j, _ in met_cols})
    met = batch * layer.out_channels * n_met * data.error_bits // 8
    errors = batch * layer.out_channels * layer.out_height * layer.out_width * data.error_bits // 8
    n_taps = len({dy for _, dy in met_rows}) * len({dx for _, dx in met_cols})  # the others meet no pixel
    weights = layer.weights // len(taps) * n_taps * data.weight_bits // 8
    return {
        "ff": {"dram_read_activation_bytes": inputs, "dram_read_weight_bytes": weights},
        "bp": {"dram_read_error_bytes": met, "dram_read_weight_bytes": weights},
        "wg": {
            "dram_read_activation_bytes": inputs,
            "dram_read_error_bytes": errors,
            "dram_write_weight_gradient_bytes": layer.weights * data.weight_gradient_bits // 8,
        },
    }[phase]
