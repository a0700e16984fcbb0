"""ONNX graphs with computed shapes, attributes that are easily overlooked, images of other layouts: the right trace, or a refusal."""

import os
import re
import warnings
from itertools import pairwise

import numpy as np
import pytest

from etasim.config.errors import InputError

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from torch import nn  # noqa: E402

from etasim.training.onnx_import import import_onnx  # noqa: E402

node = helper.make_node
PAD = [1, 1, 1, 1]
IMAGE = [1, 3, 8, 8]


def weight(name, *shape):
    return numpy_helper.from_array(np.zeros(shape, np.float32), name)


def numbers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def stem(source="x", **attributes):
    return node("Conv", [source, "w1"], ["a"], "stem", **({"pads": PAD} | attributes)), weight("w1", 8, 3, 3, 3)


def head(source, channels=8):
    """Nodes and weights of a global pooling and a linear layer from ``source`` to ``y``."""
    nodes = [
        node("GlobalAveragePool", [source], ["e"], "pool"),
        node("Flatten", ["e"], ["f"], "flat"),
        node("Gemm", ["f", "wfc"], ["y"], "fc", transB=1),
    ]
    return nodes, [weight("wfc", 5, channels)]


@pytest.fixture
def imported(tmp_path):
    """Imports a graph from ``x``, of shape ``image``, to ``outputs``."""

    def load(nodes, weights, image=IMAGE, outputs=("y",), shape=None, opset=17):
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes, "g", [value("x", TensorProto.FLOAT, image)], [value(name, TensorProto.FLOAT, None) for name in outputs], weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return import_onnx(path, shape)

    return load


def figures(result):
    network = result.network
    kinds = " ".join(layer.kind for layer in network.layers)
    return kinds, sum(layer.macs_per_sample for layer in network.layers), network.parameters


STEM = 8 * 27 * 64
"""Multiply-accumulates of the stem."""


def test_work_on_the_input_is_the_hosts(imported):
    nodes, weights = head("d", 4)
    result = imported(
        [
            node("Reshape", ["x", "s1"], ["a"], "r1"), node("Transpose", ["a"], ["b"], "t", perm=[0, 3, 5, 1, 2, 4]),
            node("Reshape", ["b", "s2"], ["c"], "r2"), node("Conv", ["c", "w1"], ["d"], "conv", pads=PAD), *nodes,
        ],
        [numbers("s1", 1, 3, 4, 2, 4, 2), numbers("s2", 1, 12, 4, 4), weight("w1", 4, 12, 3, 3), *weights],
    )  # fmt: skip
    assert result.network.input_shape == (12, 4, 4)
    assert figures(result) == ("conv avgpool linear loss", 16 * 4 * 108 + 20, 4 * 108 + 20)
    assert result.notes == ("the trace reads the input as r2 makes it, 12 x 4 x 4: the host has to prepare it",)


def test_images_with_channels_last(imported):
    first, kernel = stem("t")
    nodes, weights = head("a")
    result = imported([node("Transpose", ["x"], ["t"], "t", perm=[0, 3, 1, 2]), first, *nodes], [kernel, *weights], [1, 8, 8, 3])
    assert result.network.input_shape == (3, 8, 8)
    assert figures(result) == ("conv avgpool linear loss", STEM + 40, 216 + 40)


def test_features_instead_of_images(imported):
    nodes = [node("MatMul", ["x", "w"], ["a"], "fc1"), node("Add", ["a", "b"], ["s"], "bias"), node("Relu", ["s"], ["y"], "relu")]
    result = imported(nodes, [weight("w", 12, 5), weight("b", 5)], ["N", 12])
    assert (result.network.input_shape, figures(result)) == ((12, 1, 1), ("linear relu loss", 60, 65))


