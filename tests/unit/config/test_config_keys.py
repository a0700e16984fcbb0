"""Each key of an architecture moves a stated figure in a stated case, or is listed as inert with the reason; and stands on docs/keys.md."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from schema_cases import CASES, DDR4, ESTIMATED, LPDDR4
from small_networks import TINY

from etasim import machine
from etasim.config import Architecture, InputError, load_architecture
from etasim.config.dram_part import meaningless
from etasim.core.registry import DRAM_STANDARDS
from etasim.explore.keys import CYCLE_MODEL_ONLY, INERT, OF_VALUES, document, is_felt_by_estimate, keys_of
from etasim.memory.dram.standards import OPTIONAL_TIMINGS, TIMINGS
from etasim.report.board import board_rows
from etasim.report.metrics import energy_rows, summary
from etasim.workload import load_network

KEYS = {key.path for key in keys_of(Architecture)}
OVERLAID = ("dram.part.clock", "dram.part.timing_clocks", "dram.part.organisation", "dram.part.currents_ma")
"""What the architecture file may say beside the name of the part."""


def settings(key, value):
    """The overrides that give ``key`` the ``value``: itself, what it is an entry of, or all that must change with it."""
    if key.startswith("mapping"):
        return {"mapping": value}
    if isinstance(value, dict) and (not value or any("." in name for name in value)):
        return value
    path = key.removesuffix(".energy") if isinstance(value, dict) else key
    path = path.partition("[]")[0].partition(".*")[0]
    if path.startswith(OVERLAID):
        path = path.replace("dram.part.", "dram.")
    return {path: value}


def figures(architecture, wanted, network):
    """The figure called ``wanted`` of an iteration of ``network``."""
    if wanted in ("architecture", "name"):
        return architecture.dram if wanted == "architecture" else architecture.name
    if wanted == "board":
        return board_rows(architecture)
    if wanted in ("loss", "state"):
        result = machine.simulate(architecture, network, functional=True, iterations=2 if wanted == "state" else 1)
        losses = [step.loss for step in result.values.steps]
        return losses if wanted == "loss" else {name: (v.exponent, v.integers.tolist()) for name, v in result.tensors.items()}
    result = machine.simulate(architecture, network)
    if wanted == "cycles":
        return result.total_cycles / architecture.core.clock_hz
    if wanted == "hops":
        return sum(row["flit_hops"] for row in result.layers)
    if wanted == "energy":
        return [(row["component"], row["action"], row["energy_mj"]) for row in energy_rows(result)]
    assert wanted == "dram"
    return [row["energy_mj"] for row in energy_rows(result) if row["component"] == "dram"]


def test_every_key_has_a_case_or_a_reason():
    assert set(CASES) | set(INERT) == KEYS
    assert not set(CASES) & set(INERT)


@pytest.mark.parametrize("key", CASES)
def test_a_key_moves_its_figure(key):
    case = CASES[key]
    machines = [load_architecture("eta_small", case.given | settings(key, value)) for value in case.to]
    one, other = (figures(chosen, case.figure, case.network) for chosen in machines)
    assert one != other


def estimated(architecture, network):
    """All that an estimate says of a machine: time, traffic and energy."""
    result = machine.simulate(architecture, network, fidelity="analytical")
    return summary(result), [(row["component"], row["action"], row["energy_mj"]) for row in energy_rows(result)]


@pytest.mark.parametrize("key", [key for key, case in CASES.items() if case.figure in ("cycles", "hops", "energy", "dram")])
def test_the_estimate_feels_a_key_or_the_key_is_declared_as_the_cycle_models_alone(key):
    base, case = ESTIMATED.get(key, ("eta_small", CASES[key]))
    one, other = (estimated(load_architecture(base, case.given | settings(key, value)), case.network) for value in case.to)
    assert (one != other) == is_felt_by_estimate(key)


def test_overrides_of_a_dram_part_are_felt_as_the_keys_of_the_part():
    assert not is_felt_by_estimate("dram.timing_clocks.WTRS")
    assert is_felt_by_estimate("dram.timing_clocks.RFC")
    assert {key for key in KEYS if not is_felt_by_estimate(key)} <= set(CASES), "patterns name keys that there are"
    assert all(any(fnmatchcase(key, pattern) for key in KEYS) for pattern in CYCLE_MODEL_ONLY)


@pytest.mark.parametrize("key", [key for key in INERT if key.startswith("dram.part.currents_ma")])
def test_an_inert_current_moves_nothing(key):
    machines = [load_architecture("eta_small", settings(key, current)) for current in (1, 1000)]
    assert machines[0] != machines[1]
    figure, other = ([energy_rows(machine.simulate(chosen, TINY)), machine.simulate(chosen, TINY).total_cycles] for chosen in machines)
    assert figure == other


@pytest.mark.parametrize("standard", DRAM_STANDARDS.names)
def test_timings_without_meaning_are_those_that_no_constraint_of_the_standard_reads(standard):
    read = " ".join(constraint.clocks for constraint in DRAM_STANDARDS[standard].constraints)
    silent = {name for name in (*TIMINGS, *OPTIONAL_TIMINGS) if name not in read.replace("+", " ").replace("-", " ").split()}
    assert silent - {"RC", "REFI"} == set(meaningless(standard))


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ({}, "CCDL", 6), ({}, "RRDL", 9), ({}, "WTRL", 9), ({}, "PPD", 3), (LPDDR4, "CCDL", 9), (DDR4, "PPD", 3),
        ({"dram.part": "hbm2_2000", "dram.mapping": "ro:14,ba:2,co:5,bg:2"}, "CS", 2),
    ],
)  # fmt: skip
def test_a_timing_without_meaning_is_refused_at_its_key(given, key, value):
    with pytest.raises(InputError) as caught:
        load_architecture("eta_small", given | {f"dram.timing_clocks.{key}": value})
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == ("--set", f"dram.timing_clocks.{key}")
    assert "has no meaning in" in problem.message


def test_a_timing_that_says_nothing_else_is_left_alone():
    """Parts written before: DDR3 with the timings within a bank group equal to those between groups."""
    same = {"dram.timing_clocks.CCDL": 4, "dram.timing_clocks.RRDL": 5, "dram.timing_clocks.WTRL": 6, "dram.timing_clocks.PPD": 0}
    first, second = (machine.simulate(load_architecture("eta_small", keys), TINY) for keys in ({}, same))
    assert first.layers == second.layers


def test_bank_groups_need_their_timings():
    part = load_architecture("eta_small", DDR4).resolved()["dram"]["part"]
    del part["timing_clocks"]["CCDL"]
    with pytest.raises(InputError, match="CCDL: is missing; DDR4 has bank groups"):
        load_architecture("eta_small", DDR4 | {"dram.part": part})


def test_the_page_of_keys_is_that_of_the_schema():
    page = Path(__file__).parents[3] / "docs" / "keys.md"
    assert page.read_text(encoding="utf-8") == document()


def test_every_key_stands_on_the_page_with_what_it_takes():
    rows = [line.split(" | ") for line in document().splitlines() if line.startswith("| `")]
    assert {row[0].strip("|` ") for row in rows} >= KEYS
    assert all(len(row) in (3, 4) and row[1] and all(row[3:]) for row in rows)
    assert sum(len(row) == 4 for row in rows) == len(KEYS)
    assert {row[0].strip("|` ") for row in rows if row[-1].startswith("nothing: ")} == set(INERT)


def test_keys_of_values_move_neither_time_nor_energy_nor_resources():
    network = load_network("digits_cnn")
    base = load_architecture("eta_vc709")
    figures = [summary(machine.simulate(base, network, batch=2, fidelity="analytical")), board_rows(base)]
    for key in OF_VALUES:
        case = CASES[key]
        assert case.figure in ("loss", "state")
        for value in case.to:
            other = load_architecture("eta_vc709", case.given | {key: value})
            assert [summary(machine.simulate(other, network, batch=2, fidelity="analytical")), board_rows(other)] == figures
