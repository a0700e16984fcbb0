"""The last run of a calibration is the iteration itself; figures of a report do not depend on the order in memory."""

import numpy as np
import pytest
from joined_network import JOINED
from small_networks import TINY

from etasim.numerics.reference import calibrated, initial_state, iteration, loss_and_accuracy, quantized, run_iteration
from etasim.numerics.scheme import Scheme


@pytest.mark.parametrize(("net", "n_runs"), [(TINY, 1), (JOINED, 3)], ids=["tiny", "joined"])
def test_the_last_run_of_a_calibration_is_the_iteration(monkeypatch, net, n_runs):
    """The first one, if no tensor has another exponent than what it shares one with."""
    runs, run = [], iteration._run
    monkeypatch.setattr(iteration, "_run", lambda *arguments: runs.append(arguments) or run(*arguments))
    scheme, random = Scheme(), np.random.default_rng(8)
    inputs, labels = quantized(random.standard_normal((2, *net.input_shape)), scheme.activation), random.integers(net.classes, size=2)
    state = initial_state(net, scheme, 0)
    exponents, values = calibrated(net, scheme, state, inputs, labels)
    assert len(runs) == n_runs
    again = run_iteration(net, scheme, state, inputs, labels, exponents)
    assert values.seen == again.seen
    assert values.tensors.keys() == again.tensors.keys()
    for key, value in again.tensors.items():
        np.testing.assert_array_equal(values.tensors[key].integers, value.integers)


def test_the_loss_does_not_depend_on_the_order_in_memory():
    logits = np.random.default_rng(0).integers(-(2**12), 2**12, (64, 10))
    labels = np.arange(64) % 10
    assert loss_and_accuracy(logits, -9, labels) == loss_and_accuracy(np.asfortranarray(logits), -9, labels)
