"""An iteration in outline: how much each operation asks of each engine, without commands.

The works of an iteration are walked dry, equal tiles once, and added up. A `Job` is what runs as one pipeline of tiles: a convolution with
the normalization of its results, or a stand-alone operation of the unified core.
"""

from collections.abc import Container, Iterator
from copy import copy
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import chain
from math import prod
from typing import Any, NamedTuple

from etasim.estimate.amounts import Amounts, Listed
from etasim.estimate.array_work import fed_runs
from etasim.estimate.on_array import NO_ENDS, on_array, tile_axes
from etasim.estimate.records import CLUSTERS, CORES, HOST, N_ENGINES
from etasim.estimate.traffic import paced_bytes, piece_words, ways_of
from etasim.mapping.dry import DryWalk
from etasim.mapping.forwarding import residences_of
from etasim.mapping.iteration import Iteration
from etasim.mapping.second_level import Copies, Copy, copied_parts, copies_of
from etasim.mapping.steps import Alone, LoadTile, RunPass, Step, lanes_of
from etasim.mapping.tensors import Tensor
from etasim.mapping.works import Convolve, Gradients, gradient_pieces, piece
from etasim.program.commands import BUFFER_OF, COPY, FORWARD, HOLD, KEEP, LOAD_ACTIVATION, LOAD_ERROR, N_DMA, SECOND_MOVERS, STORE
from etasim.schedule.array import ArraySizes
from etasim.schedule.array_time import BandEnds
from etasim.schedule.nest import Nest, NestStep, Operand, Span, band_at
from etasim.schedule.tiling import burst_span, ceil_div


