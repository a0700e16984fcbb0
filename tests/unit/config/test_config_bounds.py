"""Bounds of keys: those of the tables of the model, and rules where several keys multiply; what is beyond is refused at its key."""

import re
from fractions import Fraction

import pytest
from schema_cases import BOARD, DDR4
from small_networks import TINY

from etasim.config import Architecture, InputError, load_architecture
from etasim.config.architecture import MOST_CHANNELS, MOST_RANKS
from etasim.config.noc import LONGEST_ALLOCATION, MOST_INPUT_VCS
from etasim.explore.keys import keys_of
from etasim.machine.elaborate import elaborate
from etasim.mapping import InfeasibleError, map_iteration
from etasim.memory.dram.spec import WHOLE
from etasim.noc.spec import MAX_ALLOCATION_CYCLES
from etasim.noc.topology import MAX_INPUT_VCS as NOC_INPUT_VCS

AUTO = {"noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto"}


def problems(overrides):
    with pytest.raises(InputError) as caught:
        load_architecture("eta_small", overrides)
    return caught.value.problems


def test_the_schema_promises_what_the_parts_take():
    assert (WHOLE["channels"][1], WHOLE["ranks"][1]) == (MOST_CHANNELS, MOST_RANKS)
    assert (LONGEST_ALLOCATION, MOST_INPUT_VCS) == (MAX_ALLOCATION_CYCLES, NOC_INPUT_VCS)
    ends = {key.path: end for key, end in _ends()}
    for name in ("channels", "ranks", "read_queue", "write_queue", "controller_latency", "page_timeout"):
        assert ends[f"dram.{name}"] <= WHOLE[name][1]


def _ends():
    """Keys of whole numbers outside lists, and the greatest number that each takes."""
    for key in keys_of(Architecture):
        end = re.fullmatch(r"whole number from \d+ to ([\d,]+)", key.takes)
        if end and "[]" not in key.path and "*" not in key.path:
            yield key, int(end[1].replace(",", ""))


WHOLE_KEYS = [(key.path.replace("dram.part.", "dram."), end) for key, end in _ends()]


@pytest.mark.parametrize(("key", "end"), WHOLE_KEYS)
def test_a_whole_number_at_its_end_is_taken_and_past_it_refused(key, end):
    given = BOARD if key.startswith("board") else {}
    found = [problem for problem in problems(given | {key: end + 1}) if problem.file == "--set"]
    assert any(problem.message == f"must be at most {end}, got {end + 1}" for problem in found)
    outcome = _outcome(key, given | {key: end} | (AUTO if key == "array.clusters" else {}))
    if isinstance(outcome, InputError):
        assert all(problem.key for problem in outcome.problems)
        assert not any("must be at most" in problem.message for problem in outcome.problems)
    elif isinstance(outcome, InfeasibleError):
        assert outcome.reasons
    else:
        assert outcome


def _outcome(key, overrides):
    """A machine with ``overrides``, elaborated unless it has a thousand clusters; or why there is none."""
    try:
        chosen = load_architecture("eta_small", overrides)
        return chosen if key == "array.clusters" else elaborate(chosen, map_iteration(chosen, TINY, 1))
    except (InputError, InfeasibleError) as error:
        return error


@pytest.mark.parametrize(
    ("overrides", "key", "message"),
    [
        ({"noc.virtual_channels": 13}, "noc.virtual_channels", "5 ports of a mesh times 13 exceed the 62 input VCs"),
        ({"noc.topology": "crossbar", "noc.virtual_channels": 11}, "noc.virtual_channels", "6 ports of a crossbar times 11"),
        ({"noc.rows": 4096}, "noc.columns", "at most 4096 nodes, got 12288"),
        ({"noc.rows": 1365, "noc.buffer_depth": 4096}, "noc.buffer_depth", "at most 16,777,216 flits of the network"),
        ({"dram.channels": 1024, "dram.read_queue": 65536}, "dram.read_queue", "at most 1,048,576 entries of all channels"),
        ({"array.clusters": 1025}, "array.clusters", "must be at most 1024"),
        ({"dram.clock": "2000 GHz"}, "dram.clock", "to 1e+12 Hz, got '2000 GHz'"),
        ({"core.clock": "9" * 30 + " GHz"}, "core.clock", "must be from 1 Hz to 1e+12 Hz"),
        ({"dram.currents_ma.VDD": "2000 V"}, "dram.currents_ma.VDD", "to 1000 V"),
        ({"training.learning_rate": 1e300}, "training.learning_rate", "must be at most 65536"),
        ({"training.learning_rate": 0}, "training.learning_rate", "must be greater than 0"),
        ({"training.momentum": 1.0}, "training.momentum", "must be less than 1"),
        ({"training.momentum": True}, "training.momentum", "must be a number, got True"),
        ({"training.momentum": "0.5"}, "training.momentum", "must be a number, got '0.5'"),
        ({"training.batch": 8.0}, "training.batch", "must be a whole number, got 8.0; write 8"),
        ({"name": 5}, "name", "must be text, got 5; put quotes around it"),
        ({"numerics.activation_segments": 2**20}, "numerics.activation_segments", "must be at most 32768"),
    ],
)
def test_what_is_beyond_is_refused_at_its_key(overrides, key, message):
    found = {problem.key: problem.message for problem in problems(overrides)}
    assert key in found
    assert message in found[key]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number_is_infinite(value):
    numbers = [key.path for key in keys_of(Architecture) if key.takes.startswith("number") and "[]" not in key.path]
    assert len(numbers) > 15
    for key in numbers:
        path = key.replace("dram.part.", "dram.")
        assert any(problem.key == path for problem in problems((BOARD if key.startswith("board") else {}) | {path: value})), key


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"board.dsp.products": []}, "board.dsp.products"),
        ({"board.dsp.products": [{"width": "8 bit", "count": 0}]}, "board.dsp.products[0].count"),
        ({"board.logic.costs.lane": 1e308}, "board.logic.costs.lane"),
    ],
)
def test_a_board_is_something_to_count_with(overrides, key):
    assert key in [problem.key for problem in problems(BOARD | overrides)]


def test_ten_thousand_pseudo_channels_are_refused_and_a_thousand_taken():
    assert load_architecture("eta_small", {**DDR4, "dram.channels": 1024}).dram.channels == 1024
    assert [problem.key for problem in problems({"dram.channels": 2048})] == ["dram.channels"]
    assert load_architecture("eta_small", {"core.clock": "1 Hz", "dram.clock": "1 Hz"}).core.clock_hz == Fraction(1)
