"""Rules of a valid program: programs of the mapper keep them, and each seeded fault is caught by the rule that it is about, alone."""

from itertools import pairwise

import numpy as np
import pytest
from program_reading import FIRST_CLUSTER, UNIFIED
from small_networks import TINY

from etasim.config import load_architecture
from etasim.core.errors import ProgramError
from etasim.mapping import map_iteration
from etasim.mapping.mapper import limits_of
from etasim.program.commands import DEPENDENCY, FEED_STATIONARY, FEED_STREAM, LOAD_ACTIVATION, LOAD_WEIGHT, ROWS, STORE, engines_of
from etasim.program.validate import RULES, check, violations

FOUR = {"array.clusters": 4, "noc.virtual_channels": 3, "noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto"}
MACHINES = {
    "plain": {"buffers.activation.size": "256 B"},
    "ideal": {"buffers.ideal": True, "noc.ideal": True},
    "reducing": {**FOUR, "noc.reduction": True, "mapping": {"*.wg": {"clusters_sample": 2}}},
}
SEEDED = {}
"""By name of a fault: the rule that catches it, the machine, and a function that seeds it into the program's tables."""


def fault(rule, machine="plain"):
    def enter(seed):
        SEEDED[seed.__name__] = rule, machine, seed
        return seed

    return enter


@pytest.fixture(scope="module")
def mapped():
    """By machine: the program of TINY and what it must keep to."""
    chosen = {name: load_architecture("eta_small", keys) for name, keys in MACHINES.items()}
    mappings = {name: map_iteration(machine, TINY, 3) for name, machine in chosen.items()}
    return {name: (mappings[name].program, limits_of(chosen[name], mappings[name])) for name in MACHINES}


def rows(program, engine):
    return program.commands["row"][program.engine_start[engine] : program.engine_start[engine + 1]]


def first_command(program, engine, depends_on):
    """Index of the first command of ``engine`` with a dependency on an engine of ``depends_on``, and the place of that."""
    for index in range(program.engine_start[engine], program.engine_start[engine + 1]):
        first, n = (int(program.commands[name][index]) for name in ("first_dependency", "n_dependencies"))
        for place in range(first, first + n):
            if program.dependencies["engine"][place] in depends_on:
                return index, place
    raise AssertionError("no such dependency")


def forget(program, index, place):
    """Take a dependency away from a command: it waits again for its first one instead, or for none."""
    first, n = (int(program.commands[name][index]) for name in ("first_dependency", "n_dependencies"))
    program.dependencies[place] = program.dependencies[first + n - 1]
    program.commands["n_dependencies"][index] -= 1


@fault("numbering")
def two_commands_change_places(program):
    start = program.engine_start[LOAD_WEIGHT]
    program.commands["order"][[start, start + 1]] = program.commands["order"][[start + 1, start]]


@fault("numbering")
def a_place_is_taken_twice(program):
    program.commands["order"][-1] = program.commands["order"][-2]


@fault("numbering")
def a_row_is_executed_twice(program):
    start = program.engine_start[STORE]
    program.commands["row"][start] = program.commands["row"][start + 1]


@fault("numbering")
def a_command_has_no_operation(program):
    program.commands["operation"][0] = program.transfers["operation"][rows(program, LOAD_ACTIVATION)[0]] = 10_000


@fault("numbering")
def a_row_belongs_to_another_operation(program):
    program.feeds["operation"][0] += 1


@fault("tables")
def a_geometry_is_unknown(program):
    program.computes["geometry"][0] = len(program.geometries)


@fault("tables")
def sweeps_end_after_their_pool(program):
    program.computes["word_table"][0] = len(program.sweep_words)


@fault("tables")
def a_packet_too_many(program):
    program.drains["n_packets"][0] += 1


@fault("tables")
def a_route_is_unknown(program):
    program.feeds["route"][0] = -1


@fault("tables")
def a_run_of_nothing(program):
    program.transfers["run_bytes"][3] = 0


@fault("dependencies")
def a_command_waits_for_a_later_one(program):
    _, place = first_command(program, FEED_STREAM, {LOAD_ACTIVATION})
    program.dependencies["count"][place] = len(rows(program, LOAD_ACTIVATION))


