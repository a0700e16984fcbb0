"""When tensors are in DRAM, against every run of bytes that the commands touch there."""

import numpy as np
import pytest
from small_networks import TINY, architecture, conv, layer, network

from etasim.machine.elaborate import elaborate
from etasim.machine.residency import Residency
from etasim.machine.simulation import run
from etasim.mapping import map_iteration
from etasim.mapping.mapper import limits_of
from etasim.program.accesses import accesses

JOINED = network(
    (4, 6, 6), conv("a", 8, kernel=3, padding=1), layer("n", "norm"), conv("b", 8, **{"from": "n"}), layer("both", "concat", "n", "b"),
    conv("c", 4), classes=3,
)  # fmt: skip
HOST = {"host__link_rate": "200 MB/s", "host__latency": "1 us", "host__commands_in_flight": 4}


def resident(machine, mapping, total):
    """Which tensors are in DRAM when."""
    residency = Residency(machine, mapping)
    for program in machine.stretches():
        residency.take(program)
    return residency.arrays(total)


@pytest.mark.parametrize("net", [TINY, JOINED], ids=["tiny", "joined"])
@pytest.mark.parametrize("keys", [{}, HOST], ids=["plain", "host"])
def test_a_tensor_is_there_from_its_first_write_to_its_last_read(net, keys):
    chosen = architecture(**keys)
    mapping = map_iteration(chosen, net, 2)
    machine = elaborate(chosen, mapping)
    total = run(machine, mapping)
    found = resident(machine, mapping, total)
    limits = limits_of(chosen, mapping)
    (runs,) = accesses(machine.program, limits.buffer_bytes, limits.word_bytes, limits.segment_bytes)
    times = machine.states.controller.times[np.argsort(machine.program.commands["order"])]
    for i, tensor in enumerate(mapping.tensors):
        first = runs.base[-1] + tensor.address
        own = (runs.first >= first) & (runs.first < first + max(tensor.n_blocks * tensor.pitch_bytes, 1))
        assert (runs.end[own] <= first + tensor.n_blocks * tensor.pitch_bytes).all()
        reads, writes = (times[runs.command[own & (runs.writes == way)]] for way in (False, True))
        begin = 0 if not len(writes) or (len(reads) and reads[:, 0].min() <= writes[:, 0].min()) else writes[:, 0].min()
        end = 0 if not own.any() else reads[:, 1].max(initial=-1)
        if len(writes) and writes[:, 1].max() >= end:
            end = total
        assert found["tensor_cycles"][i].tolist() == [begin, end], tensor.name
        assert found["tensors"][i].tolist() == [tensor.name, tensor.tensor_class]
        assert found["tensor_bytes"][i] == tensor.n_bytes


def test_weights_stay_and_errors_go():
    chosen = architecture()
    mapping = map_iteration(chosen, TINY, 1)
    machine = elaborate(chosen, mapping)
    total = run(machine, mapping)
    found = resident(machine, mapping, total)
    cycles = dict(zip(map(tuple, found["tensors"].tolist()), found["tensor_cycles"].tolist(), strict=True))
    assert cycles["conv1.weight", "weight"] == [0, total]
    assert all(0 < begin < end < total for (_, kind), (begin, end) in cycles.items() if kind == "error" and end)
