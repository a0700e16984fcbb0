"""docs/energy.md is what the tables and estimates say; the bounds of the powers are arithmetic on three summaries."""

from pathlib import Path

import pytest

from etasim.explore import energy_page
from etasim.explore.power_bounds import power_bounds
from etasim.machine.result import TypedRow

PAGE = Path(__file__).parents[3] / "docs" / "energy.md"


def test_the_page_is_what_the_tables_say():
    assert PAGE.read_text(encoding="utf-8") == energy_page.document()


def machine(power_w, assumed_percent, gops=100.0, mac_units=1000, core_clock_hz=10**8):
    return TypedRow({
        "power_w": power_w, "energy_assumed_percent": assumed_percent, "throughput_gops": gops, "mac_units": mac_units,
        "core_clock_hz": core_clock_hz,
    })  # fmt: skip


def test_bounds_of_powers():
    """ETA at 8 W, a quarter assumed, twice as fast as a prior art of 20 W, 2 of them sourced; a neighbour half as large at 4.75 W."""
    own, prior, neighbour = machine(8.0, 25.0), machine(20.0, 90.0, gops=50.0), machine(4.75, 0.0, mac_units=500)
    rows = power_bounds(own, prior, neighbour)
    assert [(row["low"], row["by_table"], row["high"]) for row in rows] == [
        (6.0, 8.0, 18.0), (2.0, 20.0, None), (pytest.approx(2 * 2 / 18), 5.0, None),
        tuple(pytest.approx(8.54 / 3.65 * watt) for watt in (6.0, 8.0, 18.0)),
    ]  # fmt: skip
    assert all("assumed" in row["hangs_on"] for row in rows)
    assert rows[2]["published"] == 8.54


def test_bounds_need_all_three():
    assert power_bounds(machine(8.0, 25.0), TypedRow(), machine(4.75, 0.0)) == []
    assert power_bounds(machine(None, None), machine(1.0, 0.0), machine(4.75, 0.0)) == []
