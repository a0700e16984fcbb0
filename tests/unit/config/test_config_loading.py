"""Architectures from files and overrides; every wrong input is reported at its place, all at once."""

import re
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

from etasim.config import InputError, load_architecture, shipped, shipped_names

VC709 = shipped("configs", "eta_vc709")


def problems(*overrides, base="eta_vc709"):
    with pytest.raises(InputError) as caught:
        load_architecture(base, overrides)
    return caught.value.problems


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_attributes_are_the_keys_with_units():
    eta = load_architecture("eta_vc709")
    assert eta.core.clock_hz == 240_000_000
    assert eta.array.macs_per_cycle == 2048
    assert (eta.array.stream_scratchpad_bytes, eta.array.accumulator_width_bits) == (16384, 48)
    assert (eta.noc.link_width_bits, eta.buffers.word_size_bytes, eta.buffers.error.size_bytes) == (256, 64, 2**20)
    assert eta.noc.placement.error == (6, 7)
    assert eta.data.activation_bits == 8
    assert eta.dram.channel_interleave_bytes == eta.dram.part.organisation.burst_bytes == 64
    assert eta.training.weight_update == "end_of_iteration"


def test_every_shipped_architecture_loads():
    assert {load_architecture(name).name for name in shipped_names("configs")} == set(shipped_names("configs"))


def test_architecture_is_frozen_and_hashable():
    eta = load_architecture("eta_vc709")
    with pytest.raises(ValueError, match="frozen"):
        eta.array.lanes = 4
    assert hash(eta) == hash(load_architecture(VC709))
    assert eta != load_architecture(VC709, ["array.lanes=4"])


def test_every_value_of_the_reconstruction_is_marked():
    text = VC709.read_text()
    leaf = re.compile(r"^\s*[a-z_]+:\s+[^\s#].*$")
    unmarked = [line for line in text.splitlines() if leaf.match(line) and not re.search(r"#.*\((a|b|r)\)", line)]
    assert unmarked == ["name: eta_vc709"]


def test_overrides_as_texts_or_mapping():
    texts = load_architecture("eta_vc709", ["core.clock=200 MHz", "array.psum_depth=32", "noc.placement.error=[7, 6]"])
    mapping = {"core.clock": "200 MHz", "array.psum_depth": 32, "noc.placement.error": [7, 6]}
    assert texts == load_architecture("eta_vc709", mapping)
    assert (texts.core.clock_hz, texts.array.psum_depth, texts.noc.placement.error) == (200_000_000, 32, (7, 6))


def test_later_override_wins():
    assert load_architecture("eta_vc709", ["array.lanes=2", "array={lanes: 4}"]).array.lanes == 4


def test_dram_part_is_overlaid():
    eta = load_architecture("eta_vc709", ["dram.timing_clocks={CL: 12}", "dram.clock=2800/3 MHz"])
    assert (eta.dram.part.timing_clocks.CL, eta.dram.part.timing_clocks.RCD) == (12, 11)
    assert eta.dram.part.clock_hz == Fraction(2_800_000_000, 3)
    assert load_architecture("eta_vc709", ["dram.part=ddr3_1866m_4gb_x8"]).dram.part.clock_hz == Fraction(2_800_000_000, 3)


