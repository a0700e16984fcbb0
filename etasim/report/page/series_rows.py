"""The samples of a run for a page: joined until there are few enough to draw, exactly."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from etasim.pe.causes import CAUSE_COLUMNS
from etasim.report.reading import StoredResult
from etasim.report.residents import bytes_by_class, residents_of
from etasim.report.series import StoredSeries

MOST_SAMPLES = 500
"""That a chart shows: more than a screen tells apart, few enough for a browser."""
_DIGITS = 6


class PageBand(NamedTuple):
    """A column of the dataset ``samples``: the ``key`` of its values, what it is called, what it is of, and its values, one a sample."""

    key: str
    label: str
    of: str
    values: np.ndarray


class PageSamples(NamedTuple):
    """Samples, joined: where each begins and ends [ms], and what happened in it. ``traffic`` in GB/s by tensor class, read and written,
    ``pins`` their sum on the pins; ``causes`` in percent of the cluster cycles; ``held`` in KiB by buffer and what it holds, in the
    sample of those joined in which the buffer is fullest; ``resident`` in MiB of DRAM by tensor class, when most is held; ``flits`` a
    cycle, injected by message class; ``power`` in W by part; ``busy`` in percent."""

    edges_ms: np.ndarray
    pins: PageBand
    traffic: list[PageBand]
    causes: list[PageBand]
    held: dict[str, list[PageBand]]
    resident: list[PageBand]
    flits: list[PageBand]
    power: list[PageBand]
    busy: list[PageBand]


def samples_of(result: StoredResult, series: StoredSeries) -> PageSamples:
    """The samples of ``series`` as what the page draws."""
    arrays, edges = series.arrays, series.edges_ms
    n = len(edges) - 1
    starts = np.arange(0, n, -(-n // MOST_SAMPLES))
    edges = np.append(edges[starts], edges[-1])
    seconds = np.diff(edges) / 1e3
    cycles = seconds * series.clock_hz

    def summed(name: str) -> np.ndarray:
        return np.asarray(np.add.reduceat(arrays[name], starts, axis=0), float)

    classes = [str(name) for name in arrays["tensor_classes"]]
    rates = {way: summed(f"class_{way}_bytes") / seconds[:, None] / 1e9 for way in ("read", "write")}
    traffic = [PageBand(f"{way}{i}", name, "written" if way == "write" else way, rates[way][:, i])
               for way in rates for i, name in enumerate(classes) if rates[way][:, i].any()]  # fmt: skip
    moved = (summed("dram_read_bytes") + summed("dram_write_bytes")).sum(1) / seconds / 1e9
    causes = summed("cluster_cycles")
    causes *= 100 / causes.sum(1, keepdims=True)
    injected = summed("noc_flits_injected") / cycles[:, None]
    return PageSamples(
        edges, PageBand("pins", "on the pins", "", moved), traffic,
        [PageBand(column, column, "", causes[:, i]) for i, column in enumerate(CAUSE_COLUMNS)], _held(series, starts),
        _resident(series, starts),
        [PageBand(f"flits{i}", str(name), "", injected[:, i]) for i, name in enumerate(arrays["flit_classes"]) if injected[:, i].any()],
        _power(series, starts, seconds), _busy(result, series, summed, cycles, moved, causes),
    )  # fmt: skip


def _held(series: StoredSeries, starts: np.ndarray) -> dict[str, list[PageBand]]:
    held, n_buffers = series.arrays["held_bytes"], len(series.arrays["buffers"])
    totals = held.sum(axis=2)
    fullest = np.array([a + totals[a:b].argmax(axis=0) for a, b in pairwise([*starts.tolist(), len(held)])])
    most = held[fullest, np.arange(n_buffers)] / 1024
    names = [str(name) for name in series.arrays["held"]]
    return {
        str(buffer): [PageBand(f"held{b}_{i}", name, str(buffer), most[:, b, i]) for i, name in enumerate(names) if most[:, b, i].any()]
        for b, buffer in enumerate(series.arrays["buffers"])
    }


def _resident(series: StoredSeries, starts: np.ndarray) -> list[PageBand]:
    """Of each sample the stretch between two changes in which most is held."""
    found, names = residents_of(series), [str(name) for name in series.arrays["tensor_classes"]]
    if not found.names:
        return []
    changes, held = bytes_by_class(found, len(names))
    ends = np.append(series.ends[starts[1:] - 1], series.ends[-1])
    first = np.maximum(np.searchsorted(changes, np.append(0, ends[:-1]), side="right") - 1, 0)
    last = np.minimum(np.searchsorted(changes, ends), len(held))
    totals = held.sum(axis=1)
    most = np.array([held[a + totals[a:b].argmax()] if a < b else np.zeros(len(names)) for a, b in zip(first, last, strict=True)]) / 2**20
    return [PageBand(f"resident{i}", name, "in DRAM", most[:, i]) for i, name in enumerate(names) if most[:, i].any()]


def _power(series: StoredSeries, starts: np.ndarray, seconds: np.ndarray) -> list[PageBand]:
    """Nothing of parts whose energy is not known."""
    watts = np.add.reduceat(series.arrays["energy_joule"], starts, axis=0) / seconds[:, None]
    parts = [(i, str(name)) for i, name in enumerate(series.arrays["energy_parts"]) if not np.isnan(watts[:, i]).any()]
    return [PageBand(f"power{i}", name, "", watts[:, i]) for i, name in parts if watts[:, i].any()]


def _busy(
    result: StoredResult, series: StoredSeries, summed: Callable[[str], np.ndarray], cycles: np.ndarray, moved: np.ndarray,
    causes: np.ndarray,
) -> list[PageBand]:  # fmt: skip
    peak = result.summary.figure("dram_peak_gb_per_s")
    found = [("DRAM pins", 100 * moved / peak)] if peak else []
    found.append(("clusters", causes[:, 0]))
    found.append(("unified core", 100 * summed("unified_busy_cycles").mean(1) / cycles))
    buffers = summed("buffer_busy_cycles")
    found += [(f"{name} buffer", 100 * buffers[:, i] / cycles) for i, name in enumerate(series.arrays["buffers"])]
    flits = summed("link_flits").sum(axis=2)
    if flits.size:
        found.append(("busiest link", 100 * flits.max(1) / cycles))
        most = 100 * summed("link_flits").max(axis=1) / cycles[:, None]
        found += [(f"link: {name}", most[:, i]) for i, name in enumerate(series.arrays["flit_classes"]) if most[:, i].any()]
    return [PageBand(f"busy{i}", name, "", values) for i, (name, values) in enumerate(found)]


def sample_rows(samples: PageSamples, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a sample: its time, the ``layer`` and ``phase`` whose share of the iteration its middle is in, and all bands."""
    held = [band for bands in samples.held.values() for band in bands]
    bands = [samples.pins, *samples.traffic, *samples.causes, *held, *samples.resident, *samples.flits, *samples.power, *samples.busy]
    middles = (samples.edges_ms[:-1] + samples.edges_ms[1:]) / 2
    places = np.minimum(np.searchsorted([row["end_ms"] for row in rows], middles, side="right"), len(rows) - 1)
    return [
        {
            "sample_begin_ms": _short(samples.edges_ms[i]), "sample_end_ms": _short(samples.edges_ms[i + 1]),
            "layer": rows[place]["layer"], "phase": rows[place]["phase"], **{band.key: _short(band.values[i]) for band in bands},
        }
        for i, place in enumerate(places)
    ]  # fmt: skip


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
