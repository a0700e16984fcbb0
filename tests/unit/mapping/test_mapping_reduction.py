"""WG whose samples are dealt to parts of the clusters: groups of drains, their order, what the planner chooses, what is refused."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_reading import FIRST_CLUSTER, commands, hazards, known_complete
from random_networks import graphs, single_layers
from small_networks import TINY, conv, layer, network

from etasim import simulate
from etasim.config import InputError, load_architecture
from etasim.machine.elaborate import elaborate
from etasim.mapping import InfeasibleError, map_iteration
from etasim.mapping.listing import lines
from etasim.program.commands import engine_names, engines_of
from etasim.schedule.array import array_of
from etasim.schedule.patterns import forward
from etasim.schedule.plan import plan
from etasim.schedule.problem import ConvProblem

FOUR = {
    "noc.reduction": True, "noc.virtual_channels": 3, "array.clusters": 4,
    "noc.columns": "auto", "noc.rows": "auto", "noc.placement": "auto",
}  # fmt: skip


def pinned(split, base="eta_small", **keys):
    """An architecture with reduction whose WG splits the clusters so."""
    return load_architecture(base, {"noc.reduction": True, **keys, "mapping": {"*.wg": split}})


def drains_of(program):
    """(index, command) of all drains in the order of appending, and all commands."""
    listed = commands(program)
    first = FIRST_CLUSTER + (len(program.engine_start) - 1 - FIRST_CLUSTER) // 2
    return listed, [(i, command) for i, command in enumerate(listed) if command.engine >= first]


@pytest.mark.parametrize("split", [{"clusters_sample": 2}, {"clusters_sample": 4}, {"clusters_sample": 2, "clusters_c": 2}])
def test_while_sums_are_added_no_other_drain_is_under_way(split):
    mapping = map_iteration(pinned(split, **FOUR), TINY, 3)
    listed, drains = drains_of(mapping.program)
    known = known_complete(listed, len(mapping.program.engine_start) - 1)
    done, last_group, group, n_groups = {}, {}, [], 0
    for i, command in drains:
        if command.row["member"] == 0:
            done |= {member.engine: member.count for member in group}
            if group and group[0].row["partners"]:
                last_group = {member.engine: member.count for member in group}
            barrier = dict(done) if command.row["partners"] else last_group
            n_groups += command.row["partners"] > 0
            group = []
        assert all(known[i, engine] >= count for engine, count in barrier.items() if engine != command.engine)
        assert command.row["engine"] + command.row["member"] * command.row["engine_stride"] == command.engine
        group.append(command)
    assert n_groups > 0


def test_members_of_a_group_differ_in_cluster_and_route_only():
    mapping = map_iteration(pinned({"clusters_sample": 2}), TINY, 4)
    rows = [command.row for _, command in drains_of(mapping.program)[1]]
    members = [(first, second) for first, second in pairwise(rows) if second["member"]]
    assert members
    for first, second in members:
        assert {name for name in first.dtype.names if first[name] != second[name]} <= {"member", "route", "psum_half"}
        routes = [mapping.routes[row["route"]] for row in (first, second)]
        assert routes[0].reduction == routes[1].reduction >= 0
        assert (routes[0].destinations, routes[0].source) != (routes[1].destinations, routes[1].source)
        assert first["segments_per_packet"] == 16 // (2 * 6)


@settings(max_examples=15)
@given(st.one_of(single_layers(), graphs()), st.integers(1, 5))
def test_programs_with_sums_are_safe(sketch, batch):
    chosen = pinned({"clusters_sample": 2})
    assert hazards(map_iteration(chosen, sketch.build(), batch), array_of(chosen), 4) == []


NARROW = network((8, 8, 8), conv("c", 8, kernel=3, padding=1), layer("pool", "avgpool", kernel=8), classes=8)
"""A layer of one channel block on each side."""


def clusters_of_wg(mapping, name):
    """Clusters that multiply in WG of a layer."""
    number = next(i for i, o in enumerate(mapping.operations) if (o.layer, o.phase) == (name, "wg"))
    names = engine_names(engines_of(mapping.program))
    return {names[c.engine] for c in commands(mapping.program) if c.operation == number and names[c.engine].startswith("cluster")}


def test_reduction_gives_every_cluster_work_where_blocks_are_few():
    plain = map_iteration(load_architecture("eta_vc709"), NARROW, 8)
    reducing = map_iteration(load_architecture("eta_vc709", {"noc.reduction": True}), NARROW, 8)
    assert len(clusters_of_wg(plain, "c")) == 1
    assert len(clusters_of_wg(reducing, "c")) == 4


def test_the_planner_splits_samples_only_where_it_may():
    wide = network((64, 4, 4), conv("c", 64, kernel=3, padding=1), layer("pool", "avgpool", kernel=4), classes=8)
    reducing = map_iteration(load_architecture("eta_vc709", {"noc.reduction": True}), wide, 2)
    plain = map_iteration(load_architecture("eta_vc709"), wide, 2)
    assert not plain.program.drains["partners"].any()
    wg = next(i for i, o in enumerate(reducing.operations) if (o.layer, o.phase) == ("c", "wg"))
    assert not reducing.program.drains["partners"][reducing.program.drains["operation"] == wg].any()


def test_the_listing_names_what_is_added():
    text = "\n".join(lines(map_iteration(pinned({"clusters_sample": 2}), TINY, 4)))
    assert "sum 1 of 2, 6 B each" in text
    assert "sum 2 of 2, 6 B each" in text


REFUSED = {
    "needs noc.reduction: true": ({"noc.reduction": False}, {"*.wg": {"clusters_sample": 2}}),
    "splits over 4 clusters": ({}, {"*.wg": {"clusters_sample": 2, "clusters_k": 2}}),
    "ff can split over clusters_k and clusters_pixel only": ({}, {"*.ff": {"clusters_sample": 2}}),
    "clusters_k x clusters_c x clusters_sample must be array.clusters = 4, got clusters_c = 1 x clusters_sample = 3": (
        FOUR, {"*.wg": {"clusters_c": 1, "clusters_sample": 3}},
    ),
    "buffers.word_size = 8 B must hold array.lanes = 2 sums": ({"buffers.word_size": "8 B"}, {}),
    "must fit noc.buffer_depth = 1 flits, and has 2": ({"noc.buffer_depth": 1, "noc.multicast": False}, {"*.wg": {"clusters_sample": 2}}),
}  # fmt: skip


def _elaborated(keys):
    chosen = load_architecture("eta_small", keys)
    return elaborate(chosen, map_iteration(chosen, TINY, 3))


@pytest.mark.parametrize("message", REFUSED)
def test_splits_and_networks_that_cannot_work_are_refused(message):
    keys, mapping = REFUSED[message]
    with pytest.raises((InputError, InfeasibleError)) as refused:
        _elaborated({"noc.reduction": True, **keys, "mapping": mapping})
    assert message in str(refused.value)


APART = {"clusters": [0, 1, 2, 3], "activation": 4, "weight": 5, "error": [6]}
"""On a mesh of 3 x 3, feeds go east from node 4 and north, sums go south: they meet nowhere."""


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"noc.buffer_depth": 1, "noc.multicast": False}, "has 2\nit would fit with --set noc.buffer_depth=2"),
        ({"noc.placement": {**APART, "error": [8]}}, "route 2 of class 0 shares one at router 5; give at least as many VCs"),
    ],
)
def test_what_no_network_can_add_is_refused_by_the_estimate_too(keys, message):
    """Before any plan is made, so that one fidelity cannot run what the other refuses."""
    machine = {**FOUR, "noc.columns": 3, "noc.rows": 3, "noc.placement": APART, "noc.virtual_channels": 1, "noc.reduction": True}
    simulate(load_architecture("eta_small", machine), TINY, batch=2, fidelity="analytical")
    for fidelity in ("cycle", "analytical"):
        with pytest.raises(InfeasibleError, match=r"noc\.reduction") as refused:
            simulate(load_architecture("eta_small", {**machine, **keys}), TINY, batch=2, fidelity=fidelity)
        assert message in str(refused.value)


def test_sums_of_parts_cover_the_batch_once():
    """Pixels that the chunks of WG multiply, over all clusters, with and without parts."""
    pixels = []
    for split in ({"clusters_c": 1, "clusters_sample": 4}, {"clusters_c": 1, "clusters_sample": 1, "clusters_k": 4}):
        mapping = map_iteration(pinned(split, **FOUR), NARROW, 5)
        number = next(i for i, o in enumerate(mapping.operations) if (o.layer, o.phase) == ("c", "wg"))
        rows = mapping.program.computes[mapping.program.computes["operation"] == number]
        geometries = mapping.program.geometries[rows["geometry"]]
        blocks = geometries["n_result_blocks"] * geometries["n_stream_blocks"] * geometries["n_taps"]
        pixels.append(int((blocks * geometries["n_samples"] * geometries["n_pixels"]).sum()))
    assert pixels[0] == pixels[1] == 4 * 4 * 9 * 5 * 64


def test_the_closed_form_prefers_parts_only_if_they_are_faster_and_move_no_more():
    """Both ways of a layer with one channel block on each side, and of one with as many as there are clusters."""
    array = array_of(load_architecture("eta_vc709", {"noc.reduction": True}))
    for blocks, wins in ((1, True), (8, False)):
        problem = ConvProblem("c", "wg", (forward(NARROW["c"]),), 9, blocks, blocks, 8, 64, 64, 2)
        without, free = plan(array._replace(reduces=False), problem), plan(array, problem)
        assert (free.sample_parts > 1) == wins
        assert (free.dram_bytes, free.cycles) <= (without.dram_bytes, without.cycles)