@pytest.mark.parametrize(
    ("override", "key", "parts"),
    [
        ("core.clck=1 MHz", "core.clck", ("unknown key", "allowed: clock", "did you mean 'clock'")),
        ("cores={}", "cores", ("unknown key", "training", "did you mean 'core'")),
        ("core.clock=200", "core.clock", ("no unit", "MHz")),
        ("core=3", "core", ("must be a section",)),
        ("core=", "core", ("must be a section", "None")),
        ("array.lanes=0", "array.lanes", ("at least 1", "0")),
        ("array.lanes=-8", "array.lanes", ("at least 1", "-8")),
        ("array.lanes=8.0", "array.lanes", ("whole number",)),
        ("array.lanes=true", "array.lanes", ("whole number", "True")),
        ("array.lanes=many", "array.lanes", ("whole number", "'many'")),
        ("array.lanes=99999999999999999999", "array.lanes", ("at most 1048576",)),
        ("array.accumulator_width=97 bit", "array.accumulator_width", ("at most 96",)),
        ("array.stream_scratchpad=0.3 B", "array.stream_scratchpad", ("whole number of B",)),
        ("array.deinterleave_stride=1", "array.deinterleave_stride", ("true or false",)),
        ("noc={topology: torus, virtual_channels: 3}", "noc.virtual_channels", ("two VCs for each of 3 message classes, got 3",)),
        ("noc.topology=messh", "noc.topology", ("unknown topology 'messh'", "crossbar, mesh, torus, tree", "did you mean 'mesh'")),
        ("noc.routing=no", "noc.routing", ("unknown routing policy False", "shortest, xy, yx")),
        ("buffers.weight.ports=3RW", "buffers.weight.ports", ("1R1W, 1RW, 2RW",)),
        ("buffers.word_size=48 B", "buffers.word_size", ("power of two",)),
        ("noc.router.vc_allocation_delay=0", "noc.router.vc_allocation_delay", ("at least 1",)),
        ("noc.link_width=12 bit", "noc.link_width", ("whole bytes",)),
        ("noc.placement.weight=8", "noc.placement.weight", ("less than 8",)),
        ("noc.placement.error=[]", "noc.placement.error", ("at least 1",)),
        ("dram.scheduler=frfcfs", "dram.scheduler", ("did you mean 'fr_fcfs'",)),
        ("dram.page_policy=opn", "dram.page_policy", ("did you mean 'open'",)),
        ("dram.write_low_watermark=0.9", "dram.write_low_watermark", ("less than write_high_watermark",)),
        ("dram.write_low_watermark=.nan", "dram.write_low_watermark", ("finite",)),
        ("dram.channel_interleave=32 B", "dram.channel_interleave", ("whole bursts of 64 B",)),
        ("dram.ranks=3", "dram.ranks", ("power of two",)),
        ("dram.part=ddr3_1600", "dram.part", ("no such file or shipped name", "hbm2_2000", "did you mean 'ddr3_1600k_4gb_x8'")),
        ("dram.part=3", "dram.part", ("must be a file or a shipped name",)),
        ("dram.timing_clocks.RC=20", "dram.timing_clocks.RC", ("RAS + RP = 39",)),
        ("dram.timing_clock.RC=20", "dram.timing_clock", ("did you mean 'timing_clocks'",)),
        ("dram.clock=7.77777777 MHz", "dram.clock", ("ratio",)),
        ("training.weight_update=never", "training.weight_update", ("after_layer, end_of_iteration",)),
        ("mapping.forwardng=true", "mapping.forwardng", ("unknown key", "did you mean 'forwarding'")),
        ("mapping={'conv1.ff': true}", "mapping.conv1.ff", ("must be a section",)),
        ("mapping={conv1: {clusters_x: 1}}", "mapping.conv1.clusters_x", ("clusters_c, clusters_k, clusters_pixel",)),
        ("mapping={conv1: {clusters_k: 8}}", "mapping.conv1", ("splits over 8 clusters, array.clusters is 4",)),
        ("name=a b/c", "name", ("letters, digits",)),
        ("extends=eta_small", "extends", ("belongs into a file",)),
        ("lanes", "lanes", ("must have the form key.path=value",)),
        ("a..b=1", "a..b", ("not a key path",)),
        ("array.lanes=[1", "array.lanes", ("not valid YAML",)),
        ("array.lanes.x=1", "array.lanes", ("whole number",)),
        ("noc={bufer_depth: 3}", "noc.bufer_depth", ("unknown key", "did you mean 'buffer_depth'")),
        ("noc={router: {speculative: 3}}", "noc.router.speculative", ("true or false",)),
        ("noc.placement.error=[6, x]", "noc.placement.error[1]", ("whole number",)),
        ("array.lanes=016", "array.lanes", ("write 16",)),
        ("array.lanes=1e1", "array.lanes", ("whole number", "write 10")),
        ("dram.chanels=2", "dram.chanels", ("did you mean 'channels'",)),
    ],
)
def test_wrong_override_is_reported_at_its_key(override, key, parts):
    (problem,) = problems("core.clock=300 MHz", override)
    assert (problem.file, problem.line, problem.key) == ("--set", 2, key)
    assert all(part in problem.message for part in parts), problem.message


def test_rule_between_keys_is_reported_where_the_value_stands():
    (problem,) = problems("buffers.weight.banks=3")
    assert problem.file == str(VC709)
    assert (problem.key, problem.message) == ("buffers.weight.size", "must be a multiple of banks * word_size = 192 B, got 262144 B")


def test_shared_node_is_reported_at_both_places():
    found = {(problem.file, problem.key): problem.message for problem in problems("noc.placement.weight=4")}
    assert set(found) == {("--set", "noc.placement.weight"), (str(VC709), "noc.placement.activation")}
    assert all("node 4 is used twice" in message for message in found.values())


