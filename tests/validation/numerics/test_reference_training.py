"""A small network learns handwritten digits in the reference's integers alone."""

import numpy as np
import pytest
from small_networks import conv, layer, network

from etasim.numerics.format import CodeFormat
from etasim.numerics.reference import calibrate, initial_state, next_exponents, quantized, run_iteration
from etasim.numerics.scheme import Scheme

datasets = pytest.importorskip("sklearn.datasets")

BATCH, ITERATIONS = 32, 60
NET = network(
    (1, 8, 8),
    conv("conv1", 16, kernel=3, padding=1),
    layer("norm1", "norm"),
    layer("relu1", "relu"),
    conv("conv2", 32, kernel=3, stride=2, padding=1),
    layer("norm2", "norm"),
    conv("projection", 32, stride=2, **{"from": "relu1"}),
    layer("add", "add", "norm2", "projection"),
    layer("relu2", "relu"),
    layer("pool", "maxpool", kernel=2),
    classes=10,
)


def train(scheme):
    """Loss and accuracy of each iteration."""
    images, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))[: BATCH * ITERATIONS // 2]
    state, exponents, history = initial_state(NET, scheme, 0), None, []
    for i in range(ITERATIONS):
        chosen = np.take(order, np.arange(i * BATCH, (i + 1) * BATCH), mode="wrap")
        inputs = quantized(images[chosen].reshape(-1, 1, 8, 8) / 16 - 0.5, scheme.activation, exponent=0)
        if exponents is None:
            exponents = calibrate(NET, scheme, state, inputs, labels[chosen])
        values = run_iteration(NET, scheme, state, inputs, labels[chosen], exponents)
        state, exponents = values.state, next_exponents(exponents, values.seen, scheme.exponent_margin)
        history.append(values.loss_and_accuracy())
    return np.array(history)


@pytest.mark.parametrize(
    "scheme",
    [
        Scheme(learning_rate=0.05),
        Scheme(learning_rate=0.05, reciprocal="shift", exponent_margin=1, weight_decay=1e-4),
        Scheme(learning_rate=0.05, activation=CodeFormat(8, 1), weight=CodeFormat(8, 1)),
    ],
    ids=["default", "by_shift", "block_floating_point_forward"],
)
def test_the_loss_falls(scheme):
    history = train(scheme)
    assert history[0, 0] > 2
    assert history[-5:, 0].mean() < 0.35
    assert history[-5:, 1].mean() > 0.9
