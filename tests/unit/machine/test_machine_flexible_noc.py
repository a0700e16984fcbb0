"""The main machine's network matters: its stalls react to links, buffers and multicast; multicast saves what the routes say."""

from functools import lru_cache

import numpy as np
import pytest
from command_line import invoke
from small_networks import conv, layer, network

from etasim.config import load_architecture
from etasim.core.registry import ROUTING_POLICIES
from etasim.machine import simulate
from etasim.mapping import map_iteration
from etasim.noc.topology import EAST, WEST

NET = network((16, 8, 8), conv("c", 16, kernel=3, padding=1), layer("n", "norm"), layer("r", "relu"), conv("d", 32), classes=8)


@lru_cache
def run(**overrides):
    """An iteration on eta_vc709."""
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    return simulate(load_architecture("eta_vc709", keys), NET, batch=2)


def stalls(result):
    """Cycles that flits waited in the network or in front of it."""
    waits = ("stall_cycles", "queue_cycles")
    return sum(n for counters in result.components["noc"] for name, n in counters.items() if name.endswith(waits))


@pytest.mark.parametrize(
    ("key", "worse", "better"),
    [("noc__link_width", "64 bit", "256 bit"), ("noc__buffer_depth", 2, 8), ("noc__multicast", False, True)],
)
def test_stalls_of_the_network_react(key, worse, better):
    slow, fast = run(**{key: worse}), run(**{key: better})
    assert stalls(slow) > stalls(fast)
    assert slow.total_cycles > fast.total_cycles


PINNED = {"*.ff": {"clusters_k": 4}, "*.bp": {"clusters_c": 4}, "*.wg": {"clusters_k": 2}}
"""One mapping for both: the planner would choose another one where copies cost reads and flits."""


def test_without_multicast_reads_and_flits_grow_by_the_destinations_of_the_routes():
    planned = map_iteration(load_architecture("eta_vc709", {"mapping": PINNED}), NET, 2)
    pins = {f"{row.layer}.{row.phase}": row.pins for row in planned.operations if row.nest}
    architecture, unicast = (load_architecture("eta_vc709", {"mapping": pins, "noc.multicast": on}) for on in (True, False))
    with_it, without = (simulate(chosen, NET, batch=2) for chosen in (architecture, unicast))
    mapping = map_iteration(architecture, NET, 2)
    feeds = mapping.program.feeds
    copies = np.array([len(route.destinations) for route in mapping.routes])[feeds["route"]]
    packet_flits = architecture.buffers.word_size_bytes * 8 // architecture.noc.link_width_bits
    grown = set()
    for i, (row, other) in enumerate(zip(with_it.layers, without.layers, strict=True)):
        for stream, operand, buffer in ((0, "stream", "activation"), (1, "stationary", "weight")):
            of_row = (feeds["operation"] == i) & (feeds["stream"] == stream)
            once, each = int(feeds["n_packets"][of_row].sum()), int((feeds["n_packets"] * copies)[of_row].sum())
            assert (row[f"{buffer}_buffer_reads"], other[f"{buffer}_buffer_reads"]) == (once, each)
            assert (row[f"{operand}_flits"], other[f"{operand}_flits"]) == (once * packet_flits, each * packet_flits)
            grown.add(each / once if once else 1)
        assert row["psum_flits"] == other["psum_flits"]
    assert max(grown) == 4


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda topology, router, node: EAST, "which has no link"),
        (lambda topology, router, node: EAST if router % topology.columns == 0 else WEST, "never arrives"),
    ],
)
def test_routes_that_cannot_work_end_the_command_with_status_2(monkeypatch, tmp_path, policy, message):
    monkeypatch.setitem(ROUTING_POLICIES._items, "xy", policy)
    result = invoke("run", "eta_vc709", "resnet20_cifar", "--batch", "1", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
