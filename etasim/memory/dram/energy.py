"""Energy of a DRAM channel from its command counts and the IDD currents of its devices.

Per command, the increment over standby (Micron TN-41-01, with tRP = tRC - tRAS for the precharged share of a row cycle):
ACT + PRE: VDD (IDD0 tRC - IDD3N tRAS - IDD2N tRP), RD: VDD (IDD4R - IDD3N) tBL, WR: VDD (IDD4W - IDD3N) tBL,
REF: VDD (IDD5AB - IDD3N) tRFC. Background: IDD3N while a row of the rank is open, IDD2N otherwise. Currents are per device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from etasim.memory.dram.spec import timings_of

DRAWN_BY = ("read_bursts", "write_bursts", "activates", "refreshes", "open_rank_clocks")
"""The counters that energy is of, in their order."""

CURRENTS = ("VDD", "IDD0", "IDD2N", "IDD3N", "IDD4R", "IDD4W", "IDD5AB")


@dataclass(frozen=True)
class Energy:
    """Energy of one channel by cause [nJ] and its average power [mW]."""

    activate_nj: float
    read_nj: float
    write_nj: float
    refresh_nj: float
    background_nj: float
    average_power_mw: float

    @property
    def total_nj(self) -> float:
        """Sum over the causes [nJ]."""
        return self.activate_nj + self.read_nj + self.write_nj + self.refresh_nj + self.background_nj


def energy_of(part: Any, ranks: int, counters: Mapping[str, Any], clocks: int) -> Energy | None:
    """Energy of one channel after ``clocks`` DRAM clocks; None when the part states no currents or no time has passed.

    ``counters`` maps `DRAWN_BY` to integers. Raises ValueError for currents that are missing or no numbers.
    """
    currents = part.currents_ma
    if not currents or clocks < 1:
        return None
    if not isinstance(currents, dict):
        currents = {name: getattr(currents, name, None) for name in CURRENTS} | {"VDD": currents.VDD_volts}
    amount = dict(currents)
    missing = [name for name in CURRENTS if not isinstance(amount.get(name), Real)]
    if missing:
        raise ValueError(f"dram.part.currents_ma: {', '.join(missing)} missing or no number")
    timings = timings_of(part)
    devices = part.organisation.bus_width_bits // part.organisation.device_width_bits
    to_nj = amount["VDD"] * devices * 1e6 / float(part.clock_hz)  # mA V clocks -> nJ
    row_cycle = amount["IDD0"] * timings["RC"] - amount["IDD3N"] * timings["RAS"] - amount["IDD2N"] * timings["RP"]
    open_clocks = counters["open_rank_clocks"]
    background = amount["IDD3N"] * open_clocks + amount["IDD2N"] * (ranks * clocks - open_clocks)
    parts = {
        "activate_nj": row_cycle * counters["activates"],
        "read_nj": (amount["IDD4R"] - amount["IDD3N"]) * timings["BL"] * counters["read_bursts"],
        "write_nj": (amount["IDD4W"] - amount["IDD3N"]) * timings["BL"] * counters["write_bursts"],
        "refresh_nj": (amount["IDD5AB"] - amount["IDD3N"]) * timings["RFC"] * counters["refreshes"],
        "background_nj": background,
    }
    average_power_mw = sum(parts.values()) * amount["VDD"] * devices / clocks
    return Energy(**{name: value * to_nj for name, value in parts.items()}, average_power_mw=average_power_mw)
