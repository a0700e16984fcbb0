"""Maps an iteration: units and phases to operations, operations to commands.

FF runs the units in order. BP and WG visit them in reverse: the error of a unit's output is the sum of what its consumers
contribute; when the last contribution arrives the unified core turns it into the error at the unit's head (mask, normalization),
in the error buffer if the contribution is still there. WU follows at the end, or after each unit.
"""

from dataclasses import dataclass, field, replace
from functools import partial

from etasim.config import Architecture
from etasim.core.program import LOAD_ERROR, MAX_READS, STORE, Program
from etasim.mapping.array import InfeasibleError
from etasim.mapping.builder import Region
from etasim.mapping.context import Context
from etasim.mapping.convolution import GradientStationary, Operands, ResultStationary
from etasim.mapping.patterns import backward, forward
from etasim.mapping.pinning import pinned_split, refuse_unused
from etasim.mapping.plan import Band, Plan, Problem, ceil_div, plan
from etasim.mapping.tensors import Tensor
from etasim.mapping.values import Grouping, Values, grouping
from etasim.mapping.vector import Pass, Tile, VectorEmitter
from etasim.noc import Route
from etasim.workload import Layer, Network
from etasim.workload.lowering import PHASES, Unit, lower


@dataclass
class Operation:
    """A row of the report: a layer in a phase. ``plan`` for what the PE array computes; operations of one ``step`` overlap."""

    layer: str
    phase: str
    kind: str
    macs: int
    zero_insertion_macs: int
    step: int
    plan: Plan | None = None
    compulsory_bytes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Mapping:
    """A mapped iteration."""

    program: Program
    operations: tuple[Operation, ...]
    routes: tuple[Route, ...]
    tensors: tuple[Tensor, ...]