class Loads(NamedTuple):
    """An operand of a convolution: ``n_pieces`` of ``piece_bytes`` on average and ``largest_bytes`` at most, each in ``n_parts`` commands;
    ``stays``: its buffer holds them all. A tile needs ``n_steps`` of them one after the other, ``n_repeats`` tiles in a row the same.
    """

    engine: int
    n_pieces: int
    piece_bytes: float
    n_parts: int
    largest_bytes: int
    stays: bool
    n_steps: int = 1
    n_repeats: int = 1

    def record(self, array: ArraySizes) -> tuple[Any, ...]:
        """Fields of `etasim.estimate.records.LOADS`."""
        return *self[:4], self.n_held(array), self.n_steps, self.n_repeats

    def n_held(self, array: ArraySizes) -> int:
        """Pieces that the buffer holds at once; 0: it never has to let one go."""
        return 0 if self.stays else max(array.buffer_bytes[BUFFER_OF[self.engine]] // self.largest_bytes, 1)


def _turns(nest: Nest, operand: Operand, tiles: Container[str]) -> tuple[int, int]:
    """Pieces of ``operand`` that a tile needs one after the other, and tiles that need the same: its steps of the axes that are not of
    ``tiles``, and the axes that turn inside those that choose the piece."""
    own = [i for i, axis in enumerate(nest.axes) if axis.name in operand.axes and axis.count > 1]
    n_steps = prod(nest.axes[i].count for i in own if nest.axes[i].name not in tiles)
    chosen = [i for i in own if nest.axes[i].name in tiles] if operand.resident else own
    inside = nest.axes[max(chosen, default=-1) + 1 :]
    return n_steps, prod(axis.count for axis in inside if axis.name in tiles)


@dataclass(slots=True)
class TileKind:
    """``count`` equal tiles: bytes (error loads, stores) or cycles of each engine, commands of the unified core, and bytes that a tile
    takes of the error buffer until it is stored; ``is_empty``: no engine was asked; words that a mover brings for it, and copies to where
    its results live."""

    count: int
    amounts: list[float] = field(default_factory=lambda: [0.0] * N_ENGINES)
    n_passes: int = 0
    held_bytes: int = 0
    is_empty: bool = True
    words_in: float = 0.0
    words_out: float = 0.0

    def on_clusters(self, cycles: float) -> "TileKind":
        """The same with so many cycles of the clusters."""
        amounts = self.amounts.copy()
        amounts[CLUSTERS] = cycles
        return TileKind(self.count, amounts, self.n_passes, self.held_bytes, False, self.words_in, self.words_out)

    def record(self, is_there: bool = True) -> tuple[Any, ...]:
        """Fields of `etasim.estimate.records.KIND`."""
        return self.count * is_there, self.amounts, self.n_passes, self.held_bytes, self.words_in, self.words_out


@dataclass
class Job:
    """A pipeline of tiles: what each asks of the engines, the operands of a convolution, and the tensors.

    ``lead``: what comes before the first tile. ``inputs``: (engine, tensor name, whether whole samples only, whether it lives on chip) of
    what it reads;
    ``arriving``: what the host brings for it. ``n_rounds``: how often the tiles go through all samples, in order; 0: every tile needs all
    of them. ``n_block_groups``: groups of channel blocks, whose tiles the same unified core has; ``groups_first``: all tiles of one before
    those of the next. ``ends``: of a tile on the array. ``total``, ``commands`` [engine]; ``operations`` by engine.
    """

    kinds: list[TileKind] = field(default_factory=list)
    lead: TileKind = field(default_factory=lambda: TileKind(1))
    loads: list[Loads] = field(default_factory=list)
    total: list[float] = field(default_factory=lambda: [0.0] * N_ENGINES)
    commands: list[int] = field(default_factory=lambda: [0] * N_ENGINES)
    operations: dict[int, tuple[int, ...]] = field(default_factory=dict)
    inputs: set[tuple[int, str, bool, bool]] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)
    arriving: set[str] = field(default_factory=set)
    n_rounds: int = 1
    n_block_groups: int = 1
    groups_first: bool = False
    ends: BandEnds = NO_ENDS

    @cached_property
    def n_tiles(self) -> int:
        """Tiles in all, once they are known."""
        return sum(kind.count for kind in self.kinds)

    @cached_property
    def kind_records(self) -> list[tuple[Any, ...]]:
        """Fields of `etasim.estimate.records.KIND` of what comes first and of all kinds, once they are known."""
        return [self.lead.record(not self.lead.is_empty), *(kind.record() for kind in self.kinds)]

    def on_clusters(self, cycles: list[float], total: float, n_tiles: int, operation: int, ends: BandEnds) -> "Job":
        """The same with so many cycles of the clusters for a tile of each kind, and in all."""
        found = copy(self)
        found.kinds = [kind.on_clusters(each) for kind, each in zip(self.kinds, cycles, strict=True)]
        found.total, found.commands = self.total.copy(), self.commands.copy()
        found.total[CLUSTERS], found.commands[CLUSTERS] = total, n_tiles
        found.operations, found.ends = self.operations | {CLUSTERS: (operation,)}, ends
        return found

    def add(self, engine: int, amount: float, count: int, operation: int, paced: float | None = None) -> None:
        """``count`` commands of ``amount`` each: one for each of the tiles that began last, or so many before the first; ``paced``: the
        amount that takes as long as each does."""
        self.total[engine] += amount * count
        self.commands[engine] += count
        if operation not in self.operations.get(engine, ()):
            self.operations[engine] = (*self.operations.get(engine, ()), operation)
        kind = self.kinds[-1] if self.kinds else self.lead
        kind.is_empty = False
        kind.amounts[engine] += (amount if paced is None else paced) * count / kind.count
        kind.n_passes += engine == CORES


class WorkOutline(NamedTuple):
    """What a work of an iteration comes to."""

    job: Job
    amounts: Amounts


class Surroundings(NamedTuple):
    """What a convolution comes to but for its array, in little memory."""

    job: Job
    amounts: Listed


def _tiles(work: Convolve) -> Iterator[tuple[NestStep, int]]:
    """Equal tiles of a convolution once, with their number."""
    return work.nest.kinds(*tile_axes(work.problem))


