"""Figures of the channels, derived from their integer counters: occupancy, latency, bandwidth, energy."""

from dataclasses import dataclass
from typing import Any

from etasim.memory.dram.energy import Energy, energy_of
from etasim.memory.dram.pins import peak_bytes_per_s
from etasim.memory.dram.spec import COUNTERS, DramSpec, DramState


@dataclass(frozen=True)
class Figures:
    """Of one channel, or of all of them together; None where nothing was moved, or the part states no currents.

    ``row_hit_rate`` is 1 - ACT / (RD + WR), 0 where rows were opened more often than used (a refresh may close one in between).
    Occupancies are means over the booked time. Bandwidth counts the bytes on the bus; ``peak_percent`` is its share of the pins'.
    ``latency_histogram``: see ``LATENCY_BINS``.
    """

    counters: dict[str, int]
    latency_histogram: tuple[int, ...]
    average_read_latency_clocks: float | None
    row_hit_rate: float
    read_queue_occupancy: float | None
    write_queue_occupancy: float | None
    bandwidth_gb_per_s: float | None
    peak_bandwidth_gb_per_s: float
    peak_percent: float | None
    energy: Energy | None


def figures(config: Any, spec: DramSpec, state: DramState, clocks: int, busy_clocks: int | None = None) -> tuple[Figures, ...]:
    """Figures of each channel after ``clocks`` DRAM clocks, when ``settle`` has booked them.

    ``config`` is the ``dram`` section that ``spec`` was built from. Bandwidth is over ``busy_clocks`` where that is given.
    """
    busy_clocks = clocks if busy_clocks is None else busy_clocks
    counters = ({name: int(record[name]) for name in COUNTERS.names or ()} for record in state.counters)
    channels = zip(counters, state.latency, strict=True)
    return tuple(_figures(config, spec, counted, tuple(map(int, bins)), clocks, busy_clocks, 1) for counted, bins in channels)


def together(config: Any, spec: DramSpec, state: DramState, clocks: int, busy_clocks: int | None = None) -> Figures:
    """As ``figures``, of all channels as one memory."""
    counters = {
        name: int(state.counters[name].max() if name.startswith("max_") else state.counters[name].sum()) for name in COUNTERS.names or ()
    }
    histogram = tuple(map(int, state.latency.sum(axis=0)))
    return _figures(config, spec, counters, histogram, clocks, clocks if busy_clocks is None else busy_clocks, spec.n_channels)


def _figures(
    config: Any, spec: DramSpec, counters: dict[str, int], histogram: tuple[int, ...], clocks: int, busy_clocks: int, n_channels: int
) -> Figures:
    reads, bursts = counters["accepted_reads"], counters["read_bursts"] + counters["write_bursts"]
    clock_hz, booked = float(config.part.clock_hz), counters["occupancy_clocks"] / n_channels
    moved_bytes = counters["read_bytes"] + counters["write_bytes"]
    peak = float(peak_bytes_per_s(config) * n_channels / config.channels) / 1e9
    bandwidth = moved_bytes * clock_hz / busy_clocks / 1e9 if busy_clocks else None
    return Figures(
        counters=counters, latency_histogram=histogram,
        average_read_latency_clocks=counters["read_latency_clocks"] / reads if reads else None,
        row_hit_rate=max(1 - counters["activates"] / bursts, 0.0) if bursts else 0.0,
        read_queue_occupancy=counters["read_queue_entry_clocks"] / booked if booked else None,
        write_queue_occupancy=counters["write_queue_entry_clocks"] / booked if booked else None,
        bandwidth_gb_per_s=bandwidth, peak_bandwidth_gb_per_s=peak,
        peak_percent=100 * bandwidth / peak if bandwidth is not None else None,
        energy=energy_of(config.part, config.ranks * n_channels, counters, clocks),
    )
