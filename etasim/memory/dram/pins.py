"""What the data pins can carry: the one statement of the peak, for whoever divides by it or draws it.

``config`` is a ``dram`` section: the part, its channels and ranks.
"""

from fractions import Fraction
from typing import Any

from etasim.memory.dram.standards import standard_named


def data_buses(config: Any) -> int:
    """Data buses of all channels: one a channel, which its ranks share, or one a rank where ranks are pseudo channels (HBM2)."""
    return config.channels * (config.ranks if standard_named(config.part.standard).data_bus == "rank" else 1)


def peak_bytes_per_clock(config: Any) -> Fraction:
    """Bytes that all data buses carry in a DRAM clock, bursts back to back."""
    organisation = config.part.organisation
    burst_bytes = organisation.bus_width_bits * organisation.burst_length // 8
    return data_buses(config) * Fraction(burst_bytes, config.part.timing_clocks.BL)


def peak_bytes_per_s(config: Any) -> Fraction:
    """The same in a second."""
    return peak_bytes_per_clock(config) * Fraction(config.part.clock_hz)
