"""When the host folds the input of the first layer."""

import pytest
from small_networks import conv, network

from etasim import load_architecture, simulate
from etasim.mapping.folding import fold_of
from etasim.workload.layer import LARGEST_SIDE


def first(channels, kernel):
    return network((channels, kernel, kernel), conv("first", 2, kernel=kernel), classes=2).layers[0]


def test_a_fold_that_saves_steps_is_made():
    layer = first(3, 3)
    assert fold_of("columns", [layer], layer.in_shape, lanes=16).folded.in_channels == 9


def test_a_fold_with_more_channels_than_a_layer_may_have_is_none():
    channels = LARGEST_SIDE // 2 + 1
    layer = first(channels, 3)
    assert fold_of("columns", [layer], layer.in_shape, lanes=4) is None


def perceptron(*shape):
    return network(shape, {"name": "hidden", "op": "linear", "out_channels": 3}, {"name": "act", "op": "relu"}, classes=2)


@pytest.mark.parametrize("layout", ["columns", "window"])
def test_a_linear_layer_on_maps_takes_as_long_as_on_features(layout):
    """The host lays 1 x 12 x 12 pixels out as 144 channels; weights, their gradients and all values stay those of the reference."""
    machine = load_architecture("eta_small", {"data.input_layout": layout})
    on_maps, on_features = (simulate(machine, perceptron(*shape), batch=3, functional=True) for shape in ((1, 12, 12), (144, 1, 1)))
    assert on_maps.values.mismatch is None
    assert on_maps.total_cycles == on_features.total_cycles


def test_as_the_host_has_them_maps_leave_lanes_idle():
    machine = load_architecture("eta_small", {"data.input_layout": "channels"})
    on_maps, on_features = (simulate(machine, perceptron(*shape), batch=3) for shape in ((1, 12, 12), (144, 1, 1)))
    assert on_maps.total_cycles > 1.5 * on_features.total_cycles
