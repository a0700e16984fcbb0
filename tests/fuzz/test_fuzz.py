"""The fuzz suite as CI runs it, and what keeps it honest: oracles that fire, a pool that notices, cases that repeat."""

import json
import shutil

import pytest
import yaml
from command_line import invoke
from pydantic import BaseModel, Field

from etasim.config.base import Count, Switch
from etasim.config.units import Size, Width

from . import architectures, broken, corpus, damage, figures, leaves, networks
from .campaign import CASES_FOR_CI, LIMIT_FOR_CI_S, LIMIT_S, Tally, campaign
from .choices import Seeded
from .pool import Job, outcomes
from .schema import end, replaced
from .schema import leaves as leaves_of


def test_no_input_breaks_anything(pytestconfig):
    """A fixed list of cases, or as many as fit ``--fuzz-minutes``; one test, so that its workers start once."""
    minutes = pytestconfig.getoption("--fuzz-minutes")
    tally = campaign(minutes=minutes, cases=None if minutes else CASES_FOR_CI, limit_s=LIMIT_S if minutes else LIMIT_FOR_CI_S)
    text = "\n".join(tally.lines())
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{text}")
    assert not tally.faults, f"\n{text}"


def test_the_pool_notices_every_sort_of_fault():
    jobs = [Job("broken", 0, number) for number in range(len(broken.FAULTS))]
    found = {outcome.job.number: outcome for outcome in outcomes(jobs, 2, 4.0)}
    assert tuple(tuple(fault.sort for fault in found[number].faults) for number in range(len(jobs))) == broken.SORTS
    assert found[1].faults[0].key.startswith("ZeroDivisionError in fuzz/broken.py:")
    assert found[2].said == ("# waits",)


def test_a_tally_groups_what_differs_in_numbers_only():
    tally = Tally()
    for outcome in outcomes([Job("broken", 0, 1), Job("broken", 1, 1), Job("broken", 0, 0)], 1, 30.0):
        tally.add(outcome)
    lines = list(tally.lines())
    assert lines[0].startswith("broken: 3 cases, exit status 3 x 0")
    assert lines[1] == "1 distinct faults in 3 cases, 1 x traceback"
    assert "    python -m tests.fuzz --seed 1 --case broken:1" in lines


@pytest.mark.parametrize("make", [networks.random_trace, architectures.random_machine, lambda c: damage.damaged(c, b"a: 1\nb: [2, 3]\n")])
def test_a_seed_makes_one_case(make):
    assert [make(Seeded("same", number)) for number in range(8)] == [make(Seeded("same", number)) for number in range(8)]
    assert make(Seeded("same", 1)) != make(Seeded("same", 2))


class Inner(BaseModel):
    width_bits: Width = Field(alias="width")


class Outer(BaseModel):
    count: Count
    is_on: Switch = False
    inner: tuple[Inner, ...] | None = None
    sizes: dict[str, Size] = Field(default_factory=dict)


def test_the_walk_finds_leaves_and_the_ends_of_their_ranges():
    found = {leaf.path: leaf for leaf in leaves_of(Outer)}
    assert set(found) == {("count",), ("is_on",), ("inner",), ("inner", 0, "width"), ("sizes",), ("sizes", "fuzz")}
    assert [end(found[path]) for path in (("count",), ("inner", 0, "width"), ("sizes", "fuzz"))] == [2**20, 2**16, 2**40]
    assert found["inner", 0, "width"].written(3) == "3 bit"
    assert replaced({"count": 1}, ("inner", 0, "width"), "3 bit") == {"count": 1, "inner": [{"width": "3 bit"}]}


def test_all_leaves_with_all_their_values_come_before_the_first_comes_again():
    every = leaves.order(1)
    assert len(set(every)) == len(every) == sum(len(leaves.values_of(leaf)) for _, leaf, _ in leaves.targets())


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A sound result, of a machine with everything that a result can have."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "net.yaml").write_text(corpus.TRACE)
    tables = ["--set", "energy={extends: fpga_28nm}", "--set", "board={extends: vc709}"]
    result = invoke("run", "eta_small", str(folder / "net.yaml"), *tables, "--out", str(folder / "out"))
    assert result.exit_code == 0, result.output
    return folder


def test_a_sound_result_has_no_impossible_figure(stored):
    assert list(figures.impossible(figures.read(stored / "out"))) == []


