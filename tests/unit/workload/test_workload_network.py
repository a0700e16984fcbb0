"""Networks as graphs: order, phases, and what cannot be a network."""

import pickle
from dataclasses import replace

import pytest

from etasim.workload import Layer, Network, NetworkError, Shape, load_network

INPUT_SHAPE = Shape(3, 8, 8)
CONV = Layer("conv", "conv", ("input",), 3, 4, 8, 8, kernel_height=3, kernel_width=3, pad_height=1, pad_width=1)
RELU = Layer("relu", "relu", ("conv",), 4, 4, 8, 8)
SECOND = replace(CONV, name="second", inputs=("relu",), in_channels=4, stride_height=2, stride_width=2)
ADD = Layer("add", "add", ("conv", "relu"), 4, 4, 8, 8)
FC = Layer("fc", "linear", ("second",), 64, 10)


def network(*layers, classes=10):
    return Network("n", INPUT_SHAPE, classes, layers)


def test_layers_are_sorted_and_the_loss_is_added():
    built = network(FC, SECOND, RELU, CONV)
    assert [layer.name for layer in built.layers] == ["conv", "relu", "second", "fc", "loss"]
    assert built == network(CONV, RELU, SECOND, FC)
    assert built == network(*built.layers)
    assert built["loss"].inputs == ("fc",)
    assert [layer.name for layer in built.consumers("conv")] == ["relu"]
    assert pickle.loads(pickle.dumps(built)) == built


def test_first_layer_has_no_backward_pass():
    built = network(CONV, RELU, SECOND, FC)
    assert [built.phases_of(layer) for layer in built.layers] == [("ff", "wg"), (), ("ff", "bp", "wg"), ("ff", "bp", "wg"), ()]
    work = {layer.name: layer.macs_per_sample for layer in built.layers}
    assert work == {"conv": 8 * 8 * 4 * 27, "relu": 0, "second": 4 * 4 * 4 * 36, "fc": 640, "loss": 0}
    assert built.useful_macs(3) == 3 * (2 * work["conv"] + 3 * work["second"] + 3 * work["fc"])
    assert built.macs(1, ("bp",)) == work["second"] + work["fc"]
    assert built.zero_insertion_macs(2) - built.useful_macs(2) == 2 * 2 * 3 * work["second"]


def test_untrained_layers_before_the_first_weight_need_no_gradient():
    pool = Layer("pool", "avgpool", ("input",), 3, 3, 8, 8, kernel_height=2, kernel_width=2, stride_height=2, stride_width=2)
    fc = Layer("fc", "linear", ("pool",), 48, 10)
    built = network(pool, fc)
    assert not built.has_input_gradient("pool")
    assert not built.has_input_gradient("fc")
    assert built.has_input_gradient("loss")


@pytest.mark.parametrize(
    ("layers", "layer", "part"),
    [
        ((), "", "at least one layer"),
        ((CONV, CONV), "conv", "is used twice"),
        ((replace(CONV, name="input"),), "input", "reserved"),
        ((CONV, replace(RELU, inputs=("cnv",))), "relu", "unknown layer 'cnv'; allowed: conv, input, relu; did you mean 'conv'?"),
        ((replace(RELU, inputs=("relu",)),), "relu", "a cycle: relu reads relu"),
        ((CONV, replace(RELU, inputs=("second",)), SECOND, FC), "relu", "a cycle: relu reads second reads relu"),
        ((CONV, replace(RELU, in_height=9)), "relu", "reads 4 x 9 x 8, its inputs give 4 x 8 x 8"),
        ((CONV, RELU, SECOND, replace(ADD, inputs=("relu", "second")), FC), "add", "cannot add unequal shapes 4 x 8 x 8, 4 x 4 x 4"),
        ((CONV, RELU, SECOND, replace(ADD, kind="concat", inputs=("relu", "second"))), "add", "cannot concatenate unequal maps"),
        ((CONV, RELU, SECOND, replace(ADD, inputs=("conv", "relu")), FC), "add", "one output, but nothing reads add, fc"),
        ((CONV, RELU), "relu", "the output has 256 features, classes is 10"),
        ((CONV, RELU, SECOND, replace(FC, out_channels=9)), "fc", "the output has 9 features, classes is 10"),
        ((CONV, Layer("loss", "loss", ("conv",), 256, 256), replace(FC, in_channels=256, inputs=("loss",))), "loss", "last layer"),
    ],
)
def test_what_is_no_network(layers, layer, part):
    with pytest.raises(NetworkError) as caught:
        network(*layers)
    assert layer in {fault.layer for fault in caught.value.faults}
    assert part in str(caught.value)


def test_branches_of_inception_join():
    built = load_network("inceptionv3_cifar")
    assert built["a1"].in_channels == 64 + 64 + 96 + 32
    assert built["e2"].out_shape == (2048, 6, 6)
    assert built["fc"].in_channels == 2048


def test_a_network_prints_as_a_line():
    shown = repr(load_network("resnet50_imagenet"))
    assert shown == (
        "Network('resnet50_imagenet': 3 x 224 x 224 in, 1000 classes, 175 layers, 25,557,032 parameters, "
        "12,149,538,816 MACs a training sample)"
    )
