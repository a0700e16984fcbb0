"""The buffers' rings, and what the order of commands and their places owe to each other."""

from itertools import pairwise

import pytest
from program_reading import UNIFIED, commands

from etasim import load_architecture, load_network
from etasim.mapping import map_iteration
from etasim.ops.passes import pass_number
from etasim.program.builder import Ring
from etasim.program.commands import STORE


@pytest.mark.parametrize(("sizes", "swaps"), [((256,) * 4, 1), ((256,) * 5, 2), ((512,) * 5, 4), ((640, 640), 0), ((64, 896, 64), 1)])
def test_a_swap_is_counted_when_filling_goes_over_to_the_other_half(sizes, swaps):
    ring = Ring("error", 1024, 64)
    for n_bytes in sizes:
        ring.allocate(n_bytes)
    assert ring.swaps == swaps


def test_a_region_waits_for_all_that_lay_where_it_lies():
    """Two thirds, and what is left of it beside a later one; not for what others have covered, which waited for it themselves."""
    ring = Ring("error", 192, 64)
    for engine, (start, n_bytes) in enumerate([(0, 128), (128, 64), (64, 64)]):
        ring.claim(start, n_bytes).writers[engine] = 1 + engine
    assert ring.claim(0, 64).blockers == {0: 1}
    assert ring.claim(64, 128).blockers == {0: 1, 1: 2, 2: 3}
    assert ring.claim(128, 64).blockers == {0: 1, 1: 2, 2: 3}


@pytest.fixture(scope="module")
def mapping():
    return map_iteration(load_architecture("eta_vc709"), load_network("resnet18_imagenet"), 2)


def test_results_of_a_large_first_layer_alternate_between_places(mapping):
    """A tile of ResNet18's first layer and what it becomes take a third of the error buffer: the next one is drained meanwhile."""
    apply = pass_number("norm_apply")
    places = [
        int(command.row["address"][0])
        for command in commands(mapping.program)
        if command.engine == UNIFIED and command.row["kind"] == apply and mapping.operations[command.operation].layer == "conv1_norm"
    ]
    assert len(places) == 8
    assert all(before != after for before, after in pairwise(places))


def test_gradients_are_stored_behind_the_errors_that_the_unified_core_makes_meanwhile(mapping):
    stored = [mapping.operations[command.operation] for command in commands(mapping.program) if command.engine == STORE]
    labels = [(operation.layer, operation.phase) for operation in stored]
    assert labels.index(("block1_1_conv1", "wg")) > max(i for i, label in enumerate(labels) if label == ("pool1", "bp"))


def test_every_buffer_swaps(mapping):
    assert min(mapping.swaps) > 0