@pytest.mark.parametrize("image", [["N", 3, 8, 8], [4, 3, 8, 8], ["N", 3, "H", "W"]])
def test_shapes_that_the_graph_computes(imported, image):
    first, kernel = stem()
    nodes = [
        first,
        node("GlobalAveragePool", ["a"], ["e"], "pool"),
        node("Shape", ["e"], ["sh"], "shape"),
        node("Gather", ["sh", "i0"], ["n"], "gather"),
        node("Unsqueeze", ["n", "ax"], ["nu"], "unsqueeze"),
        node("Concat", ["nu", "m1"], ["rs"], "cat", axis=0),
        node("Reshape", ["e", "rs"], ["f"], "reshape"),
        node("Gemm", ["f", "wfc"], ["y"], "fc", transB=1),
    ]
    weights = [kernel, weight("wfc", 5, 8), numpy_helper.from_array(np.int64(0), "i0"), numbers("ax", 0), numbers("m1", -1)]
    assert figures(imported(nodes, weights, image, shape=(3, 8, 8))) == ("conv avgpool linear loss", STEM + 40, 216 + 40)


@pytest.mark.parametrize(
    ("padding", "pads"),
    [
        ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, ((0, 1), (0, 1))),
        ({"auto_pad": "SAME_LOWER", "strides": [2, 2]}, ((1, 0), (1, 0))),
        ({"auto_pad": "VALID"}, ((0, 0), (0, 0))),
        ({"pads": [0, 2, 1, 0]}, ((0, 1), (2, 0))),
    ],
)
def test_sides_that_are_padded_differently(imported, padding, pads):
    nodes, weights = head("a")
    first = node("Conv", ["x", "w1"], ["a"], "stem", **padding)
    layer = imported([first, *nodes], [weight("w1", 8, 3, 3, 3), *weights]).network["stem"]
    assert ((layer.pad_height, layer.pad_end_height), (layer.pad_width, layer.pad_end_width)) == pads


def test_a_border_goes_into_the_convolution(imported):
    first, kernel = stem("p", pads=[0, 0, 0, 0], strides=[2, 2])
    nodes, weights = head("a")
    result = imported(
        [node("Pad", ["x", "pads"], ["p"], "pad"), first, *nodes], [numbers("pads", 0, 0, 1, 0, 0, 0, 1, 1), kernel, *weights]
    )
    layer = result.network["stem"]
    assert (layer.pad_height, layer.pad_end_height, layer.pad_width, layer.pad_end_width) == (1, 1, 0, 1)
    assert figures(result) == ("conv avgpool linear loss", 8 * 27 * 16 + 40, 216 + 40)


def test_equal_weights_that_an_exporter_stored_once(imported):
    """PyTorch stores tensors of equal values once and writes an Identity for the others: they are weights of their own."""
    nodes, weights = head("b")
    layers = [node("Conv", ["x", "k", "bias"], ["a"], "c1", pads=PAD), node("Conv", ["a", "k2", "other"], ["b"], "c2", pads=PAD)]
    result = imported(
        [node("Identity", ["bias"], ["other"]), *layers, *nodes],
        [weight("k", 8, 3, 3, 3), weight("k2", 8, 8, 3, 3), weight("bias", 8), *weights],
    )
    assert figures(result) == ("conv conv avgpool linear loss", STEM + 8 * 72 * 64 + 40, 216 + 8 + 576 + 8 + 40)


def test_weights_that_are_computed_from_others_are_refused(imported):
    nodes, weights = head("a")
    first = node("Conv", ["x", "k"], ["a"], "stem", pads=PAD)
    with pytest.raises(InputError, match="stem: Conv: has weights that are not parameters of the model"):
        imported([node("Add", ["w1", "w1"], ["k"], "sum"), first, *nodes], [weight("w1", 8, 3, 3, 3), *weights])


@pytest.mark.parametrize("name", ["input", "loss", "größe 1", ""])
def test_any_name_of_a_node(imported, name):
    nodes, weights = head("a")
    first = node("Conv", ["x", "w1"], ["a"], name, pads=PAD)
    assert figures(imported([first, *nodes], [weight("w1", 8, 3, 3, 3), *weights]))[0] == "conv avgpool linear loss"


