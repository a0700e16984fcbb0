"""BP and WG: the error of each unit's output, what it contributes to its inputs, its weight gradient.

The error of a unit's output is the sum of what its consumers contribute. When the last contribution arrives the unified core turns it
into the error at the unit's head (mask, normalization), in the error buffer if the contribution is still there, else from DRAM.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from math import prod
from typing import NamedTuple

from etasim.mapping.iteration import Iteration, following
from etasim.mapping.steps import (
    Alone,
    LoadTile,
    Place,
    RunPass,
    Slot,
    Step,
    StoreTile,
    Turn,
    add_into,
    alone,
    configure,
    operand_slot,
    passes,
    result_slot,
    room_bytes,
)
from etasim.mapping.tensors import Content, Tensor
from etasim.mapping.tiles import Cover, Tile, cover, cover_samples
from etasim.mapping.works import Gradients, Operands, ResultMaps, Work
from etasim.ops import JOINED, Pass
from etasim.ops.unit import ERROR_ADD, ERROR_MASK, SHARE_SCALES
from etasim.schedule.nest import Axis, Span
from etasim.schedule.problem import Band, Follow
from etasim.schedule.tiling import ceil_div
from etasim.workload.lowering import Unit


class Complete(NamedTuple):
    """All gradients of ``unit`` are there."""

    unit: Unit


class Backward:
    """BP and WG of units, in reverse order. ``_waiting``: contributions to a unit's error still to come; ``_addends``: those in DRAM;
    ``_ready``: units whose error is complete; ``_turned_names``: copies that were made of codes along another axis. What follows a tile is
    given the addends that there are when its work begins: whoever asks later must get the same."""

    def __init__(self, iteration: Iteration):
        self._iteration = iteration
        units = iteration.units
        self._waiting = {unit.index: len([c for c in unit.consumers if units[c].needs_error]) for unit in units}
        self._addends: dict[int, list[Tensor]] = {unit.index: [] for unit in units}
        self._ready: set[int] = set()
        self._turned_names: set[str] = set()

    def works(self) -> Iterator[Work | Complete]:
        """All units, last first, each followed by word that its gradients are complete.

        WG of a convolution comes after what the unified core does alone on the way to the next one: the store engine takes its commands
        in order, so gradients, which leave at the end of WG, would hold up the errors that the next convolution waits for.
        """
        waiting: list[Unit] = []
        for unit in reversed(self._iteration.units):
            has_error = unit.needs_error and "bp" in self._iteration.phases
            if has_error:
                yield from self._own_turn(unit)
            if not unit.is_convolution:
                yield Complete(unit)
                continue
            yield from self._gradients(waiting)
            waiting = [unit]
            if has_error and self._iteration.network.has_input_gradient(unit.name):
                yield from self._convolution(unit)
        yield from self._gradients(waiting)

    def _own_turn(self, unit: Unit) -> Iterator[Work]:
        """The error at the head of a unit, and what a unit without weights contributes to its inputs."""
        if unit.head.schema.is_loss:
            yield from self._loss(unit)
            return
        if unit.index not in self._ready:
            yield from self._error(unit)
        if not unit.is_convolution and self._iteration.network.has_input_gradient(unit.name):
            yield from self._vector(unit)

    def _gradients(self, units: list[Unit]) -> Iterator[Work | Complete]:
        """WG of convolutions."""
        for unit in units:
            if unit.needs_error and "wg" in self._iteration.phases and unit.head.weights:
                yield from self._weight_gradient(unit)
            yield Complete(unit)

    def _contribute(self, index: int, tensor: Tensor) -> None:
        """Codes in DRAM that are (part of) the error of unit ``index``."""
        self._addends[index].append(tensor)
        self._waiting[index] -= 1

    def _vector(self, unit: Unit) -> Iterator[Work]:
        """Contribution of a unit that has no weights to its inputs' errors."""
        step, values, head = unit.head.schema.backward, self._iteration.values, unit.head
        if step is None:
            error, is_joined = values.map(unit.index, "error"), head.schema.channels == JOINED
            for first_block, i in values.parts(unit.index) if is_joined else [(0, i) for i in unit.inputs]:
                if i >= 0 and self._iteration.units[i].needs_error:
                    self._contribute(i, error.slice(first_block, values.blocks[i]) if is_joined else error)
            return
        window, into = head.kernel_height * head.kernel_width * values.elements(unit.index), values.elements(unit.inputs[0])
        operands = [values.map(unit.index, role) for role in step.reads]
        yield from self._generate(unit, replace(step, work=(max(window, into), into)), operands)

    def _loss(self, unit: Unit) -> Iterator[Work]:
        """The error of the network's output; the labels lie in the lanes."""
        labels = self._iteration.values.labels(unit.index)
        before = configure(self._iteration.begin(unit.head, "bp"), Place(unit.index), [labels], Tile((0, 1), (0, 1)))
        logits = self._iteration.values.map(unit.inputs[0], "output")
        step = unit.head.schema.backward
        assert step is not None, "a loss has a pass of its own"
        yield from self._generate(unit, step, [logits], tuple(before))

    def _generate(self, unit: Unit, step: Pass, operands: list[Tensor], before: tuple[Step, ...] = ()) -> Iterator[Work]:
        """A unified-core pass whose results are the error of the unit's input, followed by that unit's own turn."""
        source = self._iteration.units[unit.inputs[0]]
        if not source.needs_error:
            return
        operation, array = self._iteration.begin(unit.head, "bp"), self._iteration.array
        result, contents = self._iteration.values.content(source.index, "partial"), [tensor.content for tensor in operands]
        elements = self._iteration.values.elements(source.index)
        plane_bytes = sum(content.plane_bytes for content in contents) + 3 * result.plane_bytes
        tiles = self._cover(unit, source, plane_bytes, len(contents), 1 + len(self._error_passes(source)[0]))
        in_place, last = tiles.is_whole and not self._iteration.over_batch(source), self._last(source)
        following, addends = self._taking(source, in_place, last), tuple(self._addends[source.index])

        def on_tile(tile: Tile) -> Iterator[Step]:
            self._iteration.begin(unit.head, "bp")
            slots, slot = [operand_slot(content, tile) for content in contents], result_slot(result, tile)
            for operand, tensor in zip(slots, operands, strict=True):
                yield LoadTile(operation, operand, tensor, tile)
            n_lane_operations = ceil_div(tile.n_elements(elements) * step.work[0], step.work[1])
            yield RunPass(operation, step.name, Place(unit.index), tile, n_lane_operations, tuple(slots), (slot,))
            yield from self._take(source, addends, replace(tile, operand_elements=None), slot, in_place, last)

        def turns(groups: list[list[Tile]]) -> Iterator[Turn]:
            for tile in chain(*groups):
                room = room_bytes(array, tile, [*contents, *following[0]], [result, *following[1]])
                yield Turn(tile, (), on_tile(tile), room)

        yield Alone(tiles, turns, before)
        self._taken(source, in_place, last)

    def _cover(self, unit: Unit, source: Unit, plane_bytes: int, n_loads: int, n_passes: int) -> Cover:
        """Tiles of the error that ``unit`` generates; a loss needs all classes of a sample at once."""
        values, array, batch = self._iteration.values, self._iteration.array, self._iteration.batch
        if unit.head.schema.is_loss:
            return cover_samples(array, values.blocks[source.index], batch, plane_bytes)
        blocks = min(values.blocks[unit.index], values.blocks[source.index])
        rows = self._iteration.rows(unit, backward=True)
        return cover(array, blocks, batch, values.elements(source.index), plane_bytes, n_loads, n_passes, rows)

    def _last(self, source: Unit) -> bool:
        """Whether the contribution under way completes the error of ``source``."""
        return self._waiting[source.index] == 1

    def _taking(self, source: Unit, in_place: bool, last: bool) -> tuple[list[Content], list[Content]]:
        """Operands and results that have room in the error buffer beside a contribution to the error of ``source`` when it is taken."""
        kept = self._iteration.values.content(source.index, "partial")
        if not (last and in_place):
            return [kept], [kept]
        _, inputs, outputs = self._error_passes(source)
        per_channel = (*self._parameters(source), *self._statistics(source))
        operands = [tensor.content for tensor in (*self._addends[source.index], *inputs, *per_channel)]
        return operands, [tensor.content for tensor in outputs]

    def _take(self, source: Unit, addends: Sequence[Tensor], tile: Tile, slot: Slot, in_place: bool, last: bool) -> Iterator[Step]:
        """A tile of a contribution lies in ``slot``: turn it into the error of ``source``, or keep it for later."""
        operation = self._iteration.current
        if last and in_place:
            yield from self._own_error(source, addends, tile, slot)
            return
        kept = self._iteration.values.map(source.index, "partial")
        if any(tensor is kept for tensor in addends):
            elements = tile.n_elements(self._iteration.values.elements(source.index))
            yield from passes(operation, [ERROR_ADD], Place(source.index), tile, elements, [slot, kept], [kept])
        else:
            yield StoreTile(operation, slot, kept, tile)

    def _taken(self, source: Unit, in_place: bool, last: bool) -> None:
        """Book a whole contribution."""
        if last and in_place:
            self._ready.add(source.index)
            self._waiting[source.index] -= 1
            return
        kept = self._iteration.values.map(source.index, "partial")
        if kept not in self._addends[source.index]:
            self._addends[source.index].append(kept)
        self._waiting[source.index] -= 1

    def _error_passes(self, unit: Unit) -> tuple[Sequence[Pass], list[Tensor], list[Tensor]]:
        """Passes that turn a unit's output error into the error at its head; inputs beside the contributions, results. Passes are over the
        elements of the error, zeros included; sums need none of these."""
        values, index = self._iteration.values, unit.index
        inputs, norm = list[Tensor](), self._iteration.norm_schema(unit)
        if norm is not None and norm.reads_sums:
            inputs.append(values.map(index, "pre_normalization") if unit.is_convolution else values.map(unit.inputs[0], "output"))
        if norm is not None and not norm.reads_sums:
            inputs.append(values.map(index, "mask"))
        elif unit.activation is not None:
            inputs += [values.map(index, role) for role in unit.activation.schema.keeps]
        outputs, steps = self._errors(unit), norm.error if norm is not None else (ERROR_MASK,)
        if unit.norm is not None or unit.head.bias:
            outputs.append(values.per_channel(index, "parameter_gradient"))
        sums_work = 1, prod(values.stretch(index))
        return [step if "error" in step.writes else replace(step, work=sums_work) for step in steps], inputs, outputs

    def _errors(self, unit: Unit) -> list[Tensor]:
        """The error at the head of ``unit``, and the copy that WG reads, where there is one."""
        iteration, values = self._iteration, self._iteration.values
        first, second = values.map(unit.index, "error"), list[Tensor]()
        if unit.is_convolution and "wg" in iteration.phases and iteration.writes_copies:
            second = [tensor for tensor in (values.map(unit.index, "error", second=True),) if tensor is not first]
        return [first, *second]

    def _parameters(self, unit: Unit) -> list[Tensor]:
        """Per-channel values, such as scale and offset, that the error of a unit needs."""
        norm = self._iteration.norm_schema(unit)
        return [self._iteration.values.per_channel(unit.index, role) for role in (norm.error_brings if norm else ()) if role != "statistic"]

    def _statistics(self, unit: Unit) -> list[Tensor]:
        """Mean and spread that the error of a unit needs."""
        norm = self._iteration.norm_schema(unit)
        return [self._iteration.values.per_channel(unit.index, role) for role in (norm.error_brings if norm else ()) if role == "statistic"]

    def _own_error(self, unit: Unit, others: Sequence[Tensor], tile: Tile, slot: Slot) -> Iterator[Step]:
        """The last contribution to a unit's error lies in ``slot``: add the others and pass mask and normalization in place."""
        operation = self._iteration.begin(unit.norm or unit.activation or unit.head, "bp")
        values, place, addends = self._iteration.values, Place(unit.index), list(others)
        elements = tile.n_elements(values.elements(unit.index))
        while len(addends) > 1:
            yield from add_into(operation, place, tile, elements, slot, addends.pop())
        steps, inputs, outputs = self._error_passes(unit)
        if tile.is_first:
            yield from configure(operation, place, self._parameters(unit), Tile((0, values.blocks[unit.index]), tile.samples))
        yield from configure(operation, place, self._statistics(unit), tile)
        n_errors = tile.n_elements(values.content(unit.index, "error").plane_elements)
        yield from passes(operation, steps, place, tile, n_errors, [slot, *addends, *inputs], outputs)

    def _error(self, unit: Unit) -> Iterator[Alone]:
        """The error at a unit's head from contributions that all lie in DRAM."""
        operation = self._iteration.begin(unit.norm or unit.activation or unit.head, "bp")
        values, index, array = self._iteration.values, unit.index, self._iteration.array
        planes = self._iteration.planes(index)
        addends = sorted(self._addends[index], key=lambda addend: addend.content.role == "partial")  # last: sums go over it
        while len(addends) > 2:
            kept = values.map(index, "partial")
            yield alone(array, operation, [ERROR_ADD], Place(index), planes, [addends.pop(), addends.pop()], [kept])
            addends.append(kept)
        steps, inputs, outputs = self._error_passes(unit)
        planes = *planes[:2], values.content(index, "error").plane_elements
        yield alone(
            array, operation, steps, Place(index), planes, [*addends, *inputs], outputs, self._parameters(unit), self._statistics(unit),
            self._iteration.error_rows(unit), self._iteration.over_batch(unit),
        )  # fmt: skip

    def _convolution(self, unit: Unit) -> Iterator[Work]:
        iteration, source = self._iteration, self._iteration.units[unit.inputs[0]]
        planned, groups = iteration.planned(unit, "bp", self._follow(unit, source)), iteration.grouping(unit)
        is_whole = iteration.whole(planned.plan) or (iteration.in_pieces(source) and self._last(source))
        in_place, last = is_whole and not iteration.over_batch(source), self._last(source)
        error, content = iteration.values.map(unit.index, "error"), iteration.values.content(source.index, "partial")
        forward, weights = iteration.weights(unit, "weight"), iteration.weights(unit, "weight", second=True)
        yield from self._turned(unit, "bp", forward, weights, (forward.n_blocks, 1, forward.content.plane_elements))
        for g in range(groups.n_groups):
            operands = Operands(error, g * groups.output_blocks, weights, g * groups.output_blocks)
            first = g * groups.input_blocks
            finish = partial(self._finish, unit, source, tuple(self._addends[source.index]), first, in_place, last)
            room = partial(self._room, unit, source, first, self._taking(source, in_place, last))
            yield iteration.convolve(unit, "bp", planned, operands, ResultMaps(first, content, finish, room))
        self._taken(source, in_place, last)

    def _follow(self, unit: Unit, source: Unit) -> Follow:
        """What follows the contribution of ``unit`` to the error of ``source``; WG of ``unit`` has its time beside it."""
        iteration, values, index = self._iteration, self._iteration.values, source.index
        kept, n_elements, is_hidden = values.content(index, "partial"), values.elements(index), "wg" in iteration.phases
        addends = [tensor.content for tensor in self._addends[index]]
        if not self._last(source) or iteration.over_batch(source):
            return following(iteration.lanes, n_elements, [ERROR_ADD] if addends else [], kept, addends[:1], (kept,), is_hidden)
        steps, inputs, outputs = self._error_passes(source)
        adds = [ERROR_ADD] * max(len(addends) - 1, 0)
        loads, stores = [*addends, *(tensor.content for tensor in inputs)], [tensor.content for tensor in outputs]
        return following(iteration.lanes, n_elements, [*adds, *steps], kept, loads, stores, is_hidden, iteration.in_pieces(source))

    def _tile(self, unit: Unit, source: Unit, first_block: int, blocks: Span, band: Band) -> Tile:
        return self._iteration.tile(source.index, first_block, blocks, band, self._iteration.convolution(unit).in_height)

    def _room(self, unit: Unit, source: Unit, first_block: int, taking: tuple[list[Content], list[Content]],
              blocks: Span, band: Band) -> int:  # fmt: skip
        """Bytes of the error buffer that a tile of BP results and what follows it take."""
        result, tile = self._iteration.values.content(source.index, "partial"), self._tile(unit, source, first_block, blocks, band)
        return room_bytes(self._iteration.array, tile, [result, *taking[0]], taking[1])

    def _finish(self, unit: Unit, source: Unit, addends: Sequence[Tensor], first_block: int, in_place: bool, last: bool,
                blocks: Span, band: Band, slot: Slot) -> Iterator[Step]:  # fmt: skip
        """What follows a tile of BP results."""
        tile = self._tile(unit, source, first_block, blocks, band)
        self._iteration.begin(unit.head, "bp")
        yield from self._take(source, addends, tile, slot, in_place, last) if in_place else self._keep(source, addends, tile, slot)

    def _keep(self, source: Unit, addends: Sequence[Tensor], tile: Tile, slot: Slot) -> Iterator[Step]:
        """Add rows of a contribution to what DRAM holds of the error of ``source``."""
        operation, kept = self._iteration.current, self._iteration.values.map(source.index, "partial")
        if kept in addends:
            elements = tile.n_elements(self._iteration.values.elements(source.index))
            yield from add_into(operation, Place(source.index), tile, elements, slot, kept)
        yield StoreTile(operation, slot, kept, tile)

    def _weight_gradient(self, unit: Unit) -> Iterator[Work]:
        iteration, planned, groups = self._iteration, self._iteration.planned(unit, "wg"), self._iteration.grouping(unit)
        source, error = iteration.values.map(unit.inputs[0], "output", True), iteration.values.map(unit.index, "error", True)
        n_errors = iteration.values.blocks[unit.index], iteration.batch, error.content.plane_elements
        yield from self._turned(unit, "wg", iteration.values.map(unit.inputs[0], "output"), source, iteration.planes(unit.inputs[0]))
        yield from self._turned(unit, "wg", iteration.values.map(unit.index, "error"), error, n_errors)
        for g in range(groups.n_groups):
            operands = Operands(source, g * groups.input_blocks, error, g * groups.output_blocks)
            results = Gradients(g * groups.output_blocks, iteration.weights(unit, "weight_gradient"))
            yield iteration.convolve(unit, "wg", planned, operands, results)
        norm = iteration.norm_schema(unit)
        if norm is not None and norm.gradient is not None:
            yield self._after_gradient(unit, norm.gradient)

    def _turned(self, unit: Unit, phase: str, first: Tensor, second: Tensor, planes: tuple[int, int, int]) -> Iterator[Alone]:
        """Codes whose scales lie along one axis become such whose scales lie along the other, unless who made them made both."""
        if second is first or self._iteration.writes_copies or second.name in self._turned_names:
            return
        self._turned_names.add(second.name)
        operation = self._iteration.begin(unit.head, phase)
        yield alone(self._iteration.array, operation, [SHARE_SCALES], Place(unit.index), planes, [first], [second])

    def _after_gradient(self, unit: Unit, step: Pass) -> Alone:
        """Store what was added up of a weight gradient while it drained."""
        iteration, values = self._iteration, self._iteration.values
        operation, n_blocks = iteration.begin(unit.head, "wg"), values.blocks[unit.index]
        gradient, outputs = iteration.weights(unit, "weight_gradient"), [values.per_channel(unit.index, role) for role in step.writes]

        def turns(groups: list[list[Tile]]) -> Iterator[Turn]:
            for tile in chain(*groups):
                steps: list[Step] = []
                for tensor in outputs:
                    slot = result_slot(tensor.content, tile)
                    n_channels, place = n_blocks * values.lanes, Place(unit.index)
                    steps.append(RunPass(operation, step.name, place, tile, n_channels, (), (slot,), after=gradient))
                    steps.append(StoreTile(operation, slot, tensor, tile))
                yield Turn(tile, (), steps, room_bytes(iteration.array, tile, (), [tensor.content for tensor in outputs]))

        return Alone(Cover(Axis("blocks", n_blocks, n_blocks), Axis("samples", 1, 1)), turns)
