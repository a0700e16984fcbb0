"""Channel blocks that are smaller than the lanes: which network takes them, and what they save."""

import pytest

from etasim.config import InputError, load_architecture
from etasim.core.errors import InfeasibleError
from etasim.estimate.blocks import in_blocks
from etasim.machine import simulate
from etasim.schedule.array import array_of
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

WIDE = {"array.pes_per_cluster": 32, "array.columns": 32, "buffers.word_size": "64 B"}
DIGITS = load_network("digits_cnn")  # maps of 8 channels
RESNET20 = load_network("resnet20_cifar")  # of 16, 32 and 64


def machine(n_lanes, **keys):
    return load_architecture("eta_vc709", WIDE | {"array.lanes": n_lanes} | {key.replace("__", "."): value for key, value in keys.items()})


def chosen(architecture, network, batch=2):
    return in_blocks(architecture, network, batch, PHASES).channel_block


@pytest.mark.parametrize(
    ("n_lanes", "network", "block"), [(8, DIGITS, 8), (16, DIGITS, 8), (32, DIGITS, 8), (16, RESNET20, 16), (32, RESNET20, 16)]
)
def test_a_network_of_narrow_maps_takes_blocks_that_they_fill(n_lanes, network, block):
    assert chosen(machine(n_lanes), network) == block


def test_a_block_that_is_given_is_kept():
    given = machine(16, data__channel_block=16)
    assert in_blocks(given, DIGITS, 2, PHASES) is given


def test_a_block_holds_whole_groups_of_a_normalization():
    assert chosen(machine(16, numerics__normalization_group=16), DIGITS) == 16
    assert chosen(machine(16, numerics__normalization_group=None), DIGITS) == 16, "null: as many as the lanes"


def test_each_unified_core_has_blocks_of_its_own():
    """Maps of 16 channels are one block of 16, which one core normalizes."""
    two = {"unified_core__count": 2, "array__psum_depth": 32}
    assert chosen(machine(16, **two), RESNET20) == 8
    assert chosen(machine(16), RESNET20) == 16, "one core"


@pytest.mark.parametrize("fidelity", ["cycle", "analytical"])
def test_more_lanes_than_channels_take_no_longer(fidelity):
    """The adder tree of 32 lanes is two stages longer than that of 8."""
    few, many = (simulate(machine(n), DIGITS, batch=4, fidelity=fidelity).total_cycles for n in (8, 32))
    whole = simulate(machine(32, data__channel_block=32), DIGITS, batch=4, fidelity=fidelity).total_cycles
    assert many < 1.01 * few
    assert whole > 2.5 * few


def test_lanes_beyond_a_block_change_neither_traffic_nor_products():
    """FF and BP as on a machine of so many lanes; in WG all lanes take pixels."""
    few, many = (simulate(machine(n), DIGITS, batch=4) for n in (8, 16))
    for name in ("dram_read_activation_bytes", "cluster_busy_cycles"):
        found = [[row.count(name) for row in result.layers if row.phase != "wg"] for result in (few, many)]
        assert found[0] == found[1]
    assert array_of(many.architecture).gradient_lanes == 16
    assert array_of(many.architecture).lanes == 8


def test_a_block_of_more_channels_than_lanes_is_refused():
    with pytest.raises(InputError, match=r"data.channel_block: has no more channels than lanes, array.lanes = 8, got 9"):
        load_architecture("eta_vc709", {"data.channel_block": 9})


def test_a_block_that_the_pes_cannot_share_is_refused_by_its_key():
    with pytest.raises(InfeasibleError, match=r"data.channel_block = 3 must divide array.pes_per_cluster = 8"):
        array_of(load_architecture("eta_vc709", {"data.channel_block": 3}))
