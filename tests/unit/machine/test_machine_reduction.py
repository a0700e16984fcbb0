"""The machine adds psums in its network: drains that end together, counters, laws that hold and are broken by name."""

import pytest
from hand_made import times
from program_reading import FIRST_CLUSTER
from small_networks import TINY, architecture, conv, finished, layer, network

from etasim.config import load_architecture
from etasim.machine import conservation, rows, simulate
from etasim.machine.errors import ConservationError

PINNED = {"noc.reduction": True, "mapping": {"*.wg": {"clusters_sample": 2}}}


@pytest.fixture
def books():
    """(machine, mapping, total cycles, rows) of an iteration whose WG splits the samples."""
    mapping, machine, total_cycles = finished(load_architecture("eta_small", PINNED), TINY, 3)
    return machine, mapping, total_cycles, rows.rows(machine, mapping, total_cycles)


def test_drains_whose_sums_are_added_end_in_the_same_cycle(books):
    machine, _, _, _ = books
    program, n_clusters = machine.program, 2
    engines = range(FIRST_CLUSTER + n_clusters, FIRST_CLUSTER + 2 * n_clusters)
    ends: dict = {}
    for engine in engines:
        first, stop = program.engine_start[engine : engine + 2]
        for count, command in enumerate(program.commands[first:stop], start=1):
            row = program.drains[command["row"]]
            if row["partners"]:
                ends.setdefault(int(command["row"] - row["member"]), []).append(times(machine, engine, count)[1])
    assert ends
    assert all(len(each) == 2 and len(set(each)) == 1 for each in ends.values())


def test_half_of_the_packets_end_in_another_one(books):
    machine, *_ = books
    drains, counters = machine.program.drains, machine.states.noc.counters[2]
    of_groups = int(drains["n_packets"][drains["partners"] == 1].sum())
    reductions = machine.states.noc.reductions[2]
    assert reductions["packets_reduced"] == of_groups // 2
    assert counters["packets_ejected"] == counters["packets_injected"] - of_groups // 2
    assert counters["flits_ejected"] == counters["flits_injected"] - reductions["flits_reduced"]
    conservation.check(*books)


@pytest.mark.parametrize("law", ["psum packets sent, collected", "psum packets reduced, of the program"])
def test_a_packet_that_is_taken_in_twice_is_noticed(books, law):
    books[0].states.noc.reductions["packets_reduced"][2] += 1
    with pytest.raises(ConservationError, match=law):
        conservation.check(*books)


def test_reduction_alone_changes_nothing_where_nothing_is_reduced():
    plain = simulate(architecture(), TINY, batch=2, phases=("ff", "bp"))
    able = simulate(architecture(noc__reduction=True), TINY, batch=2, phases=("ff", "bp"))
    assert (plain.total_cycles, plain.layers, plain.components) == (able.total_cycles, able.layers, able.components)
    assert "noc_reduction" not in able.components


def test_a_layer_of_few_channels_is_faster_where_all_clusters_take_part():
    net = network((8, 16, 16), conv("c", 8, kernel=3, padding=1), layer("pool", "avgpool", kernel=16), classes=8)
    alone, together = (simulate(load_architecture("eta_vc709", {"noc.reduction": on}), net, batch=8) for on in (False, True))
    wg = [next(row for row in result.layers if (row["layer"], row["phase"]) == ("c", "wg")) for result in (alone, together)]
    assert wg[1]["cycles"] < wg[0]["cycles"]
    assert together.total_cycles < alone.total_cycles
    assert [row["dram_read_activation_bytes"] for row in wg] == [wg[0]["dram_read_activation_bytes"]] * 2
