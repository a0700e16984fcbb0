"""The section ``host``: what brings the iteration's inputs."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from etasim.config.base import Section, Violation
from etasim.config.energy import ActionEnergy
from etasim.config.units import Bandwidth, Time

LARGEST_RATIO = 2**40
"""Of the cycles that a burst takes on the link, a fraction that the machine adds up in 64-bit words."""

Requests = Annotated[int, Field(strict=True, ge=1, le=2**12)]
"""Commands that the engine keeps track of."""


class Host(Section):
    """A DMA engine that writes samples and labels into DRAM while the machine works; without this section they lie there from the start.

    ``latency``: from the request of a tensor's piece to its first byte on the link, which carries ``link_rate``; ``commands_in_flight``:
    pieces that are asked for ahead.
    """

    link_rate_bytes_per_s: Bandwidth = Field(alias="link_rate")
    latency_s: Time = Field(alias="latency")
    commands_in_flight: Requests
    energy_per_byte: ActionEnergy | None = None

    def burst_cycles(self, burst_bytes: int, clock_hz: Fraction) -> Fraction:
        """Core cycles that a burst takes on the link."""
        return burst_bytes * clock_hz / self.link_rate_bytes_per_s

    def latency_cycles(self, clock_hz: Fraction) -> int:
        """``latency`` in whole core cycles."""
        return int(-(-self.latency_s * clock_hz // 1))

    def violations(self, burst_bytes: int, clock_hz: Fraction) -> Iterable[Violation]:
        """Rules that tie the link to the core's clock."""
        cycles = self.burst_cycles(burst_bytes, clock_hz)
        if max(cycles.numerator, cycles.denominator) > LARGEST_RATIO:
            yield ("link_rate",), f"a burst takes {cycles} core cycles: give a rate and a core.clock of fewer digits"
