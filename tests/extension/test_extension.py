"""A package beside etasim adds one thing of each kind, each in a file of its own, and the values are right."""

import csv
import json
import re

import numpy as np
import pytest
from installing import CHECKOUT, HERE, command_with

from etasim.core import registry
from etasim.noc.topology import EAST, LOCAL, SOUTH
from etasim.workload import load_network

DOCS = CHECKOUT / "docs"
NETWORK = HERE / "small.yaml"
MACHINE = ("--set", "dram.part=h5gq1h24afr_6000", "--set", "dram.mapping=group_first", "--set", "noc.topology=ring")
ROUTED = (*MACHINE, "--set", "noc.routing=shortest", "--set", "noc.virtual_channels=6")


@pytest.fixture(scope="module")
def seen(with_package):
    done = with_package(HERE / "observe.py")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_page_shows_the_modules_as_they_are():
    page = (DOCS / "extend.md").read_text(encoding="utf-8")
    files = {"toml": ["pyproject.toml"], "python": ["etasim_extension/negative_first.py", "etasim_extension/intensity.py"]}
    for language, names in files.items():
        blocks = re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        assert blocks == [(HERE / "package" / name).read_text(encoding="utf-8") for name in names]


def test_the_page_lists_every_kind_that_a_package_can_add_to():
    page = (DOCS / "extend.md").read_text(encoding="utf-8")
    kinds = {value.kind: name for name, value in vars(registry).items() if isinstance(value, registry.Registry)}
    assert dict(re.findall(r"^\| ([\w ]+) \| `([A-Z_]+)` \|", page, re.MULTILINE)) == kinds


def test_each_module_is_known_by_its_kind(seen):
    assert seen["names"] == {
        "routing policy": ["negative_first"], "topology": ["ring"], "DRAM standard": ["GDDR5"], "DRAM scheduler": ["first_come"],
        "address map": ["group_first"], "data format": ["e4m3"], "operation": ["relu6"],
        "mapper": ["least_traffic"], "importer": ["widths"], "metric": ["arithmetic_intensity"],
        "picture": ["intensity"], "folder of inputs": ["etasim_extension"],
    }  # fmt: skip
    assert {"h5gq1h24afr_6000", "asic_45nm", "ddr3_1600k_4gb_x8", "fpga_28nm"} <= set(seen["inputs"])
    assert seen["mapping"] == "ro:12,ra:0,ba:2,co:6,bg:2"


def test_the_policy_goes_south_before_east(seen):
    """From (1, 3) to (2, 0) of a 4 x 4 mesh; xy would go east first."""
    assert seen["path"] == [[13, SOUTH], [9, SOUTH], [5, SOUTH], [1, EAST], [2, LOCAL]]


def test_the_ring_takes_the_shorter_way_round(seen):
    """From 0 to 6 of eight routers: two links back instead of six on. A flit needs 7 cycles and 5 more for each further router."""
    assert seen["ring_path"] == [[0, 1], [7, 1], [6, 2]]
    assert seen["latencies"] == [7 + 5 * min(node, 8 - node) for node in range(8)]


def test_routes_between_all_pairs_cannot_deadlock(seen):
    """On the mesh with one VC because of the policy's turns, on the ring with two because of its dateline."""
    assert seen["routes"] == [56, 56]


@pytest.mark.parametrize(
    ("timing", "clock", "rules"),
    [
        ("AW32", 300, {"AW32 from ACT to ACT"}), ("FAW", 40, {"FAW"}), ("RCDWR", 15, {"RCDWR"}), ("RCD", 18, {"RCD"}),
        ("CCDL", 43, {"CCDL"}), ("CCDS", 42, {"CCDS", "data bus"}), ("PPD", 62, {"PPD"}),
    ],
)  # fmt: skip
def test_a_constraint_refuses_a_clock_early_and_allows_then(seen, timing, clock, rules):
    """By the controller's tables and by the checker, which shares none of them."""
    ready, early, then = seen["gates"][timing]
    assert (ready, set(early), then) == (clock, rules, [])


def test_the_scheduler_serves_in_order_of_arrival(seen):
    """Reads of rows 0, 1 and 0 of a bank: in order the row 0 is opened twice, first ready the third request goes before the second."""
    in_order = ["ACT", "RD", "PRE", "ACT", "RD", "PRE", "ACT", "RD"]
    assert seen["scheduled"] == {"first_come": in_order, "fr_fcfs": ["ACT", "RD", "RD", "PRE", "ACT", "RD"]}


