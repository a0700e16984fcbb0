"""What pictures over time share: a series in fewer, longer steps, stacks, and the layers under them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from etasim.report.drawing import PHASE_COLOURS, UNKNOWN_COLOUR, is_narrow, row_name, tabulate
from etasim.report.reading import StoredResult
from etasim.report.series import StoredSeries, read_series
from etasim.report.store import SERIES

STEPS, NARROW_STEPS = 400, 160
"""Of a picture, at the most: more are no wider than a line."""
WIDE_SHARE = 0.014
"""Share of the iteration that leaves room for the name of a layer."""


class Steps(NamedTuple):
    """A series in steps of a few samples. ``first``: the sample that each begins with; ``edges_ms``: where they begin and end."""

    series: StoredSeries
    first: np.ndarray
    edges_ms: np.ndarray

    def amounts(self, name: str) -> np.ndarray:
        """What happened in each step: sums over its samples."""
        return self.summed(self.series.arrays[name])

    def summed(self, table: np.ndarray) -> np.ndarray:
        """A table [sample, ...] as sums over the samples of each step."""
        sums: np.ndarray = np.add.reduceat(table, self.first, axis=0)
        return sums

    def levels(self, name: str) -> np.ndarray:
        """How it stood at the end of each step."""
        last: np.ndarray = np.append(self.first[1:], len(self.series.ends)) - 1
        levels: np.ndarray = self.series.arrays[name][last]
        return levels

    @property
    def lengths_s(self) -> np.ndarray:
        """Seconds of each step."""
        lengths: np.ndarray = np.diff(self.edges_ms) / 1e3
        return lengths

    @property
    def lengths_cycles(self) -> np.ndarray:
        """Core cycles of each step."""
        return self.summed(np.diff(self.series.ends, prepend=0))

    def rates(self, amounts: np.ndarray) -> np.ndarray:
        """``amounts`` [step, ...] in a second."""
        rates: np.ndarray = amounts / self.lengths_s.reshape(-1, *[1] * (amounts.ndim - 1))
        return rates

    def times(self) -> list[dict[str, Any]]:
        """The first columns of a table: where each step begins and ends."""
        return [{"from_ms": float(a), "to_ms": float(b)} for a, b in zip(self.edges_ms[:-1], self.edges_ms[1:], strict=True)]


def has_series(result: StoredResult) -> bool:
    """Whether a result has a series beside it."""
    return (result.folder / SERIES).exists()


def steps_of(result: StoredResult) -> Steps:
    """The series of a result in steps. Raises InputError if it has none, or one that is damaged or of another run."""
    series = read_series(result.folder)
    n = len(series.ends)
    together = -(-n // (NARROW_STEPS if is_narrow() else STEPS))
    first = np.arange(0, n, together)
    edges = series.edges_ms
    return Steps(series, first, np.append(edges[first], edges[-1]))


def stack(axes: Axes, edges: np.ndarray, values: np.ndarray, colours: Sequence[str], labels: Sequence[str], hatch: str | None = None,
          base: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """Steps of ``values`` [step, kind] on top of each other, and of ``base``; kinds that are all 0 are left out. Returns the top."""
    lower = np.zeros(len(values)) if base is None else base
    for kind, (colour, label) in enumerate(zip(colours, labels, strict=False)):
        if values[:, kind].any():
            upper = lower + values[:, kind]
            style: dict[str, Any] = {"hatch": hatch, "edgecolor": "white", "linewidth": 0} if hatch else {"linewidth": 0}
            axes.stairs(upper, edges, baseline=lower, fill=True, facecolor=colour, label=label, **style)
            lower = upper
    return lower


def name_layers(axes: Axes, result: StoredResult, clock_hz: float) -> None:
    """A strip above a picture over time: rows in their share of it, in the colours of their phases, with as many names as find room, those
    of the longest rows first."""
    ends_ms = np.cumsum([row.cycles for row in result.layers]) / clock_hz * 1e3
    spans = []
    for row, end, begin in zip(result.layers, ends_ms, np.append(0, ends_ms[:-1]), strict=True):
        colour = PHASE_COLOURS.get(row.phase, UNKNOWN_COLOUR)
        axes.axvspan(begin, end, ymin=1.01, ymax=1.045, facecolor=colour, edgecolor="white", linewidth=0.2, clip_on=False)
        spans.append((end - begin, (begin + end) / 2, row_name(row)))
    room, named = WIDE_SHARE * (3 if is_narrow() else 1) * ends_ms[-1], dict[float, str]()
    for _, middle, name in sorted(spans, key=lambda span: -span[0]):
        if all(abs(middle - other) >= room for other in named):
            named[middle] = name
    top = axes.secondary_xaxis(1.05)
    top.set_xticks(list(named), list(named.values()), rotation=90, fontsize=4 if is_narrow() else 6)
    top.tick_params(length=2, width=0.5, pad=1)
    top.spines["top"].set_visible(False)


def finish(figure: Figure, axes: Axes, steps: Steps, columns: dict[str, np.ndarray]) -> Figure:
    """The axis of time, and the table: ``columns`` [step] by name."""
    axes.set_xlabel(f"time [ms], in steps of {1e6 * steps.lengths_s[0]:.3g} us")
    axes.set_xlim(0, steps.edges_ms[-1])
    return tabulate(figure, [row | {name: each[i].item() for name, each in columns.items()} for i, row in enumerate(steps.times())])
