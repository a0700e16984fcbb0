"""The computation patterns of training as data: which pixels, which kernel positions, which operand rows.

FF is one pattern over the output pixels. BP at stride s is s x s patterns, one for each residue class of input pixels, each with the
kernel positions that meet it: no zero is inserted. WG uses FF's pixels and positions with the roles of operand and result exchanged.
A design that inserts zeros (``array.zero_insertion``) runs BP and WG at stride 1 over stretched errors instead.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from etasim.workload.layer import Layer

PATTERN = np.dtype([(name, "i8") for name in (
    "rows", "cols", "origin_y", "out_step_y", "out_height", "out_width", "in_step_y", "in_step_x", "in_height", "in_width", "n_taps",
    "tap_columns", "run_columns", "rows_adjoin", "reach_low", "reach_high", "row_step", "reach_left", "reach_right",
)])  # fmt: skip
"""What kernels read of a `Pattern`; ``tap_columns``: taps of a kernel row, ``run_columns`` of which follow each other in memory;
``rows_adjoin``: whether rows do."""


class Tap(NamedTuple):
    """A kernel position: pixel (i, j) of the pattern meets operand pixel (i * step + dy, j * step + dx); ``index`` = r * S + t."""

    dy: int
    dx: int
    index: int  # type: ignore[assignment]  # in the place of a tuple's own


@dataclass(frozen=True)
class Pattern:
    """A grid of ``rows x cols`` result pixels per sample, and the taps that each of them reduces over.

    Result pixel (i, j) lies at (origin_y + i * out_step_y, origin_x + j * out_step_x) of ``out_height x out_width`` maps, and its operand
    for a tap at (i * in_step_y + dy, j * in_step_x + dx) of ``in_height x in_width`` maps, zero outside.
    """

    rows: int
    cols: int
    origin_y: int
    origin_x: int
    out_step_y: int
    out_step_x: int
    out_height: int
    out_width: int
    in_step_y: int
    in_step_x: int
    in_height: int
    in_width: int
    taps: tuple[Tap, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Computed once: patterns are part of the keys of many caches."""
        return hash((self.rows, self.cols, self.in_height, self.in_width, self.taps))

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The fields of `PATTERN`."""
        own = {name: getattr(self, name, 0) for name in PATTERN.names or ()}
        if self.taps:
            reach = {"reach_low": self.reach[0], "reach_high": self.reach[1]}
            reach |= {"reach_left": self.reach_across[0], "reach_right": self.reach_across[1]}
            own |= reach | {"n_taps": len(self.taps)} | self._tap_runs()
        return tuple(own.values())

    def _tap_runs(self) -> dict[str, int]:
        """Which taps follow each other in memory: a stride of BP leaves positions of the kernel out between them."""
        columns = sum(tap.dy == self.taps[0].dy for tap in self.taps)
        follows = [after.index - tap.index == 1 for tap, after in pairwise(self.taps)]
        in_row, next_row = all(follows[: columns - 1]), all(follows[columns - 1 : columns])
        return {"tap_columns": columns, "run_columns": columns if in_row else 1, "rows_adjoin": in_row and next_row}

    def operand_rows(self, first: int, end: int) -> tuple[int, int, int]:
        """Operand rows (first, end, step) that result rows ``first ... end - 1`` read, clipped to the map."""
        lowest, highest = self.reach
        low, high, step = first * self.in_step_y + lowest, (end - 1) * self.in_step_y + highest, self.row_step
        start = low if low >= 0 else low % step
        return start, max(min(high, self.in_height - 1) + 1, start), step

    @cached_property
    def reach(self) -> tuple[int, int]:
        """Least and greatest dy of the taps."""
        return min(tap.dy for tap in self.taps), max(tap.dy for tap in self.taps)

    @cached_property
    def reach_across(self) -> tuple[int, int]:
        """Least and greatest dx of the taps."""
        return min(tap.dx for tap in self.taps), max(tap.dx for tap in self.taps)

    def operand_columns(self, tile: "PixelTile") -> tuple[int, int]:
        """Operand columns (first, end) that are sent for ``tile``: all, unless its row is cut by itself; then those that it reads of the
        map."""
        if not (self.taps and tile.by_row):
            return 0, self.in_width
        (left, right), first = self.reach_across, tile.first_pixel % self.cols
        low, high = first * self.in_step_x + left, (first + tile.n_pixels - 1) * self.in_step_x + right
        start = min(max(low, 0), self.in_width)
        return start, max(min(high + 1, self.in_width), start)

    @cached_property
    def row_step(self) -> int:
        """Distance of the operand rows that are read at all: the stride if all taps fall into one residue class."""
        if self.in_step_y > 1 and len({tap.dy % self.in_step_y for tap in self.taps}) == 1:
            return self.in_step_y
        return 1

    def operand_row_count(self, first: int, end: int) -> int:
        """Operand rows that result rows ``first ... end - 1`` read; none without taps."""
        if not self.taps:
            return 0
        start, stop, step = self.operand_rows(first, end)
        return -(-(stop - start) // step)

    @cached_property
    def leaves_rows_out(self) -> bool:
        """Whether a stride leaves out operand rows between those of neighbouring result rows."""
        return bool(self.taps) and self.in_step_y > self.reach[1] - self.reach[0] + 1

    def least_row_count(self, first: int, end: int) -> int:
        """Operand rows that all tiles of result rows ``first ... end - 1`` read at the least, however they are cut."""
        return 0 if self.leaves_rows_out and self.row_step == 1 else self.operand_row_count(first, end)


@lru_cache(maxsize=4096)
def forward(layer: Layer) -> Pattern:
    """FF and WG: the output pixels of a convolution."""
    taps = tuple(
        Tap(r * layer.dilation_height - layer.pad_height, t * layer.dilation_width - layer.pad_width, r * layer.kernel_width + t)
        for r in range(layer.kernel_height)
        for t in range(layer.kernel_width)
    )
    return Pattern(
        rows=layer.out_height, cols=layer.out_width, origin_y=0, origin_x=0, out_step_y=1, out_step_x=1,
        out_height=layer.out_height, out_width=layer.out_width, in_step_y=layer.stride_height, in_step_x=layer.stride_width,
        in_height=layer.in_height, in_width=layer.in_width, taps=taps,
    )  # fmt: skip


@lru_cache(maxsize=4096)
def backward(layer: Layer) -> tuple[Pattern, ...]:
    """BP: one pattern for each residue class of input pixels; a class that no kernel position meets has no taps and is zero."""
    patterns = []
    for a in range(min(layer.stride_height, layer.in_height)):
        for b in range(min(layer.stride_width, layer.in_width)):
            taps = []
            for r in range(layer.kernel_height):
                y = a + layer.pad_height - r * layer.dilation_height
                for t in range(layer.kernel_width):
                    x = b + layer.pad_width - t * layer.dilation_width
                    if y % layer.stride_height == 0 and x % layer.stride_width == 0:
                        taps.append(Tap(y // layer.stride_height, x // layer.stride_width, r * layer.kernel_width + t))
            patterns.append(Pattern(
                rows=-(-(layer.in_height - a) // layer.stride_height), cols=-(-(layer.in_width - b) // layer.stride_width),
                origin_y=a, origin_x=b, out_step_y=layer.stride_height, out_step_x=layer.stride_width,
                out_height=layer.in_height, out_width=layer.in_width, in_step_y=1, in_step_x=1,
                in_height=layer.out_height, in_width=layer.out_width, taps=tuple(taps),
            ))  # fmt: skip
    return tuple(patterns)


def inserted_backward(layer: Layer) -> tuple[Pattern, ...]:
    """BP over errors that are stretched by the stride, zeros between and after them: one pattern, every tap at every pixel."""
    taps = tuple(Tap(-tap.dy, -tap.dx, tap.index) for tap in forward(layer).taps)
    return (Pattern(
        rows=layer.in_height, cols=layer.in_width, origin_y=0, origin_x=0, out_step_y=1, out_step_x=1,
        out_height=layer.in_height, out_width=layer.in_width, in_step_y=1, in_step_x=1,
        in_height=layer.stride_height * layer.out_height, in_width=layer.stride_width * layer.out_width, taps=taps,
    ),)  # fmt: skip


def inserted_gradient(layer: Layer) -> Pattern:
    """WG over such errors: every pixel of the stretched maps meets an input pixel at each tap."""
    height, width = layer.stride_height * layer.out_height, layer.stride_width * layer.out_width
    return replace(forward(layer), rows=height, cols=width, out_height=height, out_width=width, in_step_y=1, in_step_x=1)


class PixelTile(NamedTuple):
    """Result pixels of one pass on one cluster: whole samples, or pixels ``first_pixel ... end_pixel - 1`` of one sample, row by row;
    ``by_row``: of one row, which is cut by itself."""

    first_sample: int
    n_samples: int
    first_pixel: int
    end_pixel: int
    by_row: bool = False

    @property
    def n_pixels(self) -> int:
        """Pixels of all samples."""
        return self.n_samples * (self.end_pixel - self.first_pixel)

    def rows(self, pattern: Pattern) -> tuple[int, int]:
        """Result rows that the tile touches."""
        return self.first_pixel // pattern.cols, -(-self.end_pixel // pattern.cols)


@lru_cache(maxsize=4096)
def as_own_map(pattern: Pattern, tile: PixelTile) -> tuple[Pattern, PixelTile]:
    """``tile`` as a cluster sees it: a part of a row that is cut by itself is a row of a narrower map, of the operand columns that it reads
    and no others."""
    if not (pattern.taps and tile.by_row):
        return pattern, tile
    (left, right), (row, first) = pattern.operand_columns(tile), divmod(tile.first_pixel, pattern.cols)
    taps = tuple(tap._replace(dx=tap.dx + first * pattern.in_step_x - left) for tap in pattern.taps)
    own = replace(pattern, cols=tile.n_pixels, in_width=right - left, taps=taps)
    return own, tile._replace(first_pixel=row * tile.n_pixels, end_pixel=(row + 1) * tile.n_pixels)


def coordinates(pattern: Pattern, tile: PixelTile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample, row and column (in the pattern's grid) of each pixel of ``tile``; shape [n_pixels] each."""
    pixel = np.arange(tile.first_pixel, tile.end_pixel)
    sample = np.repeat(np.arange(tile.first_sample, tile.first_sample + tile.n_samples), len(pixel))
    row, column = np.divmod(np.tile(pixel, tile.n_samples), pattern.cols)
    return sample, row, column


