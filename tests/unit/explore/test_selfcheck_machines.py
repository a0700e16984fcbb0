"""The machines of the self-checks: drawn by seed, and changed to more hardware and nothing else."""

import pytest

from etasim import load_network, simulate
from etasim.config import BaseArchitecture
from etasim.estimate.compared import AROUND, PLACES, overridden, placed
from etasim.explore.design_space import leaves
from etasim.explore.selfcheck.changes import MORE, UNSAID, changes
from etasim.explore.selfcheck.estimating import BATCHES, comparisons
from etasim.explore.selfcheck.machines import Trial, random_machines, random_trials, written
from etasim.explore.selfcheck.monotone import WORKLOADS, pairs
from etasim.explore.space import variant

BASES = {name: BaseArchitecture(name) for name in AROUND}
PORTS = ("1RW", "1R1W", "2RW")
"""From fewer to more accesses a cycle."""
UNITS = {"bit": 1, "B": 1, "KiB": 2**10, "MiB": 2**20}


def resolved(trial):
    """Values of the machine by key, or None if there is no such machine."""
    architecture, _ = variant(BASES[trial.architecture], trial.overrides)
    return architecture and dict(leaves(architecture.model_dump()))


@pytest.mark.parametrize("architecture", AROUND)
def test_each_value_around_a_machine_is_another_one_that_runs(architecture):
    shipped = dict(leaves(BASES[architecture].architecture.resolved()))
    for key, values in AROUND[architecture].items():
        for value in values:
            overrides = overridden(key, value)
            assert any(shipped.get(each, 1) != overrides[each] for each in overrides)
            machine, reason = variant(BASES[architecture], placed(overrides))
            assert machine is not None, (key, value, reason)
            simulate(machine, load_network("digits_cnn"), batch=1, fidelity="analytical")


def test_trials_depend_on_the_seed_and_more_of_them_begin_with_the_same():
    first = random_trials(20, 3, WORKLOADS)
    assert random_trials(50, 3, WORKLOADS)[:20] == first
    assert random_trials(20, 4, WORKLOADS) != first
    assert len(set(map(str, random_trials(200, 0, WORKLOADS)))) == 200


def test_every_machine_of_the_estimate_runs_every_network_and_is_like_no_other():
    workloads = [work for work in WORKLOADS if work.architecture == "eta_vc709"]
    machines = random_machines(30, 1, workloads)
    assert machines == random_machines(60, 1, workloads)[:30]
    assert all([trial.network for trial in trials] == [work.network for work in workloads] for trials in machines)
    assert all(len({str(trial.overrides) for trial in trials}) == 1 for trials in machines)
    assert len({str(trials[0].overrides) for trials in machines}) == 30


def test_what_is_drawn_varies_every_key_and_batch():
    drawn = random_trials(400, 0, WORKLOADS)
    for architecture, around in AROUND.items():
        seen = {key for trial in drawn if trial.architecture == architecture for key in trial.overrides}
        assert seen == {key for name, values in around.items() for key in overridden(name, values[0])} | set(PLACES)
    for work in WORKLOADS:
        assert {each.batch for each in drawn if (each.architecture, each.network) == work[:2]} == set(work.batches)


def amount(value):
    if not isinstance(value, str):
        return 1 if value is None else value
    number, _, unit = value.partition(" ")
    return PORTS.index(value) if value in PORTS else int(number) * UNITS[unit]


def test_every_change_is_more_hardware_and_nothing_else():
    met = set()
    for trial in random_trials(10, 5, WORKLOADS):
        for change in changes(trial):
            before, after = resolved(change.before), resolved(change.after)
            if before is None or after is None:
                continue
            moved = {key for key in before | after if before.get(key) != after.get(key)}
            if change.key == "array.clusters":
                moved = {key for key in moved if not key.startswith(tuple(PLACES))}
            assert [key.removesuffix("_bytes").removesuffix("_bits") for key in moved] == [change.key]
            (key,) = moved
            assert amount(after[key]) > amount(before.get(key, UNSAID.get(key)))
            met.add(change.key)
    assert met == set(MORE)


def test_more_clusters_are_compared_with_the_same_choice_of_places():
    trial = Trial("eta_vc709", {"array.columns": 4}, "digits_cnn", 1)
    (change,) = [each for each in changes(trial) if each.key == "array.clusters"]
    assert (change.old, change.new) == (4, 8)
    assert change.before.overrides == {"array.columns": 4, **PLACES, "array.clusters": 4}
    assert change.after.overrides == {"array.columns": 4, **PLACES, "array.clusters": 8}


def test_what_has_no_more_is_no_case():
    full = Trial("eta_vc709", {f"buffers.{name}.ports": "2RW" for name in ("activation", "weight", "error")}, "digits_cnn", 1)
    assert {change.key for change in changes(full)} == {key for key in MORE if not key.endswith(("ports", "multicast"))}
    without = Trial("eta_vc709", {"noc.multicast": False}, "digits_cnn", 1)
    (change,) = [each for each in changes(without) if each.key == "noc.multicast"]
    assert (change.new, change.after.overrides) == (True, {"noc.multicast": True})


def test_the_command_repeats_a_trial():
    trial = Trial("eta_small", {"noc.multicast": False, "noc.link_width": "32 bit"}, "digits_cnn", 3)
    assert written(trial.overrides) == ["noc.multicast=false", "noc.link_width=32 bit"]
    options = "--set noc.multicast=false --set 'noc.link_width=32 bit'"
    assert trial.command == f"etasim run eta_small digits_cnn --batch 3 {options} --out DIR"


def test_points_of_one_machine_are_one_point():
    found = pairs(2, 0, ["digits_cnn"])
    by_machine = {}
    for pair in found:
        by_machine.setdefault(pair.before.label, set()).add(pair.before.point_id)
    assert sorted(by_machine) == ["machine 0", "machine 1"]
    assert all(len(ids) <= 2 for ids in by_machine.values()), "as drawn, and with other places"
    assert len({pair.after.point_id for pair in found}) == len(found)


def test_both_fidelities_of_a_machine_are_two_points():
    (one,) = comparisons(1, 0, ["digits_cnn"])
    assert (one.estimate.fidelity, one.simulation.fidelity) == ("analytical", "cycle")
    assert one.estimate.point_id != one.simulation.point_id
    assert {each.trial.network for each in comparisons(1, 0)} == set(BATCHES)
