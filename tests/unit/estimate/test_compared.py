"""Where an estimate was compared with the cycle model, and that it says so where it was not."""

import pytest

import etasim
from etasim.config import BaseArchitecture, load_architecture
from etasim.estimate.compared import AROUND, doubts, overridden, placed
from etasim.explore.selfcheck.machines import BEYOND
from etasim.report.reading import read_results
from etasim.workload import load_network

LONG = 10**9
"""Cycles of an iteration whose operations are short for nobody."""
BASES = {name: BaseArchitecture(name) for name in AROUND}


def cases(table):
    return [(base, key, value) for base, around in table.items() for key, values in around.items() for value in values]


@pytest.mark.parametrize(("base", "key", "value"), cases(AROUND))
def test_what_was_compared_is_not_doubted(base, key, value):
    assert doubts(BASES[base].varied(placed(overridden(key, value))), 1, LONG) == []


@pytest.mark.parametrize(("base", "key", "value"), cases(BEYOND))
def test_a_value_that_was_not_met_is_named(base, key, value):
    settings = overridden(key, value)
    found = {doubt.partition(":")[0] for doubt in doubts(BASES[base].varied(placed(settings)), 1, LONG)}
    assert found & set(settings)


def test_a_doubt_shows_the_value_and_the_range_as_a_file_does():
    machine = load_architecture("eta_vc709", {"buffers.error.size": "4 MiB", "dram.scheduler": "fcfs", "core.clock": "100 MHz"})
    assert doubts(machine, 1, LONG) == [
        "core.clock: 100 MHz, compared from 150 MHz to 300 MHz",
        "buffers.error.size: 4 MiB, compared from 512 KiB to 2 MiB",
        "dram.scheduler: fcfs, compared fr_fcfs",
    ]


def test_short_operations_are_doubted():
    machine = load_architecture("eta_vc709")
    (found,) = doubts(machine, 100, 100 * 200)
    assert found.startswith("operations are short: 200 cycles each, 5.")
    assert doubts(machine, 100, 100 * 2000) == []


def test_doubts_stand_in_the_files_and_in_a_session(tmp_path):
    network = load_network("digits_cnn")
    guess = etasim.simulate(load_architecture("eta_vc709"), network, batch=1, fidelity="analytical")
    simulated = etasim.simulate(load_architecture("eta_vc709"), network, batch=1)
    assert "operations are short" in str(guess)
    assert "was not compared" not in str(simulated)
    guess.save(tmp_path / "a")
    simulated.save(tmp_path / "b")
    (doubt,) = read_results(tmp_path / "a").doubts
    assert doubt.startswith("operations are short")
    assert read_results(tmp_path / "b").doubts == ()
    path = tmp_path / "a" / "results.json"
    path.write_text(path.read_text().replace('"estimate_doubts": [', '"estimate_doubts": [1, ', 1))
    with pytest.raises(etasim.InputError, match=r"estimate_doubts: must be a list of texts"):
        read_results(tmp_path / "a")
