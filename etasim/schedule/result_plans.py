"""Mappings of FF and BP: results stay in the psums."""

from collections.abc import Iterator
from functools import cache, partial
from itertools import product
from typing import NamedTuple

from etasim.schedule.array import ArraySizes
from etasim.schedule.array_time import pass_drain_cycles, result_cycles, result_rounds
from etasim.schedule.overlap import Buffering, Demand, operation_cycles
from etasim.schedule.patterns import Pattern
from etasim.schedule.problem import Allotment, Band, Candidate, ConvProblem, Follow, Movement, Splits, Tiles, TileShape
from etasim.schedule.search import least
from etasim.schedule.tiling import (
    burst_span,
    ceil_div,
    count_bands,
    equal_shares,
    pattern_rows,
    pixel_shapes,
    plane_bytes,
    row_halves,
    slice_pixels,
    stream_bytes,
    tile_rows,
)


class Option(NamedTuple):
    """Split of the clusters and bands, and the order of the loops."""

    allotment: Allotment
    band_samples: int
    band_rows: int
    outer: str


def _result_shape(
    array: ArraySizes, problem: ConvProblem, pattern: Pattern, result_slices: int, samples: int, pixels: int
) -> TileShape | None:
    """Chunking of a tile in FF or BP, or None if an operand slice does not fit its scratchpad."""
    if not pattern.taps:
        return TileShape(samples, pixels, 1, 1)
    block = array.lanes * problem.stream_element_bytes
    stream = slice_pixels(array, pattern, max(samples, 1), tile_rows(pattern, samples, pixels)) * block
    vector = array.pes * array.lanes * problem.stationary_element_bytes
    stationary = result_slices * len(pattern.taps) * vector
    if stream > array.stream_scratchpad_bytes or result_slices * vector > array.stationary_scratchpad_bytes:
        return None
    if stationary > array.stationary_scratchpad_bytes:
        return TileShape(samples, pixels, 1, array.stationary_scratchpad_bytes // (result_slices * vector))
    slices = min(problem.stream_blocks, array.stream_scratchpad_bytes // stream, array.stationary_scratchpad_bytes // stationary)
    return TileShape(samples, pixels, slices, len(pattern.taps))


def _weight_bytes(array: ArraySizes, problem: ConvProblem, round_blocks: int) -> int:
    """DRAM bytes to load all weights once, a round of result blocks at a time. In FF a round takes whole planes of the weight
    tensor; in BP it takes a piece of every plane, and the pieces share the bursts at their ends."""
    block = array.lanes**2 * problem.stationary_element_bytes * problem.kernel_positions
    if problem.phase == "ff":
        return problem.result_blocks * burst_span(0, problem.stream_blocks * block, array.burst_bytes)
    return problem.stream_blocks * plane_bytes(problem.result_blocks, block, array.burst_bytes, round_blocks)


class ResultPlanner:
    """Mappings of an FF or BP operation; it has no parts of samples.

    ``stages`` of working one out (`etasim.schedule.search`), by (cycles, DRAM bytes): a bound, then the tiles.
    """

    def __init__(self, array: ArraySizes, problem: ConvProblem):
        self.array, self.problem = array, problem
        self.stages = self._bound, self._time
        self._height, self._width = problem.patterns[0].out_height, problem.patterns[0].out_width
        self._stream_bytes = cache(partial(stream_bytes, array, problem))
        self._weight_bytes = cache(partial(_weight_bytes, array, problem))
        self._shapes = cache(self._fitting_shapes)
        self._fastest = cache(self._fastest_tiles)
        self._n_elements = problem.result_blocks * array.lanes * problem.batch * self._height * self._width
        n_products = sum(len(p.taps) * p.rows * p.cols for p in problem.patterns) * problem.batch * problem.stream_blocks
        least_cycles = n_products * problem.result_blocks / (array.pe_blocks * array.columns * array.clusters)
        self._hidden_cycles = least_cycles if problem.follow.is_hidden else 0.0

    def options(self, splits: Splits) -> Iterator[Option]:
        """Allotments whose psums fit, of 1, 2, 4 ... result slices or all, with bands of equal shares of the batch that fit the buffers."""
        slices = ceil_div(self.problem.result_blocks, self.array.pe_blocks)
        for split, _ in splits:
            most = ceil_div(slices, split)
            for result_slices in range(1, min(self.array.psum_depth, most) + 1):
                if result_slices & (result_slices - 1) == 0 or result_slices == most:
                    allotment = Allotment(split, 1, result_slices, 1, 0)
                    for (samples, rows), outer in product(self._bands(allotment), ("stationary", "stream")):
                        yield Option(allotment, samples, rows, outer)

    def _round_blocks(self, allotment: Allotment) -> int:
        return min(allotment.split * allotment.result_slices * self.array.pe_blocks, self.problem.result_blocks)

    def _bands(self, allotment: Allotment) -> Iterator[tuple[int, int]]:
        """(samples, rows) of bands that fit: whole samples, or rows of one."""
        blocks, height = self._round_blocks(allotment), self._height
        if blocks * self._block_weight_bytes > self.array.weight_bytes:
            return
        for rows in row_halves(height):
            room = self._room(blocks, rows)
            yield from ((samples, rows) for samples in (equal_shares(self.problem.batch) if rows == height else [1]) if samples <= room)

    @property
    def _block_weight_bytes(self) -> int:
        """Weights of a block of results."""
        problem = self.problem
        return self.array.lanes**2 * problem.stationary_element_bytes * problem.kernel_positions * problem.stream_blocks

    def _room(self, round_blocks: int, rows: int) -> int:
        """Samples of ``rows`` rows whose operand fits half of the activation buffer, and whose results fit the error buffer with what
        follows them."""
        array, problem = self.array, self.problem
        operand = problem.stream_blocks * self._stream_bytes(rows).largest
        results = round_blocks * rows * self._width * array.lanes * self._held_bits(rows) / 8
        return min(array.activation_bytes // max(operand, 1), int(2 * array.error_bytes / results))

    def _held_bits(self, rows: int) -> float:
        """Bits of the error buffer for an element of results; where bands are not whole planes what follows comes later."""
        own = 16 * self.problem.result_element_bytes
        return max(self.problem.follow.held_bits, own) if rows == self._height else own

    def _movement(self, option: Option) -> Movement:
        """How often the operands are loaded."""
        (allotment, samples, rows, outer), array, problem = option, self.array, self.problem
        round_blocks = self._round_blocks(allotment)
        _, held, loaded = self._stream_bytes(rows)
        stream_resident = problem.stream_blocks * problem.batch * held <= array.activation_bytes
        stationary_resident = problem.result_blocks * self._block_weight_bytes <= array.weight_bytes
        stream_loads = 1 if outer == "stream" or stream_resident else ceil_div(problem.result_blocks, round_blocks)
        weight_loads = 1 if outer == "stationary" or stationary_resident else count_bands(problem, samples, rows)
        streamed = problem.stream_blocks * problem.batch * loaded * stream_loads
        return Movement(
            samples, rows, outer, stream_resident, stationary_resident, (streamed, self._weight_bytes(round_blocks) * weight_loads)
        )

    def _bound(self, option: Option) -> tuple[tuple[float, int], tuple[Option, Movement]] | None:
        """A bound on the cycles: psums that are always full, and operands that never wait."""
        movement = self._movement(option)
        slices = ceil_div(self.problem.result_blocks, self._round_blocks(option.allotment)) * option.allotment.result_slices
        columns, batch = self.array.clusters // option.allotment.split, self.problem.batch
        compute = sum(
            slices * max(self.problem.stream_blocks * len(p.taps), 1) * ceil_div(batch * p.rows * p.cols, self.array.columns * columns)
            for p in self.problem.patterns
        )  # fmt: skip
        return (self._cycles(option, movement, compute), sum(movement.dram_bytes)), (option, movement)

    def _cycles(self, option: Option, movement: Movement, array_cycles: float, drain_cycles: float = 0.0) -> float:
        """Cycles of the operation if the array takes ``array_cycles``."""
        (allotment, samples, rows, outer), array, problem = option, self.array, self.problem
        round_blocks, n_bands = self._round_blocks(allotment), count_bands(problem, samples, rows)
        n_rounds, whole = ceil_div(problem.result_blocks, round_blocks), rows == self._height
        follow = problem.follow if whole else Follow(store_bits=8 * problem.result_element_bytes)
        beside = self._n_elements * follow.load_bits / 8, self._n_elements * follow.store_bits / 8
        tile_bytes = samples * round_blocks * rows * self._width * array.lanes * self._held_bits(rows) / 8
        piece_bytes = samples * problem.stream_blocks * self._stream_bytes(rows).largest, round_blocks * self._block_weight_bytes
        n_pieces = n_bands * (n_rounds if outer == "stationary" else 1), n_rounds * (n_bands if outer == "stream" else 1)
        residents = movement.stream_resident, movement.stationary_resident
        loads = [
            Buffering(n, 0 if resident else max(2 * size // max(each, 1), 1))
            for n, resident, size, each in zip(n_pieces, residents, (array.activation_bytes, array.weight_bytes), piece_bytes, strict=True)
        ]
        turns = n_bands if outer == "stationary" else n_bands * n_rounds
        covered = (turns - (1 if outer == "stationary" else n_rounds)) / (n_bands * n_rounds)
        demand = Demand(
            n_bands * n_rounds, self._n_elements, problem.result_element_bytes, array_cycles, (*movement.dram_bytes, *beside),
            (loads[0], loads[1]), int(2 * array.error_bytes / tile_bytes), drain_cycles, covered, self._hidden_cycles,
        )  # fmt: skip
        cycles = operation_cycles(array, follow, demand)
        return cycles if whole else cycles + self._detour_cycles(rows)

    def _detour_cycles(self, rows: int) -> float:
        """Cycles of the unified core alone, for results that went to DRAM and come back."""
        follow, problem = self.problem.follow, self.problem
        n_bytes = self._n_elements * (problem.result_element_bytes + follow.load_bits / 8), self._n_elements * follow.store_bits / 8
        n_tiles = problem.result_blocks * problem.batch
        alone = Demand(
            n_tiles, self._n_elements, problem.result_element_bytes, 0.0, (0, 0, *n_bytes), (Buffering(0, 0), Buffering(0, 0)), 2
        )
        return operation_cycles(self.array, follow, alone)

    def _fitting_shapes(self, pattern: Pattern, result_slices: int) -> list[TileShape]:
        """Tile shapes of one pattern whose psums and operands fit a cluster."""
        max_pixels = self.array.psum_depth // result_slices * self.array.columns
        shapes = (
            _result_shape(self.array, self.problem, pattern, result_slices, samples, pixels)
            for samples, pixels in pixel_shapes(pattern, self.problem.batch, max_pixels, self.array)
        )
        return [shape for shape in shapes if shape]

    def _time(self, moved: tuple[Option, Movement]) -> tuple[tuple[float, int], Candidate] | None:
        """Cycles with the fastest tiles; None if no tile fits the scratchpads."""
        option, movement = moved
        tiles = self._fastest(option.allotment, option.band_samples, option.band_rows)
        if tiles is None:
            return None
        cycles = self._cycles(option, movement, tiles.cycles, tiles.drain_cycles)
        return (cycles, sum(movement.dram_bytes)), Candidate(option.allotment, movement, tiles._replace(cycles=cycles))

    def _fastest_tiles(self, allotment: Allotment, samples: int, rows: int) -> Tiles | None:
        """The fastest shape of tiles for each pattern, and the array's cycles in all; None if no tile fits."""
        bands = [(Band(0, n_samples, 0, rows), n) for n_samples, n in equal_kinds(self.problem.batch, samples)]
        n_rows = ceil_div(self._height, rows) * ceil_div(self.problem.result_blocks, self._round_blocks(allotment))
        found = []
        for pattern in self.problem.patterns:
            shapes = self._shapes(pattern, allotment.result_slices)
            if not shapes:
                return None
            found.append(
                least(shapes, partial(self._shape_bound, pattern, allotment, bands), partial(self._shape_cycles, pattern, allotment, bands))
            )
        chosen = tuple(each[1] for each in found if each)
        band_pixels = samples * rows * self._width // len(self.problem.patterns)
        last = min(max(chosen[-1].samples, 1) * chosen[-1].pixels * (self.array.clusters // allotment.split), band_pixels)
        drain = pass_drain_cycles(self.array, self.problem, allotment, last)
        return Tiles(n_rows * sum(each[0] for each in found if each), chosen, samples, drain)

    def _shape_bound(
        self, pattern: Pattern, allotment: Allotment, bands: list[tuple[Band, int]], shape: TileShape
    ) -> tuple[float, TileShape]:
        """A bound on the cycles of tiles of one shape: multiplying alone."""
        array, columns = self.array, self.array.clusters // allotment.split
        cycles = self.problem.stream_blocks * allotment.result_slices * max(len(pattern.taps), 1)
        groups, total = ceil_div(max(shape.samples, 1) * shape.pixels, array.columns), 0
        for band, n in bands:
            first, end = pattern_rows(pattern, band)
            whole, rest = divmod((end - first) * pattern.cols, shape.pixels)
            n_tiles = ceil_div(band.n_samples, shape.samples) if shape.samples else band.n_samples * (whole + (rest > 0))
            if shape.samples:
                total += n * (n_tiles // columns) * groups
            elif columns == 1:
                total += n * band.n_samples * (whole * groups + ceil_div(rest, array.columns))
            elif whole:
                total += n * ceil_div(n_tiles, columns) * groups
        return cycles * total, shape

    def _shape_cycles(
        self, pattern: Pattern, allotment: Allotment, bands: list[tuple[Band, int]], shape: TileShape
    ) -> tuple[float, TileShape]:
        """Cycles of tiles of one shape over all bands."""
        array, columns, total = self.array, self.array.clusters // allotment.split, 0.0
        for band, n in bands:
            rounds = result_rounds(array, self.problem, pattern, shape, band, columns)
            total += n * result_cycles(array, self.problem, pattern, shape, allotment, rounds)
        return total, shape


def equal_kinds(extent: int, step: int) -> list[tuple[int, int]]:
    """Sizes of the steps of ``step`` that cover ``extent``, and how many have each."""
    whole, rest = divmod(extent, step)
    return [(size, n) for size, n in ((step, whole), (rest, 1)) if size and n]