def between(*nodes, weights=(), outputs=("y",), image=IMAGE):
    """A graph with ``nodes`` from ``a`` to ``b`` between stem and head."""
    first, kernel = stem()
    behind, others = head("b")
    return [first, *nodes, *behind], [kernel, *others, *weights], image, outputs


REFUSED = {
    "conv_of_one_input": (between(node("Conv", ["a"], ["b"], "c")), "c: Conv: its inputs or shapes do not fit"),
    "product": (between(node("Mul", ["a", "a"], ["b"], "m")), "m: Mul: is not supported"),
    "domain": (between(node("Relu", ["a"], ["b"], "m", domain="my.domain")), "m: Relu: is not supported"),
    "added_constant": (
        between(node("Relu", ["a"], ["r"], "r"), node("Add", ["r", "k"], ["b"], "s"), weights=[weight("k", 1)]),
        "s: Add: adds a constant that is not the bias",
    ),
    "scaled_gemm": (
        between(
            node("GlobalMaxPool", ["a"], ["g"], "g"),
            node("Flatten", ["g"], ["h"], "h"),
            node("Gemm", ["h", "k"], ["l"], "l", alpha=0.5),
            node("Unsqueeze", ["l", "ax"], ["b"], "u"),
            weights=[weight("k", 8, 8), numbers("ax", 2, 3)],
        ),
        "l: Gemm: alpha=0.5 is not supported, only 1 is",
    ),
    "padding_not_counted": (
        between(node("AveragePool", ["a"], ["b"], "p", kernel_shape=[3, 3], pads=PAD)),
        "p: AveragePool: count_include_pad = 0",
    ),
    "dilated_pooling": (between(node("MaxPool", ["a"], ["b"], "p", kernel_shape=[2, 2], dilations=[2, 2])), "p: MaxPool: dilations"),
    "mean_of_channels": (between(node("ReduceMean", ["a"], ["b"], "p", axes=[1])), "p: ReduceMean: over dimensions [1]"),
    "rows": (between(node("Concat", ["a", "a"], ["b"], "p", axis=2)), "p: Concat: along dimension 2"),
    "reflection": (
        between(node("Pad", ["a", "k"], ["b"], "p", mode="reflect"), weights=[numbers("k", 0, 0, 1, 1, 0, 0, 1, 1)]),
        "p: Pad: mode='reflect'",
    ),
    "moved_rows": (
        between(
            node("Transpose", ["a"], ["t"], "t", perm=[0, 1, 3, 2]), node("Conv", ["t", "k"], ["b"], "c"), weights=[weight("k", 8, 8, 3, 3)]
        ),
        "t: Transpose: makes [1, 8, 8, 8] of maps [8, 8, 8]",
    ),
    "clip_from_below": (
        between(node("Clip", ["a", "k"], ["b"], "p"), weights=[numpy_helper.from_array(np.float32(-1), "k")]),
        "p: Clip: from -1.0 on is not supported",
    ),
    "shared_weight": (
        between(
            node("Conv", ["a", "k"], ["c"], "c1", pads=PAD),
            node("Conv", ["c", "k"], ["b"], "c2", pads=PAD),
            weights=[weight("k", 8, 8, 3, 3)],
        ),
        "c2: Conv: shares k with c1",
    ),
    "two_outputs": (between(node("Relu", ["a"], ["b"], "r"), outputs=("y", "b")), "the model has 2 outputs (y, b)"),
    "dead_layer": (
        between(node("Relu", ["a"], ["b"], "r"), node("Conv", ["a", "k"], ["d"], "dead"), weights=[weight("k", 8, 8, 3, 3)]),
        "dead: Conv: nothing that reaches the output reads it",
    ),
    "weights_that_do_not_fit": (
        between(node("Conv", ["a", "k"], ["b"], "c"), weights=[weight("k", 8, 4, 3, 3)]),
        "c: Conv: 288 parameters in the model, 576 in the trace",
    ),
    "bias_of_what_others_read_too": (
        between(
            node("Conv", ["a", "w"], ["c"], "c", pads=PAD), node("Add", ["k", "c"], ["s"], "s"), node("Relu", ["c"], ["r"], "r"),
            node("Add", ["s", "r"], ["b"], "t"), weights=[weight("w", 8, 8, 3, 3), weight("k", 8, 1, 1)],
        ),
        "s: Add: adds a constant that is not the bias of a layer in front of it",
    ),
    "further_output": (
        between(node("MaxPool", ["a"], ["p", "i"], "p", kernel_shape=[2, 2]), node("Cast", ["i"], ["b"], "k", to=1)),
        "k: Cast: reads i, a further output of MaxPool, which is not supported",
    ),
    "nodes_out_of_order": (
        between(node("Relu", ["later"], ["b"], "r"), node("Relu", ["a"], ["later"], "s")),
        "the output does not depend on the input; later is read before it is written",
    ),
    "unknown_tensor": (between(node("Add", ["a", "nobody"], ["b"], "s")), "s: Add: the shape of its result is not known"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_trace_cannot_hold_is_refused_by_name_and_reason(imported, case):
    graph, message = REFUSED[case]
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        imported(*graph)
    assert all(problem.file.endswith("model.onnx") for problem in caught.value.problems)


def test_a_group_normalization_has_the_shape_of_what_it_normalizes(imported):
    group = node("GroupNormalization", ["a", "g", "h"], ["b"], "n", num_groups=2)
    network = imported(*between(group, weights=[weight("g", 8), weight("h", 8)]), opset=21).network
    assert [layer.kind for layer in network.layers][:2] == ["conv", "norm"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_what_is_no_regular_file_is_not_opened(tmp_path, make):
    make(tmp_path / "model.onnx")
    with pytest.raises(OSError, match="not a regular file"):
        import_onnx(tmp_path / "model.onnx")


def test_numbers_and_maps_that_double_are_bounded(imported):
    names = ["m1", *(f"n{i}" for i in range(50))]
    doubling = [node("Concat", [name, name], [after], axis=0) for name, after in pairwise(names)]
    first, kernel = stem()
    with pytest.raises(InputError, match=r"model.onnx: r: Reshape: "):
        imported([first, *doubling, node("Reshape", ["a", names[-1]], ["y"], "r")], [kernel, numbers("m1", -1)])
    names = ["a", *(f"n{i}" for i in range(30))]
    doubling = [node("Concat", [name, name], [after], after, axis=1) for name, after in pairwise(names)]
    with pytest.raises(InputError, match=r"model.onnx: classes: must be at most 1048576"):
        imported([first, *doubling, node("GlobalAveragePool", [names[-1]], ["y"], "p")], [kernel])


@pytest.mark.parametrize(
    ("for_training", "kinds", "parameters"),
    [(False, "conv relu avgpool linear loss", 64 + 8 + 45), (True, "conv norm relu avgpool linear loss", 64 + 16 + 45)],
)
def test_an_export_for_inference_has_lost_its_normalization(tmp_path, for_training, kinds, parameters):
    model = nn.Sequential(
        nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    mode = torch.onnx.TrainingMode.TRAINING if for_training else torch.onnx.TrainingMode.EVAL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 8, 4, 4),), tmp_path / "m.onnx", dynamo=False, training=mode, do_constant_folding=not for_training
        )
    result = import_onnx(tmp_path / "m.onnx")
    assert figures(result) == (kinds, 64 * 16 + 40, parameters)
    assert [("training=torch.onnx.TrainingMode.TRAINING" in note) for note in result.notes] == ([] if for_training else [True])
