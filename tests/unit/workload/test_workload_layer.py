"""Shape algebra and operation counts of one layer."""

import pytest

from etasim.workload import Layer, NetworkError


def conv(**fields):
    values = {"in_channels": 8, "out_channels": 16, "in_height": 10, "in_width": 12, "kernel_height": 3, "kernel_width": 3}
    return Layer("c", "conv", ("input",), **(values | fields))


@pytest.mark.parametrize(
    ("fields", "out_shape"),
    [
        ({}, (16, 8, 10)),
        ({"pad_height": 1, "pad_width": 1}, (16, 10, 12)),
        ({"pad_height": 1, "pad_width": 1, "stride_height": 2, "stride_width": 2}, (16, 5, 6)),
        ({"stride_height": 3}, (16, 3, 10)),
        ({"kernel_height": 1, "kernel_width": 7, "pad_width": 3}, (16, 10, 12)),
        ({"dilation_height": 2, "dilation_width": 2}, (16, 6, 8)),
        ({"kernel_height": 10, "kernel_width": 12}, (16, 1, 1)),
    ],
)
def test_output_shape(fields, out_shape):
    assert conv(**fields).out_shape == out_shape


def test_macs_count_each_window_position():
    layer = conv(pad_height=1, pad_width=1, stride_height=2, stride_width=3, bias=True)
    assert layer.weights == 16 * 8 * 3 * 3
    assert layer.parameters == layer.weights + 16
    assert layer.macs_per_sample == 5 * 4 * layer.weights
    assert layer.zero_insertion_macs_per_sample("ff") == layer.macs_per_sample
    assert layer.zero_insertion_macs_per_sample("bp") == layer.zero_insertion_macs_per_sample("wg") == 6 * layer.macs_per_sample


@pytest.mark.parametrize(
    ("fields", "pairs_high", "pairs_wide"),
    [
        ({}, 8 * 3, 10 * 3),
        ({"pad_height": 1, "pad_width": 1}, 10 * 3, 12 * 3),
        ({"pad_height": 2, "pad_width": 4}, 10 * 3, 12 * 3),
        ({"in_height": 7, "in_width": 8, "pad_height": 1, "pad_width": 1, "stride_height": 2, "stride_width": 2}, 3 + 4 + 3, 4 + 4 + 4),
        ({"kernel_height": 1, "kernel_width": 1, "pad_height": 1, "stride_width": 5}, 10, 3),
        ({"in_height": 1, "kernel_height": 2, "pad_height": 4, "stride_height": 3}, 1, 30),
    ],
)
def test_macs_of_bp_are_those_that_reach_the_input(fields, pairs_high, pairs_wide):
    layer = conv(**fields)
    assert layer.macs_per_sample_in("bp") == pairs_high * pairs_wide * 16 * 8
    assert layer.macs_per_sample_in("ff") == layer.macs_per_sample_in("wg") == layer.macs_per_sample


def test_layers_without_weights_have_no_macs():
    layer = Layer("s", "shortcut", ("x",), in_channels=16, out_channels=32, in_height=7, in_width=8, stride_height=2, stride_width=2)
    assert [layer.macs_per_sample_in(phase) for phase in ("ff", "bp", "wg")] == [0, 0, 0]


def test_groups_divide_the_work():
    assert conv(groups=8).weights * 8 == conv().weights
    assert conv(groups=8).macs_per_sample * 8 == conv().macs_per_sample


def test_linear_is_a_convolution_of_single_pixels():
    layer = Layer("fc", "linear", ("x",), in_channels=512, out_channels=10, bias=True)
    assert (layer.out_shape, layer.macs_per_sample, layer.parameters) == ((10, 1, 1), 5120, 5130)


def test_shortcut_extends_channels_without_parameters():
    layer = Layer("s", "shortcut", ("x",), in_channels=16, out_channels=32, in_height=7, in_width=8, stride_height=2, stride_width=2)
    assert (layer.out_shape, layer.parameters, layer.macs_per_sample) == ((32, 4, 4), 0, 0)


def test_normalization_has_two_parameters_a_channel():
    layer = Layer("n", "norm", ("x",), in_channels=16, out_channels=16, in_height=7, in_width=8)
    assert (layer.out_shape, layer.parameters, layer.weights) == ((16, 7, 8), 32, 0)


@pytest.mark.parametrize(
    ("fields", "field", "part"),
    [
        ({"kernel_height": 11}, "kernel_height", "spans 11 pixels, the padded input has 10"),
        ({"dilation_width": 6}, "kernel_width", "spans 13 pixels, the padded input has 12"),
        ({"groups": 3}, "groups", "must divide in_channels = 8"),
        ({"groups": 8, "out_channels": 12}, "groups", "must divide out_channels = 12"),
        ({"stride_width": 0}, "stride_width", "from 1 to"),
        ({"pad_width": -1}, "pad_width", "from 0 to"),
        ({"in_channels": 0}, "in_channels", "at least 1"),
        ({"inputs": ("a", "b")}, "inputs", "exactly one input, got 2"),
        ({"kind": "convolution"}, "kind", "unknown kind 'convolution'; allowed: add, avgpool"),
        ({"kind": "relu", "out_channels": 8}, "kernel_height", "does not apply"),
        ({"kind": "relu", "kernel_height": 1, "kernel_width": 1}, "out_channels", "must be the input's 8 channels, got 16"),
        ({"kind": "maxpool", "out_channels": 8, "pad_width": 2}, "pad_width", "half the kernel"),
        ({"kind": "maxpool", "out_channels": 8, "groups": 2}, "groups", "does not apply"),
        ({"kind": "maxpool", "out_channels": 8, "bias": True}, "bias", "does not apply"),
        ({"kind": "linear", "kernel_height": 1, "kernel_width": 1}, "in_height", "flattened"),
        ({"kind": "shortcut", "kernel_height": 1, "kernel_width": 1, "out_channels": 4}, "out_channels", "at least the input's 8"),
        ({"kind": "add", "kernel_height": 1, "kernel_width": 1, "out_channels": 8}, "inputs", "at least two inputs, got 1"),
    ],
)
def test_impossible_layer(fields, field, part):
    inputs = fields.pop("inputs", ("input",))
    kind = fields.pop("kind", "conv")
    values = {"in_channels": 8, "out_channels": 16, "in_height": 10, "in_width": 12, "kernel_height": 3, "kernel_width": 3}
    with pytest.raises(NetworkError) as caught:
        Layer("c", kind, inputs, **(values | fields))
    assert field in {fault.field for fault in caught.value.faults}
    assert any(part in fault.message for fault in caught.value.faults if fault.field == field)
