"""Arrays of two shapes, passes without prefetch, operands that pass the buffers, packed inputs, and what stands between chunks."""

import numpy as np
import pytest
from small_networks import TINY, architecture, conv, finished, layer, network

from etasim.config import InputError, load_architecture
from etasim.machine import simulate
from etasim.mapping import InfeasibleError, map_iteration
from etasim.program.commands import engines_of

SHAPE = {"array__weight_gradient__columns": 8, "array__weight_gradient__lanes": 1}
STREAM = {"buffers__bypass": "stream"}
WITHIN = {"array__prefetch": "within_pass"}
WIDE = network(
    (2, 32, 32), conv("a", 4, kernel=3, padding=1), conv("b", 4, kernel=3, padding=1), layer("c", "avgpool", kernel=32), classes=2
)
"""Rows of a channel block are a burst."""
CASES = [SHAPE, WITHIN, STREAM, {"data__input_layout": "packed"}, {"array__fill__pass": 9, "array__fill__sweep": 2}]


def of_phase(result, phase, figure="cluster_busy_cycles"):
    return sum(row[figure] for row in result.layers if row["phase"] == phase)


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_model_and_estimate_move_and_multiply_the_same(changes):
    """The cycle model ends with every conservation law checked."""
    exact, estimated = (simulate(architecture(**changes), WIDE, batch=2, fidelity=fidelity) for fidelity in ("cycle", "analytical"))
    for figure in ("cluster_busy_cycles", "dram_read_activation_bytes", "dram_read_error_bytes"):
        rows = ([row[figure] for row in result.layers if row["kind"] == "conv"] for result in (exact, estimated))
        assert next(rows) == next(rows), figure
    assert abs(estimated.total_cycles / exact.total_cycles - 1) < 0.25


def test_the_shape_of_wg_moves_wg_alone():
    plain, shaped = (simulate(architecture(**changes), TINY, batch=2) for changes in ({}, SHAPE))
    assert [of_phase(plain, phase) == of_phase(shaped, phase) for phase in ("ff", "bp", "wg")] == [True, True, False]


def test_a_multiplier_with_a_sum_of_its_own_takes_a_cycle_a_pixel():
    """One block of 2 x 8 channels and a pixel a cycle: 36 pixels, 9 taps, 4 input channels, 8 output channels."""
    net = network((8, 6, 6), conv("a", 8), conv("b", 8, kernel=3, padding=1), classes=2)
    auto = {"noc__columns": "auto", "noc__rows": "auto", "noc__placement": "auto"}
    machine = architecture(array__pes_per_cluster=8, array__clusters=1, **auto, **SHAPE)
    (row,) = [row for row in simulate(machine, net, batch=1).layers if (row["layer"], row["phase"]) == ("b", "wg")]
    assert row["cluster_busy_cycles"] == 36 * 9


def test_no_feed_of_a_pass_is_issued_before_the_pass_before_is_multiplied():
    chosen = architecture(array__prefetch="within_pass")
    mapping, machine, _ = finished(chosen, TINY, 2)
    program, times, engines = mapping.program, machine.states.controller.times, machine.program.engine_start
    computes = [e for e in range(len(engines) - 1) if engines[e + 1] > engines[e] and e in engines_of(program).computes]
    for engine in computes:
        own = slice(engines[engine], engines[engine + 1])
        first = program.computes["first"][program.commands["row"][own]] == 1
        order, ended = program.commands["order"][own], times[own, 1]
        for feeder in (4, 5):
            feeds = slice(engines[feeder], engines[feeder + 1])
            reaches = np.array([len(mapping.routes[program.feeds["route"][row]].destinations) for row in program.commands["row"][feeds]])
            chunk = np.searchsorted(order, program.commands["order"][feeds])
            begins = (reaches == chosen.array.clusters) & (chunk < len(order)) & (chunk > 0)
            begins[begins] &= first[chunk[begins]]
            assert (times[feeds, 0][begins] >= ended[chunk[begins] - 1]).all()


def test_prefetch_over_the_border_of_a_pass_is_never_slower():
    plain, waiting = (simulate(architecture(**changes), TINY, batch=2).total_cycles for changes in ({}, WITHIN))
    assert plain < waiting


def test_a_fifo_holds_a_piece_and_every_feed_has_loads_of_its_own():
    chosen = architecture(**STREAM)
    program = map_iteration(chosen, TINY, 2).program
    loads, feeds = (np.diff(program.engine_start)[engine] for engine in (0, 4))
    assert loads == feeds
    assert program.transfers["run_bytes"].max() <= chosen.buffers.activation.size_bytes


def test_channels_of_a_packed_input_take_a_power_of_two():
    """3 channels of 8 bit in 4 bytes where blocks of 2 lanes take 4; with 4 lanes and more they take half, or less, of a block."""
    machine = load_architecture("eta_vc709", {"data.input_layout": "packed"})
    net = network((3, 8, 8), conv("a", 8, kernel=3, padding=1), classes=2)
    (row,) = [row for row in simulate(machine, net, batch=1).layers if (row["layer"], row["phase"]) == ("a", "ff")]
    assert row["dram_read_activation_bytes"] == 8 * 8 * 4


def test_what_stands_between_chunks_is_booked_as_fill():
    plain, filled = (simulate(architecture(**changes), TINY, batch=2, phases=("ff",)) for changes in ({}, {"array__fill__pass": 50}))
    assert of_phase(filled, "ff", "fill_drain_cycles") > of_phase(plain, "ff", "fill_drain_cycles")
    assert filled.total_cycles > plain.total_cycles


def test_turning_to_another_phase_takes_its_cycles_once_a_turn():
    ideal = {"dram__ideal": True, "noc__ideal": True, "buffers__ideal": True, "unified_core__ideal": True}
    plain, turning = (simulate(architecture(**ideal, **changes), TINY).total_cycles for changes in ({}, {"array__fill__phase": 100}))
    assert turning - plain > 100


def test_the_shapes_must_have_the_same_multipliers():
    with pytest.raises(InputError, match=r"array.weight_gradient: columns \* lanes must be array.columns \* array.lanes = 8"):
        load_architecture("eta_small", {"array.weight_gradient.columns": 4, "array.weight_gradient.lanes": 1})


def test_what_bypasses_the_buffers_meets_no_second_level():
    with pytest.raises(InputError, match=r"buffers\.bypass: loads for each feed, which neither"):
        load_architecture("eta_small", {"buffers.bypass": "stream", "buffers.ideal": True})


def test_a_float_accumulator_never_overflows():
    narrow = {"array.accumulator_width": "16 bit"}
    with pytest.raises(InfeasibleError, match=r"array\.accumulator_width is 16"):
        simulate(load_architecture("eta_small", narrow), TINY)
    assert simulate(load_architecture("eta_small", narrow | {"array.accumulator": "float"}), TINY).total_cycles


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        (SHAPE, "array.weight_gradient"), (STREAM, "buffers.bypass"), ({"data__input_layout": "packed"}, "data.input_layout"),
        ({"array__accumulator": "float"}, "array.accumulator"),
    ],
)  # fmt: skip
def test_values_of_what_is_timed_only_are_refused_with_the_key(changes, key):
    with pytest.raises(InfeasibleError, match=f"values: {key} must"):
        simulate(architecture(**changes), TINY, functional=True)
