"""The trace reader: defaults, and every wrong trace reported at its line."""

from pathlib import Path

import pytest

from etasim.config import InputError, shipped, shipped_names
from etasim.workload import dump_network, load_network

HEAD = "name: t\ninput: {channels: 3, height: 8, width: 8}\nclasses: 10\nlayers:\n"
CONV = "  - {name: c, op: conv, out_channels: 4, kernel: 3, padding: 1}\n"
FC = "  - {name: fc, op: linear, out_channels: 10}\n"


def _trace(tmp_path, text):
    path = tmp_path / "t.yaml"
    path.write_text(text)
    return path


def problems(path):
    with pytest.raises(InputError) as caught:
        load_network(path)
    return [(problem.line, problem.key, problem.message) for problem in caught.value.problems]


def test_defaults(tmp_path):
    text = HEAD + CONV + "  - {name: p, op: maxpool, kernel: 2}\n  - {name: a, op: add, from: [p, p]}\n" + FC
    network = load_network(_trace(tmp_path, text))
    assert [layer.inputs for layer in network.layers] == [("input",), ("c",), ("p", "p"), ("a",), ("fc",)]
    conv, pool, _, fc, loss = network.layers
    assert (conv.stride_height, conv.groups, conv.bias, conv.out_shape) == (1, 1, False, (4, 8, 8))
    assert (pool.stride_height, pool.stride_width, pool.out_shape) == (2, 2, (4, 4, 4))
    assert (fc.in_channels, loss.kind) == (64, "loss")


def test_layers_in_any_order(tmp_path):
    text = HEAD + FC.replace("linear", "linear, from: c") + CONV.replace("conv", "conv, from: input")
    assert [layer.name for layer in load_network(_trace(tmp_path, text)).layers] == ["c", "fc", "loss"]


