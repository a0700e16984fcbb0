"""Reductions whose operands come in parts, the psums keeping the sums in between, and slices that leave PEs idle: values stay exact."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import graphs, single_layers
from small_networks import architecture, conv, network, with_pins

from etasim import simulate
from etasim.mapping import InfeasibleError, map_iteration
from etasim.workload.lowering import PHASES

BUFFERS = {
    "buffers__activation__size": ["128 B", "256 B", "16 KiB"],
    "buffers__weight__size": ["64 B", "256 B", "1 KiB"],
    "array__stream_scratchpad": ["64 B", "1 KiB"],
    "array__stationary_scratchpad": ["64 B", "512 B"],
    "array__psum_depth": [4, 8, 64],
    "array__deinterleave_stride": [False, True],
    "noc__multicast": [False, True],
}
MACHINES = st.fixed_dictionaries({key: st.sampled_from(values) for key, values in BUFFERS.items()})
PARTS = {"*.ff": {"reduction_blocks": 1}, "*.bp": {"reduction_blocks": 1}}


def parts_of(mapping):
    """Operations whose operands come in parts."""
    nests = {f"{row.layer}.{row.phase}": row.nest for row in mapping.operations if row.nest}
    return [name for name, nest in nests.items() if not name.endswith("wg") and any(axis.name == "streams" for axis in nest.axes)]


def is_exact(machine, net, batch):
    """A run with values, held against the reference; no example if the network fits no tiling."""
    try:
        run = simulate(machine, net, batch=batch, functional=True)
    except InfeasibleError:
        assume(False)
    assert run.values.mismatch is None


@settings(max_examples=80)
@given(st.one_of(single_layers(kernels=5), graphs()), st.integers(1, 3))
def test_operands_in_parts_give_exact_values(sketch, batch):
    is_exact(with_pins(architecture(), PARTS), sketch.build(), batch)


@settings(max_examples=40)
@given(st.one_of(single_layers(kernels=5), graphs()), st.integers(1, 3), st.sampled_from([2, 4]), st.integers(1, 3))
def test_slices_of_fewer_blocks_than_the_pes_cover_give_exact_values(sketch, batch, pe_blocks, blocks):
    lanes = architecture().array.lanes
    machine = architecture(array__pes_per_cluster=pe_blocks * lanes)
    is_exact(with_pins(machine, {"*": {"result_slices": 1, "slice_blocks": min(blocks, pe_blocks)}}), sketch.build(), batch)


@settings(max_examples=80)
@given(st.one_of(single_layers(kernels=5), graphs()), st.integers(1, 3), MACHINES)
def test_so_they_do_in_buffers_that_are_too_small_for_a_reduction(sketch, batch, keys):
    is_exact(architecture(**keys), sketch.build(), batch)


def test_operands_that_do_not_fit_whole_come_in_parts():
    net = network((16, 6, 6), conv("a", 16, kernel=3, padding=1), conv("b", 16, kernel=3, padding=1), classes=3)
    small = architecture(buffers__weight__size="256 B", buffers__activation__size="512 B")
    assert {"b.ff", "b.bp"} <= set(parts_of(map_iteration(small, net, 2, PHASES)))
