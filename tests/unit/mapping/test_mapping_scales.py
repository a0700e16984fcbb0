"""Codes that share scales: bytes, copies for a second direction, and the pass that finds the scales (docs/models/scales.md)."""

from collections import Counter
from math import ceil

import pytest
from small_networks import TINY, architecture, conv, layer, network

from etasim import load_architecture, simulate
from etasim.mapping import map_iteration
from etasim.mapping.scales import Stored
from etasim.numerics.block import square_side

ROLES = ("activation", "weight", "error")
CONCATENATION = network(
    (4, 5, 7), conv("stem", 6), conv("a", 6), conv("b", 10, **{"from": "stem"}), layer("joined", "concat", "a", "b"), conv("last", 4),
    classes=3,
)  # fmt: skip


def machine(name, direction="copy", base="eta_small", **more):
    formats = {f"numerics.{role}_format": name for role in ROLES}
    return load_architecture(base, formats | {"numerics.second_direction": direction} | more)


def moved(result, *columns):
    return sum(row.count(column) for row in result.layers for column in columns)


def operation_counts(result, kind):
    return Counter({name: moved(result, f"dram_{kind}_{name}_bytes") for name in ROLES})


def tensors(chosen, net, batch=2):
    return {tensor.name: tensor for tensor in map_iteration(chosen, net, batch).tensors}


def test_a_vector_has_its_part_of_the_scales_that_it_shares():
    """32 channels in blocks of 8 share one scale, which is a quarter of 8 bits to each; 40 share two, 16 one."""
    for channels, bits in ((32, 66), (64, 66), (16, 68), (8, 72), (40, 64 + ceil(16 / 5)), (24, 64 + ceil(8 / 3))):
        net = network((channels, 4, 4), conv("first", channels), conv("second", 8), classes=3)
        found = tensors(machine("mxint8", base="eta_vc709"), net)
        assert found["first.output"].content.stored.vector_bits == bits
        assert found["second.weight"].content.stored.vector_bits == bits
        assert found["first.output.second"].content.stored.vector_bits == 66  # 32 pixels of both samples share one
        assert found["second.weight.second"].content.stored.vector_bits == 72  # 8 output channels


def test_squares_have_no_copy_and_a_scale_for_64_values():
    found = tensors(machine("mxint8", "square", base="eta_vc709"), TINY)
    assert not [name for name in found if name.endswith(".second")]
    assert {tensor.content.stored.vector_bits for tensor in found.values() if tensor.content.stored} == {65}
    assert [square_side(size) for size in (1, 2, 4, 16, 32, 64)] == [1, 2, 2, 4, 8, 8]


def test_rows_begin_at_bytes_and_pieces_follow_each_other():
    codes = Stored(lanes=2, vector_bits=17, row_vectors=5, raw_bits=16)
    assert [codes.bytes_until(element) for element in (0, 2, 4, 8, 10, 12, 20)] == [0, 3, 5, 9, 11, 14, 22]


@pytest.mark.parametrize(("name", "element_bits"), [("mxint8", 8), ("mxfp6_e2m3", 6), ("mxfp4", 4)])
def test_what_the_machine_moves_is_what_the_tensors_hold(name, element_bits):
    """Every output and error is stored once for each direction, whole bursts a plane, and read back from there."""
    chosen = machine(name, **{f"data.{role}": f"{element_bits} bit" for role in ROLES})
    mapped, result = map_iteration(chosen, TINY, 2), simulate(chosen, TINY, batch=2)
    held = Counter()
    for tensor in mapped.tensors:
        if tensor.content.stored is not None and not tensor.from_host:
            held[tensor.tensor_class] += tensor.n_blocks * tensor.n_planes * tensor.plane_pitch_bytes
    assert {role: held[role] for role in ("activation", "weight")} == {
        role: moved(result, f"dram_write_{role}_bytes") for role in ("activation", "weight")
    }
    estimated = simulate(chosen, TINY, batch=2, fidelity="analytical")
    for kind in ("read", "write"):
        of_machine, of_estimate = operation_counts(result, kind), operation_counts(estimated, kind)
        assert of_estimate.pop("weight") == pytest.approx(of_machine.pop("weight"), rel=0.07)  # pieces that begin inside a burst
        assert of_estimate == of_machine


