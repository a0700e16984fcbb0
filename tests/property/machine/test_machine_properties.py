"""Any small network runs to its end with all conservation laws holding, and in any order of the parts."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import graphs, single_layers
from small_networks import architecture

from etasim.machine import engine, simulate

KNOBS = {
    "noc__link_width": ["32 bit", "64 bit", "128 bit"],
    "noc__buffer_depth": [4, 6],
    "noc__multicast": [True, False],
    "array__deinterleave_stride": [True, False],
    "core__clock": ["200 MHz", "233 MHz", "900 MHz"],
    "dma__outstanding_bursts": [1, 3, 16],
    "dma__commands_in_flight": [1, 4],
    "controller__queue_depth": [1, 2],
    "buffers__error__ports": ["1RW", "1R1W", "2RW"],
    "dram__channels": [1, 2],
    "dram__page_policy": ["open", "closed", "timeout"],
    "unified_core__lanes": [1, 4],
    "array__zero_insertion": [False, True],
    "array__prefetch": [None, "within_pass"],
    "array__fill__pass": [0, 7],
    "array__fill__phase": [0, 30],
    "buffers__bypass": [None, "stream"],
    "data__input_layout": ["columns", "packed"],
    "numerics__normalization": ["sample", "batch"],
    "training__weight_update": ["end_of_iteration", "after_layer"],
}
quick = settings(max_examples=60)


@quick
@given(single_layers(), st.integers(1, 4))
def test_random_layers_run_with_all_laws(sketch, batch):
    net = sketch.build()
    result = simulate(architecture(), net, batch=batch)
    assert sum(row["macs"] for row in result.layers) == net.useful_macs(batch)


@quick
@given(single_layers(), st.integers(1, 3))
def test_no_row_has_more_useful_macs_than_slots(sketch, batch):
    """Whatever the padding: nobody multiplies for the errors of padding."""
    chosen = architecture()
    slots = chosen.array.macs_per_cycle // chosen.array.clusters
    rows = simulate(chosen, sketch.build(), batch=batch, fidelity="analytical").layers
    assert all(row["macs"] <= slots * row["cluster_busy_cycles"] for row in rows)


@quick
@given(graphs(), st.integers(1, 3), st.fixed_dictionaries({key: st.sampled_from(values) for key, values in KNOBS.items()}))
def test_random_graphs_run_on_random_machines(sketch, batch, knobs):
    net = sketch.build()
    result = simulate(architecture(**knobs), net, batch=batch)
    assert sum(row["macs"] for row in result.layers) == net.useful_macs(batch)
    assert sum(row["cycles"] for row in result.layers) == result.total_cycles


@settings(quick, max_examples=25)
@given(graphs(), st.permutations(range(len(engine.PARTS))), st.sampled_from(KNOBS["core__clock"]))
def test_the_order_of_the_parts_never_matters(sketch, order, clock):
    net, chosen = sketch.build(), architecture(core__clock=clock)
    results = [simulate(chosen, net, batch=1, order=np.array(o)) for o in (engine.ORDER, order)]
    first, second = (json.dumps([r.total_cycles, r.layers, r.components], sort_keys=True) for r in results)
    assert first == second