@pytest.mark.parametrize(
    ("keys", "pad"),
    [
        ("kernel: 3", (1, 1, 1, 1)),
        ("kernel: [1, 7]", (0, 0, 3, 3)),
        ("kernel: 3, dilation: 2", (2, 2, 2, 2)),
        ("kernel: 2, stride: 2", (0, 0, 0, 0)),
        ("kernel: [4, 3], stride: [1, 2]", (1, 2, 0, 1)),
    ],
)
def test_same_padding(tmp_path, keys, pad):
    network = load_network(_trace(tmp_path, f"{HEAD}  - {{name: c, op: conv, out_channels: 4, padding: same, {keys}}}\n{FC}"))
    conv = network["c"]
    assert (conv.pad_height, conv.pad_end_height, conv.pad_width, conv.pad_end_width) == pad
    assert conv.out_shape[1:] == (-(-8 // conv.stride_height), -(-8 // conv.stride_width))


def test_opposite_sides_may_be_padded_differently(tmp_path):
    entry = "  - {name: c, op: conv, out_channels: 4, kernel: 3, stride: 2, padding: [[0, 1], [0, 1]]}\n"
    network = load_network(_trace(tmp_path, HEAD + entry + FC))
    assert network["c"].out_shape == (4, 4, 4)
    assert "padding: [[0, 1], [0, 1]]" in dump_network(network)


@pytest.mark.parametrize(
    ("layer", "key", "part"),
    [
        ("name: x, op: relu, kernel: 3", "kernel", "does not apply to op relu; allowed: name, op, from"),
        ("name: x, op: linear, out_channels: 3, groups: 3", "groups", "does not apply to op linear"),
        ("name: x, op: conv, kernel: 3", "out_channels", "is missing; op conv needs it"),
        ("name: x, op: maxpool", "kernel", "is missing; op maxpool needs it"),
        ("name: x", "op", "is missing"),
        ("op: relu", "name", "is missing"),
        ("name: x y, op: relu", "name", "may hold letters"),
        ("name: c, op: relu", "name", "is used twice"),
        ("name: input, op: relu", "name", "reserved"),
        ("name: x, op: rleu", "op", "did you mean 'relu'?"),
        ("name: x, op: conv, out_channels: 4, kernal: 3", "kernal", "did you mean 'kernel'?"),
        ("name: x, op: conv, out_channels: 4, kernel: 0", "kernel", "must be a whole number from 1"),
        ("name: x, op: conv, out_channels: 4, kernel: [1, 2, 3]", "kernel", "[height, width]"),
        ("name: x, op: conv, out_channels: 4, kernel: same", "kernel", "must be a whole number"),
        ("name: x, op: conv, out_channels: 4, kernel: 3, padding: all", "padding", "or 'same', got 'all'"),
        ("name: x, op: conv, out_channels: 4, kernel: 3, padding: [[0, 1], 2, 3]", "padding", "[[above, below], [left, right]]"),
        ("name: x, op: conv, out_channels: 4, kernel: 3, padding: [[0, -1], 2]", "padding", "must be a whole number from 0"),
        ("name: x, op: maxpool, kernel: 3, stride: 2, padding: [[0, 3], 0]", "padding", "leave a pixel of the maps to the last window"),
        ("name: x, op: conv, out_channels: 4, kernel: 11", "kernel", "spans 11 pixels, the padded input has 8"),
        ("name: x, op: conv, out_channels: 6, kernel: 3, groups: 3", "groups", "must divide in_channels = 4"),
        ("name: x, op: conv, out_channels: many, kernel: 3", "out_channels", "must be a whole number"),
        ("name: x, op: relu, from: d", "from", "unknown layer 'd'"),
        ("name: x, op: relu, from: []", "from", "a list of names"),
        ("name: x, op: relu, from: x", "from", "a cycle: x reads x"),
        ("name: x, op: add, from: [c, input]", "from", "cannot add unequal shapes 4 x 8 x 8, 3 x 8 x 8"),
        ("name: x, op: add", "from", "at least two inputs"),
    ],
)
def test_wrong_layer_is_reported_at_its_key(tmp_path, layer, key, part):
    found = problems(_trace(tmp_path, f"{HEAD}{CONV}  - {{{layer}}}\n{FC}"))
    assert [(line, name) for line, name, _ in found] == [(6, f"layers[1].{key}")]
    assert part in found[0][2]


def test_all_problems_at_once(tmp_path):
    text = HEAD.replace("classes: 10", "classes: 0").replace("height: 8, ", "") + CONV.replace("op: conv", "op: cnv") + FC + "other: 1\n"
    assert [(line, key) for line, key, _ in problems(_trace(tmp_path, text))] == [
        (2, "input.height"),
        (3, "classes"),
        (5, "layers[0].op"),
        (7, "other"),
    ]


def test_faults_of_independent_branches_are_all_found(tmp_path):
    bad = "  - {{name: {0}, op: conv, from: c, out_channels: 4, kernel: 9}}\n"
    text = HEAD + CONV + bad.format("x") + bad.format("y") + "  - {name: s, op: add, from: [x, y]}\n" + FC
    assert [key for _, key, _ in problems(_trace(tmp_path, text))] == ["layers[1].kernel", "layers[2].kernel"]


def test_only_the_loss_is_named_so(tmp_path):
    ((line, key, message),) = problems(_trace(tmp_path, HEAD + CONV + FC.replace("fc", "loss")))
    assert (line, key) == (6, "layers[1].name")
    assert message == "the name 'loss' is reserved for the loss, which is added at the end"


def test_two_outputs(tmp_path):
    ((line, key, message),) = problems(_trace(tmp_path, HEAD + CONV + FC + "  - {name: other, op: relu, from: c}\n"))
    assert (line, key) == (6, "layers[1]")
    assert message == "a network has one output, but nothing reads fc, other"


def test_wrong_number_of_classes(tmp_path):
    ((line, key, message),) = problems(_trace(tmp_path, HEAD + CONV + FC.replace("10", "12")))
    assert (line, key, message) == (6, "layers[1].out_channels", "the output has 12 features, classes is 10")


NO_LAYERS = (HEAD, *(HEAD.replace("layers:", f"layers: {layers}") for layers in ("[]", "9", "a")))


@pytest.mark.parametrize("text", ["", "- 1\n", "name: [\n", HEAD + "  - 3\n", *NO_LAYERS])
def test_what_is_no_trace(tmp_path, text):
    assert problems(_trace(tmp_path, text))


def test_unknown_trace_lists_the_shipped_ones():
    ((_, _, message),) = problems("resnet20_cifr")
    assert "resnet50_imagenet" in message
    assert "did you mean 'resnet20_cifar'?" in message


@pytest.mark.parametrize("name", shipped_names("traces"))
def test_shipped_trace_reads_back_from_its_dump(tmp_path, name):
    network = load_network(name)
    assert load_network(_trace(tmp_path, dump_network(network))) == network


def test_dump_is_as_readable_as_the_shipped_trace():
    lines = [line for line in shipped("traces", "resnet20_cifar").read_text().splitlines() if not line.lstrip().startswith("#")]
    assert dump_network(load_network("resnet20_cifar")).splitlines() == [*lines, "  - {name: loss, op: loss}"]


def test_example_of_the_documentation(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "inputs.md").read_text()
    network = load_network(_trace(tmp_path, page.partition("```yaml\n")[2].partition("```")[0]))
    assert [layer.kind for layer in network.layers] == ["conv", "relu", "conv", "shortcut", "add", "linear", "loss"]
    assert network["join"].out_shape == (16, 16, 16)


def test_a_name_that_no_layer_has_is_told_with_the_other_mistakes(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text("""\
name: net
input: {channels: 1, height: 4, width: 4}
classes: 2
layers:
  - {name: conv1, op: conv, out_chanels: 2, kernel: 3}
  - {name: join, op: add, from: [conv1, conv2]}
  - {name: fc, op: linear, out_channels: 2, from: joyn}
""")
    with pytest.raises(InputError) as caught:
        load_network(path)
    places = [(problem.line, problem.key) for problem in caught.value.problems]
    assert places == [(5, "layers[0].out_chanels"), (6, "layers[1].from"), (7, "layers[2].from")]
    assert "did you mean 'join'?" in str(caught.value)