@lru_cache(maxsize=4096)
def gather_cycles(pattern: Pattern, n_samples: int, n_pixels: int, first_column: int, width: int, deinterleave: bool) -> np.ndarray:
    """Cycles to read the operands of each (tap, group of ``width`` pixels) from a scratchpad with ``width`` banks; shape [taps, groups].

    The scratchpad interleaves pixels over its banks. De-interleaved by residue class of the stride, with a row pitch congruent to
    ``cols`` and a plane pitch congruent to ``rows * cols`` modulo the banks, neighbours in a group always meet different banks: one cycle.
    Stored as they come, the strided pixels of a group share banks and take as many cycles as the fullest bank has pixels.
    """
    n_groups = -(-n_pixels // width)
    flat = first_column + np.arange(n_pixels // n_samples)
    row, column = np.divmod(np.tile(flat, n_samples), pattern.cols)
    sample = np.repeat(np.arange(n_samples), n_pixels // n_samples)
    cycles = np.ones((len(pattern.taps), n_groups), np.int64)
    if deinterleave:
        row_pitch, plane_pitch = pattern.cols, pattern.rows * pattern.cols
        bank_row, bank_column = row, column
    else:
        row_pitch, plane_pitch = pattern.in_width, pattern.in_height * pattern.in_width
        bank_row, bank_column = row * pattern.in_step_y, column * pattern.in_step_x
    group = np.arange(n_pixels) // width
    for t, tap in enumerate(pattern.taps):
        y, x = row * pattern.in_step_y + tap.dy, column * pattern.in_step_x + tap.dx
        inside = (y >= 0) & (y < pattern.in_height) & (x >= 0) & (x < pattern.in_width)
        shift_y, shift_x = (tap.dy // pattern.in_step_y, tap.dx // pattern.in_step_x) if deinterleave else (tap.dy, tap.dx)
        bank = ((bank_row + shift_y) * row_pitch + bank_column + shift_x + sample * plane_pitch) % width
        load = np.zeros((n_groups, width), np.int64)
        np.add.at(load, (group[inside], bank[inside]), 1)
        cycles[t] = np.maximum(load.max(axis=1), 1)
    return cycles
