"""Nothing depends on the order in which samples, layers or contributions are taken."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import graphs
from small_networks import conv, layer, network

from etasim.numerics.reference import calibrate, initial_state, quantized, run_iteration
from etasim.numerics.scheme import Scheme
from etasim.workload import Network

SCHEME = Scheme(normalization_group=4)

BRANCHES = network(
    (2, 4, 4),
    conv("stem", 4, **{"from": "input"}),
    conv("a", 4, kernel=3, padding=1, **{"from": "stem"}),
    layer("norm", "norm"),
    layer("relu", "relu"),
    conv("b", 4, **{"from": "stem"}),
    layer("pool", "maxpool", "stem", kernel=3, stride=1, padding=1),
    layer("sum", "add", "relu", "stem", "b"),
    conv("a2", 3, **{"from": "relu"}),
    layer("joined", "concat", "pool", "sum", "a2"),
    classes=3,
)
"""Four readers of ``stem``, two of ``relu``."""


def arguments(net, batch, seed):
    """State, inputs, labels and calibrated exponents."""
    random = np.random.default_rng(seed)
    state = initial_state(net, SCHEME, seed)
    inputs = quantized(random.standard_normal((batch, *net.input_shape)), SCHEME.activation)
    labels = random.integers(0, net.classes, batch)
    return state, inputs, labels, calibrate(net, SCHEME, state, inputs, labels)


def assert_same(ours, theirs, keys=None):
    for key in keys or ours.tensors.keys() | theirs.tensors.keys():
        assert ours.tensors[key].unit == theirs.tensors[key].unit, key
        np.testing.assert_array_equal(ours.tensors[key].integers, theirs.tensors[key].integers, err_msg=str(key))


@settings(max_examples=20)
@given(graphs(), st.integers(2, 3), st.integers(0, 99), st.data())
def test_samples_may_come_in_any_order(sketch, batch, seed, data):
    net = sketch.build()
    state, inputs, labels, exponents = arguments(net, batch, seed)
    order = data.draw(st.permutations(range(batch)))
    shuffled = quantized(inputs.real()[order], SCHEME.activation, inputs.exponent)
    ours = run_iteration(net, SCHEME, state, inputs, labels, exponents)
    theirs = run_iteration(net, SCHEME, state, shuffled, labels[order], exponents)
    assert_same(ours, theirs, state.tensors)
    assert ours.seen == theirs.seen
    output = (ours.output, "output")
    np.testing.assert_array_equal(ours.tensors[output].integers[order], theirs.tensors[output].integers)


@settings(max_examples=20)
@given(st.permutations(range(len(BRANCHES.layers))), st.integers(0, 99))
def test_layers_may_be_listed_in_any_order(order, seed):
    """Another topological order visits the readers of a map in another order, so its contributions are added in another order."""
    other = Network(BRANCHES.name, BRANCHES.input_shape, BRANCHES.classes, tuple(BRANCHES.layers[i] for i in order))
    given = arguments(BRANCHES, 2, seed)
    assert_same(*(run_iteration(net, SCHEME, *given) for net in (BRANCHES, other)))


@settings(max_examples=20)
@given(graphs(), st.integers(0, 99))
def test_a_sample_is_normalized_alone(sketch, seed):
    """FF and BP of a sample do not depend on the others."""
    net = sketch.build()
    state, inputs, labels, exponents = arguments(net, 2, seed)
    both = run_iteration(net, SCHEME, state, inputs, labels, exponents)
    first = quantized(inputs.real()[:1], SCHEME.activation, inputs.exponent)
    alone = run_iteration(net, SCHEME, state, first, labels[:1], exponents)
    for (unit, role), value in alone.tensors.items():
        if role in ("output", "error", "partial", "pre_normalization"):
            np.testing.assert_array_equal(value.integers, both.tensors[unit, role].integers[:1])