SUMMARY = ("results", "summary")
LIES = {
    (*SUMMARY, "total_cycles"): (lambda v: v + 1, "total_cycles is not the sum of its column"),
    (*SUMMARY, "useful_macs"): (lambda v: v - 1, "useful_macs is not the sum of its column"),
    (*SUMMARY, "mac_utilization"): (lambda v: 1.5, "mac_utilization is above 1"),
    (*SUMMARY, "images_per_s"): (lambda v: v * 1.001, "images_per_s does not follow from its formula"),
    (*SUMMARY, "throughput_gops"): (lambda v: float("nan"), "summary.throughput_gops is negative or no number"),
    (*SUMMARY, "dram_bandwidth_gb_per_s"): (lambda v: v * 100, "DRAM bandwidth is above the pins'"),
    (*SUMMARY, "dram_read_bytes"): (lambda v: None, "summary: dram_read_bytes is not known"),
    (*SUMMARY, "energy_mj"): (lambda v: v * 2, "energy_mj is not the sum of its components"),
    (*SUMMARY, "batch"): (lambda v: v + 1, "batch or phases are not those of the inputs"),
    (*SUMMARY, "mac_units"): (lambda v: v - 1, "mac_units is not the product of the array's sizes"),
    ("results", "components", "cluster", 0, "idle_cycles"): (lambda v: -1, "components.cluster.idle_cycles is negative or no number"),
    ("results", "components", "dram", 0, "peak_percent"): (lambda v: 199.5, "dram: peak_percent is above 100"),
    ("results", "components", "board", 0, "fits"): (lambda v: not v, "board: fits does not say whether it fits"),
    ("results", "components", "noc_link", 0, "flits"): (lambda v: 10**9, "a link passes more flits than cycles"),
    ("rows", 0, "utilization"): (lambda v: 1.01, "utilization of a row is above 1"),
    ("rows", 0, "macs"): (lambda v: v + 1, "MACs of ff are not the network's"),
    ("rows", 0, "idle_cycles"): (lambda v: v + 1, "causes of cluster cycles do not fill the iteration"),
    ("rows", 0, "cluster_busy_cycles"): (lambda v: 1, "a row has more useful MACs than its busy cycles hold"),
    ("rows", 0, "span_cycles"): (lambda v: 10**9, "the span of a row is longer than the iteration"),
    ("rows", 0, "unified_core_busy_cycles"): (lambda v: 10**9, "the unified cores are busy for longer than the iteration"),
    ("rows", 0, "psum_flits"): (lambda v: 10**9, "more psum flits than their ports pass"),
    ("rows", 0, "flit_hops"): (lambda v: None, "layers.csv: flit_hops is not known"),
    ("rows", 0, "phase"): (lambda v: "bp", "MACs of bp are not the network's"),
    ("rows", 0, "zero_insertion_macs"): (lambda v: v - 1, "zero insertion has fewer MACs than useful ones"),
}


@pytest.mark.parametrize(("path", "lie"), LIES.items(), ids=[".".join(map(str, path)) for path in LIES])
def test_each_oracle_fires(stored, path, lie):
    sound = figures.read(stored / "out")
    plain = {"results": sound.results, "rows": sound.rows}
    place = plain
    for step in path:
        place = place[step]
    changed = replaced(plain, path, lie[0](place))
    assert lie[1] in set(figures.impossible(sound._replace(**changed)))


def test_a_result_that_is_no_strict_json_is_not_read(stored, tmp_path):
    shutil.copytree(stored / "out", tmp_path / "out")
    text = json.loads((tmp_path / "out" / "results.json").read_text())
    text["summary"]["power_w"] = float("inf")
    (tmp_path / "out" / "results.json").write_text(json.dumps(text))
    with pytest.raises(ValueError, match="Infinity is no JSON"):
        figures.read(tmp_path / "out")


def test_random_networks_use_every_operation():
    used = {entry["op"] for number in range(60) for entry in networks.random_trace(Seeded("ops", number))["layers"]}
    assert used >= {"conv", "linear", "norm", "relu", "maxpool", "avgpool", "add", "concat", "shortcut", "loss"}


def test_the_overrides_of_a_machine_are_also_its_file():
    assert architectures.nested({"noc.columns": 2, "noc.router.speculative": True, "mapping": {}}) == yaml.safe_load(
        "{noc: {columns: 2, router: {speculative: true}}, mapping: {}}"
    )