class Mapper:
    """Emission state of one iteration."""

    def __init__(self, architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...]):
        self.architecture, self.network, self.batch, self.phases = architecture, network, batch, phases
        self.context = Context(architecture, batch)
        self.vector = VectorEmitter(self.context)
        self.units = lower(network)
        lanes, shape = self.context.array.lanes, network.input_shape
        self.values = Values(self.context, self.units, ceil_div(shape.channels, lanes), shape.height * shape.width)
        self.operations: list[Operation] = []
        self._step = 0
        self._numbers: dict[tuple[str, str], int] = {}
        self._waiting = {unit.index: len([c for c in unit.consumers if self.units[c].needs_error]) for unit in self.units}
        self._addends: dict[int, list[Tensor]] = {unit.index: [] for unit in self.units}
        self._ready: set[int] = set()

    @property
    def trains(self) -> bool:
        """Whether the iteration keeps what BP and WG need."""
        return "bp" in self.phases or "wg" in self.phases

    def map(self) -> Mapping:
        """The program of the iteration's phases."""
        named = [f"{layer.name}.{phase}" for layer in self.network.layers for phase in self.network.phases_of(layer)]
        refuse_unused(self.architecture, named)
        if "ff" in self.phases:
            for unit in self.units:
                self._step += 1
                self._forward(unit)
        at_once = self.architecture.training.weight_update == "after_layer"
        for unit in reversed(self.units):
            self._step += 1
            if unit.needs_error:
                self._backward(unit)
            if "wu" in self.phases and at_once:
                self._update(unit)
        self._step += 1
        if "wu" in self.phases and not at_once:
            for unit in self.units:
                self._update(unit)
        return Mapping(self.context.builder.build(), tuple(self.operations), tuple(self.context.routes), tuple(self.context.memory.tensors))

    def _begin(self, layer: Layer, phase: str, chosen: Plan | None = None) -> None:
        """Book what follows to the operation ``layer`` x ``phase``."""
        key = (layer.name, phase)
        if key not in self._numbers:
            works = phase in self.network.phases_of(layer)
            macs = self.batch * layer.macs_per_sample if works else 0
            inserted = self.batch * layer.zero_insertion_macs_per_sample(phase) if works else 0
            self._numbers[key] = len(self.operations)
            compulsory = self._compulsory(layer, phase) if works else {}
            self.operations.append(Operation(layer.name, phase, layer.kind, macs, inserted, self._step, chosen, compulsory))
        self.context.builder.operation = self._numbers[key]

    def _compulsory(self, layer: Layer, phase: str) -> dict[str, int]:
        """Bytes that a convolution moves at the least: every operand element that a product needs, and the weight gradients, once."""
        data, taps = self.architecture.data, forward(layer).taps
        rows = {i * layer.stride_height + tap.dy for tap in taps for i in range(layer.out_height)}
        cols = {j * layer.stride_width + tap.dx for tap in taps for j in range(layer.out_width)}
        n_inputs = len(rows & set(range(layer.in_height))) * len(cols & set(range(layer.in_width)))
        inputs = self.batch * layer.in_channels * n_inputs * data.activation_bits // 8
        errors = self.batch * layer.out_channels * layer.out_height * layer.out_width * data.error_bits // 8
        weights = layer.weights * data.weight_bits // 8
        return {
            "ff": {"dram_read_activation_bytes": inputs, "dram_read_weight_bytes": weights},
            "bp": {"dram_read_error_bytes": errors, "dram_read_weight_bytes": weights},
            "wg": {
                "dram_read_activation_bytes": inputs,
                "dram_read_error_bytes": errors,
                "dram_write_weight_gradient_bytes": layer.weights * data.weight_gradient_bits // 8,
            },
        }[phase]

    # FF ----------------------------------------------------------------------------------------------------------

    def _forward(self, unit: Unit) -> None:
        if unit.is_convolution:
            self._convolve_forward(unit)
        elif unit.head.kind != "loss":
            self._forward_vector(unit)

    def _shape(self, unit: Unit) -> Layer:
        """The convolution that the array computes for a unit: a linear layer reads its input's maps with a kernel of their size."""
        head = unit.head
        if head.kind == "conv":
            return head
        shape = self.units[unit.inputs[0]].layers[-1].out_shape if unit.inputs[0] >= 0 else self.network.input_shape
        return replace(
            head, kind="conv", in_channels=shape.channels, in_height=shape.height, in_width=shape.width,
            kernel_height=shape.height, kernel_width=shape.width,
        )  # fmt: skip

    def _grouping(self, unit: Unit) -> Grouping:
        return grouping(self._shape(unit), self.context.array.lanes, self.values.blocks[unit.inputs[0]])

    def _problem(self, unit: Unit, phase: str) -> Problem:
        """The convolution of one channel group as the planner sees it."""
        layer, groups, data = self._shape(unit), self._grouping(unit), self.architecture.data
        blocks = (groups.output_blocks, groups.input_blocks) if phase == "bp" else (groups.input_blocks, groups.output_blocks)
        stream, stationary, result = {
            "ff": (data.activation_bits, data.weight_bits, data.pre_normalization_bits),
            "bp": (data.error_bits, data.weight_bits, data.pre_normalization_bits),
            "wg": (data.activation_bits, data.error_bits, data.weight_gradient_bits),
        }[phase]
        return Problem(
            name=unit.name, phase=phase, patterns=backward(layer) if phase == "bp" else (forward(layer),),
            kernel_positions=layer.kernel_height * layer.kernel_width, stream_blocks=blocks[0], result_blocks=blocks[1], batch=self.batch,
            stream_element_bytes=stream // 8, stationary_element_bytes=stationary // 8, result_element_bytes=result // 8,
        )  # fmt: skip

    def _weights(self, unit: Unit, role: str) -> Tensor:
        layer = self._shape(unit)
        return self.values.weights(unit.index, role, self._grouping(unit), layer.kernel_height * layer.kernel_width)

    def _convolve_forward(self, unit: Unit) -> None:
        problem, groups = self._problem(unit, "ff"), self._grouping(unit)
        chosen = plan(self.context.array, problem, pinned_split(self.architecture, unit.name, "ff"))
        source = self.values.map(unit.inputs[0], "output")
        for g in range(groups.n_groups):
            self._begin(unit.head, "ff", chosen)
            operands = Operands(source, g * groups.input_blocks, self._weights(unit, "weight"), g * groups.output_blocks)
            done = partial(self._finish_forward, unit, g * groups.output_blocks)
            ResultStationary(self.context, problem, chosen, operands, self._shape(unit).kernel_width, done).emit()
        if not self._whole(chosen):
            self._normalize(unit, self.values.map(unit.index, "pre_normalization"))

    def _whole(self, chosen: Plan) -> bool:
        """Whether finished tiles hold whole planes, so that the unified core can go on with them in place."""
        height = self._height(chosen)
        return all(band.first_row == 0 and band.end_row == height for band in chosen.bands)

    @staticmethod
    def _height(chosen: Plan) -> int:
        return max(band.end_row for band in chosen.bands)

    def _finish_forward(self, unit: Unit, first_block: int, blocks: tuple[int, int], band: Band, region: Region) -> None:
        """What follows a tile of FF results: keep the sums for BP, normalise in place if the planes are whole."""
        height = unit.head.out_height
        whole = (band.first_row, band.end_row) == (0, height)
        tile = Tile((first_block + blocks[0], first_block + blocks[1]), (band.first_sample, band.first_sample + band.n_samples))
        if not whole or (unit.norm is not None and self.trains):
            sums = self.values.map(unit.index, "pre_normalization")
            row_bytes = sums.plane_bytes // height
            piece = (band.first_row * row_bytes, band.end_row * row_bytes)
            self.context.transfer(STORE, region, 0, sums, tile.blocks, tile.samples, piece)
        if whole:
            passes, outputs, per_plane = self._normalization(unit)
            self._begin(unit.norm or unit.head, "ff")
            self.vector.configure(per_plane, tile)
            inputs = [self.values.map(unit.index, "pre_normalization")] if unit.norm else [None]
            self.vector.passes(passes, tile, tile.n_planes * self.values.elements(unit.index), {0: region}, inputs, outputs)
            self._begin(unit.head, "ff")

    def _normalization(self, unit: Unit) -> tuple[list[Pass], list[Tensor], list[Tensor]]:
        """Passes, results and per-channel values that take a unit from sums (or codes) to its output."""
        outputs = [self.values.map(unit.index, "output")]
        if unit.relu is not None and self.trains:
            outputs.append(self.values.map(unit.index, "mask"))
        if unit.norm is None:
            per_plane = [self.values.per_channel(unit.index, "parameter")] if unit.head.bias else []
            return [Pass("requantise", (0,), tuple(range(len(outputs))))], outputs, per_plane
        if self.trains:
            outputs.append(self.values.per_channel(unit.index, "statistic"))
        passes = [Pass("norm_spread", (0,)), Pass("norm_apply", (0,), tuple(range(len(outputs))))]
        return passes, outputs, [self.values.per_channel(unit.index, "parameter")]

    def _normalize(self, unit: Unit, source: Tensor) -> None:
        """Normalization, or requantisation, as an operation of its own: sums come from DRAM."""
        passes, outputs, per_plane = self._normalization(unit)
        self._begin(unit.norm or unit.head, "ff")
        index = unit.index
        if unit.norm is not None and unit.head is unit.norm:
            passes = [Pass("norm_spread", (0,)), *passes]
        self.vector.stream(passes, self.values.blocks[index], self.batch, self.values.elements(index), [source], outputs, per_plane)

    def _forward_vector(self, unit: Unit) -> None:
        """FF of a unit that the unified core computes alone."""
        kind, index, values = unit.head.kind, unit.index, self.values
        if kind == "norm":
            self._normalize(unit, values.map(unit.inputs[0], "output"))
            return
        self._begin(unit.head, "ff")
        sources = [values.map(i, "output") for i in unit.inputs]
        outputs = [values.map(index, "output")]
        if kind == "concat":
            self._copy_into_concatenation(unit)
            return
        if self.trains and (unit.relu is not None or kind == "relu"):
            outputs.append(values.map(index, "mask"))
        if self.trains and kind == "maxpool":
            outputs.append(values.map(index, "window"))
        work = self._work(unit)
        blocks, batch, elements = values.blocks[index], self.batch, values.elements(index)
        if kind == "shortcut":
            blocks = values.blocks[unit.inputs[0]]
        if len(sources) > MAX_READS:
            raise InfeasibleError(f"{unit.name}: the unified core adds at most {MAX_READS} maps at once, got {len(sources)}")
        self.vector.stream(
            [Pass(kind, tuple(range(len(sources))), tuple(range(len(outputs))), work)], blocks, batch, elements, sources, outputs
        )

    def _copy_into_concatenation(self, unit: Unit) -> None:
        """Inputs that do not already lie in the concatenation are copied into it."""
        target = self.values.map(unit.index, "output")
        for i in dict.fromkeys(unit.inputs):
            part = target.slice(self.values.offset_in(unit.index, i), self.values.blocks[i])
            source = self.values.map(i, "output")
            if source.address != part.address:
                self.vector.stream([Pass("add", (0,), (0,))], self.values.blocks[i], self.batch, self.values.elements(i), [source], [part])

    def _work(self, unit: Unit) -> tuple[int, int]:
        """Lane operations per output element: the window of a pooling layer, one otherwise."""
        head = unit.head
        return (head.kernel_height * head.kernel_width, 1) if head.kind in ("maxpool", "avgpool") else (1, 1)

    # BP and WG ---------------------------------------------------------------------------------------------------

    def _backward(self, unit: Unit) -> None:
        """The unit's own error, then what it contributes to its inputs, then its weight gradient."""
        backward_phase = "bp" in self.phases
        if unit.head.kind == "loss":
            if backward_phase:
                self._begin(unit.head, "bp")
                self._generate(unit, Pass("loss", (0,), (0,), (4, 1)), [self.values.map(unit.inputs[0], "output")])
            return
        if backward_phase and unit.index not in self._ready:
            self._error(unit)
        if unit.is_convolution:
            if backward_phase and self.network.has_input_gradient(unit.name):
                self._convolve_backward(unit)
            if "wg" in self.phases and unit.head.weights:
                self._weight_gradient(unit)
        elif backward_phase and self.network.has_input_gradient(unit.name):
            self._backward_vector(unit)

    def _contribute(self, index: int, tensor: Tensor) -> None:
        """Codes in DRAM that are (part of) the error of unit ``index``."""
        self._addends[index].append(tensor)
        self._waiting[index] -= 1

    def _backward_vector(self, unit: Unit) -> None:
        """Contribution of a unit that has no weights to its inputs' errors."""
        kind, values = unit.head.kind, self.values
        error = values.map(unit.index, "error")
        if kind in ("add", "relu", "norm"):
            for i in unit.inputs:
                if i >= 0 and self.units[i].needs_error:
                    self._contribute(i, error)
        elif kind == "concat":
            for i in unit.inputs:
                if i >= 0 and self.units[i].needs_error:
                    self._contribute(i, error.slice(values.offset_in(unit.index, i), values.blocks[i]))
        else:
            self._begin(unit.head, "bp")
            operands = [error] + ([values.map(unit.index, "window")] if kind == "maxpool" else [])
            out, into = values.elements(unit.index), values.elements(unit.inputs[0])
            window = self._work(unit)[0] * out
            work = (max(window, into), into)
            self._generate(unit, Pass(f"{kind}_error", tuple(range(len(operands))), (0,), work), operands)

    def _generate(self, unit: Unit, step: Pass, operands: list[Tensor]) -> None:
        """A unified-core pass whose results are the error of the unit's input, followed by that unit's own turn."""
        source = self.units[unit.inputs[0]]
        if not source.needs_error:
            return
        values, result = self.values, self.values.map(source.index, "partial")
        bytes_per_plane = sum(t.plane_bytes for t in operands) + 3 * result.plane_bytes
        blocks = min(values.blocks[unit.index], values.blocks[source.index])
        pieces = self.vector.tiles(blocks, self.batch, bytes_per_plane)
        in_place = all(len(tiles) == 1 for tiles in pieces)
        last = self._last(source)
        for tiles in pieces:
            for tile in tiles:
                self._begin(unit.head, "bp")
                elements = tile.n_planes * ceil_div(values.elements(source.index), tile.n_pieces)
                regions = [self.vector.load(tensor, tile) for tensor in operands]
                region = self.vector.room(result, tile)
                self.vector.run(step.kind, ceil_div(elements * step.work[0], step.work[1]), regions, [region])
                self._take(source, tile, region, in_place, last)
        self._taken(source, in_place, last)

    def _last(self, source: Unit) -> bool:
        """Whether the contribution under way completes the error of ``source``."""
        return self._waiting[source.index] == 1

    def _take(self, source: Unit, tile: Tile, region: Region, in_place: bool, last: bool) -> None:
        """A tile of a contribution lies in ``region``: turn it into the error of ``source``, or keep it for later."""
        if last and in_place:
            self._own_error(source, tile, region)
            return
        addends = self._addends[source.index]
        kept = self.values.map(source.index, "partial")
        merged = [tensor for tensor in addends if tensor is kept]
        if merged:
            elements = tile.n_planes * ceil_div(self.values.elements(source.index), tile.n_pieces)
            self.vector.passes([Pass("error_add", (0, 1), (0,))], tile, elements, {0: region}, [None, kept], [kept])
        else:
            self.vector.store(region, kept, tile)

    def _taken(self, source: Unit, in_place: bool, last: bool) -> None:
        """Book a whole contribution."""
        if last and in_place:
            self._ready.add(source.index)
            self._waiting[source.index] -= 1
            return
        kept = self.values.map(source.index, "partial")
        if kept not in self._addends[source.index]:
            self._addends[source.index].append(kept)
        self._waiting[source.index] -= 1

    def _error_passes(self, unit: Unit, n_addends: int) -> tuple[list[Pass], list[Tensor], list[Tensor], list[Tensor]]:
        """Passes that turn a unit's output error into the error at its head; inputs beyond the first ``n_addends``, results,
        per-channel values."""
        values, index = self.values, unit.index
        inputs: list[Tensor] = []
        if unit.norm is not None:
            inputs.append(values.map(index, "pre_normalization") if unit.is_convolution else values.map(unit.inputs[0], "output"))
        if unit.relu is not None or unit.head.kind == "relu":
            inputs.append(values.map(index, "mask"))
        reads = tuple(range(n_addends + len(inputs)))
        error = values.map(index, "error")
        if unit.norm is None:
            return [Pass("error_mask", reads, (0,))], inputs, [error], []
        gradient = values.per_channel(index, "parameter_gradient")
        per_plane = [values.per_channel(index, "statistic"), values.per_channel(index, "parameter")]
        return [Pass("norm_error_sums", reads, (1,)), Pass("norm_error_apply", reads, (0,))], inputs, [error, gradient], per_plane

    def _own_error(self, unit: Unit, tile: Tile, region: Region) -> None:
        """The last contribution to a unit's error lies in ``region``: add the others and pass mask and normalization in place."""
        self._begin(unit.norm or unit.relu or unit.head, "bp")
        addends = list(self._addends[unit.index])
        elements = tile.n_planes * self.values.elements(unit.index)
        while len(addends) > 1:
            other = self.vector.load(addends.pop(), tile)
            self.vector.run("error_add", elements, [region, other], [region])
        passes, inputs, outputs, per_plane = self._error_passes(unit, 1 + len(addends))
        self.vector.configure(per_plane, tile)
        self.vector.passes(passes, tile, elements, {0: region}, [None, *addends, *inputs], outputs)

    def _error(self, unit: Unit) -> None:
        """The error at a unit's head from contributions that all lie in DRAM."""
        self._begin(unit.norm or unit.relu or unit.head, "bp")
        values, index = self.values, unit.index
        addends = list(self._addends[index])
        blocks, elements = values.blocks[index], values.elements(index)
        while len(addends) > 2:
            kept = values.map(index, "partial")
            pair = [addends.pop(), addends.pop()]
            self.vector.stream([Pass("error_add", (0, 1), (0,))], blocks, self.batch, elements, pair, [kept])
            addends.append(kept)
        passes, inputs, outputs, per_plane = self._error_passes(unit, len(addends))
        self.vector.stream(passes, blocks, self.batch, elements, [*addends, *inputs], outputs, per_plane)

    def _convolve_backward(self, unit: Unit) -> None:
        source = self.units[unit.inputs[0]]
        problem, groups = self._problem(unit, "bp"), self._grouping(unit)
        chosen = plan(self.context.array, problem, pinned_split(self.architecture, unit.name, "bp"))
        in_place, last = self._whole(chosen), self._last(source)
        error = self.values.map(unit.index, "error")
        for g in range(groups.n_groups):
            self._begin(unit.head, "bp", chosen)
            operands = Operands(error, g * groups.output_blocks, self._weights(unit, "weight"), g * groups.output_blocks)
            done = partial(self._finish_backward, unit, source, g * groups.input_blocks, in_place, last)
            ResultStationary(self.context, problem, chosen, operands, self._shape(unit).kernel_width, done).emit()
        self._taken(source, in_place, last)

    def _finish_backward(self, unit: Unit, source: Unit, first_block: int, in_place: bool, last: bool,
                         blocks: tuple[int, int], band: Band, region: Region) -> None:  # fmt: skip
        """What follows a tile of BP results."""
        tile = Tile((first_block + blocks[0], first_block + blocks[1]), (band.first_sample, band.first_sample + band.n_samples))
        if in_place:
            self._take(source, tile, region, in_place, last)
        else:
            kept = self.values.map(source.index, "partial")
            row_bytes = kept.plane_bytes // self._shape(unit).in_height
            piece = (band.first_row * row_bytes, band.end_row * row_bytes)
            if kept in self._addends[source.index]:
                before = self.context.allocate(LOAD_ERROR, region.n_bytes)
                self.context.transfer(LOAD_ERROR, before, 0, kept, tile.blocks, tile.samples, piece)
                self.vector.run(
                    "error_add", region.n_bytes // (kept.plane_bytes // self.values.elements(source.index)), [region, before], [region]
                )
            self.context.transfer(STORE, region, 0, kept, tile.blocks, tile.samples, piece)
        self._begin(unit.head, "bp")

    def _weight_gradient(self, unit: Unit) -> None:
        problem, groups = self._problem(unit, "wg"), self._grouping(unit)
        chosen = plan(self.context.array, problem, pinned_split(self.architecture, unit.name, "wg"))
        self._begin(unit.head, "wg", chosen)
        source, error = self.values.map(unit.inputs[0], "output"), self.values.map(unit.index, "error")
        for g in range(groups.n_groups):
            operands = Operands(source, g * groups.input_blocks, error, g * groups.output_blocks)
            gradient = self._weights(unit, "weight_gradient")
            GradientStationary(self.context, problem, chosen, operands, gradient, g * groups.output_blocks).emit()

    # WU ----------------------------------------------------------------------------------------------------------

    def _update(self, unit: Unit) -> None:
        """SGD with momentum on everything that the unit trains."""
        if unit.is_convolution:
            tensors = [self._weights(unit, role) for role in ("weight_gradient", "master_weight", "momentum", "weight")]
            self._update_tensors(unit.head, tensors)
        layer = unit.norm or (unit.head if unit.head.bias else None)
        if layer is not None:
            roles = ("parameter_gradient", "parameter", "parameter_momentum")
            self._update_tensors(layer, [self.values.per_channel(unit.index, role) for role in roles])

    def _update_tensors(self, layer: Layer, tensors: list[Tensor]) -> None:
        """Read gradient, master copy and momentum; write the last two and, for weights, the codes that FF and BP use."""
        self._begin(layer, "wu")
        gradient, others = tensors[0], tensors[1:]
        elements = gradient.plane_bytes * 8 // self.architecture.data.weight_gradient_bits
        inputs = [gradient, *tensors[1:3]]
        self.vector.stream([Pass("update", (0, 1, 2), tuple(range(len(others))))], gradient.n_blocks, 1, elements, inputs, others)


def map_iteration(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...] = PHASES) -> Mapping:
    """The tile program of one iteration. Raises InfeasibleError if an operation fits no tiling."""
    return Mapper(architecture, network, batch, phases).map()
