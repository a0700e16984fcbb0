"""The board beside the machine: the arithmetic of docs/reconstruction.md."""

import pytest

from etasim.config import load_architecture
from etasim.report.board import board_rows


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


def test_a_machine_that_does_not_fit_is_reported():
    rows = used(buffers__activation__size="2 MiB", array__clusters=4)
    assert not rows["BRAM36"]["fits"]
    assert rows["BRAM36"]["share_percent"] > 100


def test_without_a_board_there_is_nothing_to_compare():
    assert board_rows(load_architecture("eta_small")) == []