@fault("dependencies")
def a_command_waits_for_none_that_exists(program):
    _, place = first_command(program, FEED_STREAM, {LOAD_ACTIVATION})
    program.dependencies["count"][place] = len(rows(program, LOAD_ACTIVATION)) + 1


@fault("dependencies")
def a_command_waits_for_its_own_engine(program):
    _, place = first_command(program, FEED_STREAM, {LOAD_ACTIVATION})
    program.dependencies[place] = (FEED_STREAM, 1)


@fault("addresses")
def a_transfer_is_of_another_class(program):
    program.transfers["tensor_class"][rows(program, LOAD_WEIGHT)[0]] += 1


@fault("addresses")
def a_load_reads_behind_dram(program):
    program.transfers["dram_address"][rows(program, LOAD_WEIGHT)[0]] = 2**40


@fault("addresses")
def a_pass_reads_behind_the_buffer(program):
    program.vectors["address"][-1, 0] = 2**40


@fault("groups", "reducing")
def a_member_is_missing(program):
    program.drains["partners"][np.flatnonzero(program.drains["partners"] > 0)] += 1


@fault("groups")
def a_drain_names_another_engine(program):
    program.drains["engine"][0] += 1


@fault("hazards")
def a_feed_does_not_wait_for_the_load(program):
    forget(program, *first_command(program, FEED_STREAM, {LOAD_ACTIVATION}))


@fault("hazards")
def a_store_does_not_wait_for_the_results(program):
    forget(program, *first_command(program, STORE, set(range(UNIFIED, 100))))


@fault("hazards")
def a_load_does_not_wait_for_the_feed_before(program):
    forget(program, *first_command(program, LOAD_ACTIVATION, {FEED_STREAM}))


@fault("hazards")
def a_load_does_not_wait_for_what_is_stored(program):
    forget(program, *first_command(program, LOAD_ACTIVATION, {STORE}))


@fault("unwritten")
def a_load_brings_a_word_too_few(program):
    program.transfers["run_bytes"][rows(program, LOAD_ACTIVATION)[0]] -= 4


@fault("halves")
def a_chunk_reads_the_half_that_is_being_filled(program):
    program.computes["operand_half"][5] ^= 1


@fault("halves")
def a_pass_adds_to_the_half_that_is_being_drained(program):
    program.computes["psum_half"][5] ^= 1


@fault("halves")
def a_drain_sends_the_half_that_is_being_summed(program):
    program.drains["psum_half"][2] ^= 1


@fault("halves")
def a_feed_fills_the_half_that_is_being_read(program):
    program.feeds["halves"][4] ^= 3


@fault("scratchpads")
def a_feed_does_not_wait_for_the_chunk_whose_half_it_takes(program):
    forget(program, *first_command(program, FEED_STREAM, set(range(FIRST_CLUSTER, 100))))


@fault("words")
def a_chunk_waits_for_a_word_too_many(program):
    program.computes["stationary_words"][rows(program, FIRST_CLUSTER)[-1]] += 1


@fault("words")
def a_chunk_counts_from_elsewhere(program):
    program.computes["stream_base_words"][3] -= 1


@fault("words")
def a_sweep_waits_for_a_word_that_is_never_sent(program):
    program.sweep_words[program.computes["word_table"][0], 0] += 1000


@fault("words", "ideal")
def a_chunk_does_not_wait_for_its_feed(program):
    forget(program, *first_command(program, FIRST_CLUSTER, {FEED_STREAM}))


@fault("passes")
def a_pass_ends_early(program):
    program.computes["last"][0] ^= 1


@fault("passes", "ideal")
def a_pass_is_announced_to_a_cluster_that_does_not_count(program):
    program.computes["first"][0] = 1


@pytest.mark.parametrize("name", SEEDED)
def test_a_seeded_fault_is_caught_by_its_rule_alone(mapped, name):
    rule, machine, seed = SEEDED[name]
    program, limits = mapped[machine]
    broken = type(program)(*(table.copy() for table in program))
    seed(broken)
    assert violations(program, limits) == {}
    assert violations(broken, limits).keys() == {rule}
    with pytest.raises(ProgramError, match=f"breaks rules:\n  {rule}: "):
        check(broken, limits)


