"""What a functional run is given, and what it leaves under the same names."""

import numpy as np
import pytest
from small_networks import TINY, architecture, conv, layer, network

from etasim.functional.samples import random_samples, samples_of, state_arrays, state_from, state_names
from etasim.functional.schemes import scheme_of
from etasim.numerics.errors import NumericsError

SCHEME = scheme_of(architecture())
NORMED = network((2, 4, 4), conv("c", 3, kernel=3, padding=1, bias=True), layer("n", "norm"), layer("d", "norm"), classes=2)

WEIGHTLESS = network((1, 1, 1), layer("n", "norm"))
BARE = network((1, 1, 1), layer("r", "relu"))


def test_names_of_what_survives():
    weights = ["c.weight", "c.weight_momentum", "fc.weight", "fc.weight_momentum"]
    parameters = [f"{name}.{part}{suffix}" for name in ("n", "d") for part in ("scale", "offset") for suffix in ("", "_momentum")]
    assert sorted(state_names(NORMED)) == sorted(weights + parameters)
    assert {"fc.bias", "fc.bias_momentum"}.isdisjoint(state_names(TINY))


@pytest.mark.parametrize("net", [TINY, NORMED, WEIGHTLESS, BARE], ids=["tiny", "normed", "weightless", "bare"])
def test_a_state_that_is_written_is_read_as_it_was(net):
    random = np.random.default_rng(3)
    first = state_from(net, SCHEME, {}, seed=1)
    drawn = {name: random.normal(size=array.shape) for name, array in state_arrays(net, first).items()}
    state = state_from(net, SCHEME, drawn, seed=2)
    arrays = state_arrays(net, state)
    assert all(array.dtype == np.float32 for array in arrays.values())
    again = state_from(net, SCHEME, arrays, seed=3)
    for key, value in state.tensors.items():
        assert (again.tensors[key].exponent, again.tensors[key].format) == (value.exponent, value.format)
        np.testing.assert_array_equal(again.tensors[key].integers, value.integers)


def test_weights_of_a_linear_layer_may_be_a_matrix():
    arrays = state_arrays(TINY, state_from(TINY, SCHEME, {}, seed=1))
    flat = {"fc.weight": arrays["fc.weight"].reshape(4, -1)}
    read = state_arrays(TINY, state_from(TINY, SCHEME, flat, seed=2))
    np.testing.assert_array_equal(read["fc.weight"], arrays["fc.weight"])
    with pytest.raises(NumericsError, match=r"conv1.weight: must have the shape \(4, 3, 3, 3\), got \(4, 27\)"):
        state_from(TINY, SCHEME, {"conv1.weight": arrays["conv1.weight"].reshape(4, -1)}, seed=2)


def test_batches_go_round():
    samples = samples_of(TINY, {"inputs": np.zeros((5, 3, 6, 6)), "labels": np.array([0, 1, 2, 3, 0])}, 3, 0)
    assert [samples.batch(i, 3)[1].tolist() for i in range(3)] == [[0, 1, 2], [3, 0, 0], [1, 2, 3]]


def test_what_is_drawn_depends_on_the_seed_alone():
    one, same, other = (random_samples(TINY, 4, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.inputs, same.inputs)
    assert not np.array_equal(one.inputs, other.inputs)
