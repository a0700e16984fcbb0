"""Energy: every count times its figure, nothing known taken from what is not."""

import dataclasses
from fractions import Fraction

import pytest
from small_networks import TINY, architecture, conv, network

from etasim.config import load_architecture
from etasim.machine import simulate
from etasim.machine.result import RunResult
from etasim.report.board import (
    COLUMNS,
    ENGINES,
    INTERFACES,
    LANES,
    PRODUCTS,
    PSUMS,
    ROUTERS,
    RUNNING_SCALES,
    multiplexer_luts,
    resources_of,
    router_ports,
)
from etasim.report.energy import assumed_joule, breakdown, excluded, on_chip_joule, total_joule
from etasim.report.metrics import energy_rows, layer_rows, summary
from etasim.workload import load_network

PICO = Fraction(1, 10**12)
LASTING = {"dram", "static", "clock tree", "engines", "dram interfaces"}
"""Parts whose energy is no operation's."""


def figure(pj, **keys):
    return {"energy": f"{pj} pJ", "source": "a test", "technology": "none", **keys}


FIGURES = {
    "energy.dsp_block": figure(3),
    "energy.memory_block": figure(7),
    "energy.lut": figure(0.25),
    "energy.nets": figure(0.5),
    "energy.activity": {"factor": 2, "source": "a test"},
    "energy.flip_flop": figure(0.125),
    "energy.static_power": {"board": {"power": "2 W", "source": "a test", "technology": "none"}},
    "noc.energy_per_flit_hop": figure(19),
    "board.extends": "vc709",
}
LOGIC = Fraction(3, 2)
"""pJ of a LUT in a cycle by these figures."""


def known(**overrides):
    """The small machine with a figure for everything; ``energy__dsp_block=None`` overrides."""
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


def luts(architecture, *names):
    return round(sum(term.luts for term in resources_of(architecture, architecture.board).terms if term.name in names))


def test_the_total_is_the_sum_of_counts_times_energies(result):
    """Counted anew from the parts' own counters, which the rows of a report do not use.

    2 clusters of 2 PEs with 4 columns of 2 lanes; words of 16 B; every memory of the small machine is as deep as a block: a bank of a
    buffer takes 128 bits of 512 x 72, a bank of a stream scratchpad 16 bits of 512 x 36, both of a half.
    """
    chosen, parts = result.architecture, result.components
    pico, cycles = Fraction(0), result.total_cycles
    busy = sum(cluster["busy_cycles"] for cluster in parts["cluster"])
    buffers = {"activation_buffer": (4, 1), "weight_buffer": (4, 1), "error_buffer": (8, 6)}  # banks, ports that write
    enabled = Fraction(2)
    packets = [counters["packets_ejected"] for counters in parts["noc"][:2]]
    pico += busy * 3 * 2 * 2 * 2  # two PEs of two lanes, two columns to a block
    pico += busy * LOGIC * luts(chosen, PRODUCTS, COLUMNS) / 2
    pico += busy * LOGIC * luts(chosen, PSUMS) / 2
    pico += parts["noc"][2]["flits_injected"] * LOGIC * 4 * luts(chosen, PSUMS) / 16  # 64 bits are four results, of four columns
    pico += 7 * Fraction(1, 2) * (busy * 4 + packets[0] * 8)  # a word is eight vectors of two bytes
    pico += 7 * packets[1] * 2 * enabled
    for name, (banks, writers) in buffers.items():
        counters = parts[name][0]
        reads, writes = counters["read_words"], counters["written_words"]
        pico += 7 * (reads + writes) * enabled
        pico += LOGIC * (reads * round(multiplexer_luts(banks, 128)) + writes * round(multiplexer_luts(writers, 128)))
    pico += parts["unified_core"][0]["busy_cycles"] * (LOGIC * luts(chosen, LANES) + 3 * 4 * 5)  # 4 lanes of 5 multipliers
    pico += 19 * sum(counters["flit_hops"] for counters in parts["noc"])
    terms = resources_of(chosen, chosen.board).terms
    flip_flops = sum(round(sum(term.flip_flops for term in terms if term.assumed == assumed)) for assumed in (False, True))
    pico += cycles * (Fraction(1, 8) * flip_flops + LOGIC * (luts(chosen, ENGINES) + luts(chosen, INTERFACES)))
    causes = ("activate_nj", "read_nj", "write_nj", "refresh_nj", "background_nj")
    nano = sum(Fraction(channel[cause]) for channel in parts["dram"] for cause in causes)
    assert excluded(result) == ()
    assert total_joule(result) == PICO * pico + nano / 10**9 + 2 * Fraction(cycles) / chosen.core.clock_hz


