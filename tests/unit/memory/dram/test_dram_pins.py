"""What the data pins carry: ranks of DDR and LPDDR share the bus of their channel, those of HBM2 are pseudo channels with their own."""

from fractions import Fraction

import pytest
from small_networks import layer, network

from etasim.config import load_architecture
from etasim.core.registry import DRAM_STANDARDS
from etasim.machine import simulate
from etasim.memory import replay
from etasim.memory.dram.pins import data_buses, peak_bytes_per_clock
from etasim.report.board import board_rows
from etasim.report.metrics import dram_peak_bytes_per_s, summary
from etasim.schedule.rates import rates
from etasim.workload import load_network

HBM2 = {"channels": 2, "ranks": 2, "mapping": "ro:14,ba:2,bg:2,co:5,ra:1"}


def pseudo_channels(**dram):
    """The machine with HBM2, two pseudo channels in each of two channels."""
    return load_architecture("stratix10_mx_16bit", {f"dram.{key}": value for key, value in (HBM2 | dram).items()})


def test_only_the_ranks_of_hbm2_have_a_bus_of_their_own():
    assert {name: standard.data_bus for name, standard in DRAM_STANDARDS.items()} == {
        "DDR3": "channel", "DDR4": "channel", "LPDDR4": "channel", "HBM2": "rank",
    }  # fmt: skip


@pytest.mark.parametrize(("ranks", "buses"), [(1, 2), (2, 4)])
def test_a_bus_carries_two_words_of_its_width_a_clock(ranks, buses):
    dram = pseudo_channels(**({} if ranks == 2 else {"ranks": 1, "mapping": "ro:14,ba:2,bg:2,co:5"})).dram
    assert data_buses(dram) == buses
    assert peak_bytes_per_clock(dram) == buses * 2 * 64 // 8


def test_ranks_of_ddr3_share_the_pins():
    two = load_architecture("eta_vc709", {"dram.ranks": 2, "dram.mapping": "ra:1,ro:16,ba:3,bg:0,co:7"})
    assert dram_peak_bytes_per_s(two) == dram_peak_bytes_per_s(load_architecture("eta_vc709")) == 25_600_000_000


@pytest.mark.parametrize(
    ("part", "mapping", "burst_bytes"),
    [("DDR3_1866M", "ro:16,ba:3,co:7", 64), ("DDR3_1866M", "ra:1,ro:16,ba:3,co:7", 64),
     ("HBM2_2000", "ro:14,ba:2,co:5,bg:2", 32), ("HBM2_2000", "ro:14,ba:2,co:5,bg:2,ra:1", 32)],
)  # fmt: skip
def test_a_sequence_fills_the_pins_and_no_more(part, mapping, burst_bytes):
    """Row hits without refresh, one after the other on every bus: all of the pins but for the first access."""
    result = replay(part, mapping, ([i * burst_bytes for i in range(4000)], [0] * 4000), "sat", refresh=False)
    assert 97 < result.peak_percent <= 100


def test_report_statistics_estimate_and_board_divide_by_the_same_pins():
    chosen = pseudo_channels()
    result = simulate(chosen, load_network("digits_cnn"), batch=1, phases=("ff",))
    peak = summary(result)["dram_peak_gb_per_s"]
    assert peak == 64.0
    assert sum(channel["peak_bandwidth_gb_per_s"] for channel in result.components["dram"]) == pytest.approx(peak)
    available = 1 - Fraction(260, 3900)
    assert 1 / rates(chosen).dram_cycles_per_byte == pytest.approx(64e9 / 240e6 * float(available))
    assert next(row["used"] for row in board_rows(chosen) if row["resource"] == "DRAM channels") == 4


def test_latencies_are_clocks_of_the_dram_and_cycles_of_the_core():
    """240 MHz and 1 GHz: a cycle is 25 / 6 clocks."""
    result = simulate(pseudo_channels(), load_network("digits_cnn"), batch=1, phases=("ff",))
    for channel in result.components["dram"]:
        assert channel["average_read_latency_clocks"] == channel["read_latency_clocks"] / channel["accepted_reads"]
        assert channel["average_read_latency_cycles"] == pytest.approx(channel["average_read_latency_clocks"] * 6 / 25)


def test_samples_of_both_ranks_together_are_no_broken_law():
    keys = {"dram.part": "hbm2_2000", "dram.ranks": 2, "dram.mapping": "ro:14,ba:2,co:4,bg:2,co:1,ra:1"}
    one_channel, maps = load_architecture("eta_vc709", keys | {"dram.channels": 1}), network((16, 14, 14), layer("n", "norm"), classes=1)
    arrays = simulate(one_channel, maps, batch=4, series_every=40).series.arrays
    most = arrays["dram_read_bursts"].max() + arrays["dram_write_bursts"].max()
    of_one_bus = 40 * 1000 / 200 / 2
    assert of_one_bus < most <= 2 * 2 * of_one_bus
