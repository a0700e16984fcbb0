"""Figures of the channels, each beside a closed form."""

import pytest
from dram_bench import Memory

from etasim.memory import replay
from etasim.memory.dram.parts import reference_parameters
from etasim.memory.dram.replay import replay_config
from etasim.memory.dram.statistics import figures, together

CL, RCD, RP, BL, RC, RAS, RFC, REFI = 13, 13, 13, 4, 45, 32, 243, 7280  # DDR3-1866M
BURST, ROW, BANK = 64, 64 * 128 * 8, 64 * 128
MISS, HIT, CONFLICT = 1 + RCD + CL + BL, 1 + CL + BL, 1 + RP + RCD + CL + BL
CLOCK_HZ, VDD, DEVICES = 1e12 / 1071, 1.35, 8
IDD0, IDD2N, IDD3N, IDD4W, IDD4R, IDD5AB = 62, 35, 41, 141, 174, 242


def run(requests, mode="pace100", **choices):
    return replay("DDR3_1866M", "RoBaCo", ([a for a, _ in requests], [w for _, w in requests]), mode, **{"refresh": False} | choices)


def test_counts_and_latencies_of_a_miss_a_hit_and_a_conflict():
    result = run([(0, 0), (BURST, 0), (ROW, 0)])
    assert (result.counters["row_misses"], result.counters["row_hits"], result.counters["row_conflicts"]) == (1, 1, 1)
    assert result.commands == {"ACT": 2, "PRE": 1, "PREA": 0, "RD": 3, "WR": 0, "REF": 0}
    assert result.average_read_latency_cycles == (MISS + HIT + CONFLICT) / 3
    assert result.max_read_latency_cycles == CONFLICT
    assert result.cycles == result.read_cycles == 200 + CONFLICT
    assert result.accept_cycles == 200
    assert result.row_hit_rate == pytest.approx(1 / 3)
    bins = {i: n for i, n in enumerate(result.latency_histogram) if n}
    assert bins == {5: 2, 6: 1}


@pytest.mark.parametrize(("latency", "bin_"), [(1, 1), (18, 5), (31, 5), (44, 6)])
def test_bin_of_a_latency(latency, bin_):
    assert 2 ** (bin_ - 1) <= latency < 2**bin_
    requests = {1: [(0, 1), (0, 0)], 18: [(0, 0), (BURST, 0)], 31: [(0, 0)], 44: [(0, 0), (ROW, 0)]}[latency]
    assert run(requests, "sat" if latency == 1 else "pace100").latency_histogram[bin_] >= 1


def test_bandwidth_is_bytes_over_time_and_a_share_of_the_pins():
    result = run([(i * BURST, i % 2) for i in range(40)], "sat")
    seconds = result.cycles / CLOCK_HZ
    assert result.bandwidth_gb_per_s == pytest.approx(40 * BURST / seconds / 1e9)
    assert result.peak_bandwidth_gb_per_s == pytest.approx(8 * 2 * CLOCK_HZ / 1e9)
    assert result.peak_percent == pytest.approx(100 * 40 * BL / result.cycles)
    assert result.counters["busy_data_clocks"] == 40 * BL


def test_mean_occupancy_of_the_queues():
    """A read of a closed bank is in the queue until its ACT in the next clock; a row conflict until its ACT a precharge later."""
    result = run([(0, 0), (ROW, 0), (BANK, 1)])
    assert result.counters["read_queue_entry_clocks"] == 1 + (1 + RP)
    assert result.counters["write_queue_entry_clocks"] == 1
    booked = result.counters["occupancy_clocks"]
    assert result.read_queue_occupancy == pytest.approx((2 + RP) / booked)
    assert result.write_queue_occupancy == pytest.approx(1 / booked)


def nj(milliamperes, clocks):
    return VDD * DEVICES * milliamperes * clocks / CLOCK_HZ * 1e6


def test_energy_of_each_command_and_of_the_background():
    result = run([(0, 0), (BURST, 0), (ROW, 1)])
    energy, end = result.energy, result.counters["occupancy_clocks"]
    assert energy.activate_nj == pytest.approx(nj(IDD0 * RC - IDD3N * RAS - IDD2N * RP, 1) * 2)
    assert energy.read_nj == pytest.approx(nj(IDD4R - IDD3N, BL) * 2)
    assert energy.write_nj == pytest.approx(nj(IDD4W - IDD3N, BL))
    assert energy.refresh_nj == 0
    open_clocks = result.counters["open_rank_clocks"]
    assert open_clocks == end - 1 - RP  # from the first ACT in clock 1 on, but for the precharge
    assert energy.background_nj == pytest.approx(nj(IDD3N, open_clocks) + nj(IDD2N, end - open_clocks))
    assert energy.average_power_mw == pytest.approx(energy.total_nj / (end / CLOCK_HZ) * 1e-6)


def test_energy_of_refreshes():
    result = run([(0, 0), (0, 0)], f"pace{3 * REFI - 100}", refresh=True)
    assert result.commands["REF"] == 2
    assert result.energy.refresh_nj == pytest.approx(2 * nj(IDD5AB - IDD3N, RFC))


def test_two_ranks_have_twice_the_standby():
    mappings = ("ro:16,ba:3,co:7", "ra:1,ro:16,ba:3,co:7")
    one, two = (replay("DDR3_1866M", mapping, ([0], [0]), "sat", refresh=False) for mapping in mappings)
    clocks = one.counters["occupancy_clocks"]
    assert two.energy.background_nj - one.energy.background_nj == pytest.approx(nj(IDD2N, clocks))


def test_figures_of_channels_and_of_all_together():
    parameters = reference_parameters("DDR3_1866M")
    memory = Memory(channels=2, refresh=False)
    for i in range(6):
        memory.push(i * BURST * (1 if i < 4 else 2))
    memory.settle(400)
    config = replay_config(parameters, "ro:16,ba:3,co:7", channels=2)
    first, second = figures(config, memory.spec, memory.state, 400)
    both = together(config, memory.spec, memory.state, 400)
    assert (first.counters["read_bursts"], second.counters["read_bursts"]) == (4, 2)
    assert both.counters["read_bursts"] == 6
    assert both.bandwidth_gb_per_s == pytest.approx(first.bandwidth_gb_per_s + second.bandwidth_gb_per_s)
    assert both.peak_bandwidth_gb_per_s == 2 * first.peak_bandwidth_gb_per_s
    assert both.energy.total_nj == pytest.approx(first.energy.total_nj + second.energy.total_nj)
    assert both.energy.average_power_mw == pytest.approx(first.energy.average_power_mw + second.energy.average_power_mw)
    assert sum(both.latency_histogram) == 6
    assert both.counters["max_read_latency_clocks"] == max(f.counters["max_read_latency_clocks"] for f in (first, second))
