"""The shipped networks in the reference: every tensor has a shape and an exponent, and the small ones run."""

from math import prod

import numpy as np
import pytest

from etasim.config.catalog import shipped_names
from etasim.numerics.reference import Graph, calibrate, check_accumulators, initial_state, quantized, written_keys
from etasim.numerics.reference.state import state_shapes
from etasim.numerics.scheme import Scheme
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

SCHEME = Scheme()
ACCUMULATOR_BITS = 48


@pytest.mark.parametrize("name", shipped_names("traces"))
def test_every_parameter_has_a_place(name):
    """A bias before a normalization gives way to the offset; the scale of a bias alone is no parameter."""
    network = load_network(name)
    graph = Graph(network)
    held = sum(prod(shape) for (_, role), shape in state_shapes(graph) if role in ("weight", "parameter"))
    biased = [unit for unit in graph.units if unit.head.bias]
    without_norm, with_norm = (sum(u.head.out_channels for u in biased if (u.norm is None) == alone) for alone in (True, False))
    assert held - without_norm + with_norm == network.parameters


@pytest.mark.parametrize("name", shipped_names("traces"))
def test_sums_fit_the_accumulators(name):
    check_accumulators(load_network(name), SCHEME, 64, ACCUMULATOR_BITS)


@pytest.mark.parametrize(
    ("name", "phases"), [("resnet20_cifar", PHASES), ("resnet20_cifar_a", PHASES), ("vgg16_cifar", ("ff", "bp", "wg"))]
)
def test_networks_for_cifar_are_calibrated(name, phases):
    network, random = load_network(name), np.random.default_rng(0)
    inputs = quantized(random.standard_normal((1, *network.input_shape)), SCHEME.activation)
    exponents = calibrate(network, SCHEME, initial_state(network, SCHEME, 0), inputs, np.array([3]), phases)
    assert exponents.keys() == written_keys(Graph(network), phases)
    assert -40 < min(exponents.values()) <= max(exponents.values()) < 20