class Outliner(DryWalk):
    """Works out what the works of an iteration, one by one, ask of each engine of ``array``."""

    def __init__(self, iteration: Iteration, array: ArraySizes):
        super().__init__(iteration)
        self.array, architecture = array, iteration.architecture
        self.buffers_are_ideal, self.core_is_ideal = architecture.buffers.ideal, architecture.unified_core.ideal
        self.lanes, self.n_cores = lanes_of(architecture), architecture.unified_core.n_cores
        self._plan, self._filled = copies_of(iteration), set[Copy]()
        self._residences = residences_of(iteration)
        self._copies: Copies = {}
        self.parts: list[WorkOutline] = []
        self._phase = ""
        assert array.noc is not None, "only kernels see an array without a network"
        self.ways = ways_of(array.noc, array.word_bytes)
        self._clusters = array.of_clusters

    @property
    def job(self) -> Job:
        """The pipeline under way."""
        return self.parts[-1].job

    @property
    def amounts(self) -> Amounts:
        """What the work under way moves and does."""
        return self.parts[-1].amounts

    def _begin(self, job: Job) -> None:
        self.parts.append(WorkOutline(job, Amounts()))
        self._copies = next(self._plan)

    def begin_tile(self, count: int) -> None:
        """The pipeline goes on with ``count`` equal tiles."""
        self.job.kinds.append(TileKind(count))

    def alone(self, work: Alone) -> None:
        """A pipeline of its own, from what the lanes are brought first."""
        cover = work.cover
        self._begin(Job(n_rounds=0 if cover.over_batch else 1, n_block_groups=cover.blocks.count, groups_first=cover.over_batch))
        super().alone(work)

    def hold_tile(self, n_bytes: int) -> None:
        """A tile's share of the error buffer."""
        self.job.kinds[-1].held_bytes = n_bytes

    def convolve(self, work: Convolve) -> None:
        """A pipeline of the nest's steps, equal ones once, beside the loads of the operands."""
        around, amounts = self.surroundings(work), Amounts()
        self.parts[-1] = WorkOutline(self.placed(work, around, amounts), amounts)

    def surroundings(self, work: Convolve) -> Surroundings:
        """All of a convolution but what it asks of the array: that follows from the steps of its nest, on whatever array."""
        nest, is_wg = work.nest, work.problem.phase == "wg"
        n_results = nest.axis("results").count
        in_order = work.plan.outer == "stream" or n_results == 1
        self._begin(Job(n_rounds=0 if is_wg else 1 if in_order else n_results, n_block_groups=n_results, groups_first=not in_order))
        if self.array.bypasses:
            self._load_fed(work)
        for operand in (nest.stationary,) if self.array.bypasses else (nest.stream, nest.stationary):
            self._load(work, operand)
        for step, count in _tiles(work):
            self.begin_tile(count)
            if is_wg:
                self._store(work, step, count)
            else:
                self.follow(work, step, count)
        return Surroundings(self.job, self.amounts.listed)

    def placed(self, work: Convolve, around: Surroundings, amounts: Amounts) -> Job:
        """A convolution on this array: its tiles in what is ``around`` them. What all of it moves and does is added to ``amounts``."""
        tiles = on_array(self._clusters, self.ways, work.problem.unfollowed, work.plan.at_no_cost, work.kernel_width)
        turn_cycles, cycles, total, n_tiles = self._turn_cycles(work), list[float](), 0.0, 0
        for count, each in tiles.kinds:
            own = each + turn_cycles / count
            cycles.append(own * count / count)
            total += own * count
            n_tiles += count
            turn_cycles = 0
        amounts.cluster_cycles[work.operation] += tiles.busy_cycles
        amounts.add_sent(work.operation, tiles.sent)
        amounts.add_listed(around.amounts)
        return around.job.on_clusters(cycles, total, n_tiles, work.operation, tiles.ends)

    def _load(self, work: Convolve, operand: Operand) -> None:
        """All pieces of an operand, as often as the nest asks for them."""
        n_pieces, n_bytes, engine, n_parts, largest = 0, 0.0, 0, 1, 0
        n_repeats = work.nest.repeats(operand)
        for step, count in work.nest.kinds(*operand.axes):
            each = piece(work, operand, step)
            engine, n_parts = each.engine, each.n_parts
            if each.span.size:
                n_times = count * n_repeats
                n_planes = each.blocks.size * each.planes.size
                n_pieces += n_times
                n_bytes += n_times * self._transfer(each.engine, each.tensor, n_planes, each.span, work.operation, n_times)
                largest = max(largest, n_planes * each.span.size)
        if n_pieces:
            stays, turns = operand.resident or not n_bytes, _turns(work.nest, operand, tile_axes(work.problem))
            self.job.loads.append(Loads(engine, n_pieces, n_bytes / n_pieces, n_parts, largest, stays, *turns))

    def _load_fed(self, work: Convolve) -> None:
        """The streamed operand, loaded for every feed."""
        is_wg, n_pieces, n_bytes = work.problem.phase == "wg", 0, 0.0
        for step, count in _tiles(work):
            blocks = step["streams"].size if is_wg else work.problem.stream_blocks
            n_routes = 1 if self.array.multicast else work.plan.split
            n_pieces += count
            for span, n in fed_runs(self._clusters, work.problem, work.plan, work.kernel_width, None if is_wg else band_at(step)):
                n_times = count * n * n_routes
                n_bytes += n_times * self._transfer(LOAD_ACTIVATION, work.operands.stream, blocks, span, work.operation, n_times)
        if n_pieces:
            n_parts = max(round(n_bytes / n_pieces / self.array.activation_bytes * 2), 1)
            self.job.loads.append(Loads(LOAD_ACTIVATION, n_pieces, n_bytes / n_pieces, n_parts, self.array.activation_bytes, stays=False))

    def _turn_cycles(self, work: Convolve) -> int:
        """Cycles in which the array turns to another phase: behind its first chunk, here shared by the first equal tiles."""
        turns, self._phase = self._phase not in ("", work.problem.phase), work.problem.phase
        return turns * self.array.fill_cycles[2]

    def _store(self, work: Convolve, step: NestStep, count: int) -> None:
        """The gradients of ``count`` tiles."""
        assert isinstance(work.results, Gradients), "what WG writes"
        n_results = step["results"].size * step["streams"].size * step["taps"].size * self.array.lanes**2
        self.hold_tile(n_results * work.problem.result_element_bytes)
        for span, _ in gradient_pieces(work, step):
            self._transfer(STORE, work.results.tensor, step["results"].size, span, work.operation, count)

    def do(self, step: Step, count: int) -> None:
        """A step of the unified core on each of ``count`` equal tiles."""
        super().do(step, count)
        count = 1 if step.once else count
        if isinstance(step, RunPass):
            self._run(step, count)
            return
        content, tile, is_load = step.tensor.content, step.tile, isinstance(step, LoadTile)
        planes, blocks = tile.planes(content), tile.blocks
        n_planes, span = (planes[1] - planes[0]) * (blocks[1] - blocks[0]), Span(*tile.piece(content, is_operand=is_load))
        self._transfer(LOAD_ERROR if is_load else STORE, step.tensor, n_planes, span, step.operation, count)

    def _run(self, step: RunPass, count: int) -> None:
        """A command of the unified core."""
        word_bytes, operation, n_groups = self.array.word_bytes, step.operation, self.lanes.groups(step)
        words = [[ceil_div(slot.n_bytes, word_bytes) for slot in slots] for slots in (step.reads, step.writes)]
        groups = 0 if self.core_is_ideal else n_groups
        streamed = 0 if self.buffers_are_ideal else max(chain(*words), default=0)
        self.job.add(CORES, max(groups, streamed), count, operation)
        count *= self.n_cores if step.on_all_cores else 1
        self.amounts.vector_groups[operation] += n_groups * count
        for is_result, streams in enumerate(words):
            self.amounts.unified_words[operation, is_result] += sum(streams) * count

    def _transfer(self, engine: int, tensor: Tensor, n_planes: int, span: Span, operation: int, count: int) -> float:
        """``count`` loads or stores of bytes ``span`` of ``n_planes`` planes; bytes that take as long as each does."""
        burst_bytes, is_store = self.array.burst_bytes, engine == STORE
        if tensor.from_host and not is_store:
            self._arrive(tensor, operation)
        if self._residences.held and self._on_chip(engine, tensor, n_planes * span.size, operation, count):
            return 0.0
        copied, filled, words = self._second(engine, tensor, n_planes * count, span, operation)
        from_dram = 1 if is_store else 1 - copied
        asked = float(n_planes * burst_span(*span, burst_bytes) * from_dram)
        moved = asked + filled / count
        n_words = n_planes * piece_words(*span, burst_bytes, self.array.word_bytes) * from_dram
        self.amounts.dma_words[operation, engine] += round(n_words * count)
        self.amounts.dram_bytes[operation, tensor.tensor_class, is_store] += round(moved * count)
        rates = self.array.rates
        byte_cycles = max(rates.engine_cycles_per_byte[engine], rates.dram_cycles_per_byte)
        paced = paced_bytes(self.array, engine, asked, float(n_words)) + filled / count
        if engine == LOAD_ERROR and byte_cycles:
            paced = max(paced, (rates.load_cycles / byte_cycles + paced) / rates.load_window)
        if words and byte_cycles:
            paced = max(paced, words / count * rates.copy_cycles_per_word / byte_cycles)
        self.job.add(engine, moved, count, operation, paced)
        if is_store:
            self.job.outputs.add(tensor.name)
        else:
            self.job.inputs.add((engine, tensor.name, tensor.is_read_whole, False))
        return paced

    def _on_chip(self, engine: int, tensor: Tensor, n_bytes: int, operation: int, count: int) -> bool:
        """Whether DRAM has nothing to do with ``count`` loads or stores of a tensor that lives on chip; what is copied there is booked."""
        work, words = len(self.parts) - 1, ceil_div(n_bytes, self.array.word_bytes)
        kind = self.job.kinds[-1] if self.job.kinds else self.job.lead
        if engine == STORE:
            places = [*self._residences.being_written(work, tensor.name)]
            for residence in places:
                self.amounts.moved_words[operation, HOLD[residence.buffer] - len(SECOND_MOVERS)] += words * count
            kind.words_out += words if places else 0
            self.job.outputs |= {tensor.name} if places else set()
            return tensor.name in self._residences.never_stored
        if self._residences.of(work, tensor.name, BUFFER_OF[engine]) is None:
            return False
        if engine == LOAD_ERROR:
            self.amounts.moved_words[operation, FORWARD - len(SECOND_MOVERS)] += words * count
            kind.words_in += words
        self.amounts.forwarded_bytes[operation] += n_bytes * count
        self.job.inputs.add((engine, tensor.name, tensor.is_read_whole, True))
        return True

    def _second(self, engine: int, tensor: Tensor, n_planes: int, span: Span, operation: int) -> tuple[Fraction | int, int, int]:
        """Share of a tensor that has a copy in the second level, the bytes that must be brought there from DRAM before, and the words that
        are copied."""
        copy = self._copies.get(tensor.name)
        if copy is None:
            return 0, 0, 0
        word_bytes, is_store = self.array.word_bytes, engine == STORE
        base = next(each for each in self.iteration.memory.tensors if each.name == copy.name)
        parts, are_planes = copied_parts(base)
        share = Fraction(copy.n_parts, parts)
        words = round(n_planes * ceil_div(span.size, word_bytes) * share)
        self.amounts.moved_words[operation, KEEP if is_store else COPY[BUFFER_OF[engine]]] += words
        if is_store:
            return share, 0, words
        self.amounts.served_bytes[operation] += round(n_planes * span.size * share)
        if not copy.from_dram or copy in self._filled:
            return share, 0, words
        self._filled.add(copy)
        n_filled = copy.n_parts * (base.n_blocks if are_planes else 1)
        self.amounts.dma_words[operation, N_DMA] += n_filled * ceil_div(base.plane_bytes, word_bytes)
        return share, n_filled * burst_span(0, base.plane_bytes, self.array.burst_bytes), words

    def _arrive(self, tensor: Tensor, operation: int) -> None:
        """What the host brings is in DRAM once, whoever reads it first; its samples, or blocks of all samples, come one by one."""
        if self.iteration.architecture.host is None or any(tensor.name in part.job.arriving for part in self.parts):
            return
        n_parts = tensor.n_planes if tensor.n_planes > 1 else tensor.n_blocks
        n_bytes = tensor.n_blocks * tensor.pitch_bytes
        self.job.add(HOST, n_bytes / n_parts, n_parts, operation)
        self.job.arriving.add(tensor.name)
        self.amounts.host_bytes[operation] += n_bytes
        self.amounts.dram_bytes[operation, tensor.tensor_class, True] += n_bytes