def test_what_is_assumed_is_told(result):
    """The figures of this test have a source; blocks that are not synthesised have none."""
    assumed = {part.component for part in breakdown(result) if part.assumed}
    assert assumed == {"unified core", "clock tree", "engines", "dram interfaces"}
    joule = sum(part.energy_joule for part in breakdown(result) if part.assumed)
    assert 0 < joule == assumed_joule(result)
    assert summary(result)["energy_assumed_percent"] == pytest.approx(float(100 * joule / total_joule(result)))
    without = dataclasses.replace(result, architecture=known(energy__dsp_block=_hashable(figure(3) | {"source": "assumed: a guess"})))
    more = {part.component for part in breakdown(without) if part.assumed}
    assert more - assumed == {"multipliers"}  # and the unified core's, whose logic is assumed anyhow
    assert all(part.source.startswith("assumed") == part.assumed for part in breakdown(without))


def test_every_figure_of_the_shipped_tables_has_a_source_or_the_word():
    """And no total is printed without the word, since none is without an assumed part."""
    for name in ("eta_vc709", "vc706_8bit", "stratix10_mx_16bit"):
        found = simulate(load_architecture(name), TINY, batch=1, fidelity="analytical")
        assert excluded(found) == ()
        for part in breakdown(found):
            assert part.assumed or part.source.startswith(("(a)", "(b)", "IDD currents")) or ": (b) " in part.source, part
        assert summary(found)["energy_assumed_percent"] > 5


def test_the_figures_of_the_summary_follow(result):
    figures, seconds = summary(result), result.total_cycles / 200e6
    assert figures["power_w"] == pytest.approx(figures["energy_mj"] / 1000 / seconds)
    assert figures["gops_per_w"] == pytest.approx(figures["throughput_gops"] / figures["power_w"])
    assert figures["j_per_image"] == pytest.approx(figures["energy_mj"] / 2000)
    assert sum(row["energy_mj"] for row in energy_rows(result)) == pytest.approx(figures["energy_mj"])
    assert sum(row["share_percent"] for row in energy_rows(result)) == pytest.approx(100)


def test_rows_share_the_energy_of_the_chip(result):
    on_chip = sum(part.energy_joule for part in breakdown(result) if part.component not in LASTING)
    assert sum(on_chip_joule(result.architecture, row) for row in result.layers) == on_chip
    assert sum(row["on_chip_energy_mj"] for row in layer_rows(result)) == pytest.approx(float(1000 * on_chip))


def test_no_work_takes_power_all_the_same(result):
    idle = dataclasses.replace(result, layers=(), components={}, total_cycles=200_000_000)
    assert {part.component for part in breakdown(idle) if part.energy_joule} == LASTING - {"dram"}
    assert sum(part.energy_joule for part in breakdown(idle) if part.component == "static") == 2


def test_a_network_that_fills_the_array_works_with_its_blocks():
    """8 channels of 4 x 4 pixels to 8: no lane, column or PE is ever without work, so a block makes two useful products a cycle."""
    chosen = known()
    result = simulate(chosen, network((8, 4, 4), conv("c", 8), classes=2), batch=1, phases=("ff",))
    row = next(row for row in result.layers if row["layer"] == "c")
    assert row["macs"] == 8 * 8 * 16 == row["cluster_busy_cycles"] * 2 * 4 * 2
    only = dataclasses.replace(result, layers=(row,))
    blocks = next(part for part in breakdown(only) if part.component == "multipliers")
    assert blocks.energy_joule == 1024 // 2 * 3 * PICO


