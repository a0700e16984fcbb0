"""Several unified cores: tiles are dealt, values stay exact, laws hold, and what is gained has a bound."""

import pytest
from small_networks import architecture, conv, layer, network

from etasim import simulate
from etasim.config import InputError
from etasim.machine.parts import writers_and_readers
from etasim.mapping import map_iteration
from etasim.ops.passes import all_passes
from etasim.program.commands import engine_names, engines_of

NETWORK = network(
    (4, 4, 4),
    conv("conv1", 12, kernel=3, padding=1), layer("norm1", "norm"), layer("relu1", "relu"), layer("pool", "maxpool", kernel=2, stride=2),
    conv("conv2", 12), layer("norm2", "norm"), layer("add", "add", "norm2", "pool"), layer("relu2", "relu"),
    classes=3,
)  # fmt: skip


def machine(n_cores, **keys):
    """A machine whose unified cores are slow."""
    return architecture(unified_core__count=n_cores, unified_core__lanes=1, **keys)


@pytest.fixture(scope="module")
def runs():
    """Runs with values by number of cores."""
    return {n: simulate(machine(n), NETWORK, batch=2, functional=True) for n in (1, 2, 3)}


def groups(run):
    """Cycles in which each core began a vector group."""
    return [core["busy_cycles"] for core in run.components["unified_core"]]


def test_values_do_not_depend_on_the_number_of_cores(runs):
    assert all(run.values.mismatch is None for run in runs.values())
    first = {name: value.integers.tolist() for name, value in runs[1].tensors.items()}
    for run in runs.values():
        assert {name: value.integers.tolist() for name, value in run.tensors.items()} == first


def test_cores_share_the_work(runs):
    """All groups but those that bring parameters to every core are there once; two cores save no more than what the other one did."""
    alone = runs[1]
    for n in (2, 3):
        shared = groups(runs[n])
        configures = sum(all_passes()[row["kind"]].name == "configure" for row in map_iteration(machine(n), NETWORK, 2).program.vectors)
        assert len(shared) == n
        assert min(shared) > 0
        assert 0 <= sum(shared) - sum(groups(alone)) < configures
        saved = alone.total_cycles - runs[n].total_cycles
        assert 0 < saved <= sum(groups(alone)) - max(shared) + alone.total_cycles // 100


def test_an_estimate_knows_the_cores():
    one, two = (simulate(machine(n), NETWORK, batch=2, fidelity="analytical").total_cycles for n in (1, 2))
    assert one > two


def test_blocks_of_a_unit_stay_on_their_core():
    """Lanes keep sums of their planes, so all passes on the same blocks of a unit are in one queue."""
    program = map_iteration(machine(2), NETWORK, 2).program
    cores = {}
    for engine in engines_of(program).vectors:
        for row in program.vectors[program.commands["row"][program.engine_start[engine] : program.engine_start[engine + 1]]]:
            if all_passes()[row["kind"]].name != "configure":
                cores.setdefault((int(row["unit"]), int(row["first_block"])), set()).add(engine)
    assert {len(engines) for engines in cores.values()} == {1}
    assert len(set.union(*cores.values())) == 2


def test_each_core_has_a_name_and_ports_of_its_own():
    names = engine_names(engines_of(map_iteration(machine(2), NETWORK, 1).program))
    assert [name for name in names if name.startswith("unified")] == ["unified.0", "unified.1"]
    assert names[8] == "cluster.0"
    (writers, readers), (more_writers, more_readers) = (writers_and_readers(machine(n), "error") for n in (1, 2))
    assert (more_writers - writers, more_readers - readers) == (3, 4)


def test_ideal_cores_take_no_time():
    """Where everything is ideal, cores change nothing."""
    ideal = {"buffers__ideal": True, "noc__ideal": True, "dram__ideal": True, "unified_core__ideal": True}
    one, two = (simulate(machine(n, **ideal), NETWORK, batch=2, functional=True) for n in (1, 2))
    assert one.total_cycles == two.total_cycles
    assert two.values.mismatch is None


def test_too_many_cores_are_refused():
    with pytest.raises(InputError, match=r"unified_core\.count"):
        architecture(unified_core__count=65)
