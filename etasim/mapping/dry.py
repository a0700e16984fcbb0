"""An iteration walked dry: equal tiles once, no command written. It tells whether the error buffer holds what each tile needs at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from etasim.mapping.iteration import Iteration
from etasim.mapping.sequence import works
from etasim.mapping.steps import Alone, LoadTile, RunPass, Slot, Step
from etasim.mapping.works import Convolve, ResultMaps, Work, result_tile
from etasim.schedule.array import full_buffer
from etasim.schedule.nest import BANDS, NestStep, band_at
from etasim.schedule.tiling import ceil_div


class DryWalk:
    """Walks the works of ``iteration``; whoever counts on the way overrides `begin_tile`,
    `hold_tile` and `do`."""

    def __init__(self, iteration: Iteration):
        self.iteration, self.array = iteration, iteration.array
        self._held_bytes = self._scopes = 0

    def walk(self) -> None:
        """All works. Raises InfeasibleError if a tile needs more of the error buffer than there is."""
        for work in works(self.iteration):
            self.take(work)

    def take(self, work: Work) -> None:
        """The next work."""
        if isinstance(work, Alone):
            self.alone(work)
        else:
            self.convolve(work)

    def alone(self, work: Alone) -> None:
        """An operation of the unified core by itself."""
        for step in work.before:
            self.do(step, 1)
        for turn in work.turns(work.cover.kinds()):
            self.begin_tile(turn.tile.count)
            self.hold_tile(turn.room_bytes)
            for step in turn.before:
                self.do(step, turn.tile.count)
            with self._scope():
                for step in turn.steps:
                    self.do(step, turn.tile.count)

    def convolve(self, work: Convolve) -> None:
        """A convolution on the array."""
        if isinstance(work.results, ResultMaps):
            for step, count in work.nest.kinds("results", *BANDS):
                self.follow(work, step, count)

    def follow(self, work: Convolve, step: NestStep, count: int) -> None:
        """What follows ``count`` equal tiles of FF or BP results."""
        assert isinstance(work.results, ResultMaps), "what FF and BP write"
        blocks, band = step["results"], band_at(step)
        self.hold_tile(work.results.room_bytes(blocks, band))
        with self._scope():
            slot = result_tile(work, blocks, band)
            self._hold(slot)
            for after in work.results.finish(blocks, band, slot):
                self.do(after, count)

    def begin_tile(self, count: int) -> None:
        """What follows belongs to ``count`` equal tiles."""

    def hold_tile(self, n_bytes: int) -> None:
        """A tile takes so much of the error buffer, with all that follows it."""

    def do(self, step: Step, count: int) -> None:
        """A step on each of ``count`` equal tiles."""
        if isinstance(step, LoadTile):
            self._hold(step.slot)
        elif isinstance(step, RunPass):
            for slot in step.writes:
                if slot not in step.reads:
                    self._hold(slot)

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """What is held of the error buffer inside is held until the end."""
        held, self._held_bytes = self._held_bytes, 0
        self._scopes += 1
        yield
        self._scopes -= 1
        self._held_bytes = held

    def _hold(self, slot: Slot) -> None:
        """Take room for ``slot``. Raises InfeasibleError if the error buffer is smaller than that and what a scope holds."""
        taken = self._held_bytes + ceil_div(slot.n_bytes, self.array.word_bytes) * self.array.word_bytes
        if taken > 2 * self.array.error_bytes:
            raise full_buffer(self.iteration.architecture, "error", taken)
        if self._scopes:
            self._held_bytes = taken
