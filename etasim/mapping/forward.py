"""FF: convolutions with normalization in place, and what the unified core computes alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from etasim.mapping.iteration import Iteration, following
from etasim.mapping.steps import Alone, Place, Slot, Step, StoreTile, alone, configure, passes, room_bytes
from etasim.mapping.tensors import Tensor
from etasim.mapping.tiles import Tile
from etasim.mapping.works import Operands, ResultMaps, Work
from etasim.ops import JOINED, Pass
from etasim.schedule.nest import Span
from etasim.schedule.problem import Band, Follow
from etasim.workload.lowering import Unit

OF_CHANNELS = ("statistic", "magnitude")
"""What FF keeps of channels, not of maps."""


class Forward:
    """FF of units, in the order of the network."""

    def __init__(self, iteration: Iteration):
        self._iteration = iteration

    def works(self, unit: Unit) -> Iterator[Work]:
        """FF of a unit."""
        if unit.is_convolution:
            yield from self._convolution(unit)
        elif unit.head is unit.norm:
            yield self._normalize(unit, self._iteration.values.map(unit.inputs[0], "output"))
        elif unit.head.schema.channels == JOINED:
            yield from self._copies(unit)
        elif not unit.head.schema.is_loss:
            yield self._vector(unit)

    def _convolution(self, unit: Unit) -> Iterator[Work]:
        iteration = self._iteration
        content, source = iteration.values.content(unit.index, "pre_normalization"), iteration.values.map(unit.inputs[0], "output")
        planned, groups = iteration.planned(unit, "ff", self._follow(unit)), iteration.grouping(unit)
        for g in range(groups.n_groups):
            operands = Operands(source, g * groups.input_blocks, iteration.weights(unit, "weight"), g * groups.output_blocks)
            first = g * groups.output_blocks
            results = ResultMaps(first, content, partial(self._finish, unit, first), partial(self._room, unit, first))
            yield iteration.convolve(unit, "ff", planned, operands, results)
        if iteration.over_batch(unit) or not (iteration.whole(planned.plan) or iteration.in_pieces(unit)):
            yield self._normalize(unit, iteration.values.map(unit.index, "pre_normalization"))

    def _follow(self, unit: Unit) -> Follow:
        """What follows the results of the array."""
        values = self._iteration.values
        sums, n_elements = values.content(unit.index, "pre_normalization"), values.elements(unit.index)
        core_is_next = not any(following.is_convolution for following in self._iteration.units[unit.index + 1 : unit.index + 2])
        if self._iteration.over_batch(unit):
            return following(self._iteration.lanes, n_elements, (), sums, (), (sums,), core_is_next=core_is_next)
        steps, outputs, _ = self._normalization(unit)
        stores = [tensor.content for tensor in outputs] + ([sums] if self._keeps_sums(unit) else [])
        in_pieces = self._iteration.in_pieces(unit)
        return following(self._iteration.lanes, n_elements, steps, sums, (), stores, in_pieces=in_pieces, core_is_next=core_is_next)

    def _keeps_sums(self, unit: Unit) -> bool:
        """Whether BP reads what is normalized."""
        schema = self._iteration.norm_schema(unit)
        return schema is not None and schema.reads_sums and self._iteration.trains

    def _in_place(self, unit: Unit, band: Band) -> bool:
        """Whether the normalization of a band waits for no others: its planes are whole, or need not be."""
        is_whole = (band.first_row, band.end_row) == (0, unit.head.out_height)
        return (is_whole or self._iteration.in_pieces(unit)) and not self._iteration.over_batch(unit)

    def _room(self, unit: Unit, first_block: int, blocks: Span, band: Band) -> int:
        """Bytes of the error buffer that a tile of FF results and what it becomes take."""
        tile = self._iteration.tile(unit.index, first_block, blocks, band, unit.head.out_height)
        operands, results = [self._iteration.values.content(unit.index, "pre_normalization")], []
        if self._in_place(unit, band):
            _, outputs, parameters = self._normalization(unit)
            operands += [tensor.content for tensor in parameters]
            results += [tensor.content for tensor in outputs]
        return room_bytes(self._iteration.array, tile, operands, results)

    def _finish(self, unit: Unit, first_block: int, blocks: Span, band: Band, slot: Slot) -> Iterator[Step]:
        """What follows a tile of FF results: keep the sums for BP, normalise in place if the planes are whole and wait for no others."""
        values, in_place = self._iteration.values, self._in_place(unit, band)
        tile = self._iteration.tile(unit.index, first_block, blocks, band, unit.head.out_height)
        if not in_place or self._keeps_sums(unit):
            yield StoreTile(self._iteration.begin(unit.head, "ff"), slot, values.map(unit.index, "pre_normalization"), tile)
        if in_place:
            place, (steps, outputs, parameters) = Place(unit.index), self._normalization(unit)
            operation = self._iteration.begin(unit.norm or unit.head, "ff")
            if tile.is_first:
                yield from configure(operation, place, parameters, Tile((0, values.blocks[unit.index]), tile.samples))
            yield from passes(operation, steps, place, tile, tile.n_elements(values.elements(unit.index)), [slot], outputs)
            self._iteration.begin(unit.head, "ff")

    def _outputs(self, unit: Unit) -> list[Tensor]:
        """The output of a unit, and what BP and WG need beside it."""
        values, index, roles, norm = self._iteration.values, unit.index, ["output"], self._iteration.norm_schema(unit)
        if self._iteration.trains:
            schemas = [norm if norm is not None and layer is unit.norm else layer.schema for layer in reversed(unit.layers)]
            roles += dict.fromkeys(role for schema in schemas for role in schema.keeps)
        second = [values.map(index, "output", second=True)] if self._iteration.copies_for_gradients(unit) else []
        return [values.per_channel(index, role) if role in OF_CHANNELS else values.map(index, role) for role in roles] + second

    def _normalization(self, unit: Unit) -> tuple[Sequence[Pass], list[Tensor], list[Tensor]]:
        """Passes, results and per-channel values that take a unit from sums (or codes) to its output."""
        norm = self._iteration.norm_schema(unit)
        schema, outputs = norm or unit.head.schema, self._outputs(unit)
        brings = norm.brings if norm else ("parameter",) if unit.head.bias else ()
        parameters = [self._iteration.values.per_channel(unit.index, role) for role in brings]
        is_drained = schema.is_drained and unit.is_convolution and self._iteration.architecture.unified_core.lane.drained_sums
        return schema.forward[is_drained:], outputs, parameters

    def _normalize(self, unit: Unit, source: Tensor) -> Alone:
        """Normalization, or requantisation, as an operation of its own: sums come from DRAM."""
        iteration, (steps, outputs, parameters) = self._iteration, self._normalization(unit)
        operation, over_batch = iteration.begin(unit.norm or unit.head, "ff"), iteration.over_batch(unit)
        planes = iteration.planes(unit.index)
        return alone(iteration.array, operation, steps, Place(unit.index), planes, [source], outputs, parameters, over_batch=over_batch)

    def _vector(self, unit: Unit) -> Alone:
        """FF of a unit that the unified core computes alone."""
        schema, head, values = unit.head.schema, unit.head, self._iteration.values
        operation = self._iteration.begin(head, "ff")
        sources, outputs = [values.map(i, "output") for i in unit.inputs], self._outputs(unit)
        (step,), rows = schema.forward, None
        if step.per_window:
            step, rows = replace(step, work=(head.kernel_height * head.kernel_width, 1)), self._iteration.rows(unit, backward=False)
        planes = values.blocks[unit.inputs[0]], self._iteration.batch, values.elements(unit.index)
        return alone(self._iteration.array, operation, [step], Place(unit.index), planes, sources, outputs, rows=rows)

    def _copies(self, unit: Unit) -> Iterator[Alone]:
        """Inputs that do not already lie in the concatenation are copied into it."""
        values, operation = self._iteration.values, self._iteration.begin(unit.head, "ff")
        targets = [tensor for tensor in self._outputs(unit) if tensor.content.role == "output"]
        for (first_block, i), source in zip(values.parts(unit.index), (values.map(i, "output") for i in unit.inputs), strict=True):
            parts = [target.slice(first_block, values.blocks[i]) for target in targets]
            if source.address != parts[0].address:
                place, planes = Place(unit.index, first_block), self._iteration.planes(i)
                yield alone(self._iteration.array, operation, unit.head.schema.forward, place, planes, [source], parts)
