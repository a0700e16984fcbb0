"""Traces from ONNX models: the shipped networks written as ONNX without any weight, and what is refused."""

import pytest

from etasim.config.errors import InputError
from etasim.workload import INPUT, Network, load_network

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from etasim.training.onnx_import import import_onnx  # noqa: E402

OPS = {"conv": "Conv", "linear": "Gemm", "norm": "BatchNormalization", "relu": "Relu", "maxpool": "MaxPool", "avgpool": "AveragePool",
       "add": "Add", "concat": "Concat"}  # fmt: skip


def tensor(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def as_onnx(network: Network, image=None):
    """``network`` in ONNX; weights are inputs of known shape, so that there is no data at all."""
    nodes, inputs = [], [tensor(INPUT, ["N", *(image or network.input_shape)])]

    def weight(name, *shape):
        inputs.append(tensor(name, shape))
        return name

    for layer in network.layers[:-1]:
        name, reads = layer.name, list(layer.inputs)
        window = {"strides": [layer.stride_height, layer.stride_width], "pads": [layer.pad_height, layer.pad_width] * 2}
        kernel, attributes = [layer.kernel_height, layer.kernel_width], {}
        if layer.kind == "conv":
            reads.append(weight(f"{name}.w", layer.out_channels, layer.in_channels // layer.groups, *kernel))
            attributes = window | {"group": layer.groups}
        elif layer.kind == "linear":
            nodes.append(helper.make_node("Flatten", reads, [f"{name}.flat"], name=f"{name}.flatten"))
            reads = [f"{name}.flat", weight(f"{name}.w", layer.out_channels, layer.in_channels)]
            attributes = {"transB": 1}
        elif layer.kind == "norm":
            reads += [weight(f"{name}.{part}", layer.out_channels) for part in ("scale", "bias", "mean", "variance")]
        elif layer.kind in ("maxpool", "avgpool"):
            attributes = window | {"kernel_shape": kernel}
            attributes |= {"count_include_pad": 1} if layer.kind == "avgpool" else {}
        elif layer.kind == "concat":
            attributes = {"axis": 1}
        if layer.bias:
            reads.append(weight(f"{name}.b", layer.out_channels))
        nodes.append(helper.make_node(OPS[layer.kind], reads, [name], name=name, **attributes))
    output = tensor(network.layers[-2].name, ["N", network.classes])
    return helper.make_model(helper.make_graph(nodes, "graph", inputs, [output]), opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture
def saved(tmp_path):
    def save(model, name="model"):
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, path)
        return path

    return save


@pytest.mark.parametrize("name", ["vgg16_cifar", "resnet20_cifar", "inceptionv3_cifar", "resnet18_imagenet", "resnet50_imagenet"])
def test_the_shipped_networks_come_back_without_weights(saved, name):
    network = load_network(name)
    imported = import_onnx(saved(as_onnx(network), name))
    assert imported.network == network
    assert imported.mac_share["modelled"] == 1
    assert {(line.status, line.kind) for line in imported.report} >= {("approximated", "BatchNormalization"), ("ignored", "Flatten")}


def test_open_shapes_are_asked_for(saved):
    network = load_network("resnet20_cifar")
    path = saved(as_onnx(network, ["C", "H", "W"]))
    with pytest.raises(InputError, match="give it as CxHxW"):
        import_onnx(path)
    assert import_onnx(path, (3, 32, 32)).network.layers == network.layers


def test_a_shape_that_the_model_says_is_not_replaced(saved):
    path = saved(as_onnx(load_network("resnet20_cifar"), [3, 32, "W"]))
    assert import_onnx(path, (3, 32, 32)).network.layers
    with pytest.raises(InputError, match=r"--input: the model says 3x32x\? of the input"):
        import_onnx(path, (3, 20, 32))


def small(nodes, *weights):
    inputs = [tensor("x", [1, 4, 8, 8]), *weights]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, [tensor("y", None)]))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up"), "up: ConvTranspose: is not supported"),
        (helper.make_node("Conv", ["x"], ["y"], name="c"), "c: Conv: its inputs or shapes do not fit"),
        (helper.make_node("AveragePool", ["x"], ["y"], name="p", kernel_shape=[3, 3], pads=[1] * 4), "count_include_pad"),
        (helper.make_node("Mul", ["x", "x"], ["y"], name="m"), "m: Mul: is not supported"),
    ],
)
def test_what_a_trace_cannot_hold_is_refused_by_name(saved, node, message):
    weights = [tensor("w", [4, 4, 3, 3])] if "w" in node.input else []
    with pytest.raises(InputError, match=message):
        import_onnx(saved(small([node], *weights)))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "a.onnx").write_text("hello")
    with pytest.raises(InputError, match=r"not an ONNX model|0 inputs"):
        import_onnx(tmp_path / "a.onnx")


@pytest.mark.parametrize("name", [b"conv1.w", b"input", b"Conv", b"strides"])
def test_text_that_is_no_utf8_is_refused(saved, name):
    path = saved(as_onnx(load_network("resnet20_cifar")))
    content = path.read_bytes()
    assert name in content
    path.write_bytes(content.replace(name, b"\xff" * len(name)))
    with pytest.raises(InputError, match="not an ONNX model"):
        import_onnx(path)
