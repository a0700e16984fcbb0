"""Which word a sweep waits for: the last one, in the order in which words arrive, of those that hold what it reads.

The words of a feed arrive in the order in which they are sent, so this word is a number: the sweep may begin when so many words of its
chunk are there.
"""

from typing import NamedTuple

import numpy as np

from etasim.schedule.tiling import ceil_div


class Sent(NamedTuple):
    """The runs of a feed, in order: its dimensions with the last fastest, in bytes of the buffer. ``address``: within its word."""

    address: int
    run_bytes: int
    counts: tuple[int, ...]
    strides: tuple[int, ...]

    def words_until(self, ends: np.ndarray, word_bytes: int) -> np.ndarray:
        """Words that bring the first ``ends`` bytes of the runs, laid end to end; shape of ``ends``, each at least 1."""
        starts = np.array([self.address])
        for count, stride in zip(self.counts, self.strides, strict=True):
            starts = np.add.outer(starts, np.arange(count) * stride).ravel()
        first, last = starts // word_bytes, (starts + self.run_bytes - 1) // word_bytes
        before = np.concatenate(([0], np.cumsum(last - first + 1)))
        run, byte = np.divmod(ends - 1, self.run_bytes)
        return before[run] + (starts[run] + byte) // word_bytes - first[run] + 1

    @property
    def n_bytes(self) -> int:
        """Bytes of all runs."""
        return self.run_bytes * int(np.prod(self.counts))


class Reads(NamedTuple):
    """What the sweeps of a chunk read. In their order, the last fastest: one for each of ``parts`` equal parts of the streamed blocks,
    each slice of ``slice_blocks`` of the ``result_blocks``, and each ``step`` of the ``units`` of a block (kernel positions, or pixels in
    WG), which are ``unit_bits`` of the stationary operand each.

    The scratchpad holds that as [part][result block][unit]. A slice reads its units of every block in it; the streamed operand is waited
    for block by block, a part at a time.
    """

    parts: int
    result_blocks: int
    slice_blocks: int
    units: int
    step: int
    unit_bits: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sweeps by part, slice and step."""
        return self.parts, ceil_div(self.result_blocks, self.slice_blocks), ceil_div(self.units, self.step)

    @property
    def n_sweeps(self) -> int:
        """Sweeps of the chunk."""
        parts, slices, steps = self.shape
        return parts * slices * steps

    def words(self, stream: Sent | None, stationary: Sent | None, word_bytes: int) -> np.ndarray:
        """Words of each scratchpad that must be there before each sweep, [sweep, (stream, stationary)]; 0 of what is not sent."""
        part, slice_, step = np.indices(self.shape).reshape(3, -1)
        words = np.zeros((self.n_sweeps, 2), np.int64)
        if stream:
            words[:, 0] = stream.words_until((part + 1) * (stream.n_bytes // self.parts), word_bytes)
        if stationary:
            last_block = np.minimum((slice_ + 1) * self.slice_blocks, self.result_blocks) - 1
            block_bytes = stationary.n_bytes // (self.parts * self.result_blocks)
            ends = (step + 1) * self.step
            in_block = np.where(ends < self.units, -(-ends * self.unit_bits // 8), block_bytes)
            words[:, 1] = stationary.words_until((part * self.result_blocks + last_block) * block_bytes + in_block, word_bytes)
        return words


NOTHING = Reads(parts=1, result_blocks=1, slice_blocks=1, units=1, step=1, unit_bits=0)
"""The one sweep of a chunk that only clears psums."""
