"""The laws of synthesis: they give sizes that they were not fitted to, and add up for a machine."""

import json

import pytest
from click.testing import CliRunner

from etasim.cli import main
from etasim.config import InputError, load_architecture
from etasim.report.laws import by_laws
from etasim.rtl import synthesis


def rows(block):
    return [(dict(row.size.parameters), row.counts) for row in synthesis.table() if row.size.block == block]


@pytest.mark.parametrize("law", [synthesis.pe_law(True), synthesis.pe_law(False), synthesis.multiplexer_law()])
def test_held_out_sizes_are_within_ten_percent(law):
    assert sum(size.held_out for size, *_ in law.residuals) >= 2
    assert law.held_out_percent < synthesis.HELD_OUT_PERCENT


def test_products_and_banks_are_exact():
    for p, counts in rows(synthesis.PE):
        assert counts["dsp"] == synthesis.pe_dsp(p["LANES"], p["COLUMNS"])
        assert counts["memory_lut"] == synthesis.psum_luts(p["COLUMNS"], p["DEPTH"], 48)
    for p, counts in rows(synthesis.BANK):
        assert 2 * counts["bram36"] + counts["bram18"] == synthesis.bram_halves(p["DEPTH"], p["WIDTH"])
    assert len(rows(synthesis.BANK)) == 5


def test_the_table_has_the_sizes_that_are_measured():
    assert [row.size[:3] for row in synthesis.table()] == [size[:3] for size in synthesis.SIZES]


def test_a_machine_is_its_terms():
    found = by_laws(load_architecture("eta_vc709"))
    luts = {term.name: term.luts for term in found.terms}
    costs = synthesis.pe_law(True).costs
    assert luts["products of the PEs"] == pytest.approx(2048 * costs["product"])
    assert luts["columns of the PEs"] == pytest.approx(256 * costs["column"])
    assert luts["psum memories"] == 256 * 2 * 64
    assert found.dsp == 1024
    # 8 x 57 and 8 x 29 for banks of 4,096 and 2,048 words of 512 bit, 16 x 28.5 for the error buffer's; scratchpads 32 x 1 and 4 x 7.5
    halves = 8 * 114 + 8 * 57 + 16 * 57 + 4 * (8 * 2 + 15)
    assert found.bram36 == halves / 2
    assert found.luts == pytest.approx(sum(luts.values()), abs=1)


def test_wider_arrays_take_more_in_proportion():
    one, two = (by_laws(load_architecture("eta_vc709", {"array.columns": n})) for n in (8, 16))
    assert two.dsp == 2 * one.dsp
    assert two.terms[0].luts == 2 * one.terms[0].luts


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("eta_small", {}, "this is none"),
        ("stratix10_mx_16bit", {}, "this is stratix10_mx"),
        ("eta_vc709", {f"data.{what}": "16 bit" for what in ("activation", "weight", "error")}, "codes of up to 8 bit"),
    ],
)
def test_where_there_is_no_law(name, changes, message):
    with pytest.raises(InputError, match=message):
        by_laws(load_architecture(name, changes))


def test_the_command_prints_error_and_band():
    printed = CliRunner().invoke(main, ["board", "eta_vc709"]).output
    found = by_laws(load_architecture("eta_vc709"))
    assert f"{found.luts:,}" in printed
    assert f"within {found.error_percent:.1f} %" in " ".join(printed.split())
    assert f"{0.7 * found.luts:,.0f} to {1.3 * found.luts:,.0f} LUT" in " ".join(printed.split())
    told = json.loads(CliRunner().invoke(main, ["board", "eta_vc709", "--json"]).output)
    assert (told["luts"], told["band_percent"]) == (found.luts, 30)


def test_the_command_needs_something_to_do():
    assert CliRunner().invoke(main, ["board"]).exit_code == 2
    assert CliRunner().invoke(main, ["board", "eta_small"], standalone_mode=True).exit_code == 2
