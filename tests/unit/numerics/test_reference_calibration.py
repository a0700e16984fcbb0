"""The last run of a calibration is the iteration itself; figures of a report do not depend on the order in memory."""

import numpy as np
from small_networks import TINY

from etasim.numerics.reference import calibrated, initial_state, loss_and_accuracy, quantized, run_iteration
from etasim.numerics.scheme import Scheme


def test_the_last_run_of_a_calibration_is_the_iteration():
    scheme, random = Scheme(), np.random.default_rng(8)
    inputs, labels = quantized(random.standard_normal((2, *TINY.input_shape)), scheme.activation), random.integers(4, size=2)
    state = initial_state(TINY, scheme, 0)
    exponents, values = calibrated(TINY, scheme, state, inputs, labels)
    again = run_iteration(TINY, scheme, state, inputs, labels, exponents)
    assert values.seen == again.seen
    assert values.tensors.keys() == again.tensors.keys()
    for key, value in again.tensors.items():
        np.testing.assert_array_equal(values.tensors[key].integers, value.integers)


def test_the_loss_does_not_depend_on_the_order_in_memory():
    logits = np.random.default_rng(0).integers(-(2**12), 2**12, (64, 10))
    labels = np.arange(64) % 10
    assert loss_and_accuracy(logits, -9, labels) == loss_and_accuracy(np.asfortranarray(logits), -9, labels)
