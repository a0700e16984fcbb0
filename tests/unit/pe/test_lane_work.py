"""Lane work of every pass of the unified core, by hand from the shapes of layers: groups of operations, one a cycle, of finished runs.

Maps are 4 channels of 6 x 6, two samples, 288 elements, on 4 lanes: one operation an element is 72 groups. A pass that brings per-channel
values into the lanes is one group: parameters once for an operation, statistics for each tile.
"""

import pytest
from small_networks import architecture, conv, layer, network, with_pins

from etasim.config.architecture import Lane
from etasim.machine import simulate
from etasim.ops.passes import all_passes

MAP, BATCH, ALL = (4, 6, 6), 2, 4 * 6 * 6 * 2 // 4
POOLED = ALL // 4
"""Groups of a map of 3 x 3."""

CONFIGURE = 1
CLASSES = 3
LOGITS = 4 * 2 // 4
"""Groups of the classifier's outputs: 3 classes in 4 lanes of two channel blocks, two samples."""

TAIL = {("fc", "ff"): LOGITS, ("loss", "bp"): CONFIGURE + 4 * LOGITS, ("fc", "bp"): LOGITS}
"""The classifier: sums are rounded; the loss takes 4 operations an element and the labels; the error passes the mask of nothing."""

FC = 4 * 4 // 4
"""Groups of the update of the classifier's weights, for each pixel of the map that it reads: 4 x 4 channels."""


PINS = {"fc.ff": {"band_samples": BATCH}, "fc.bp": {"band_samples": BATCH}}
"""Tiles as the figures have them: groups are rounded up in each."""


def run(*layers, **keys):
    """Groups of each (layer, phase) that has any."""
    machine = with_pins(architecture(**keys), PINS)
    result = simulate(machine, network(MAP, *layers, classes=CLASSES), batch=BATCH)
    return {(row["layer"], row["phase"]): row["unified_core_busy_cycles"] for row in result.layers if row["unified_core_busy_cycles"]}


