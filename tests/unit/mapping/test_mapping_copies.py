"""Stretches of commands that repeat are copied; written one by one they are the same."""

import numpy as np
import pytest
from small_networks import TINY, architecture, conv, layer, network

from etasim.config import load_architecture
from etasim.mapping.mapper import emit, walk_iteration
from etasim.program.repeats import WAIT, needed
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

DEEP = network(
    (4, 9, 7),
    *(each for i in range(3) for each in (conv(f"conv{i}", 8, kernel=3, padding=1), layer(f"norm{i}", "norm"), layer(f"relu{i}", "relu"))),
    conv("wide", 4, kernel=[3, 2], stride=[2, 1], padding=[1, 0]), conv("groups", 8, groups=2), classes=5,
)  # fmt: skip
TIGHT = {"buffers__activation__size": "512 B", "buffers__weight__size": "1 KiB"}
SECOND = {
    "buffers__second__size": "2 KiB", "buffers__second__banks": 4, "buffers__second__ports": "1R1W", "buffers__second__read_latency": 3,
}  # fmt: skip
MACHINES = {
    "tiny": {}, "tight": TIGHT, "second level": SECOND, "tight, second level": SECOND | TIGHT, "one by one": {"noc__multicast": False},
    "zeros inserted": {"array__zero_insertion": True}, "ideal": {"buffers__ideal": True, "noc__ideal": True},
}  # fmt: skip


def programs(machine, net, batch):
    """The program with copies and without, and how many commands were copied."""
    both = []
    for copies in (True, False):
        _, context = walk_iteration(machine, net, batch, PHASES, lambda iteration, copies=copies: emit(iteration, copies))
        both.append(context.builder.build())
        n_copied = sum(len(each.standings) * len(each.stretch.commands) for each in context.builder.repeats)
        both.append(n_copied)
    assert both[3] == 0
    return both[0], both[2], both[1]


def assert_same(one, other):
    for name, ours, theirs in zip(one._fields, one, other, strict=True):
        assert np.array_equal(ours, theirs), name


@pytest.mark.parametrize("net", [TINY, DEEP], ids=["residual", "deep"])
@pytest.mark.parametrize("keys", MACHINES.values(), ids=MACHINES)
def test_copied_commands_are_those_that_would_be_written(net, keys):
    """On machines whose pieces come by several engines, in parts, to clusters one by one; an ideal machine copies nothing."""
    copied, written, n_copied = programs(architecture(**keys), net, 3)
    assert_same(copied, written)
    assert (n_copied > 0) == ("buffers__ideal" not in keys)


def test_most_commands_of_a_large_network_are_copied():
    """ResNet20: from layer to layer as well, for equal ones are laid out alike."""
    copied, written, n_copied = programs(load_architecture("eta_vc709"), load_network("resnet20_cifar"), 3)
    assert_same(copied, written)
    assert n_copied > len(copied.commands) / 3


def test_an_engine_waits_for_what_it_does_not_know():
    """Waits for nothing, for itself, and for less than before are dropped, however they are sorted; other engines do not know what it
    knows."""
    engine_at = np.array([0, 1, 0, 1, 2])
    waits = np.array([(4, 1, 2), (1, 0, 1), (2, 1, 0), (2, 0, 1), (2, 1, 1), (3, 0, 2), (3, 0, 1), (4, 0, 1)], WAIT)
    assert needed(waits, engine_at, np.zeros((3, 3), np.int64)).tolist() == [(1, 0, 1), (2, 1, 1), (3, 0, 2), (4, 0, 1), (4, 1, 2)]
