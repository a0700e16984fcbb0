"""Emits BP and WG: the error of each unit's output, what it contributes to its inputs, its weight gradient.

The error of a unit's output is the sum of what its consumers contribute. When the last contribution arrives the unified core turns it
into the error at the unit's head (mask, normalization), in the error buffer if the contribution is still there, else from DRAM.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import prod

from etasim.mapping.builder import Region
from etasim.mapping.convolution import Operands
from etasim.mapping.iteration import Iteration
from etasim.mapping.nest import nest_of
from etasim.mapping.pinning import pinned_splits
from etasim.mapping.plan import plan
from etasim.mapping.problem import Band
from etasim.mapping.tensors import Content, Tensor
from etasim.mapping.tiling import ceil_div
from etasim.mapping.vector import Pass, Place, Tile
from etasim.workload.lowering import Unit


class Backward:
    """BP and WG of units, in reverse order. ``_waiting``: contributions to a unit's error still to come; ``_addends``: those in DRAM;
    ``_ready``: units whose error is complete; ``_configured``: units whose parameters are in the lanes."""

    def __init__(self, iteration: Iteration):
        self._iteration = iteration
        units = iteration.units
        self._waiting = {unit.index: len([c for c in unit.consumers if units[c].needs_error]) for unit in units}
        self._addends: dict[int, list[Tensor]] = {unit.index: [] for unit in units}
        self._ready: set[int] = set()
        self._configured: set[int] = set()

    def emit(self) -> Iterator[Unit]:
        """All units, last first; yields each when its gradients are complete.

        WG of a convolution comes after what the unified core does alone on the way to the next one: the store engine takes its commands
        in order, so gradients, which leave at the end of WG, would hold up the errors that the next convolution waits for.
        """
        waiting: list[Unit] = []
        for unit in reversed(self._iteration.units):
            has_error = unit.needs_error and "bp" in self._iteration.phases
            if has_error:
                self._own_turn(unit)
            if not unit.is_convolution:
                yield unit
                continue
            yield from self._gradients(waiting)
            waiting = [unit]
            if has_error and self._iteration.network.has_input_gradient(unit.name):
                self._convolve_backward(unit)
        yield from self._gradients(waiting)

    def _own_turn(self, unit: Unit) -> None:
        """The error at the head of a unit, and what a unit without weights contributes to its inputs."""
        if unit.head.kind == "loss":
            self._loss(unit)
            return
        if unit.index not in self._ready:
            self._error(unit)
        if not unit.is_convolution and self._iteration.network.has_input_gradient(unit.name):
            self._backward_vector(unit)

    def _gradients(self, units: list[Unit]) -> Iterator[Unit]:
        """WG of convolutions."""
        for unit in units:
            if unit.needs_error and "wg" in self._iteration.phases and unit.head.weights:
                self._weight_gradient(unit)
            yield unit

    def _contribute(self, index: int, tensor: Tensor) -> None:
        """Codes in DRAM that are (part of) the error of unit ``index``."""
        self._addends[index].append(tensor)
        self._waiting[index] -= 1

    def _backward_vector(self, unit: Unit) -> None:
        """Contribution of a unit that has no weights to its inputs' errors."""
        kind, values = unit.head.kind, self._iteration.values
        error = values.map(unit.index, "error")
        if kind in ("add", "relu", "norm"):
            for i in unit.inputs:
                if i >= 0 and self._iteration.units[i].needs_error:
                    self._contribute(i, error)
        elif kind == "concat":
            for first_block, i in values.parts(unit.index):
                if i >= 0 and self._iteration.units[i].needs_error:
                    self._contribute(i, error.slice(first_block, values.blocks[i]))
        else:
            self._iteration.begin(unit.head, "bp")
            operands = [error] + ([values.map(unit.index, "window")] if kind == "maxpool" else [])
            out, into = values.elements(unit.index), values.elements(unit.inputs[0])
            window = self._iteration.window_work(unit)[0] * out
            work = (max(window, into), into)
            self._generate(unit, Pass(f"{kind}_error", tuple(range(len(operands))), (0,), work), operands)

    def _loss(self, unit: Unit) -> None:
        """The error of the network's output; the labels lie in the lanes."""
        self._iteration.begin(unit.head, "bp")
        labels = self._iteration.values.labels(unit.index)
        self._iteration.vector.configure(Place(unit.index), labels, Tile((0, 1), (0, 1)))
        self._generate(unit, Pass("loss", (0,), (0,), (4, 1)), [self._iteration.values.map(unit.inputs[0], "output")])

    def _generate(self, unit: Unit, step: Pass, operands: list[Tensor]) -> None:
        """A unified-core pass whose results are the error of the unit's input, followed by that unit's own turn."""
        source = self._iteration.units[unit.inputs[0]]
        if not source.needs_error:
            return
        values, vector = self._iteration.values, self._iteration.vector
        result, contents = values.content(source.index, "partial"), [tensor.content for tensor in operands]
        pieces = self._pieces(unit, source, sum(content.plane_bytes for content in contents) + 3 * result.plane_bytes)
        in_place = all(len(tiles) == 1 for tiles in pieces) and not self._iteration.over_batch(source)
        last = self._last(source)
        following = self._taking(source, in_place, last)
        for tiles in pieces:
            for tile in tiles:
                with vector.scope(tile, [*contents, *following[0]], [result, *following[1]]):
                    self._iteration.begin(unit.head, "bp")
                    elements = tile.n_elements(values.elements(source.index))
                    regions = [vector.load(tensor, tile) for tensor in operands]
                    region = vector.room(result, tile)
                    work = ceil_div(elements * step.work[0], step.work[1])
                    reads = list(zip(regions, contents, strict=True))
                    vector.run(step.kind, Place(unit.index), tile, work, reads, [(region, result)])
                    self._take(source, replace(tile, operand_elements=None), region, in_place, last)
        self._taken(source, in_place, last)

    def _pieces(self, unit: Unit, source: Unit, plane_bytes: int) -> list[list[Tile]]:
        """Tiles of the error that ``unit`` generates; a loss needs all classes of a sample at once."""
        values, vector, batch = self._iteration.values, self._iteration.vector, self._iteration.batch
        if unit.head.kind == "loss":
            return vector.sample_tiles(values.blocks[source.index], batch, plane_bytes)
        blocks = min(values.blocks[unit.index], values.blocks[source.index])
        return vector.tiles(blocks, batch, values.elements(source.index), plane_bytes, self._iteration.rows(unit, backward=True))

    def _last(self, source: Unit) -> bool:
        """Whether the contribution under way completes the error of ``source``."""
        return self._waiting[source.index] == 1

    def _taking(self, source: Unit, in_place: bool, last: bool) -> tuple[list[Content], list[Content]]:
        """Operands and results that have room in the error buffer beside a contribution to the error of ``source`` when it is taken."""
        kept = self._iteration.values.content(source.index, "partial")
        if not (last and in_place):
            return [kept], [kept]
        _, inputs, outputs = self._error_passes(source, 1)
        per_channel = [tensor for tensor in (self._parameters(source), self._statistics(source)) if tensor]
        operands = [tensor.content for tensor in (*self._addends[source.index], *inputs, *per_channel)]
        return operands, [tensor.content for tensor in outputs]

    def _take(self, source: Unit, tile: Tile, region: Region, in_place: bool, last: bool) -> None:
        """A tile of a contribution lies in ``region``: turn it into the error of ``source``, or keep it for later."""
        if last and in_place:
            self._own_error(source, tile, region)
            return
        addends = self._addends[source.index]
        kept = self._iteration.values.map(source.index, "partial")
        merged = [tensor for tensor in addends if tensor is kept]
        if merged:
            elements = tile.n_elements(self._iteration.values.elements(source.index))
            self._iteration.vector.passes(
                [Pass("error_add", (0, 1), (0,))], Place(source.index), tile, elements, {0: region}, [kept.content, kept], [kept]
            )
        else:
            self._iteration.vector.store(region, kept, tile)

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

    def _error_passes(self, unit: Unit, n_addends: int) -> tuple[list[Pass], list[Tensor], list[Tensor]]:
        """Passes that turn a unit's output error into the error at its head; inputs beyond the first ``n_addends``, results,
        per-channel values. Passes are over the elements of the error, zeros included; sums need none of these."""
        values, index = self._iteration.values, unit.index
        inputs: list[Tensor] = []
        if unit.norm is not None:
            inputs.append(values.map(index, "pre_normalization") if unit.is_convolution else values.map(unit.inputs[0], "output"))
        if unit.activation is not None or unit.head.kind == "relu":
            inputs.append(values.map(index, "mask"))
        reads = tuple(range(n_addends + len(inputs)))
        error = values.map(index, "error")
        if unit.norm is None and not unit.head.bias:
            return [Pass("error_mask", reads, (0,))], inputs, [error]
        gradient = values.per_channel(index, "parameter_gradient")
        if unit.norm is None:
            return [Pass("error_mask", reads, (0, 1))], inputs, [error, gradient]
        sums = Pass("norm_error_sums", reads, (1,), (1, prod(values.stretch(index))))
        return [sums, Pass("norm_error_apply", reads, (0,))], inputs, [error, gradient]

    def _parameters(self, unit: Unit) -> Tensor | None:
        """Scale and offset that the error of a unit needs."""
        return None if unit.norm is None else self._iteration.values.per_channel(unit.index, "parameter")

    def _statistics(self, unit: Unit) -> Tensor | None:
        """Mean and spread that the error of a unit needs."""
        return None if unit.norm is None else self._iteration.values.per_channel(unit.index, "statistic")

    def _own_error(self, unit: Unit, tile: Tile, region: Region) -> None:
        """The last contribution to a unit's error lies in ``region``: add the others and pass mask and normalization in place."""
        self._iteration.begin(unit.norm or unit.activation or unit.head, "bp")
        values, vector, place = self._iteration.values, self._iteration.vector, Place(unit.index)
        addends, content = list(self._addends[unit.index]), values.content(unit.index, "partial")
        elements = tile.n_elements(values.elements(unit.index))
        while len(addends) > 1:
            other = addends.pop()
            reads = [(region, content), (vector.load(other, tile), other.content)]
            vector.run("error_add", place, tile, elements, reads, [(region, content)])
        passes, inputs, outputs = self._error_passes(unit, 1 + len(addends))
        if unit.index not in self._configured:
            self._configured.add(unit.index)
            vector.configure(place, self._parameters(unit), Tile((0, values.blocks[unit.index]), tile.samples))
        vector.configure(place, self._statistics(unit), tile)
        n_errors = tile.n_elements(values.content(unit.index, "error").plane_elements)
        vector.passes(passes, place, tile, n_errors, {0: region}, [content, *addends, *inputs], outputs)

    def _error(self, unit: Unit) -> None:
        """The error at a unit's head from contributions that all lie in DRAM."""
        self._iteration.begin(unit.norm or unit.activation or unit.head, "bp")
        values, index, batch = self._iteration.values, unit.index, self._iteration.batch
        stream, addends = partial(self._iteration.vector.stream, place=Place(index)), list(self._addends[index])
        sizes = {"n_blocks": values.blocks[index], "batch": batch, "plane_elements": values.elements(index)}
        while len(addends) > 2:
            kept = values.map(index, "partial")
            stream([Pass("error_add", (0, 1), (0,))], **sizes, inputs=[addends.pop(), addends.pop()], outputs=[kept])
            addends.append(kept)
        passes, inputs, outputs = self._error_passes(unit, len(addends))
        sizes["plane_elements"] = values.content(index, "error").plane_elements
        stream(
            passes, **sizes, inputs=[*addends, *inputs], outputs=outputs, parameters=self._parameters(unit),
            statistics=self._statistics(unit), rows=self._iteration.error_rows(unit), over_batch=self._iteration.over_batch(unit),
        )  # fmt: skip

    def _convolve_backward(self, unit: Unit) -> None:
        source = self._iteration.units[unit.inputs[0]]
        problem, groups = self._iteration.problem(unit, "bp"), self._iteration.grouping(unit)
        chosen = plan(self._iteration.context.array, problem, pinned_splits(self._iteration.architecture, unit.name, "bp"))
        in_place, last = self._iteration.whole(chosen) and not self._iteration.over_batch(source), self._last(source)
        error = self._iteration.values.map(unit.index, "error")
        for g in range(groups.n_groups):
            self._iteration.begin(unit.head, "bp", nest_of(self._iteration.context.array, problem, chosen))
            operands = Operands(error, g * groups.output_blocks, self._iteration.weights(unit, "weight"), g * groups.output_blocks)
            first_block = g * groups.input_blocks
            done = partial(self._finish_backward, unit, source, first_block, in_place, last)
            room = partial(self._room, unit, source, first_block, self._taking(source, in_place, last))
            kernel_width = self._iteration.convolution(unit).kernel_width
            emitter = self._iteration.emitters.result
            emitter(self._iteration.context, problem, chosen, operands, first_block, kernel_width, done, room).emit()
        self._taken(source, in_place, last)

    def _tile(self, unit: Unit, source: Unit, first_block: int, blocks: tuple[int, int], band: Band) -> Tile:
        return self._iteration.tile(source.index, first_block, blocks, band, self._iteration.convolution(unit).in_height)

    def _room(self, unit: Unit, source: Unit, first_block: int, taking: tuple[list[Content], list[Content]],
              blocks: tuple[int, int], band: Band) -> int:  # fmt: skip
        """Bytes of the error buffer that a tile of BP results and what follows it take."""
        result = self._iteration.values.content(source.index, "partial")
        return self._iteration.vector.room_bytes(self._tile(unit, source, first_block, blocks, band), [result, *taking[0]], taking[1])

    def _finish_backward(self, unit: Unit, source: Unit, first_block: int, in_place: bool, last: bool,
                         blocks: tuple[int, int], band: Band, region: Region) -> None:  # fmt: skip
        """What follows a tile of BP results."""
        tile = self._tile(unit, source, first_block, blocks, band)
        if in_place:
            self._take(source, tile, region, in_place, last)
        else:
            self._keep(source, tile, region)
        self._iteration.begin(unit.head, "bp")

    def _keep(self, source: Unit, tile: Tile, region: Region) -> None:
        """Add rows of a contribution to what DRAM holds of the error of ``source``."""
        vector, kept = self._iteration.vector, self._iteration.values.map(source.index, "partial")
        if kept in self._addends[source.index]:
            elements = tile.n_elements(self._iteration.values.elements(source.index))
            reads = [(region, kept.content), (vector.load(kept, tile), kept.content)]
            vector.run("error_add", Place(source.index), tile, elements, reads, [(region, kept.content)])
        vector.store(region, kept, tile)

    def _weight_gradient(self, unit: Unit) -> None:
        problem, groups = self._iteration.problem(unit, "wg"), self._iteration.grouping(unit)
        chosen = plan(self._iteration.context.array, problem, pinned_splits(self._iteration.architecture, unit.name, "wg"))
        self._iteration.begin(unit.head, "wg", nest_of(self._iteration.context.array, problem, chosen))
        source, error = self._iteration.values.map(unit.inputs[0], "output"), self._iteration.values.map(unit.index, "error")
        for g in range(groups.n_groups):
            operands = Operands(source, g * groups.input_blocks, error, g * groups.output_blocks)
            gradient = self._iteration.weights(unit, "weight_gradient")
            emitter = self._iteration.emitters.gradient
            emitter(self._iteration.context, problem, chosen, operands, gradient, g * groups.output_blocks).emit()