FIRST = conv("c", 4)
FIRST_WORK = {("c", "ff"): ALL, ("c", "bp"): ALL, ("c", "wu"): 4 * 4 // 4}
"""A first convolution 1 x 1: sums are rounded; its error passes; 16 weights are updated."""

MAX3, MAX2 = layer("p", "maxpool", kernel=3, stride=1, padding=1), layer("p", "maxpool", kernel=2, stride=2)
STATISTICS_OF_SAMPLES = 2 * CONFIGURE  # BP of the classifier, and what the unified core does alone, go sample by sample

CASES = {
    "requantise and error_mask": ((FIRST,), {}, {**FIRST_WORK, ("fc", "wu"): 36 * FC}),
    "a bias is configured, and updated where scale and offset lie": (
        (conv("c", 4, bias=True),), {},
        {("c", "ff"): ALL + CONFIGURE, ("c", "bp"): ALL, ("c", "wu"): 16 // 4 + 8 // 4, ("fc", "wu"): 36 * FC},
    ),
    "spread, apply; sums, apply; scale and offset": (
        (FIRST, layer("n", "norm")), {},
        {("n", "ff"): CONFIGURE + 2 * ALL, ("n", "bp"): CONFIGURE + STATISTICS_OF_SAMPLES + 2 * ALL,
         ("c", "wu"): 16 // 4, ("n", "wu"): 2 * 4 // 4, ("fc", "wu"): 36 * FC},
    ),
    "relu in a unit costs nothing of its own": (
        (FIRST, layer("n", "norm"), layer("r", "relu")), {},
        {("n", "ff"): CONFIGURE + 2 * ALL, ("n", "bp"): CONFIGURE + STATISTICS_OF_SAMPLES + 2 * ALL,
         ("c", "wu"): 16 // 4, ("n", "wu"): 2 * 4 // 4, ("fc", "wu"): 36 * FC},
    ),
    "statistics of a batch take one tile of all samples": (
        (FIRST, layer("n", "norm")), {"numerics__normalization": "batch"},
        {("n", "ff"): CONFIGURE + 2 * ALL, ("n", "bp"): 2 * CONFIGURE + 2 * ALL,
         ("c", "wu"): 16 // 4, ("n", "wu"): 2 * 4 // 4, ("fc", "wu"): 36 * FC},
    ),
    "a normalization of its own sums first": (
        (FIRST, MAX2, layer("n", "norm")), {},
        {**FIRST_WORK, ("p", "ff"): ALL, ("p", "bp"): POOLED + ALL, ("n", "ff"): CONFIGURE + 3 * POOLED,
         ("n", "bp"): CONFIGURE + STATISTICS_OF_SAMPLES + 2 * POOLED, ("n", "wu"): 2 * 4 // 4, ("fc", "wu"): 9 * FC},
    ),
    "zeros of a stretched error are written too": (
        (conv("c", 4, stride=2), layer("n", "norm"), MAX3), {"array__zero_insertion": True},
        {("n", "ff"): CONFIGURE + 2 * POOLED, ("p", "ff"): 9 * POOLED, ("p", "bp"): POOLED + 9 * POOLED,
         ("n", "bp"): CONFIGURE + STATISTICS_OF_SAMPLES + POOLED + ALL,
         ("c", "wu"): 16 // 4, ("n", "wu"): 2 * 4 // 4, ("fc", "wu"): 9 * FC},
    ),
    "relu of its own": (
        (FIRST, MAX2, layer("r", "relu")), {},
        {**FIRST_WORK, ("p", "ff"): ALL, ("p", "bp"): POOLED + ALL, ("r", "ff"): POOLED, ("r", "bp"): POOLED, ("fc", "wu"): 9 * FC},
    ),
    "maxpool: its window for each result, forward and backward": (
        (FIRST, MAX3), {}, {**FIRST_WORK, ("p", "ff"): 9 * ALL, ("p", "bp"): ALL + 9 * ALL, ("fc", "wu"): 36 * FC},
    ),
    "avgpool: every input at the least in BP": (
        (FIRST, layer("p", "avgpool", kernel=2, stride=4)), {},
        {**FIRST_WORK, ("p", "ff"): 4 * ALL // 9, ("p", "bp"): ALL // 9 + ALL, ("fc", "wu"): 4 * FC},
    ),
    "add": (
        (FIRST, conv("d", 4), layer("a", "add", "c", "d")), {},
        {**FIRST_WORK, ("d", "ff"): ALL, ("d", "bp"): ALL, ("d", "wu"): 16 // 4, ("a", "ff"): ALL, ("a", "bp"): ALL, ("fc", "wu"): 36 * FC},
    ),
    "shortcut: the channels that there are, and every input in BP": (
        (FIRST, layer("s", "shortcut", stride=2, out_channels=8)), {},
        {**FIRST_WORK, ("s", "ff"): POOLED, ("s", "bp"): 2 * POOLED + ALL, ("fc", "wu"): 9 * 2 * FC},
    ),
    "error_add: a third contribution is added first": (
        (FIRST, conv("d", 4), conv("e", 4, **{"from": "c"}), layer("a", "add", "c", "d", "e")), {},
        {("c", "ff"): ALL, ("c", "bp"): 2 * ALL, ("c", "wu"): 16 // 4, ("d", "ff"): ALL, ("d", "bp"): ALL, ("d", "wu"): 16 // 4,
         ("e", "ff"): ALL, ("e", "bp"): ALL, ("e", "wu"): 16 // 4, ("a", "ff"): ALL, ("a", "bp"): ALL, ("fc", "wu"): 36 * FC},
    ),
    "a concatenation is written in place; its error passes as one": (
        (FIRST, conv("d", 4), layer("a", "concat", "c", "d")), {},
        {**FIRST_WORK, ("d", "ff"): ALL, ("d", "bp"): ALL, ("d", "wu"): 16 // 4, ("a", "bp"): 2 * ALL, ("fc", "wu"): 2 * 36 * FC},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_lane_work_of_each_pass(case):
    layers, keys, expected = CASES[case]
    assert run(*layers, **keys) == {**TAIL, **expected}


def test_groups_are_rounded_up():
    """288 elements on 5 lanes are 58 groups in two tiles, a sample each, and 60 in four, a channel block each; pooled maps 16 in two."""
    found = run(FIRST, MAX2, unified_core__lanes=5)
    assert (found["p", "ff"], found["p", "bp"]) == (58, 2 * 8 + 4 * 15)


NORM = (FIRST, layer("n", "norm"))


def test_units_of_a_lane_set_the_slots_of_a_pass():
    """One multiplier: 2 products of an element in apply, 5 and 2 in BP, 3 in an update. Two adders: 2 slots for the 3 additions of the
    spread, 2 for apply, 5 and 4 in BP, 6 in an update."""
    usual = run(*NORM)
    slow = run(*NORM, unified_core__lane__multipliers=1)
    assert slow["n", "ff"] - usual["n", "ff"] == ALL
    assert slow["n", "bp"] - usual["n", "bp"] == (4 + 1) * ALL
    assert slow["n", "wu"] == 3 * usual["n", "wu"]
    narrow = run(*NORM, unified_core__lane__adders=2)
    assert narrow["n", "ff"] - usual["n", "ff"] == (1 + 1) * ALL
    assert narrow["n", "bp"] - usual["n", "bp"] == (4 + 3) * ALL
    assert narrow["c", "wu"] == 6 * usual["c", "wu"]


def test_a_quotient_takes_as_long_as_the_divider():
    usual, slow = run(FIRST), run(FIRST, unified_core__lane__divider_cycles=16)
    assert slow["loss", "bp"] - usual["loss", "bp"] == 12 * LOGITS


def test_sums_that_are_not_drained_take_a_pass():
    usual, found = run(*NORM), run(*NORM, unified_core__lane__drained_sums=False)
    assert {key: found[key] - usual[key] for key in usual if found[key] != usual[key]} == {("n", "ff"): ALL}


def test_what_is_computed_once_a_plane_takes_its_slots():
    """Two samples of two channel blocks are four planes of 2 lanes. FF takes one at a time, a slot each for the mean and for the spread;
    BP together, two slots for averages, whose 7 products and 13 additions take two on 5 multipliers and 11 adders."""
    usual, found = run(*NORM), run(*NORM, unified_core__lane__plane_work=True)
    assert {key: found[key] - usual[key] for key in usual if found[key] != usual[key]} == {("n", "ff"): 4 * (1 + 1), ("n", "bp"): 2 * 2}


def test_every_pass_has_its_work():
    """Nothing but what configures the lanes does nothing, and with the units that a machine has by default every element takes a slot, of
    the loss four; with running scales a weight that is updated two, and what is done once a channel more."""
    usual = Lane()
    slots = {each.name: each.each.slots(usual.multipliers, usual.adders, usual.divider_cycles) for each in all_passes()}
    assert [name for name, n in slots.items() if n == 0] == ["configure"]
    assert {name: n for name, n in slots.items() if n > 1} == {"loss": 4, "filter_means": 4, "update_filters": 2, "running_update": 4}


def test_the_values_are_those_of_drained_sums():
    machines = [architecture(unified_core__lane__drained_sums=drained) for drained in (True, False)]
    networks = network(MAP, FIRST, layer("n", "norm"), layer("r", "relu"), classes=CLASSES)
    one, other = (simulate(machine, networks, batch=BATCH, functional=True) for machine in machines)
    assert one.values.mismatch is None is other.values.mismatch
    assert one.tensors["r.ofmap"].integers.tolist() == other.tensors["r.ofmap"].integers.tolist()


@pytest.mark.parametrize("keys", [{"unified_core__lane__multipliers": 1}, {"unified_core__lane__drained_sums": False}])
def test_an_estimate_knows_the_work_of_lanes(keys):
    machine, trained = architecture(**keys), network(MAP, *NORM, classes=CLASSES)
    cycle, quick = (simulate(machine, trained, batch=BATCH, fidelity=fidelity) for fidelity in ("cycle", "analytical"))
    groups = [sum(row["unified_core_busy_cycles"] for row in result.layers) for result in (cycle, quick)]
    assert groups[0] == groups[1]