def test_wider_operands_take_more_blocks():
    wide = {f"data__{name}": "32 bit" for name in ("activation", "weight", "error")}
    wide["array__accumulator_width"] = "70 bit"
    found = [part for part in breakdown(simulate(known(**wide), TINY, batch=1)) if part.component == "multipliers"]
    assert [part.energy_joule for part in found] == [found[0].count * 3 * 16 * 4 * PICO]  # of 16 products of a cluster four blocks each


@pytest.mark.parametrize(
    ("key", "components"),
    [
        ("energy__dsp_block", {"multipliers"}), ("energy__flip_flop", {"clock tree"}),
        ("energy__memory_block", {"stream scratchpads", "stationary scratchpads", "activation buffer", "weight buffer", "error buffer"}),
    ],
)  # fmt: skip
def test_what_is_not_known_is_left_out_and_named(result, key, components):
    other = dataclasses.replace(result, architecture=known(**{key: None}))
    of_blocks = [part for part in breakdown(result) if part.component in components and "multiplexer" not in part.action]
    of_blocks += [part for part in breakdown(result) if key == "energy__dsp_block" and part.action == "products of a vector group"]
    assert total_joule(other) == total_joule(result) - sum(part.energy_joule for part in of_blocks)
    assert {text.split(" (")[1] for text in excluded(other)} == {"no figure)"}
    assert all(component in summary(other)["energy_excluded"] for component in components)


@pytest.mark.parametrize("key", ["energy__lut", "energy__nets", "energy__activity"])
def test_logic_needs_all_its_figures(result, key):
    other = dataclasses.replace(result, architecture=known(**{key: None}))
    assert {"PE logic", "unified core", "engines"} <= {part.component for part in breakdown(other) if part.reason}


def test_activity_multiplies_the_logic_alone(result):
    """Twice the activity adds as much as the logic took; what has a figure of its own stays."""
    twice = dataclasses.replace(result, architecture=known(energy__activity=_hashable({"factor": 4, "source": "a test"})))
    none = dataclasses.replace(result, architecture=known(energy__activity=_hashable({"factor": 0, "source": "a test"})))
    assert total_joule(twice) - total_joule(result) == total_joule(result) - total_joule(none) > 0


def test_hops_take_what_the_noc_states_or_the_logic_of_a_port(result):
    port = dataclasses.replace(result, architecture=known(noc__energy_per_flit_hop=None))
    (found,) = (part for part in breakdown(port) if part.component == "noc")
    ports = sum(router_ports(port.architecture.noc))
    assert found.energy_joule == found.count * PICO * LOGIC * Fraction(luts(port.architecture, ROUTERS), ports)
    assert found.assumed


def test_without_a_board_no_blocks_are_known():
    bare = simulate(architecture(noc__energy_per_flit_hop=_hashable(FIGURES["noc.energy_per_flit_hop"])), TINY, batch=1)
    assert "chip all blocks (no board)" in excluded(bare)
    assert {part.component for part in breakdown(bare) if part.energy_joule} == {"noc", "dram"}


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
        if action[0] not in LASTING:
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
    """A group of lanes for each normalized element in FF and in BP and for each weight in WU, and each byte of weight gradients."""
    running = simulate(known(numerics__normalization="running"), TINY, batch=2)
    found = {spent.action: spent for spent in breakdown(running) if spent.component == RUNNING_SCALES}
    lanes = running.architecture.unified_core.lanes
    n_elements, n_weights = 2 * (4 * 36 + 6 * 9), 4 * 27 + 6 * 36 + 6 * 4 + 4 * 54
    assert (2 * n_elements + n_weights) / lanes <= found["vector group"].count < 4 * (n_elements + n_weights) / lanes
    assert found["vector group"].energy_joule == LOGIC * PICO * lanes * (48 + 64) * found["vector group"].count
    assert n_weights <= found["byte of weight gradients"].count / 2
    assert found["byte of weight gradients"].energy_joule == LOGIC * PICO * (48 + 64) / 2 * found["byte of weight gradients"].count
    assert all(spent.assumed for spent in found.values())
    assert not any(spent.component == RUNNING_SCALES for spent in breakdown(simulate(known(), TINY, batch=2)))