@pytest.mark.parametrize("name", sorted(SEEDED.keys() - {"a_row_is_executed_twice"}))  # each window has rows of its own
def test_a_seeded_fault_is_caught_in_the_windows_of_the_program(mapped, name):
    """Whatever a rule needs of earlier windows has come with them."""
    rule, machine, seed = SEEDED[name]
    program, limits = mapped[machine]
    check_in_windows(program, program, limits)
    broken = type(program)(*(table.copy() for table in program))
    seed(broken)
    with pytest.raises(ProgramError, match=f"\n  {rule}: "):
        check_in_windows(broken, program, limits)


def check_in_windows(program, sound, limits):
    """`check` of one window after the other, which begin where those of the ``sound`` program may: where no chunk is to come for the last
    feeds, and with neither a chunk nor a drain."""
    start, place = sound.engine_start, np.argsort(sound.commands["order"])
    engine = (np.searchsorted(start, np.arange(start[-1]), side="right") - 1)[place]
    feeds, chunks = np.isin(engine, [FEED_STREAM, FEED_STATIONARY]), np.isin(engine, engines_of(sound).computes)
    last_feed, last_chunk = (np.maximum.accumulate(np.where(own, np.arange(len(own)), -1)) for own in (feeds, chunks))
    may = (last_chunk >= last_feed)[:-1] & (engine[1:] < FIRST_CLUSTER)
    cuts = [0, *(np.flatnonzero(may) + 1)[::9].tolist(), len(place)]
    assert len(cuts) > 20
    earlier = None
    for first, end in pairwise(cuts):
        before, held = (np.bincount(engine[part], minlength=len(start) - 1) for part in (slice(0, first), slice(first, end)))
        earlier = check(window_of(program, before, held), limits, earlier, is_last=end == len(place))


def window_of(program, before, held):
    """The ``held`` [engine] commands after those ``before``, with their rows and what they wait for."""
    start = program.engine_start[:-1] + before
    commands = np.concatenate([program.commands[a : a + n] for a, n in zip(start, held, strict=True)])
    engine_start, tables = np.concatenate([[0], np.cumsum(held)]), {}
    engines = engines_of(program)
    for name in ROWS:
        own = np.isin(np.repeat(np.arange(len(held)), held), engines.executing(name))
        rows, commands["row"][own] = np.unique(commands["row"][own], return_inverse=True)
        tables[name] = getattr(program, name)[rows] if len(rows) else np.zeros(1, ROWS[name])
    n = commands["n_dependencies"]
    waits = [program.dependencies[first : first + more] for first, more in zip(commands["first_dependency"], n, strict=True)]
    commands["first_dependency"] = np.cumsum(n) - n
    tables["dependencies"] = np.concatenate([*waits, np.zeros(1, DEPENDENCY)])
    return program._replace(commands=commands, engine_start=engine_start, before=before, **tables)


def test_every_rule_has_a_fault_that_it_alone_catches():
    assert {rule for rule, _, _ in SEEDED.values()} == {rule.name for rule in RULES}


@fault("reductions", "reducing")
def a_group_does_not_wait_for_other_drains(program):
    first, drains = program.engine_start[[FIRST_CLUSTER + 4, FIRST_CLUSTER + 8]]
    adds = program.drains["partners"][program.commands["row"][first:drains]] > 0
    groups = first + np.flatnonzero(adds & (program.commands["n_dependencies"][first:drains] > 0))
    place = int(program.commands["first_dependency"][groups[1]])
    assert program.dependencies["engine"][place] >= FIRST_CLUSTER + 4
    forget(program, groups[1], place)


@pytest.mark.parametrize("machine", ["plain", "reducing"])
def test_no_wait_for_data_is_superfluous_to_the_rules(mapped, machine):
    """Each dependency between a load and what reads it, taken away, is missed."""
    program, limits = mapped[machine]
    n_missed = 0
    for index in range(program.engine_start[FEED_STREAM], program.engine_start[FEED_STREAM + 1]):
        first, n = (int(program.commands[name][index]) for name in ("first_dependency", "n_dependencies"))
        for place in range(first, first + n):
            broken = program._replace(commands=program.commands.copy(), dependencies=program.dependencies.copy())
            forget(broken, index, place)
            n_missed += not violations(broken, limits)
    assert n_missed == 0
