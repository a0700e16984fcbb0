"""The table of synthesis, a few sizes of it made anew; a block that is wrong is not synthesised."""

import os
import shutil

import pytest

from etasim.rtl import bench, synthesis

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not all(map(shutil.which, (synthesis.SYNTHESIZER, bench.COMPILER))),
    reason="yosys or Icarus Verilog is not installed (apt-get install yosys iverilog)",
)
KNOWN = {row.size[:2]: row.counts for row in synthesis.table()}


@pytest.mark.parametrize("size", [size for size in synthesis.SIZES if size.quick], ids=lambda size: f"{size.block} {dict(size.parameters)}")
def test_a_size_is_what_the_table_says(size):
    """Another version of yosys maps a little differently: LUTs and flip-flops within 5 %, blocks exactly."""
    (row,) = synthesis.measure([size])
    known = KNOWN[size[:2]]
    for name in ("dsp", "bram36", "bram18", "memory_lut"):
        assert row.counts[name] == known[name]
    for name in ("logic_lut", "ff"):
        assert row.counts[name] == pytest.approx(known[name], rel=0.05)


def test_an_input_over_a_multiple_of_four_is_dearer_than_the_law():
    """The law says 256 LUTs, yosys makes 352 (docs/rtl.md)."""
    (row,) = synthesis.measure([synthesis.Size(synthesis.MULTIPLEXER, (("INPUTS", 13), ("WIDTH", 64)))])
    assert row.counts["logic_lut"] > 1.2 * synthesis.multiplexer_terms(13, 64)["multiplexer"]


def test_a_wrong_block_is_not_synthesised(tmp_path):
    sources = tmp_path / "verilog"
    shutil.copytree(bench.SOURCES, sources)
    (sources / "bank.v").write_text((sources / "bank.v").read_text().replace("out <= words[read_at]", "out <= words[write_at]"))
    with pytest.raises(bench.ToolError, match="is wrong in"):
        synthesis.simulate(next(size for size in synthesis.SIZES if size.block == synthesis.BANK), sources)


def test_a_missing_tool_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(bench.ToolError, match="needs yosys, which is not installed; Debian: apt-get install yosys"):
        synthesis.synthesise(synthesis.SIZES[0])


SHIFTING = [size for size in synthesis.SIZES if size.block == synthesis.PE and {"FLOAT", "SCALED"} & dict(size.parameters).keys()]


@pytest.mark.parametrize("size", SHIFTING, ids=lambda size: f"{size.block} {dict(size.parameters)}")
def test_floats_and_scaled_sums_are_those_of_the_numerics(size):
    synthesis.simulate(size)


def test_a_wrong_exponent_is_noticed(tmp_path):
    sources = tmp_path / "verilog"
    shutil.copytree(bench.SOURCES, sources)
    text = (sources / "pe.v").read_text()
    (sources / "pe.v").write_text(text.replace("wx_place <= place(wide[0], w)", "wx_place <= place(wide[1], w)"))
    with pytest.raises(bench.ToolError, match="is wrong in"):
        synthesis.simulate(next(size for size in SHIFTING if "FLOAT" in dict(size.parameters)), sources)
