"""Every argument of a simulation: what is wrong, said once, in the same words to callers and on the command line."""

import inspect
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from small_networks import TINY, architecture

from etasim.config import InputError
from etasim.machine import arguments, simulate
from etasim.workload.lowering import PHASES

SUBSETS = [subset for n in range(1, 5) for subset in combinations(PHASES, n)]
WRONG = [
    ({"architecture": "eta_small"}, "architecture: must be an Architecture, such as etasim.load_architecture"),
    ({"network": 3}, "network: must be a Network, such as etasim.load_network"),
    ({"batch": 0}, "batch: must be a whole number of at least 1, got 0"),
    ({"batch": "1"}, "batch: must be a whole number of at least 1, got '1'"),
    ({"batch": 2.0}, "batch: must be a whole number of at least 1, got 2.0"),
    ({"batch": True}, "batch: must be a whole number of at least 1, got True"),
    ({"batch": -(10**5000)}, "batch: must be a whole number of at least 1, got a int of too many digits"),
    ({"batch": 10**9}, "batch: must be at most 65,536, got 1000000000"),
    ({"phases": []}, "phases: is empty; allowed: bp, ff, wg, wu"),
    ({"phases": "ff,bp"}, "phases: must be a list of phases, got 'ff,bp'"),
    ({"phases": None}, "phases: must be a list of phases, got None"),
    ({"phases": ("ff", "wgg")}, "phases: unknown phase 'wgg'; allowed: bp, ff, wg, wu; did you mean 'wg'?"),
    ({"phases": (1,)}, "phases: unknown phase 1; allowed"),
    ({"fidelity": "fast"}, "fidelity: unknown name 'fast'; allowed: analytical, cycle"),
    ({"fidelity": "analytic"}, "did you mean 'analytical'?"),
    ({"fidelity": None}, "fidelity: unknown name None"),
    ({"fidelity": ["cycle"]}, "fidelity: unknown name ['cycle']"),
    ({"functional": "yes"}, "functional: must be True or False, got 'yes'"),
    ({"functional": True, "fidelity": "analytical"}, "functional: an estimate computes no values"),
    ({"functional": True, "iterations": 0}, "iterations: must be a whole number of at least 1, got 0"),
    ({"functional": True, "seed": -1}, "seed: must be a whole number of at least 0, got -1"),
    ({"functional": True, "seed": "x"}, "seed: must be a whole number of at least 0, got 'x'"),
    ({"functional": True, "tensors": [1]}, "tensors: must be arrays by name"),
    ({"functional": True, "tensors": {"inputs": [1]}}, "tensors: 'inputs' must be a numpy array, got [1]"),
    ({"functional": True, "tensors": {1: np.zeros(1)}}, "tensors: has the name 1"),
    ({"iterations": 2}, "iterations: is about values, which need 'functional'"),
    ({"seed": 5}, "seed: is about values, which need 'functional'"),
    ({"tensors": {}}, "tensors: is about values, which need 'functional'"),
    ({"progress": 3}, "progress: must be a function, got 3"),
    ({"stage": 3}, "stage: must be a function, got 3"),
    ({"listing": 3}, "listing: must be the path of a file, got 3"),
    ({"timeline": 3}, "timeline: must be the path of a file, got 3"),
    ({"timeline": "x", "fidelity": "analytical"}, "timeline: an estimate runs no command"),
    ({"order": np.zeros(2)}, "order: must be a permutation of"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=lambda value: value[:40] if isinstance(value, str) else "-".join(value))
def test_a_wrong_argument_is_one_clear_error(given, message):
    whole = {"architecture": architecture(), "network": TINY} | given
    with pytest.raises(InputError) as refused:
        simulate(whole.pop("architecture"), whole.pop("network"), **whole)
    assert isinstance(refused.value, ValueError), "as callers of before this check expect"
    (problem,) = refused.value.problems
    assert str(problem).startswith("simulate: ")
    assert message in str(problem)


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(InputError) as refused:
        simulate(architecture(), TINY, batch=0, phases=("ff", "fb"), fidelity="fast", iterations=0)
    assert {problem.key for problem in refused.value.problems} == {"batch", "phases", "fidelity", "iterations"}


def test_every_argument_has_a_check():
    assert set(inspect.signature(simulate).parameters) == set(arguments.CHECKS)


def test_what_numpy_counts_and_any_collection_is_taken():
    result = simulate(architecture(), TINY, batch=np.int64(2), phases={"wu", "ff"}, fidelity="analytical")
    assert (result.batch, type(result.batch), result.phases) == (2, int, ("ff", "wu"))


@pytest.mark.parametrize("fidelity", arguments.FIDELITIES)
@pytest.mark.parametrize("phases", SUBSETS, ids="-".join)
def test_all_subsets_of_phases_run_at_both_fidelities(phases, fidelity):
    result = simulate(architecture(), TINY, batch=1, phases=phases, fidelity=fidelity)
    assert result.phases == phases
    assert {row["phase"] for row in result.layers} == set(phases)
    assert sum(row["cycles"] for row in result.layers) == result.total_cycles > 0
    assert sum(row["macs"] for row in result.layers) == TINY.macs(1, [p for p in phases if p != "wu"])


ON_THE_COMMAND_LINE = [
    (["--batch", "0"], "--batch: must be a whole number of at least 1, got 0"),
    (["--batch", "x"], "--batch: must be a whole number of at least 1, got 'x'"),
    (["--phases", ","], "--phases: is empty; allowed: bp, ff, wg, wu"),
    (["--phases", "ff,wgg"], "--phases: unknown phase 'wgg'; allowed: bp, ff, wg, wu; did you mean 'wg'?"),
    (["--fidelity", "analytic"], "--fidelity: unknown name 'analytic'; allowed: analytical, cycle; did you mean 'analytical'?"),
    (["--fidelity", "analytical", "--functional"], "--functional: an estimate computes no values"),
    (["--fidelity", "analytical", "--timeline", "t.json"], "--timeline: an estimate runs no command"),
    (["--iterations", "0", "--functional"], "--iterations: must be a whole number of at least 1, got 0"),
    (["--seed", "-1", "--functional"], "--seed: must be a whole number of at least 0, got -1"),
    (["--seed", "4"], "--seed: is about values, which need 'functional'"),
]


def test_the_command_line_says_the_same_with_status_2(tmp_path):
    """All of them in one process: what is slow is to start it."""
    script = "import sys\nfrom etasim.cli import main\nfor line in sys.stdin.read().splitlines():\n"
    script += "    try: main(['run', 'eta_small', 'digits_cnn', '--out', 'out', *line.split()])\n"
    script += "    except SystemExit as end: print(f'status {end.code}', file=sys.stderr)\n"
    lines = "\n".join(" ".join(options) for options, _ in ON_THE_COMMAND_LINE)
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{script}"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, cwd=tmp_path, check=True)
    told = done.stderr.splitlines()
    assert told.count("status 2") == len(ON_THE_COMMAND_LINE)
    for _, message in ON_THE_COMMAND_LINE:
        assert any(line.startswith(message) for line in told), message
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
