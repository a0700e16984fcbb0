"""Running scales in the machine: the same values as the reference, whole planes or pieces of them, and nothing that waits in DRAM."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import graphs
from small_networks import TINY, architecture, conv, layer, network, with_pins

from etasim import simulate
from etasim.mapping import InfeasibleError
from etasim.mapping.mapper import asked_of
from etasim.numerics.errors import NumericsError
from etasim.schedule.plan import plan
from etasim.workload.lowering import PHASES

RUNNING = {"numerics__normalization": "running"}


def values_of(net, batch, overrides=(), **options):
    """A functional run, which must be exact."""
    result = simulate(architecture(**RUNNING | dict(overrides)), net, batch=batch, functional=True, **options)
    assert str(result.values.mismatch) == "None"
    return result


VARIANTS = {
    "usual": {},
    "update after each layer": {"training__weight_update": "after_layer"},
    "weight decay": {"training__weight_decay": 0.01},
    "reciprocal by shift": {"numerics__reciprocal": "shift"},
    "one segment": {f"numerics__{name}_segments": 1 for name in ("activation", "weight", "error")},
    "input as it is": {"data__input_layout": "channels"},
    "input by windows": {"data__input_layout": "window"},
    "small buffers": {f"buffers__{name}__size": "1 KiB" for name in ("activation", "weight", "error")},
    "all ideal": {f"{part}__ideal": True for part in ("dram", "noc", "buffers", "unified_core")},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_the_machine_is_exact(variant):
    values_of(TINY, 3, VARIANTS[variant])


NORMED = network(
    (3, 20, 24),
    conv("conv1", 6, kernel=3, padding=1), layer("norm1", "norm"), layer("relu1", "relu"),
    conv("conv2", 6, kernel=3, stride=2, padding=1, groups=3), layer("norm2", "norm"),
    conv("conv3", 12, kernel=3, padding=1, groups=6), layer("norm3", "norm"), layer("relu3", "relu"),
    layer("pool", "avgpool", kernel=2, stride=2), classes=3,
)  # fmt: skip
"""Groups of two channels, and maps that a small error buffer holds in pieces only."""


@pytest.mark.parametrize("error_buffer", ["32 KiB", "4 KiB"])
def test_planes_in_pieces_are_exact_and_need_no_way_round(error_buffer):
    chosen = {"buffers__error__size": error_buffer}
    machine = architecture(**RUNNING, **chosen)
    if error_buffer == "4 KiB":
        machine = with_pins(machine, {"conv2.bp": {"band_rows": 10}})
    result = simulate(machine, NORMED, batch=2, functional=True)
    assert result.values.mismatch is None
    assert sum(row["dram_read_pre_normalization_bytes"] + row["dram_write_pre_normalization_bytes"] for row in result.layers) == 0
    array, asked = asked_of(machine, NORMED, 2, PHASES)
    plans = {each.name: plan(array, each.problem, each.pins) for each in asked}
    in_pieces = {name for name, found in plans.items() if len({(band.first_row, band.end_row) for band in found.bands}) > 1}
    assert (error_buffer == "32 KiB") or {"conv1.ff", "conv2.bp"} <= in_pieces


def test_iterations_that_follow_each_other_are_exact_and_move_the_running_values():
    values = values_of(TINY, 2, {"training__learning_rate": 0.05}, iterations=6).values
    assert values.steps[-1].loss < values.steps[0].loss
    spreads = values["norm1.running_spread"].integers
    assert len(set(spreads.tolist())) > 1
    assert values["norm1.radial"].integers.any()
    weights = values["conv1.master_weight"].real()
    assert abs(weights.mean((1, 2, 3))).max() < 2**-10 * abs(weights).max()


def test_what_survives_can_be_started_from():
    first = values_of(TINY, 2, iterations=2).values
    names = {"norm1.running_spread", "norm1.radial", "norm2.running_spread", "norm2.radial"}
    assert names <= first.state.keys()
    again = values_of(TINY, 2, tensors=first.state)
    assert again.values.mismatch is None


@settings(max_examples=12)
@given(graphs(), st.integers(1, 3))
def test_random_graphs_are_exact(sketch, batch):
    try:
        values_of(sketch.build(), batch)
    except (InfeasibleError, NumericsError):
        assume(False)
