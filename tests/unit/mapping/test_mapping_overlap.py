"""What an operation takes among its neighbours: the closed form that plans are chosen by."""

import pytest

from etasim.config import load_architecture
from etasim.mapping.mapper import asked_of
from etasim.schedule.array import array_of
from etasim.schedule.overlap import Buffering, Demand, operation_cycles, unified_cycles
from etasim.schedule.problem import Follow
from etasim.workload import load_network

ARRAY = array_of(load_architecture("eta_vc709")).numbers


def taken(array_cycles, n_tiles, core_is_next):
    """Cycles of an operation of four samples whose operands are there, and those of the unified core for all its tiles."""
    follow = Follow(4, 24.0, 0.0, 0.0, 16.0, False, False, core_is_next)
    demand = Demand(
        n_tiles, 1, 4096, 2, array_cycles, (0.0, 0.0, 0.0, 0.0), (Buffering(1, 0), Buffering(1, 0)), 8, 0.0, 0.75, 0.0, 4
    )  # fmt: skip
    return operation_cycles(ARRAY, follow, demand), unified_cycles(ARRAY, follow, demand)


@pytest.mark.parametrize("n_tiles", [2, 4, 8])
def test_passes_stand_out_where_the_unified_core_is_next(n_tiles):
    """The array is the slower: the passes of the last tile come behind it, unless the next operation multiplies beside them."""
    covered, passes = taken(20_000.0, n_tiles, core_is_next=False)
    alone, _ = taken(20_000.0, n_tiles, core_is_next=True)
    assert passes < 10_000
    assert covered == 20_000
    assert alone == pytest.approx(20_000 + ARRAY.rates.drain_cycles + passes / n_tiles)


def test_nothing_stands_out_where_the_unified_core_is_the_slower():
    """It goes on with what comes next."""
    found = [taken(100.0, 4, core_is_next) for core_is_next in (False, True)]
    assert found[0] == found[1]
    assert found[0][0] == pytest.approx(found[0][1])


@pytest.mark.parametrize("batch", [1, 2])
def test_sums_pooling_and_loss_are_the_unified_cores(batch):
    _, asked = asked_of(load_architecture("eta_vc709"), load_network("resnet20_cifar"), batch, ("ff", "bp", "wg", "wu"))
    found = {each.name for each in asked if each.problem.follow.core_is_next}
    last = {"block2_1_shortcut", "block3_1_shortcut", "fc"}
    last |= {f"block{stage}_{i}_conv2" for stage in (1, 2, 3) for i in (1, 2, 3) if stage == 1 or i > 1}
    assert found == {f"{name}.ff" for name in last}
