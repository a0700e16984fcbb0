"""The board beside the machine: the arithmetic of docs/reconstruction.md."""

import pytest

from etasim.config import load_architecture
from etasim.report.board import CROSSBARS, board_rows, resources_of, router_ports
from etasim.rtl.synthesis import BAND_PERCENT, SEGMENTED, multiplexer_law, pe_law


def used(name="eta_vc709", **overrides):
    rows = board_rows(load_architecture(name, {key.replace("__", "."): value for key, value in overrides.items()}))
    return {row["resource"]: row for row in rows}


def test_eta_fits_the_vc709():
    rows = used()
    assert [(rows[name]["used"], rows[name]["available"]) for name in ("DSP48E1", "BRAM36", "DRAM channels")] == [
        (1124, 3600), (1090, 1470), (2, 2),
    ]  # fmt: skip
    assert 300_000 < rows["LUT"]["used"] < 433_200
    assert [name for name, row in rows.items() if row["estimate"]] == ["LUT", "FF"]
    assert all(row["fits"] for row in rows.values())


def test_the_prior_art_on_its_boards():
    """The reconstruction of the neighbour is too large by the laws, within their band (docs/prior_art.md)."""
    assert all(row["fits"] for row in used("stratix10_mx_16bit").values())
    neighbour = used("vc706_8bit")
    assert [name for name, row in neighbour.items() if not row["fits"]] == ["DSP48E1", "LUT"]
    assert neighbour["LUT"]["share_percent"] < 100 * (1 + BAND_PERCENT / 100)


def test_a_machine_is_its_terms():
    found = resources_of(load_architecture("eta_vc709"), load_architecture("eta_vc709").board)
    luts = {term.name: term.luts for term in found.terms}
    costs, flip_flops = pe_law(SEGMENTED).costs, pe_law(SEGMENTED, "ff").costs
    assert luts["products of the PEs"] == pytest.approx(2048 * costs["product"])
    assert luts["columns of the PEs"] == pytest.approx(256 * costs["column"])
    assert luts["psum memories"] == 256 * 2 * 64
    assert found.terms[0].flip_flops == pytest.approx(2048 * flip_flops["product"] + 256 * flip_flops["column"])
    # 57, 14.5 (a half of a block is one) and 28.5 for banks of 4,096, 1,024 and 2,048 words of 512 bit; scratchpads
    assert found.memory_blocks == 8 * 57 + 8 * 14.5 + 16 * 28.5 + 4 * (8 * 1 + 7.5)
    assert found.luts == pytest.approx(sum(luts.values()), abs=1)
    assert [term.name for term in found.terms if term.assumed] == [
        "router ports, bits", "lanes of the unified core", "engines", "DRAM interfaces",
    ]  # fmt: skip


def test_wider_arrays_take_more_in_proportion():
    one, two = (used(array__columns=n) for n in (8, 16))
    assert two["DSP48E1"]["used"] - one["DSP48E1"]["used"] == 1024


def test_products_share_a_block_by_the_width_of_their_codes():
    assert used(numerics__error_segments=1)["DSP48E1"]["used"] == 1024 + 100
    wide = {f"data__{name}": "16 bit" for name in ("activation", "weight", "error")}
    assert used(**wide)["DSP48E1"]["used"] == 2048 + 100
    assert used(array__columns=9)["DSP48E1"]["used"] == 32 * 8 * 5 + 100


def test_wider_codes_take_logic_in_proportion():
    wide = {f"data.{name}": "16 bit" for name in ("activation", "weight", "error")}
    machines = [load_architecture("eta_vc709", changes) for changes in ({"numerics.error_segments": 1}, wide)]
    one, two = (resources_of(machine, machine.board).terms[0] for machine in machines)
    assert (two.luts, two.flip_flops) == (2 * one.luts, 2 * one.flip_flops)
    assert (one.assumed, two.assumed) == (False, True)


def test_blocks_that_accumulate_leave_no_logic_of_columns():
    with_blocks, without = used(board__dsp__accumulates=True), used()
    columns = 256 * pe_law(SEGMENTED).costs["column"]
    assert without["LUT"]["used"] - with_blocks["LUT"]["used"] == pytest.approx(columns, abs=1)


