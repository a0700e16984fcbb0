"""Whatever the way of the tensors, through a second level of any size and from a host of any rate: the values are exact, all laws hold, the
order of the parts changes nothing, and an estimate moves the bytes that the host brings."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import graphs
from small_networks import architecture

from etasim import simulate
from etasim.machine import engine
from etasim.report.metrics import summary

SECOND = {
    "buffers__second__size": [f"{n} B" for n in (64, 192, 512, 1024, 3072, 65536)],
    "buffers__second__banks": [1, 2, 4],
    "buffers__second__ports": ["1RW", "1R1W", "2RW"],
    "buffers__second__read_latency": [1, 2, 9],
}
HOST = {
    "host__link_rate": ["5 MB/s", "333 MB/s", "60 GB/s"],
    "host__latency": ["1 ns", "700 ns"],
    "host__commands_in_flight": [1, 3],
}
OTHERS = {
    "dram__channels": [1, 2],
    "dma__outstanding_bursts": [1, 16],
    "buffers__activation__size": ["4 KiB", "16 KiB"],
    "unified_core__count": [1, 2],
    "training__weight_update": ["end_of_iteration", "after_layer"],
}


def chosen(keys):
    return st.fixed_dictionaries({key: st.sampled_from(values) for key, values in keys.items()})


@settings(max_examples=40)
@given(
    graphs(), st.integers(1, 3), chosen(SECOND), st.one_of(st.just({}), chosen(HOST)), chosen(OTHERS),
    st.permutations(range(len(engine.ORDER))),
)  # fmt: skip
def test_random_graphs_on_random_paths(sketch, batch, second, host, others, order):
    net, machine = sketch.build(), architecture(**(second | host | others))
    run = simulate(machine, net, batch=batch, functional=True)
    assert run.values.mismatch is None
    plain, estimate = simulate(machine, net, batch=batch, order=np.array(order)), simulate(machine, net, batch=batch, fidelity="analytical")
    assert (plain.total_cycles, plain.layers) == (run.total_cycles, run.layers)
    without = simulate(architecture(**others), net, batch=batch)
    assert summary(run)["dram_write_bytes"] == summary(without)["dram_write_bytes"] + sum(row.get("host_bytes", 0) for row in run.layers)
    assert [row.get("host_bytes") for row in estimate.layers] == [row.get("host_bytes") for row in run.layers]
