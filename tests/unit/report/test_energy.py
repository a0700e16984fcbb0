"""Energy: every count times its figure, nothing known taken from what is not."""

import dataclasses
from fractions import Fraction

import pytest
from small_networks import TINY, architecture, conv, network

from etasim.config import load_architecture
from etasim.machine import simulate
from etasim.machine.result import RunResult
from etasim.report.energy import breakdown, excluded, on_chip_joule, total_joule
from etasim.report.metrics import energy_rows, layer_rows, summary
from etasim.workload import load_network

PICO = Fraction(1, 10**12)


def figure(pj, **keys):
    return {"energy": f"{pj} pJ", "source": "a test", "technology": "none", **keys}


FIGURES = {
    "energy.mac": {"bits_8": figure(3), "bits_16": figure(11)},
    "energy.psum_update": figure(5),
    "energy.memory_byte": [figure(7, size="512 B"), figure(13, size="1 GiB")],
    "energy.lane_operation": figure(17),
    "energy.static_power": {"board": {"power": "2 W", "source": "a test", "technology": "none"}},
    "noc.energy_per_flit_hop": figure(19),
}


def known(**overrides):
    """The small machine with a figure for everything; ``energy__psum_update=None`` overrides."""
    return architecture(**{key.replace(".", "__"): _hashable(value) for key, value in FIGURES.items()} | overrides)


class _Frozen(dict):
    """A mapping that the cache of architectures can hash."""

    def __hash__(self):
        return hash(repr(self))


class _FrozenList(list):
    def __hash__(self):
        return hash(repr(self))


def _hashable(value):
    return _Frozen(value) if isinstance(value, dict) else _FrozenList(value) if isinstance(value, list) else value


@pytest.fixture(scope="module")
def result():
    return simulate(known(), TINY, batch=2)


def test_the_total_is_the_sum_of_counts_times_energies(result):
    """Counted anew from the parts' own counters, which the rows of a report do not use."""
    chosen, parts = result.architecture, result.components
    array, word = chosen.array, chosen.buffers.word_size_bytes
    busy = sum(cluster["busy_cycles"] for cluster in parts["cluster"])
    buffers = ("activation_buffer", "weight_buffer", "error_buffer")
    moved_bytes = word * sum(parts[name][0][f"{access}_words"] for name in buffers for access in ("read", "written"))
    packets = [counters["packets_ejected"] for counters in parts["noc"][:2]]
    stream_bytes = busy * array.columns * array.lanes + word * packets[0]
    expected = PICO * (
        3 * busy * array.pes_per_cluster * array.columns * array.lanes
        + 5 * busy * array.pes_per_cluster * array.columns
        + 7 * stream_bytes  # banks of 512 B
        + 13 * 2 * word * packets[1]
        + 13 * moved_bytes
        + 17 * parts["unified_core"][0]["busy_cycles"] * chosen.unified_core.lanes
        + 19 * sum(counters["flit_hops"] for counters in parts["noc"])
    )
    causes = ("activate_nj", "read_nj", "write_nj", "refresh_nj", "background_nj")
    expected += sum(Fraction(channel[cause]) for channel in parts["dram"] for cause in causes) / 10**9
    expected += 2 * Fraction(result.total_cycles) / chosen.core.clock_hz
    assert excluded(result) == ()
    assert total_joule(result) == expected


def test_the_figures_of_the_summary_follow(result):
    figures, seconds = summary(result), result.total_cycles / 200e6
    assert figures["power_w"] == pytest.approx(figures["energy_mj"] / 1000 / seconds)
    assert figures["gops_per_w"] == pytest.approx(figures["throughput_gops"] / figures["power_w"])
    assert figures["j_per_image"] == pytest.approx(figures["energy_mj"] / 2000)
    assert sum(row["energy_mj"] for row in energy_rows(result)) == pytest.approx(figures["energy_mj"])
    assert sum(row["share_percent"] for row in energy_rows(result)) == pytest.approx(100)


def test_rows_share_the_energy_of_the_chip(result):
    on_chip = sum(part.energy_joule for part in breakdown(result) if part.component not in ("dram", "static"))
    assert sum(on_chip_joule(result.architecture, row) for row in result.layers) == on_chip
    assert sum(row["on_chip_energy_mj"] for row in layer_rows(result)) == pytest.approx(float(1000 * on_chip))


def test_no_work_takes_static_power_only(result):
    idle = dataclasses.replace(result, layers=(), components={}, total_cycles=200_000_000)
    assert total_joule(idle) == 2
    assert {part.component for part in breakdown(idle) if part.energy_joule} == {"static"}


def test_a_network_that_fills_the_array_multiplies_at_its_macs():
    """8 channels of 4 x 4 pixels to 8: no lane, column or PE is ever without work, so the array makes exactly the useful products."""
    chosen = known()
    result = simulate(chosen, network((8, 4, 4), conv("c", 8), classes=2), batch=1, phases=("ff",))
    row = next(row for row in result.layers if row["layer"] == "c")
    assert row["macs"] == 8 * 8 * 16 == row["cluster_busy_cycles"] * 2 * 4 * 2
    only = dataclasses.replace(result, layers=(row,))
    mac = next(part for part in breakdown(only) if part.component == "mac")
    assert (mac.count, mac.energy_joule) == (1024, 1024 * 3 * PICO)


