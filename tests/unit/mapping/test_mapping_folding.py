"""When the host folds the input of the first layer."""

from small_networks import conv, network

from etasim.mapping.folding import fold_of
from etasim.workload.layer import LARGEST_SIDE


def first(channels, kernel):
    return network((channels, kernel, kernel), conv("first", 2, kernel=kernel), classes=2).layers[0]


def test_a_fold_that_saves_steps_is_made():
    assert fold_of("columns", [first(3, 3)], lanes=16).folded.in_channels == 9


def test_a_fold_with_more_channels_than_a_layer_may_have_is_none():
    channels = LARGEST_SIDE // 2 + 1
    assert fold_of("columns", [first(channels, 3)], lanes=4) is None
