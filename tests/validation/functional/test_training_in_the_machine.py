"""The machine trains: scikit-learn's digits on a small architecture, 8 bits, every iteration equal to the integer reference."""

import numpy as np
import pytest

from etasim import load_architecture, load_network, simulate

ITERATIONS, BATCH = 80, 16


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    return {"inputs": (data.images[:, None] / 8 - 1).astype(np.float32), "labels": data.target}


def test_the_machine_learns_digits_as_the_reference_does(digits):
    architecture = load_architecture("eta_small", {"training.learning_rate": 0.02})
    result = simulate(
        architecture, load_network("digits_cnn"), batch=BATCH, functional=True, tensors=digits, iterations=ITERATIONS
    )
    values = result.values
    assert str(values.mismatch) == "None"
    assert len(values.steps) == ITERATIONS
    assert all((s.loss, s.accuracy) == (s.reference_loss, s.reference_accuracy) for s in values.steps)
    tenths = np.array_split(np.array([(s.loss, s.accuracy) for s in values.steps]), 10)
    (first_loss, first_accuracy), (last_loss, last_accuracy) = tenths[0].mean(axis=0), tenths[-1].mean(axis=0)
    assert first_loss > 2
    assert last_loss < 0.25 * first_loss
    assert first_accuracy < 0.3
    assert last_accuracy > 0.8


@pytest.mark.parametrize(("network", "batch"), [("resnet20_cifar", 2), ("vgg16_cifar", 1)])
def test_an_iteration_of_a_published_network_is_exact(network, batch):
    values = simulate(load_architecture("eta_vc709"), load_network(network), batch=batch, functional=True).values
    assert str(values.mismatch) == "None"
    print(f"{network}, batch {batch}: exact ({values.n_tensors} tensors, {values.n_bytes} bytes)")
    assert values.n_bytes > 3_000_000