def test_all_problems_at_once_each_at_its_line(tmp_path):
    text = VC709.read_text().replace("240 MHz", "240").replace("lanes: 8 ", "lanez: 8 ").replace("banks: 16", "banks: 0")
    path = _write(tmp_path / "bad.yaml", text.replace("part: ddr3_1600k_4gb_x8", "part: nothing"))
    lines = text.splitlines()
    found = {(problem.line, problem.key) for problem in problems("training.batch=0", base=path) if problem.file == str(path)}

    def line_of(fragment):
        return 1 + next(i for i, line in enumerate(lines) if fragment in line)

    assert found == {
        (line_of("clock: 240"), "core.clock"),
        (line_of("array:"), "array.lanes"),
        (line_of("lanez"), "array.lanez"),
        (line_of("banks: 0"), "buffers.error.banks"),
        (line_of("part:"), "dram.part"),
    }
    first = problems("training.batch=0", base=path)[0]
    assert str(first) == "--set:1: training.batch: must be at least 1, got 0"


def test_missing_sections_and_keys(tmp_path):
    data = yaml.safe_load(VC709.read_text())
    del data["dma"], data["noc"]["router"]["speculative"]
    path = _write(tmp_path / "a.yaml", yaml.safe_dump(data, sort_keys=False))
    assert [(problem.key, problem.message) for problem in problems(base=path)] == [
        ("dma", "is missing"),
        ("noc.router.speculative", "is missing"),
    ]


def test_extends_merges_deeply(tmp_path):
    _write(tmp_path / "base.yaml", "extends: eta_vc709\nname: base\narray: {psum_depth: 16, lanes: 4}\n")
    path = _write(tmp_path / "top.yaml", "extends: base.yaml\nname: top\narray:\n  psum_depth: 32\n")
    top = load_architecture(path)
    assert (top.name, top.array.psum_depth, top.array.lanes, top.array.columns) == ("top", 32, 4, 8)
    path.write_text(path.read_text().replace("32", "x"))
    (problem,) = problems(base=path)
    assert (problem.file, problem.line, problem.key) == (str(path), 4, "array.psum_depth")


def test_extends_cycle_is_named(tmp_path):
    path = _write(tmp_path / "a.yaml", "extends: b.yaml\n")
    _write(tmp_path / "b.yaml", "# b\nextends: a.yaml\n")
    (problem,) = problems(base=path)
    assert (problem.line, problem.key, problem.message) == (2, "extends", "a cycle: a.yaml extends b.yaml extends a.yaml")


@pytest.mark.parametrize(
    ("value", "part"), [("nothing", "no such file or shipped name"), ("eta_vc70", "did you mean 'eta_vc709'"), ("[1]", "must be")]
)
def test_extends_of_nothing(tmp_path, value, part):
    path = _write(tmp_path / "a.yaml", f"name: x\nextends: {value}\n")
    (problem,) = problems(base=path)
    assert (problem.line, problem.key) == (2, "extends")
    assert part in problem.message


def test_unknown_architecture_lists_the_shipped_ones(tmp_path):
    (problem,) = problems(base="eta_vc79")
    shipped_ones = "ef_train_zcu102, eta_small, eta_vc709, scale_sim_os, scale_sim_ws, stonne_os_mesh, stratix10_mx_16bit, vc706_8bit"
    assert f"allowed: {shipped_ones}; did you mean 'eta_vc709'?" in problem.message
    (problem,) = problems(base=tmp_path)
    assert "is a folder" in problem.message


def test_part_file_beside_the_architecture(tmp_path):
    part = shipped("configs/dram", "hbm2_2000").read_text()
    _write(tmp_path / "own.yaml", part)
    dram = "dram: {part: own.yaml, mapping: 'ro:14,ba:2,bg:2,co:5'}"
    path = _write(tmp_path / "a.yaml", f"extends: eta_vc709\n{dram}\n")
    assert load_architecture(path).dram.part.standard == "HBM2"
    _write(tmp_path / "own.yaml", part.replace("RC: 48", "RC: 8").replace("HBM2\n", "HBM\n"))
    found = {(Path(problem.file).name, problem.key): problem for problem in problems(base=path)}
    assert set(found) == {("own.yaml", "standard"), ("own.yaml", "timing_clocks.RC")}
    assert part.splitlines()[found["own.yaml", "timing_clocks.RC"].line - 1].strip() == "RC: 48"


def test_pinned_mapping_is_read():
    eta = load_architecture("eta_vc709", ["mapping={block1*: {clusters_k: 2, clusters_pixel: 2}}"])
    assert (eta.mapping.pins["block1*"].clusters_k, eta.mapping.pins["block1*"].clusters_c) == (2, None)
