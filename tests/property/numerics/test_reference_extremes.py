"""An iteration runs, and stays in its formats, whatever exponents it is given."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from joined_network import JOINED
from small_networks import TINY, conv, layer, network

from etasim.numerics.format import CodeFormat
from etasim.numerics.reference import Graph, State, initial_state, quantized, run_iteration, written_keys
from etasim.numerics.scheme import Scheme
from etasim.workload.lowering import PHASES

POOLED = network(
    (3, 9, 9),
    conv("stem", 4, kernel=3, bias=True),
    layer("relu", "relu"),
    layer("mean", "avgpool", kernel=3, stride=2, padding=1),
    layer("norm", "norm"),
    classes=2,
)
SCHEMES = [
    Scheme(),
    Scheme(reciprocal="shift", weight_decay=1e-30, learning_rate=1e30, momentum=0.0),
    Scheme(CodeFormat(16, 1), CodeFormat(5, 3), CodeFormat(4, 4), 12, 10, 9, 8, weight_decay=1e30, learning_rate=1e-30),
]


@settings(max_examples=40)
@given(st.sampled_from([TINY, JOINED, POOLED]), st.sampled_from(SCHEMES), st.integers(0, 99), st.data())
def test_any_exponents_can_be_run(net, scheme, seed, data):
    exponent = st.integers(-64, 63) | st.sampled_from([-64, 63])
    random = np.random.default_rng(seed)
    found = initial_state(net, scheme, seed).tensors
    state = State({key: replace(value, exponent=data.draw(exponent)) for key, value in found.items()})
    inputs = replace(quantized(random.standard_normal((2, *net.input_shape)), scheme.activation), exponent=data.draw(exponent))
    exponents = {key: data.draw(exponent) for key in sorted(written_keys(Graph(net), PHASES))}
    values = run_iteration(net, scheme, state, inputs, random.integers(0, net.classes, 2), exponents)
    assert values.seen.keys() == exponents.keys()
    for (unit, role), value in values.tensors.items():
        if role not in ("mask", "window", "label"):
            assert np.abs(value.integers).max() <= value.greatest, (unit, role)
            assert value.integers.dtype == np.int64
