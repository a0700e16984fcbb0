"""The hardware in Verilog beside the simulator: equal everywhere, and a fault on either side is found."""

import os
import shutil

import pytest

from etasim.config import InputError
from etasim.rtl import bench, cluster, memory, router, unified, validate
from etasim.rtl.record import record
from etasim.workload import load_network

pytestmark = pytest.mark.skipif(
    shutil.which(bench.COMPILER) is None and "CI" not in os.environ, reason="Icarus Verilog is not installed (apt-get install iverilog)"
)
SMALL = validate.MACHINES[0]


@pytest.fixture(scope="module")
def small():
    return recorded()


def recorded(change=lambda machine: machine):
    return record(SMALL.architecture, load_network(validate.CASES / f"{SMALL.network}.yaml"), validate.BATCH, change)


@pytest.fixture(scope="module")
def comparison():
    return validate.compare()


def test_every_block_is_equal_in_every_cycle_and_value(comparison):
    assert [row["name"] for row in comparison.rows if not row["pass"]] == []
    assert sum(row["ours"] for row in comparison.rows) > 40_000


def test_there_are_cases_of_every_kind(comparison):
    names = [row["name"] for row in comparison.rows]
    assert len(names) == len(set(names))
    cases = {tuple(name.split(": ", 1)[1].split(", ")) for name in names}
    assert sum(block.startswith(("cluster", "unified")) for block, _ in cases) >= 40
    clusters = {case for block, case in cases if block.startswith("cluster")}
    assert {f"conv2.{phase}" for phase in ("ff", "bp", "wg")} <= clusters  # strides 2 (strides.yaml) and 3 (windows.yaml)
    assert {"projection.bp", "fc.bp"} <= clusters
    core = {case for block, case in cases if block == "unified core"}
    assert {"norm1.ff", "norm1.bp", "pool1.ff", "pool1.bp", "pool2.bp", "add1.ff", "conv1.wu", "norm1.wu"} <= core


def test_what_the_model_does_not_charge_is_told(comparison):
    told = [gap for gap in comparison.gaps if "not charged" in gap]
    assert {what for what in validate.UNCHARGED.values() if any(what in gap for gap in told)} == set(validate.UNCHARGED.values())


def differs(testbench, sources=bench.SOURCES):
    printed, _ = bench.run(testbench, sources)
    return any(outcome.n_different for outcome in bench.compare(testbench.expected, printed))


IN_HARDWARE = {
    "a product has the other's sign": ("pe.v", "{w[7] ^ x[7], w[7] ^ y[7]}", "{w[7] ^ y[7], w[7] ^ y[7]}"),
    "a level of the adder tree too few": ("pe.v", "tree[2*v] + tree[2*v+1]", "tree[2*v] + tree[2*v]"),
    "one half of the psums": ("cluster.v", "begun - drained - drained_now >= 2", "begun - drained - drained_now >= 1"),
    "a sweep waits for a vector more": ("cluster.v", "stream_there >= stream_needed", "stream_there > stream_needed"),
    "ties away from even": ("cluster.v", "- 1 + ((wide >>> s) & 1)", ""),
    "two words under way": ("feeder.v", "waiting - take < OUTSTANDING", "waiting < 2"),
    "the same requester is always first": ("buffer.v", "turn <= turn + 1 < N ? turn + 1 : 0", "turn <= 0"),
    "segments of a word written one by one": ("collector.v", "together = here / WORD == write_word", "together = i == segment"),
    "a shallower pipeline": ("unified.v", "begun - now_done < PIPELINE + 1", "begun - now_done < PIPELINE - 1"),
    "the spread of another group": ("unified.v", "first_lane = l - l % `F(58)", "first_lane = l"),
    "heads do not speculate": ("router.v", "speculates[i][p] = SPECULATIVE", "speculates[i][p] = 0"),
    "a VC is free before its tail": ("router.v", "passed[i * PORTS + o] == length[i]", "passed[i * PORTS + o] + 1 >= length[i]"),
}  # fmt: skip
BENCHES = {
    "pe.v": lambda r: cluster.bench(r, 0), "cluster.v": lambda r: cluster.bench(r, 0), "feeder.v": lambda r: memory.feeder_bench(r, 0),
    "buffer.v": memory.collector_bench, "collector.v": memory.collector_bench, "unified.v": unified.bench,
    "router.v": lambda r: router.bench(r, 1),
}  # fmt: skip


@pytest.mark.parametrize("fault", IN_HARDWARE)
def test_a_fault_in_the_hardware_is_found(fault, small, tmp_path):
    file, right, wrong = IN_HARDWARE[fault]
    sources = tmp_path / "verilog"
    shutil.copytree(bench.SOURCES, sources)
    text = (sources / file).read_text()
    assert right in text
    (sources / file).write_text(text.replace(right, wrong))
    assert differs(BENCHES[file](small), sources)


def specs(part, **changes):
    """A machine whose ``part`` is described wrongly."""
    def change(machine):
        old = getattr(machine.specs, part)
        new = old._replace(**{name: getattr(old, name) + more for name, more in changes.items()})
        return machine._replace(specs=machine.specs._replace(**{part: new}))

    return change


def longer_sweeps(machine):
    machine.program.sweep_cycles[0] += 1
    return machine


def impatient_sweeps(machine):
    words = machine.program.sweep_words
    words[:, 0] = (words[:, 0] - 1).clip(0)
    return machine


IN_SIMULATOR = {
    "a sweep lasts a cycle more": (longer_sweeps, "cluster.v"),
    "a deeper pipeline": (specs("clusters", pipeline_depth=1), "cluster.v"),
    "a slower buffer": (specs("buffers", latency_cycles=1), "feeder.v"),
    "more words under way": (specs("collectors", max_outstanding=-15), "collector.v"),
    "a longer FIFO": (specs("unified", fifo_words=-6), "unified.v"),
}  # fmt: skip


@pytest.mark.parametrize("fault", IN_SIMULATOR)
def test_a_fault_in_the_simulator_is_found(fault):
    change, file = IN_SIMULATOR[fault]
    assert differs(BENCHES[file](recorded(change)))


def test_a_missing_tool_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="needs iverilog, which is not installed; Debian: apt-get install iverilog"):
        validate.compare()
