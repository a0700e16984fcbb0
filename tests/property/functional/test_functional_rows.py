"""Rows that are cut by themselves: a tile is a part of a row and brings its own columns only; values stay exact."""

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from random_networks import convolution_entries
from small_networks import architecture, conv, network, one_convolution

from etasim import simulate
from etasim.mapping import InfeasibleError, map_iteration

SCRATCHPADS = {
    "array__stream_scratchpad": ["32 B", "64 B", "96 B"],
    "array__stationary_scratchpad": ["16 B", "64 B", "512 B"],
    "array__psum_depth": [1, 2, 4],
    "buffers__weight__size": ["64 B", "16 KiB"],
    "array__deinterleave_stride": [False, True],
    "noc__multicast": [False, True],
}
MACHINES = st.fixed_dictionaries({key: st.sampled_from(values) for key, values in SCRATCHPADS.items()})


def cut_by_row(mapping):
    """Operations whose tiles are parts of rows."""
    pins = {f"{row.layer}.{row.phase}": row.pins for row in mapping.operations if row.nest}
    return [name for name, own in pins.items() if any(tile.get("by_row") for tile in own["tiles"])]


@st.composite
def wide_layers(draw):
    """A convolution over maps of few rows."""
    channels, height, width = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(9, 40))
    return (channels, height, width), draw(convolution_entries("target", channels, height, width, 5))


NO_PIXEL_MET = (2, 1, 9), conv("target", 4, kernel=[2, 5], padding=[[2, 2], [0, 0]], stride=[3, 2])
"""Windows of two rows in steps of three, above and below the only row of the map: no product needs a weight."""


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(wide_layers(), st.integers(1, 3), MACHINES)
@example(NO_PIXEL_MET, 1, {key: values[0] for key, values in SCRATCHPADS.items()})
def test_parts_of_rows_give_exact_values(layer, batch, keys):
    machine, net = architecture(**keys), one_convolution(*layer, classes=1)
    try:
        assume(cut_by_row(map_iteration(machine, net, batch)))
    except InfeasibleError:
        assume(False)
    run = simulate(machine, net, batch=batch, functional=True)
    assert run.values.mismatch is None


def test_rows_are_cut_only_where_they_do_not_fit():
    strided = (conv(name, 4, kernel=3, padding=1, stride=2) for name in "bc")
    net = network((4, 4, 64), conv("a", 4, kernel=3, padding=1), *strided, classes=2)
    assert cut_by_row(map_iteration(architecture(), net, 2)) == []
    assert cut_by_row(map_iteration(architecture(array__stream_scratchpad="384 B"), net, 2)) == ["a.ff", "b.wg", "a.wg"]