def test_copies_are_written_once_more_and_read_by_one_direction_each():
    found = tensors(machine("mxint8"), TINY)
    seconds = sorted(name for name in found if name.endswith(".second"))
    assert seconds == sorted(
        [f"{name}.error.second" for name in ("conv1", "conv2", "projection", "fc")]
        + [f"{name}.weight.second" for name in ("conv2", "projection", "fc")] + ["conv1.weight.second"]
        + ["input.output.second", "conv1.output.second", "add1.output.second"]
    )  # fmt: skip
    assert found["conv1.output.second"].readers
    assert found["conv1.output.second"].content.stored != found["conv1.output"].content.stored


def test_the_pass_that_finds_scales_takes_time_and_the_directions_cost_what_they_move():
    plain, copied = simulate(architecture(), TINY, batch=2), simulate(machine("mxint8"), TINY, batch=2)
    anew, square = (simulate(machine("mxint8", way), TINY, batch=2) for way in ("requantise", "square"))
    busy = [moved(result, "unified_core_busy_cycles") for result in (plain, square, copied, anew)]
    assert busy[0] < busy[1] == busy[2] < busy[3]
    written = [sum(operation_counts(result, "write").values()) for result in (plain, square, copied)]
    assert written[0] <= written[1] < written[2]
    assert moved(anew, "dram_read_activation_bytes") > moved(copied, "dram_read_activation_bytes")
    assert plain.total_cycles < copied.total_cycles < anew.total_cycles


@pytest.mark.parametrize("direction", ["copy", "requantise", "square"])
def test_a_concatenation_shares_scales_over_all_of_its_channels(direction):
    chosen = machine("mxfp8_e4m3", direction, base="eta_vc709")
    found = tensors(chosen, CONCATENATION)
    bits = 64 + 8 * 8 // 24 + 1 if direction != "square" else 65  # 6 and 10 channels in blocks of 8 take 24
    assert found["joined.output"].content.stored.vector_bits == bits
    assert "a.output" not in found
    assert simulate(chosen, CONCATENATION, batch=2).total_cycles > 0


def test_scales_of_tensors_move_nothing():
    """Real and tracked scales of whole tensors: the program of integers with a shared exponent."""
    plain = simulate(architecture(), TINY, batch=2)
    for name in ("int8", "dfx8", "bfp8"):
        assert simulate(machine(name), TINY, batch=2).total_cycles == plain.total_cycles


def test_codes_of_four_bits_need_a_format_with_scales():
    with pytest.raises(Exception, match=r"data\.weight has 4 bit, which only formats with scales have"):
        load_architecture("eta_small", {"data.weight": "4 bit"})
    with pytest.raises(Exception, match=r"mxfp4 has 4 bit, data\.weight has 8 bit"):
        load_architecture("eta_small", {"numerics.weight_format": "mxfp4"})


@pytest.mark.parametrize("direction", ["copy", "requantise", "square"])
@pytest.mark.parametrize(
    "other",
    [
        {"buffers.second": {"size": "32 KiB", "banks": 4, "ports": "1R1W", "read_latency": 4}}, {"array.zero_insertion": True},
        {"unified_core.count": 2}, {"numerics.normalization": "running"}, {"numerics.normalization": "batch"}, {"noc.reduction": True},
        {"training.weight_update": "after_layer"}, {"array.deinterleave_stride": False}, {"buffers.ideal": True, "noc.ideal": True},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_machines_of_all_kinds_carry_scales_and_the_estimate_follows(other, direction):
    """The program is valid, laws of the run hold, and the closed form is as near as it is elsewhere on so small a network."""
    chosen = machine("mxfp6_e3m2", direction, **{f"data.{role}": "6 bit" for role in ROLES}, **other)
    cycles, estimated = (simulate(chosen, TINY, batch=2, fidelity=fidelity).total_cycles for fidelity in ("cycle", "analytical"))
    assert estimated == pytest.approx(cycles, rel=0.3)