def test_wider_operands_take_the_figure_of_their_width():
    wide = {f"data__{name}": "16 bit" for name in ("activation", "weight", "error")}
    mac = [part for part in breakdown(simulate(known(**wide), TINY, batch=1)) if part.component == "mac"]
    assert [(part.action, part.energy_joule) for part in mac] == [("16-bit multiply-accumulate", mac[0].count * 11 * PICO)]


@pytest.mark.parametrize(
    ("key", "component"),
    [("energy__psum_update", "psum"), ("energy__lane_operation", "unified core"), ("noc__energy_per_flit_hop", "noc")],
)
def test_what_is_not_known_is_left_out_and_named(result, key, component):
    other = dataclasses.replace(result, architecture=known(**{key: None}))
    missing = sum(part.energy_joule for part in breakdown(result) if part.component == component)
    assert missing > 0
    assert total_joule(other) == total_joule(result) - missing
    assert [text.split(" (")[1] for text in excluded(other)] == ["no figure)"]
    assert component in summary(other)["energy_excluded"]


def test_a_memory_beyond_the_table_is_not_known(result):
    small = dataclasses.replace(result, architecture=known(energy__memory_byte=_FrozenList([figure(7, size="512 B")])))
    assert {text.split(" byte")[0] for text in excluded(small)} == {
        "activation buffer", "weight buffer", "error buffer", "stationary scratchpad",
    }  # fmt: skip


def test_a_machine_without_figures_has_no_energy():
    result = simulate(architecture(), TINY, batch=1)
    figures = summary(result)
    assert [figures[name] for name in ("energy_mj", "power_w", "gops_per_w", "j_per_image")] == [None] * 4
    assert "static all resources (no figure)" in figures["energy_excluded"]
    assert all(row["on_chip_energy_mj"] is None for row in layer_rows(result))


def test_the_energy_of_an_estimate_is_complete():
    """Every action counted as the cycle model counts it; what depends on time and on opened rows is as near as the estimate is."""
    chosen, net = load_architecture("eta_vc709"), load_network("resnet20_cifar")
    cycle, quick = (simulate(chosen, net, batch=4, fidelity=fidelity) for fidelity in ("cycle", "analytical"))
    assert excluded(quick) == ()
    ours, theirs = ({(p.component, p.action): p for p in breakdown(result)} for result in (quick, cycle))
    assert ours.keys() == theirs.keys()
    for action, part in theirs.items():
        if action[0] not in ("dram", "static"):
            assert (ours[action].count, ours[action].energy_joule) == (part.count, part.energy_joule), action
    bounds = {"read": 0.02, "write": 0.02, "refresh": 0.05, "background": 0.1, "activate": 0.5}
    for cause, bound in bounds.items():
        assert float(ours["dram", cause].energy_joule) == pytest.approx(float(theirs["dram", cause].energy_joule), rel=bound), cause
    assert float(total_joule(quick)) == pytest.approx(float(total_joule(cycle)), rel=0.04)


def test_an_estimate_knows_no_energy_of_an_ideal_dram():
    figures = summary(simulate(known(dram__ideal=True), TINY, batch=1, fidelity="analytical"))
    assert "dram background (not counted)" in figures["energy_excluded"]


def test_an_ideal_dram_takes_no_energy_that_is_known():
    result = simulate(known(dram__ideal=True), TINY, batch=1)
    assert "bandwidth_gb_per_s" not in result.components["dram"][0]
    assert sum("dram" in text for text in excluded(result)) == 5


def test_the_channels_figures(result):
    channel = result.components["dram"][0]
    assert sum(count for name, count in channel.items() if name.startswith("reads_below_")) == channel["accepted_reads"]
    seconds = result.total_cycles / 200e6
    moved_bytes = channel["read_bytes"] + channel["write_bytes"]
    assert channel["bandwidth_gb_per_s"] == pytest.approx(moved_bytes / seconds / 1e9, rel=1e-3)
    assert channel["peak_percent"] == pytest.approx(100 * channel["bandwidth_gb_per_s"] / channel["peak_bandwidth_gb_per_s"])


def test_nothing_is_negative():
    idle = RunResult(known(), TINY, 1, ("ff",), 1, ())
    assert all(part.energy_joule >= 0 for part in breakdown(idle) if part.energy_joule is not None)


def test_what_running_scales_add_up_is_counted():
    """At least an accumulation for each normalized element in FF and in BP and for each weight in WU, and each weight gradient."""
    running = simulate(known(numerics__normalization="running"), TINY, batch=2)
    found = {spent.action: spent for spent in breakdown(running) if spent.component == "running scale"}
    n_elements, n_weights = 2 * (4 * 36 + 6 * 9), 4 * 27 + 6 * 36 + 6 * 4 + 4 * 54
    assert 2 * n_elements + n_weights <= found["accumulation"].count < 4 * (n_elements + n_weights)
    assert found["accumulation"].energy_joule == 5 * PICO * found["accumulation"].count
    assert n_weights <= found["byte of weight gradients"].count / 2
    assert found["byte of weight gradients"].energy_joule == 5 * PICO / 2 * found["byte of weight gradients"].count
    assert not any(spent.component == "running scale" for spent in breakdown(simulate(known(), TINY, batch=2)))
