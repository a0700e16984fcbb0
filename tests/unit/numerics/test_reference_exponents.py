"""Which tensors share an exponent, and how exponents follow what was seen."""

import numpy as np
import pytest
from joined_network import JOINED
from small_networks import TINY, conv, layer, network

from etasim.numerics.reference import Graph, calibrate, initial_state, next_exponents, quantized, run_iteration, written_keys
from etasim.numerics.reference.exponents import Exponent
from etasim.numerics.scheme import Scheme
from etasim.workload.lowering import PHASES

SCHEME = Scheme()


@pytest.mark.parametrize(
    ("unit", "owner"),
    [
        ("input", "input"),
        ("stem", "again"),
        ("pool", "outer"),
        ("branch", "outer"),
        ("inner", "outer"),
        ("other", "outer"),
        ("outer", "outer"),
        ("pool_of_input", "outer"),
        ("again", "again"),
        ("relu", "again"),
        ("sum", "sum"),
        ("short", "sum"),
        ("fc", "fc"),
    ],
)
def test_owner_of_an_output(unit, owner):
    assert Graph(JOINED).owner((unit, "output")) == (owner, "output")


def test_a_pool_of_the_input_has_the_exponent_of_the_input():
    net = network((2, 4, 4), layer("pool", "maxpool", kernel=2), conv("stem", 3), classes=2)
    state, (inputs, labels) = initial_state(net, SCHEME, 0), samples(net, 1)
    exponents = calibrate(net, SCHEME, state, inputs, labels)
    assert ("pool", "output") not in exponents
    assert run_iteration(net, SCHEME, state, inputs, labels, exponents).tensors["pool", "output"].exponent == inputs.exponent


def test_only_outputs_share():
    assert Graph(JOINED).owner(("pool", "error")) == ("pool", "error")


def test_groups_of_a_normalization_end_with_the_maps_that_were_joined():
    net = network(
        (2, 4, 4), conv("a", 5, **{"from": "input"}), conv("b", 3, **{"from": "input"}), layer("joined", "concat", "a", "b"),
        layer("relu", "relu"), layer("norm", "norm"), classes=2,
    )  # fmt: skip
    graph = Graph(net)
    norm = next(unit for unit in graph.units if unit.name == "norm")
    assert graph.normalization_segments(norm) == (5, 3)


def test_a_shortcut_adds_channels_to_the_last_of_joined_maps():
    net = network(
        (2, 4, 4), conv("a", 5, **{"from": "input"}), conv("b", 3, **{"from": "input"}), layer("joined", "concat", "a", "b"),
        layer("short", "shortcut", out_channels=12), layer("norm", "norm"), classes=2,
    )  # fmt: skip
    graph = Graph(net)
    norm = next(unit for unit in graph.units if unit.name == "norm")
    assert graph.normalization_segments(norm) == (5, 7)


def samples(net, batch, seed=0):
    """Random inputs and labels."""
    random = np.random.default_rng(seed)
    inputs = quantized(random.standard_normal((batch, *net.input_shape)), SCHEME.activation)
    return inputs, random.integers(0, net.classes, batch)


@pytest.mark.parametrize("net", [TINY, JOINED], ids=["tiny", "joined"])
@pytest.mark.parametrize("phases", [("ff",), ("ff", "bp"), ("ff", "bp", "wg"), PHASES])
def test_calibration_finds_every_exponent_and_settles(net, phases):
    state, (inputs, labels) = initial_state(net, SCHEME, 0), samples(net, 2)
    exponents = calibrate(net, SCHEME, state, inputs, labels, phases)
    assert exponents.keys() == written_keys(Graph(net), phases)
    values = run_iteration(net, SCHEME, state, inputs, labels, exponents, phases)
    assert next_exponents(exponents, values.seen, margin=0) == exponents


def test_members_of_a_concatenation_are_seen_together():
    state, (inputs, labels) = initial_state(JOINED, SCHEME, 0), samples(JOINED, 2)
    values = run_iteration(JOINED, SCHEME, state, inputs, labels, calibrate(JOINED, SCHEME, state, inputs, labels))
    members = [values.tensors[unit, "output"] for unit in ("branch", "other", "outer")]
    assert len({member.exponent for member in members}) == 1
    greatest = max(np.abs(member.real()).max() for member in members)
    assert 2.0 ** (values.seen["outer", "output"] - 1) < greatest * (1 + 2**-6) <= 2.0 ** values.seen["outer", "output"]


def test_what_lies_in_another_concatenation_is_copied_with_another_exponent():
    state, (inputs, labels) = initial_state(JOINED, SCHEME, 0), samples(JOINED, 2)
    exponents = calibrate(JOINED, SCHEME, state, inputs, labels)
    wider = exponents | {("outer", "output"): exponents["again", "output"] + 3}
    values = run_iteration(JOINED, SCHEME, state, inputs, labels, wider)
    other, stem, again = (values.tensors[unit, "output"] for unit in ("other", "stem", "again"))
    np.testing.assert_array_equal(again.real()[:, 2:], stem.real())
    copied = quantized(other.real(), SCHEME.activation, again.exponent)
    np.testing.assert_array_equal(again.integers[:, :2], copied.integers)
    assert (copied.real() != other.real()).any()


def test_the_greatest_of_all_writes_is_seen():
    exponent = Exponent(Graph(JOINED), 0, {("again", "output"): 5})
    assert [exponent.of(("again", "output"), np.array(v), -4) for v in ([0], [-64, 1], [16], [0])] == [5, 5, 5, 5]
    assert exponent.seen == {("again", "output"): 2}


def test_an_exponent_follows_what_was_seen_with_a_margin():
    key, zeros, unseen = ("a", "output"), ("b", "output"), ("c", "output")
    assert next_exponents({key: 3, zeros: 4, unseen: 5}, {key: -2, zeros: None}, 1) == {key: -1, zeros: 4, unseen: 5}


@pytest.mark.parametrize(("seen", "given"), [(70, 63), (-70, -64), (63, 63)])
def test_exponents_stay_in_their_range(seen, given):
    assert next_exponents({("a", "error"): 0}, {("a", "error"): seen}, 0) == {("a", "error"): given}


def test_a_tensor_of_zeros_starts_with_the_exponent_zero():
    state, (_, labels) = initial_state(TINY, SCHEME, 0), samples(TINY, 1)
    inputs = quantized(np.zeros((1, *TINY.input_shape)), SCHEME.activation)
    exponents = calibrate(TINY, SCHEME, state, inputs, labels)
    assert exponents["conv1", "pre_normalization"] == 0
    values = run_iteration(TINY, SCHEME, state, inputs, labels, exponents)
    assert values.seen["conv1", "pre_normalization"] is None
    assert not values.tensors["conv1", "weight_gradient"].integers.any()


def test_values_past_a_known_exponent_saturate_and_are_seen():
    state, (inputs, labels) = initial_state(TINY, SCHEME, 0), samples(TINY, 1)
    exponents = calibrate(TINY, SCHEME, state, inputs, labels)
    key = ("conv1", "output")
    values = run_iteration(TINY, SCHEME, state, inputs, labels, exponents | {key: exponents[key] - 3})
    assert values.seen[key] == exponents[key]
    assert values.tensors[key].integers.max() == SCHEME.activation.greatest
