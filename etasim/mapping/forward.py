"""Emits FF: convolutions with normalization in place, and what the unified core computes alone."""

from functools import partial

from etasim.core.program import MAX_READS, STORE
from etasim.mapping.array import InfeasibleError
from etasim.mapping.builder import Region
from etasim.mapping.convolution import Operands
from etasim.mapping.iteration import Iteration
from etasim.mapping.nest import nest_of
from etasim.mapping.pinning import pinned_splits
from etasim.mapping.plan import plan
from etasim.mapping.problem import Band
from etasim.mapping.tensors import Tensor
from etasim.mapping.vector import Pass, Place, Tile
from etasim.workload.lowering import Unit

WINDOW_KINDS = ("maxpool", "avgpool", "shortcut")
"""Kinds whose results and operands have different rows."""


class Forward:
    """FF of units, in the order of the network."""

    def __init__(self, iteration: Iteration):
        self._iteration = iteration
        self._configured: set[int] = set()

    def emit(self, unit: Unit) -> None:
        """Append FF of a unit."""
        if unit.is_convolution:
            self._convolve_forward(unit)
        elif unit.head.kind != "loss":
            self._forward_vector(unit)

    def _convolve_forward(self, unit: Unit) -> None:
        problem, groups = self._iteration.problem(unit, "ff"), self._iteration.grouping(unit)
        chosen = plan(self._iteration.context.array, problem, pinned_splits(self._iteration.architecture, unit.name, "ff"))
        source = self._iteration.values.map(unit.inputs[0], "output")
        for g in range(groups.n_groups):
            self._iteration.begin(unit.head, "ff", nest_of(self._iteration.context.array, problem, chosen))
            operands = Operands(source, g * groups.input_blocks, self._iteration.weights(unit, "weight"), g * groups.output_blocks)
            first_block = g * groups.output_blocks
            done, room = partial(self._finish_forward, unit, first_block), partial(self._room, unit, first_block)
            kernel_width = self._iteration.convolution(unit).kernel_width
            emitter = self._iteration.emitters.result
            emitter(self._iteration.context, problem, chosen, operands, first_block, kernel_width, done, room).emit()
        if self._iteration.over_batch(unit) or not self._iteration.whole(chosen):
            self._normalize(unit, self._iteration.values.map(unit.index, "pre_normalization"))

    def _in_place(self, unit: Unit, band: Band) -> bool:
        """Whether the planes of a band are whole and their normalization waits for no others."""
        return (band.first_row, band.end_row) == (0, unit.head.out_height) and not self._iteration.over_batch(unit)

    def _room(self, unit: Unit, first_block: int, blocks: tuple[int, int], band: Band) -> int:
        """Bytes of the error buffer that a tile of FF results and what it becomes take."""
        tile = self._iteration.tile(unit.index, first_block, blocks, band, unit.head.out_height)
        operands, results = [self._iteration.values.content(unit.index, "pre_normalization")], []
        if self._in_place(unit, band):
            _, outputs, parameters = self._normalization(unit)
            operands += [parameters.content] if parameters else []
            results += [tensor.content for tensor in outputs]
        return self._iteration.vector.room_bytes(tile, operands, results)

    def _finish_forward(self, unit: Unit, first_block: int, blocks: tuple[int, int], band: Band, region: Region) -> None:
        """What follows a tile of FF results: keep the sums for BP, normalise in place if the planes are whole and wait for no others."""
        height, in_place = unit.head.out_height, self._in_place(unit, band)
        tile = self._iteration.tile(unit.index, first_block, blocks, band, height)
        if not in_place or (unit.norm is not None and self._iteration.trains):
            sums = self._iteration.values.map(unit.index, "pre_normalization")
            row_bytes = sums.plane_bytes // height
            piece = (band.first_row * row_bytes, band.end_row * row_bytes)
            self._iteration.context.transfer(STORE, region, 0, sums, tile.blocks, tile.samples, piece)
        if in_place:
            values, place = self._iteration.values, Place(unit.index)
            passes, outputs, parameters = self._normalization(unit)
            self._iteration.begin(unit.norm or unit.head, "ff")
            if unit.index not in self._configured:
                self._configured.add(unit.index)
                self._iteration.vector.configure(place, parameters, Tile((0, values.blocks[unit.index]), tile.samples))
            inputs = [values.content(unit.index, "pre_normalization")]
            self._iteration.vector.passes(passes, place, tile, tile.n_elements(values.elements(unit.index)), {0: region}, inputs, outputs)
            self._iteration.begin(unit.head, "ff")

    def _normalization(self, unit: Unit) -> tuple[list[Pass], list[Tensor], list[Tensor]]:
        """Passes, results and per-channel values that take a unit from sums (or codes) to its output."""
        outputs = [self._iteration.values.map(unit.index, "output")]
        if unit.activation is not None and self._iteration.trains:
            outputs.append(self._iteration.values.map(unit.index, "mask"))
        if unit.norm is None:
            parameters = self._iteration.values.per_channel(unit.index, "parameter") if unit.head.bias else None
            return [Pass("requantise", (0,), tuple(range(len(outputs))))], outputs, parameters
        if self._iteration.trains:
            outputs.append(self._iteration.values.per_channel(unit.index, "statistic"))
        passes = [Pass("norm_spread", (0,)), Pass("norm_apply", (0,), tuple(range(len(outputs))))]
        return passes, outputs, self._iteration.values.per_channel(unit.index, "parameter")

    def _normalize(self, unit: Unit, source: Tensor) -> None:
        """Normalization, or requantisation, as an operation of its own: sums come from DRAM."""
        passes, outputs, parameters = self._normalization(unit)
        self._iteration.begin(unit.norm or unit.head, "ff")
        index = unit.index
        if unit.norm is not None and unit.head is unit.norm:
            passes = [Pass("norm_sum", (0,)), *passes]
        self._iteration.vector.stream(
            passes,
            Place(index),
            self._iteration.values.blocks[index],
            self._iteration.batch,
            self._iteration.values.elements(index),
            [source],
            outputs,
            parameters,
            over_batch=self._iteration.over_batch(unit),
        )

    def _forward_vector(self, unit: Unit) -> None:
        """FF of a unit that the unified core computes alone."""
        kind, index, values = unit.head.kind, unit.index, self._iteration.values
        if kind == "norm":
            self._normalize(unit, values.map(unit.inputs[0], "output"))
            return
        self._iteration.begin(unit.head, "ff")
        sources = [values.map(i, "output") for i in unit.inputs]
        outputs = [values.map(index, "output")]
        if kind == "concat":
            self._copy_into_concatenation(unit)
            return
        if self._iteration.trains and (unit.activation is not None or kind == "relu"):
            outputs.append(values.map(index, "mask"))
        if self._iteration.trains and kind == "maxpool":
            outputs.append(values.map(index, "window"))
        step = Pass(kind, tuple(range(len(sources))), tuple(range(len(outputs))), self._iteration.window_work(unit))
        blocks, batch, elements = values.blocks[index], self._iteration.batch, values.elements(index)
        rows = self._iteration.rows(unit, backward=False) if kind in WINDOW_KINDS else None
        if kind == "shortcut":
            blocks = values.blocks[unit.inputs[0]]
        if kind == "add" and len({values.filled_lanes(i) for i in unit.inputs}) > 1:
            raise InfeasibleError(
                f"{unit.name}: adds maps that lie differently: a concatenation joined maps whose channels do not fill {values.lanes} lanes"
            )
        if len(sources) > MAX_READS:
            raise InfeasibleError(f"{unit.name}: the unified core adds at most {MAX_READS} maps at once, got {len(sources)}")
        self._iteration.vector.stream([step], Place(index), blocks, batch, elements, sources, outputs, rows=rows)

    def _copy_into_concatenation(self, unit: Unit) -> None:
        """Inputs that do not already lie in the concatenation are copied into it."""
        values = self._iteration.values
        target = values.map(unit.index, "output")
        for first_block, i in values.parts(unit.index):
            part = target.slice(first_block, values.blocks[i])
            source = values.map(i, "output")
            if source.address != part.address:
                self._iteration.vector.stream(
                    [Pass("add", (0,), (0,))],
                    Place(unit.index, first_block),
                    values.blocks[i],
                    self._iteration.batch,
                    values.elements(i),
                    [source],
                    [part],
                )
