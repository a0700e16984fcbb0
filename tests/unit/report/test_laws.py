"""The laws of synthesis: they give sizes that they were not fitted to, and the command that prints them."""

import json

import pytest
from click.testing import CliRunner

from etasim.cli import main
from etasim.config import load_architecture
from etasim.report.laws import on_board
from etasim.rtl import synthesis

BOARDS = [load_architecture(name).board for name in ("eta_vc709", "vc706_8bit")]


def rows(block):
    return [(dict(row.size.parameters), row.counts) for row in synthesis.table() if row.size.block == block]


@pytest.mark.parametrize(
    "law",
    [synthesis.multiplexer_law(), *(synthesis.pe_law(kind, figure) for kind in synthesis.PE_KINDS for figure in ("logic_lut", "ff"))],
)
def test_held_out_sizes_are_within_ten_percent(law):
    assert sum(size.held_out for size, *_ in law.residuals) >= 2
    assert law.held_out_percent < synthesis.HELD_OUT_PERCENT


def test_psums_and_registers_of_multiplexers_are_exact():
    for p, counts in rows(synthesis.PE):
        assert counts["memory_lut"] == synthesis.psum_luts(p["COLUMNS"], p["DEPTH"], p.get("ACC", 48))
    assert all(counts["ff"] == p["WIDTH"] for p, counts in rows(synthesis.MULTIPLEXER))


@pytest.mark.parametrize("board", BOARDS)
def test_products_and_banks_of_the_boards_are_those_of_synthesis(board):
    for p, counts in rows(synthesis.PE):
        products = board.dsp.products[0]
        assert products.width_bits == 8
        assert counts["dsp"] == p["LANES"] * -(-p["COLUMNS"] // products.count)
    for p, counts in rows(synthesis.BANK):
        assert counts["bram36"] + counts["bram18"] / 2 == board.memory.bank(p["DEPTH"], p["WIDTH"]).blocks
    assert len(rows(synthesis.BANK)) == 5


def test_an_access_enables_the_blocks_beside_each_other():
    memory = BOARDS[0].memory
    assert memory.bank(4096, 512) == (57, 57)
    assert memory.bank(1024, 64) == (2, 1)
    assert memory.bank(128, 512) == (7.5, 7.5)


def test_the_table_has_the_sizes_that_are_measured():
    assert [row.size[:3] for row in synthesis.table()] == [size[:3] for size in synthesis.SIZES]


def test_the_command_prints_error_and_band():
    printed = CliRunner().invoke(main, ["board", "eta_vc709"]).output
    found, _ = on_board(load_architecture("eta_vc709"), "eta_vc709")
    assert f"{found.luts:,}" in printed
    assert f"within {found.error_percent:.1f} %" in " ".join(printed.split())
    assert f"{0.7 * found.luts:,.0f} to {1.3 * found.luts:,.0f} LUT" in " ".join(printed.split())
    told = json.loads(CliRunner().invoke(main, ["board", "eta_vc709", "--json"]).output)
    assert (told["luts"], told["band_percent"]) == (found.luts, 30)


def test_the_command_says_what_the_laws_are_not_for():
    printed = " ".join(CliRunner().invoke(main, ["board", "stratix10_mx_16bit"]).output.split())
    assert "ALM is taken for 2 LUTs, assumed" in printed
    assert "codes of up to 8 bit: PEs in proportion to the width, assumed" in printed


def test_the_command_needs_something_to_do():
    assert CliRunner().invoke(main, ["board"]).exit_code == 2
    assert CliRunner().invoke(main, ["board", "eta_small"], standalone_mode=True).exit_code == 2
