"""What a plan pays for its first chunk: plans that differed by a cycle in the closed form, and by a third in the machine."""

import pytest

from etasim.config import load_architecture
from etasim.mapping.mapper import asked_of
from etasim.schedule.plan import plan
from etasim.workload import load_network
from etasim.workload.lowering import PHASES


def plan_of(name, batch, **overrides):
    """The plan of an operation of ResNet20 (A) on a machine around eta_vc709."""
    machine = load_architecture("eta_vc709", {key.replace("__", "."): value for key, value in overrides.items()})
    array, asked = asked_of(machine, load_network("resnet20_cifar_a"), batch, PHASES)
    problem, pins = next(each[1:] for each in asked if each[0] == name)
    return plan(array, problem, pins)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("name", ["block1_1_conv1.ff", "block1_3_conv2.bp"])
def test_a_cluster_is_not_fed_all_of_an_operation_at_once_whatever_the_routers_hold(name, depth):
    """Of 256 pixels and two blocks for each: nothing is multiplied while they come, 414 and 488 cycles more in the cycle model than a block
    at a time."""
    keys = {"buffers__error__size": "512 KiB", "buffers__activation__ports": "2RW", "noc__virtual_channels": 4, "unified_core__count": 2}
    found = plan_of(name, 1, noc__buffer_depth=depth, buffers__error__read_latency=4, **keys)
    (shape,) = found.shapes
    assert shape.pixels * shape.slices_per_chunk < 2 * 256


@pytest.mark.parametrize("scratchpad", ["8 KiB", "16 KiB"])
def test_a_pass_of_weight_gradients_is_not_one_chunk_because_it_fits(scratchpad):
    """Four chunks and one multiply as long; the one is fed alone: 1,538 cycles more in the cycle model, of 9,200."""
    keys = {"array__pes_per_cluster": 4, "array__columns": 8, "array__lanes": 4, "array__psum_depth": 128, "noc__buffer_depth": 4}
    found = plan_of("block1_3_conv2.wg", 2, noc__multicast=False, core__clock="300 MHz", array__stationary_scratchpad=scratchpad, **keys)
    (shape,) = found.shapes
    assert max(shape.samples, 1) * shape.pixels < 2 * 1024