def test_the_codes_are_those_of_the_specification(seen):
    """Sign, four bits of exponent (bias 7), three of mantissa; ties to even, saturation at 448, halves of the least one to 0 and 2."""
    positive = [0x00, 0x01, 0x30, 0x38, 0xB8, 0x58, 0x58, 0x5A, 0x77, 0x7E, 0x7E, 0xFE, 0x00, 0x02]
    assert seen["codes"] == positive
    assert seen["integers"] == [2**8, -448 * 2**9]


def test_the_activation_is_exact_and_stops_at_six(seen):
    """The machine's values are the reference's (`observe.py`); both are those of real numbers to half a step of the codes, 1/8 up to 8.
    Errors pass where the output is between 0 and 6."""
    sums, output, passes = (np.array(seen["activation"][name]) for name in ("sums", "output", "passes"))
    assert (sums > 7).any()
    assert np.abs(output - np.clip(sums, 0, 6)).max() <= 1 / 16
    assert set(output[sums > 6]) == {6}
    assert (passes == ((sums > 0) & (sums < 6))).all()


def test_a_run_on_its_codes_is_that_of_the_reference_to_the_last_bit(with_package, tmp_path):
    formats = [word for name in ("activation", "weight", "error") for word in ("--set", f"numerics.{name}_format=e4m3")]
    options = ("--functional", "--batch", "1", "--out", tmp_path / "out", *formats)
    done = with_package("-m", "etasim", "run", "eta_small", NETWORK, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("values: exact (")
    done = with_package("-m", "etasim", "run", "eta_small", "digits_cnn", "--set", "numerics.weight_format=e4m", "--out", tmp_path / "out")
    assert "numerics.weight_format: unknown data format 'e4m'" in done.stderr
    assert "did you mean 'e4m3'?" in done.stderr


@pytest.fixture(scope="module")
def run(with_package, tmp_path_factory):
    """The folder of a run with all laws on, and what the command printed."""
    folder = tmp_path_factory.mktemp("run") / "out"
    done = with_package("-m", "etasim", "run", "eta_small", NETWORK, "--batch", "1", *ROUTED, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_machine_of_these_parts_runs_by_all_laws(run):
    """The laws judge each DRAM command by the standard, and each packet by the shortest time of its route."""
    data = json.loads((run[0] / "results.json").read_text())
    assert data["summary"]["total_cycles"] > 0
    assert len(data["components"]["noc_router"]) == 6


def test_the_metric_stands_in_the_files_and_the_table(run):
    folder, printed = run
    summary = json.loads((folder / "results.json").read_text())["summary"]
    moved_bytes = summary["dram_read_bytes"] + summary["dram_write_bytes"]
    assert summary["arithmetic_intensity"] == pytest.approx(2 * summary["useful_macs"] / moved_bytes, rel=1e-8)
    with (folder / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row_bytes = sum(int(cell) for name, cell in row.items() if name.startswith("dram_"))
        wanted = "" if not row_bytes else float(f"{2 * int(row['macs']) / row_bytes:.9g}")
        assert row["arithmetic_intensity"] == "" == wanted or float(row["arithmetic_intensity"]) == wanted
    line = next(line for line in printed.splitlines() if "arithmetic_intensity" in line)
    assert line.split() == ["arithmetic_intensity", f"{summary['arithmetic_intensity']:,.6g}", "1/B"]


def test_the_metric_is_explained_and_drawn(run, with_package):
    done = with_package("-m", "etasim", "explain", "arithmetic_intensity")
    assert done.returncode == 0
    assert "Operations for each byte" in done.stdout
    done = with_package("-m", "etasim", "plot", run[0], "intensity")
    assert done.returncode == 0, done.stderr
    assert (run[0] / "intensity.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("noc.topology=rng", "noc.topology: unknown topology 'rng'; allowed: crossbar, mesh, ring, torus, tree; did you mean 'ring'?"),
        ("noc.routing=negative", "noc.routing: unknown routing policy 'negative'; allowed: negative_first, shortest, xy, yx; did you mean"),
        ("dram.part.standard=GDDR6", "unknown DRAM standard 'GDDR6'; allowed: DDR3, DDR4, GDDR5, HBM2, LPDDR4; did you mean 'GDDR5'?"),
        ("dram.timing_clocks.AW32=9", "dram.timing_clocks.AW32: unknown key; allowed: BL, CCDL"),
        ("dram.mapping=group_frist", "allowed: group_first, row_bank_column, row_column_bank; did you mean 'group_first'?"),
        ("mapper=fast", "mapper: unknown mapper 'fast'; allowed: fastest, least_traffic; did you mean 'fastest'?"),
        ("energy.extends=asic_45", "did you mean 'asic_45nm'?"),
    ],
)  # fmt: skip
def test_its_names_stand_in_messages(with_package, tmp_path, setting, message):
    done = with_package("-m", "etasim", "run", "eta_small", "digits_cnn", "--set", setting, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("--set:1: ")


def test_the_mapper_moves_fewer_bytes_in_more_time(with_package, tmp_path):
    found = {}
    for name in ("fastest", "least_traffic"):
        settings = ("--set", f"mapper={name}", "--set", "buffers.weight.size=512 B")
        done = with_package("-m", "etasim", "run", "eta_small", NETWORK, "--batch", "1", *settings, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        summary = json.loads((tmp_path / name / "results.json").read_text())["summary"]
        found[name] = summary["dram_read_bytes"] + summary["dram_write_bytes"], summary["total_cycles"]
    assert found["least_traffic"][0] < found["fastest"][0]
    assert found["least_traffic"][1] > found["fastest"][1]


def test_a_file_of_its_suffix_is_imported(with_package, tmp_path):
    (tmp_path / "perceptron.widths").write_text("784 30 10\n")
    done = with_package("-m", "etasim", "import", tmp_path / "perceptron.widths", "-o", tmp_path / "perceptron.yaml")
    assert done.returncode == 0, done.stderr
    assert "MACs a sample: 23,820" in done.stdout  # 784 x 30 + 30 x 10
    assert [layer.kind for layer in load_network(tmp_path / "perceptron.yaml").layers] == ["linear", "relu", "linear", "loss"]


def test_a_ring_with_too_few_vcs_is_refused_at_its_key(with_package, tmp_path):
    done = with_package("-m", "etasim", "run", "eta_small", "digits_cnn", *ROUTED[:-1], "noc.virtual_channels=4", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "noc.virtual_channels: a ring needs two VCs for each of 3 message classes, got 4" in done.stderr


def test_what_does_not_use_the_package_is_as_without_it(with_package, without_package, tmp_path):
    folders = {}
    for name, command in (("with", with_package), ("without", without_package)):
        folders[name] = tmp_path / name
        options = ("--batch", "2", "--fidelity", "analytical", "--out", folders[name])
        assert command("-m", "etasim", "run", "eta_small", "digits_cnn", *options).returncode == 0
    ours, plain = (json.loads((folder / "results.json").read_text()) for folder in folders.values())
    del ours["summary"]["arithmetic_intensity"]
    assert list(ours["summary"].items()) == list(plain["summary"].items())
    assert ours == plain
    ours, plain = ((folder / "layers.csv").read_text().splitlines() for folder in folders.values())
    assert [line.rpartition(",")[0] for line in ours] == plain
    assert (folders["with"] / "run.yaml").read_bytes() == (folders["without"] / "run.yaml").read_bytes()


def _package(folder, name: str, text: str):
    """A package of one module, as an installer leaves it."""
    (folder / f"{name}.py").write_text(text)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[etasim.plugins]\nthing = {name}\n")
    return folder


ADDS_A_RING = "from etasim.core.registry import TOPOLOGIES\nTOPOLOGIES.add('ring', lambda columns, rows, concentration: None)\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ADDS_A_RING, "package other: entry point thing = other of etasim.plugins: topology 'ring' is there already"),
        (ADDS_A_RING.replace("ring", "mesh"), "entry point thing = other of etasim.plugins: topology 'mesh' is there already, from etasim"),
        ("import no_such_module", "entry point thing = other of etasim.plugins: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def", "package other: entry point thing = other of etasim.plugins: SyntaxError: "),
    ],
)
def test_a_package_that_cannot_add_is_named(installed, tmp_path, text, message):
    command = command_with(installed, _package(tmp_path, "other", text), NUMBA_DISABLE_JIT="1")
    for arguments in (("run", "eta_small", "digits_cnn", "--out", tmp_path / "out"), ("list",), ("plot", tmp_path, "noc")):
        done = command("-m", "etasim", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert command("-m", "etasim", "--help").returncode == 0
