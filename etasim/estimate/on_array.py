"""What a convolution asks of the array and sends over the network, tile by tile: its plan's alone, wherever the convolution stands."""

from functools import lru_cache
from typing import NamedTuple

from etasim.estimate.array_work import ArrayWork, gradient_tiles, gradient_work, result_work
from etasim.estimate.traffic import NOTHING_SENT, SentWords, Ways, gradient_sent, result_sent
from etasim.schedule.array import ArraySizes
from etasim.schedule.array_time import BandEnds
from etasim.schedule.nest import BANDS, NestStep, band_at, nest_of
from etasim.schedule.problem import ConvProblem, Plan

NO_ENDS = BandEnds(0.0, 0.0, 0.0)
MOST_ON_ARRAY = 16384
"""Convolutions that a process keeps, about 1 KB each beside their plans."""


class OnArray(NamedTuple):
    """A convolution on the array. ``kinds``: equal tiles once, with their number and the cycles of each; ``busy_cycles``: multiplying
    cycles of all tiles, summed over the clusters; ``sent`` by all of them; ``ends`` of a tile."""

    kinds: tuple[tuple[int, float], ...]
    busy_cycles: int
    sent: SentWords
    ends: BandEnds


def tile_axes(problem: ConvProblem) -> tuple[str, ...]:
    """Axes of a nest whose steps are the tiles of results."""
    return ("results", "streams", "taps") if problem.phase == "wg" else ("results", *BANDS)


@lru_cache(maxsize=MOST_ON_ARRAY)
def on_array(clusters: ArraySizes, ways: Ways, problem: ConvProblem, plan: Plan, kernel_width: int) -> OnArray:
    """The tiles of ``problem`` on ``clusters`` (`ArraySizes.of_clusters`)."""
    kinds, busy, all_sent, ends = [], 0, NOTHING_SENT, NO_ENDS
    for step, count in nest_of(clusters, problem, plan).kinds(*tile_axes(problem)):
        of_tile, sent = (_gradients if problem.phase == "wg" else _results)(clusters, ways, problem, plan, kernel_width, step)
        kinds.append((count, of_tile.cycles))
        busy += of_tile.busy_cycles * count
        ends = of_tile.ends
        all_sent = all_sent.plus(sent, count)
    return OnArray(tuple(kinds), busy, all_sent, ends)


def _results(
    clusters: ArraySizes, ways: Ways, problem: ConvProblem, plan: Plan, kernel_width: int, step: NestStep
) -> tuple[ArrayWork, SentWords]:
    """The array's work on a tile of FF or BP, and what it sends."""
    tile = problem, plan, kernel_width, step["results"].size, band_at(step)
    return result_work(clusters, *tile), result_sent(clusters, ways, *tile)


def _gradients(
    clusters: ArraySizes, ways: Ways, problem: ConvProblem, plan: Plan, _kernel_width: int, step: NestStep
) -> tuple[ArrayWork, SentWords]:
    """The array's work on a tile of WG, and what it sends."""
    tile = problem, plan, step["results"].size, step["streams"].size, step["taps"].size
    return gradient_work(clusters, *tile), gradient_sent(clusters, ways, *tile, gradient_tiles(clusters, problem, plan))