def test_a_lane_has_its_multipliers_and_adders():
    """20 lanes of 5 multipliers and 11 adders in eta_vc709; two cores have twice as many."""
    few = {"unified_core__lane__multipliers": 2, "unified_core__lane__adders": 4}
    assert used()["DSP48E1"]["used"] - used(**few)["DSP48E1"]["used"] == 20 * 3
    assert used()["LUT"]["used"] - used(**few)["LUT"]["used"] == 20 * 7 * 40
    assert used(unified_core__count=2)["DSP48E1"]["used"] == 1124 + 100


def test_deep_psums_move_to_block_memory():
    deep, shallow = used(array__psum_depth=128), used()
    assert deep["BRAM36"]["used"] - shallow["BRAM36"]["used"] == 256
    assert deep["LUT"]["used"] == shallow["LUT"]["used"] - 256 * 2 * 64


PLACED = {f"noc__{key}": "auto" for key in ("columns", "rows", "placement")}


@pytest.mark.parametrize(
    ("keys", "ports"),
    [
        ({}, [3, 4, 4, 3, 3, 4, 4, 3]),
        ({"noc__topology": "torus", "noc__virtual_channels": 6}, [5] * 8),
        ({"noc__topology": "crossbar"}, [8]),
        ({"noc__topology": "tree"}, [2, 5, 5]),
        (PLACED | {"noc__concentration": 2}, [4, 4, 4, 4]),
        (PLACED | {"array__clusters": 3}, [3, 4, 4, 2, 3, 4, 4, 3]),
    ],
)
def test_a_router_has_a_port_for_each_link_and_endpoint(keys, ports):
    """The last machine has a node without an endpoint: its router has two links and nothing else."""
    chosen = load_architecture("eta_vc709", {key.replace("__", "."): value for key, value in keys.items()})
    assert router_ports(chosen.noc) == ports
    if "array__clusters" not in keys:
        routers = 3 * 256 * (sum(n * n for n in ports) - sum(n * n for n in (3, 4, 4, 3, 3, 4, 4, 3))) / 5
        assert used(**keys)["LUT"]["used"] - used()["LUT"]["used"] == pytest.approx(routers, abs=1)


def test_every_physical_network_has_its_routers():
    networks = [{"classes": ["stream", "stationary"], "link_width": "256 bit"}, {"classes": ["psum"], "link_width": "128 bit"}]
    assert used(noc__networks=networks)["LUT"]["used"] - used()["LUT"]["used"] == pytest.approx(3 * 128 * 100 / 5, abs=1)


def test_buffers_have_crossbars_between_ports_and_banks():
    """The error buffer: 2 DMA ports, 2 collectors and 3 results write to each bank; 2 DMA ports and 4 operands choose among the banks."""
    more_banks = used(buffers__error__banks=32)["LUT"]["used"] - used()["LUT"]["used"]
    cost = multiplexer_law().costs["multiplexer"]
    assert more_banks == pytest.approx(cost * 512 * (16 * 3 + 6 * (11 - 5)), abs=1)  # LUTs a bit: of 7 inputs, of 32, of 16
    machine = load_architecture("eta_vc709")
    assert 42_000 < {term.name: term.luts for term in resources_of(machine, machine.board).terms}[CROSSBARS] < 55_000


def test_a_machine_that_does_not_fit_is_reported():
    rows = used(buffers__activation__size="2 MiB", array__clusters=4)
    assert not rows["BRAM36"]["fits"]
    assert rows["BRAM36"]["share_percent"] > 100


def test_without_a_board_there_is_nothing_to_compare():
    assert board_rows(load_architecture("eta_small")) == []


def test_accumulators_of_running_scales_are_counted():
    """Two of 48 bits for each of 16 lanes: their adders, and 64 sums of each in memories of 3 bits a cell."""
    before, after = used()["LUT"]["used"], used(numerics__normalization="running")["LUT"]["used"]
    lanes = load_architecture("eta_vc709").unified_core.lanes
    assert after - before == pytest.approx(lanes * 2 * 48 * (1 + 64 / 48), abs=1)
