"""The board beside the machine: the arithmetic of docs/reconstruction.md."""

import pytest

from etasim.config import load_architecture
from etasim.report.board import board_rows, router_ports


def used(name="eta_vc709", **overrides):
    rows = board_rows(load_architecture(name, {key.replace("__", "."): value for key, value in overrides.items()}))
    return {row["resource"]: row for row in rows}


def test_eta_fits_the_vc709():
    rows = used()
    assert [(row["used"], row["available"]) for name, row in rows.items() if name != "LUT"] == [(1280, 3600), (1344, 1470), (2, 2)]
    assert 100_000 < rows["LUT"]["used"] < 433_200
    assert [name for name, row in rows.items() if row["estimate"]] == ["LUT"]
    assert all(row["fits"] for row in rows.values())


@pytest.mark.parametrize("name", ["vc706_8bit", "stratix10_mx_16bit"])
def test_the_prior_art_fits_its_boards(name):
    assert all(row["fits"] for row in used(name).values())


def test_products_share_a_block_by_their_magnitudes():
    assert used(numerics__error_segments=1)["DSP48E1"]["used"] == 2048 + 256
    wide = {f"data__{name}": "16 bit" for name in ("activation", "weight", "error")}
    assert used(**wide)["DSP48E1"]["used"] == 2048 + 256


def test_accumulators_without_a_block_are_logic():
    few, many = used(board__dsp__count=1100), used()
    assert few["DSP48E1"]["used"] == 1100
    assert few["LUT"]["used"] - many["LUT"]["used"] == (256 - 76) * 48


def test_deep_psums_move_to_block_memory():
    deep, shallow = used(array__psum_depth=128), used()
    assert deep["BRAM36"]["used"] - shallow["BRAM36"]["used"] == 256
    assert deep["LUT"]["used"] < shallow["LUT"]["used"]


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
    """The error buffer: 2 DMA ports, 2 collectors and 3 results write, 2 DMA ports and 4 operands read, words of 512 bit."""
    more_banks = used(buffers__error__banks=32)["LUT"]["used"] - used()["LUT"]["used"]
    assert more_banks == pytest.approx(0.45 * 512 * (16 * (7 - 1) + 6 * 16), abs=1)
    without = used(board__logic__costs__multiplexer_input_bit=0)["LUT"]["used"]
    assert 42_000 < used()["LUT"]["used"] - without < 55_000


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
