"""What cannot run is explained: the limit, what it needs and has, and a change with which the iteration is mapped."""

import pytest
from small_networks import architecture, conv, layer, network

from etasim.config import load_architecture
from etasim.estimate.shared import outline
from etasim.mapping import InfeasibleError, map_iteration
from etasim.workload.lowering import PHASES

WIDE = network((4, 8, 8), conv("stem", 4), conv("large", 4, kernel=5), layer("p", "maxpool", kernel=4), classes=3)
DENSE = network((64, 7, 7), conv("c", 64), layer("r", "relu"), {"name": "f1", "op": "linear", "out_channels": 512}, classes=10)
POOL = network((4, 64, 64), conv("c", 4), layer("p", "avgpool", kernel=64), classes=3)


def refusal(chosen, net, batch=1, phases=PHASES):
    """The error of both fidelities, which is the same."""
    with pytest.raises(InfeasibleError) as mapped:
        map_iteration(chosen, net, batch, phases)
    with pytest.raises(InfeasibleError) as outlined:
        outline(chosen, net, batch, phases)
    assert (str(mapped.value), mapped.value.changes) == (str(outlined.value), outlined.value.changes)
    return mapped.value


def is_mended(name, overrides, error, net, batch=1, phases=PHASES):
    changed = load_architecture(name, {key.replace("__", "."): value for key, value in overrides.items()} | error.changes)
    return bool(map_iteration(changed, net, batch, phases).operations)


@pytest.mark.parametrize(
    ("net", "changes", "keys"),
    [
        (WIDE, {"buffers__weight__size": "64 B"}, ["buffers.weight.size"]),
        (WIDE, {"buffers__activation__size": "64 B"}, ["buffers.activation.size"]),
        (WIDE, {"buffers__error__size": "128 B"}, ["buffers.error.size"]),
        (WIDE, {"array__stream_scratchpad": "64 B"}, ["array.stream_scratchpad"]),
        (WIDE, {"array__stationary_scratchpad": "2 B"}, ["array.stationary_scratchpad"]),
        (WIDE, {"array__accumulator_width": "20 bit"}, ["array.accumulator_width"]),
        (WIDE, {"array__lanes": 4}, ["array.lanes"]),
        (WIDE, {"buffers__word_size": "2 B"}, ["buffers.word_size"]),
        (POOL, {"buffers__error__size": "2 KiB"}, ["buffers.error.size"]),
        (WIDE, {"buffers__weight__size": "64 B", "array__stream_scratchpad": "64 B", "array__stationary_scratchpad": "2 B"},
         ["array.stationary_scratchpad", "array.stream_scratchpad", "buffers.weight.size"]),
    ],
)  # fmt: skip
def test_the_suggested_change_mends_the_iteration(net, changes, keys):
    error = refusal(architecture(**changes), net)
    assert sorted(error.changes) == keys
    assert all(key in str(error) for key in keys)
    assert is_mended("eta_small", changes, error, net)


LITTLE_FOR_WEIGHTS = architecture(buffers__weight__size="128 B")


def test_the_weights_between_two_blocks_are_counted():
    """A linear layer over 7 x 7 maps holds 2 outputs x 49 positions x 2 input channels at 8 bit, the least that comes at a time."""
    (reason,) = (reason for reason in refusal(LITTLE_FOR_WEIGHTS, DENSE).reasons if "f1 (bp)" in reason.message)
    assert reason.layer == "f1"
    assert reason.message == (
        "f1 (bp): fits no tiling: buffers.weight.size must hold 196 B, the weights between two blocks of channels, and has 128"
    )


def test_a_smaller_size_than_the_one_needed_mends_nothing():
    error = refusal(LITTLE_FOR_WEIGHTS, DENSE)
    assert error.changes == {"buffers.weight.size": "256 B"}
    one_row_less = load_architecture("eta_small", {"buffers.weight.size": "192 B"})
    assert refusal(one_row_less, DENSE).changes == error.changes


def test_all_layers_are_named_at_once():
    error = refusal(architecture(array__stationary_scratchpad="2 B"), WIDE)
    assert [reason.layer for reason in error.reasons] == ["stem", "stem", "large", "large", "large", "fc", "fc", "fc"]


def test_the_machine_of_the_paper_takes_the_classifier_of_vgg16_for_imagenet_in_parts():
    linear = [{"name": f"f{i}", "op": "linear", "out_channels": 4096, "bias": True} for i in (1, 2)]
    vgg = network((512, 7, 7), conv("c", 512), layer("r", "relu"), linear[0], layer("r1", "relu"), linear[1], classes=1000)
    operations = outline(load_architecture("eta_vc709"), vgg, 8, PHASES).operations
    parts = {row.layer: row.pins["reduction_blocks"] for row in operations if row.phase == "bp" and row.nest}
    assert parts == {"f1": 16, "f2": 16, "fc": 16}


def test_the_machine_of_the_paper_on_a_large_image():
    eta = load_architecture("eta_vc709")
    image = network((3, 1280, 1280), conv("c", 16, kernel=3, stride=2, padding=1), layer("p", "avgpool", kernel=640), classes=10)
    with pytest.raises(InfeasibleError) as caught:
        outline(eta, image, 1, PHASES)
    error = caught.value
    assert set(error.changes) == {"buffers.error.size"}
    assert [reason.layer for reason in error.reasons] == ["p"]
    outline(load_architecture("eta_vc709", error.changes), image, 1, PHASES)


LITTLE_DRAM = {"dram__organisation": {"rows": 8}, "dram__mapping": "ro:3,ba:3,co:7"}
"""8 x 8 x 8 KiB."""


def test_tensors_beyond_the_dram_ask_for_more_of_it_or_a_smaller_batch():
    chosen = load_architecture("eta_small", {key.replace("__", "."): value for key, value in LITTLE_DRAM.items()})
    error = refusal(chosen, POOL, 8)
    (reason,) = error.reasons
    assert "DRAM has 524,288 B; a smaller batch needs less" in reason.message
    assert error.changes == {"dram.channels": 2}
    assert is_mended("eta_small", LITTLE_DRAM, error, POOL, 8)


def test_a_sum_that_no_accumulator_holds_has_no_change():
    wide = {f"data__{name}": "64 bit" for name in ("activation", "weight", "error")}
    error = refusal(architecture(**wide, buffers__word_size="32 B"), DENSE)
    assert error.changes == {}
    assert "products need 134 bits" in str(error)


def test_options_are_quoted_for_a_shell():
    error = InfeasibleError("x", changes={"buffers.weight.size": "49 KiB", "array.lanes": 4})
    assert error.options == "--set 'buffers.weight.size=49 KiB' --set array.lanes=4"
