"""Plans that are tuned: never slower, the same for any number of workers, kept and gone on with, and pinned so that a run repeats them."""

import json

import pytest
from click.testing import CliRunner
from small_networks import TINY

from etasim import simulate
from etasim.cli import main
from etasim.config import load_architecture
from etasim.explore.autotune import FILE, autotune
from etasim.machine.inputs import Inputs
from etasim.workload.lowering import PHASES

BATCH = 3
"""Of TINY, at which there is something to be gained."""


def inputs(**overrides):
    return Inputs(load_architecture("eta_small", overrides), TINY, BATCH, PHASES)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    return autotune(inputs(), 3, 1, folder), folder


def test_the_quickest_plans_are_pinned(tuned):
    found, _ = tuned
    assert found.after < found.before == simulate(inputs().architecture, TINY, batch=BATCH).total_cycles
    assert simulate(found.architecture, TINY, batch=BATCH).total_cycles == found.after
    assert [change.before for change in found.changes] == [found.before, *(change.after for change in found.changes[:-1])]
    assert {name for change in found.changes for name in change.operations} == set(found.architecture.mapping.pins)


def test_it_goes_on_where_it_was_left(tuned, tmp_path):
    found, folder = tuned
    assert found.n_simulated == len((folder / FILE).read_text().splitlines()) > 10
    lines = (folder / FILE).read_text().splitlines(keepends=True)
    (tmp_path / FILE).write_text("".join(lines[:5]) + lines[5][:20])
    again = autotune(inputs(), 3, 2, tmp_path)
    assert again == found._replace(n_simulated=found.n_simulated - 5)
    assert autotune(inputs(), 3, 1, tmp_path).n_simulated == 0


def test_another_machine_is_simulated_anew(tuned):
    found, folder = tuned
    other = autotune(inputs(**{"core.clock": "100 MHz"}), 2, 1, folder)
    assert other.n_simulated > 5
    assert other.before != found.before


def test_what_the_user_pins_stays(tmp_path):
    own = {"conv*.ff": {"clusters_k": 2}}
    found = autotune(inputs(mapping=own), 3, 1, tmp_path)
    assert found.architecture.mapping.pins["conv*.ff"].clusters_k == 2
    assert all(pins.clusters_k == 2 for name, pins in found.architecture.mapping.pins.items() if name.endswith(".ff") and name != "fc.ff")


def test_the_command_says_what_it_gained_and_repeats_to_the_byte(tmp_path):
    out, again = tmp_path / "out", tmp_path / "again"
    arguments = ["run", "eta_small", "digits_cnn", "--batch", "2", "--fidelity", "analytical"]
    main([*arguments, "--autotune", "3", "--workers", "1", "--out", str(out)], standalone_mode=False)
    main(["run", str(out / "run.yaml"), "--out", str(again)], standalone_mode=False)
    assert (again / "results.json").read_bytes() == (out / "results.json").read_bytes()
    assert all(set(json.loads(line)) == {"key", "cycles"} for line in (out / FILE).read_text().splitlines())


@pytest.mark.parametrize("option", ["1", "0", "x", "1001"])
def test_a_number_of_plans_that_makes_no_sense_is_refused(option, tmp_path):
    found = CliRunner().invoke(main, ["run", "eta_small", "digits_cnn", "--autotune", option, "--out", str(tmp_path / "out")])
    assert found.exit_code == 2
    assert "--autotune" in found.output
    assert not (tmp_path / "out").exists()
