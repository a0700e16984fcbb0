"""Traces whose shapes explode are refused at their layer before any table of them is made."""

import pytest

from etasim.config import InputError
from etasim.workload import load_network

BIG = {"height": 2048, "width": 2048}
FC = "  - {name: fc, op: linear, out_channels: 10}\n"


def problems(tmp_path, layers, channels=4, height=8, width=8):
    path = tmp_path / "t.yaml"
    path.write_text(f"name: t\ninput: {{channels: {channels}, height: {height}, width: {width}}}\nclasses: 10\nlayers:\n{layers}")
    with pytest.raises(InputError) as caught:
        load_network(path)
    return [(problem.line, problem.key, problem.message) for problem in caught.value.problems]


def test_a_chain_of_concatenations_that_doubles_its_channels(tmp_path):
    layers = "  - {name: c0, op: relu}\n"
    layers += "".join(f"  - {{name: c{i}, op: concat, from: [c{i - 1}, c{i - 1}]}}\n" for i in range(1, 64))
    (line, _, message), *_ = problems(tmp_path, layers + FC)
    assert line == 5 + 19  # 4 * 2^19 channels
    assert message == "must be at most 1,048,576, got 2,097,152"


@pytest.mark.parametrize(
    ("layer", "sides", "key", "part"),
    [
        (FC, {"channels": 10**9}, "input.channels", "must be at most 1048576"),
        (FC, {"height": 2**20, "width": 2**20}, "layers[0].from", "reads maps of at most 262,144 pixels"),
        (FC, {"height": 1024, "width": 1024}, "layers[0].from", "pool them first"),
        ("  - {name: r, op: relu}\n", {"height": 2**20, "width": 2**20}, "layers[0].in_channels", "at most 4,294,967,296 are possible"),
        ("  - {name: c, op: conv, out_channels: 4, kernel: 2048}\n", BIG, "layers[0].kernel", "4,194,304 kernel"),
        ("  - {name: c, op: conv, out_channels: 4, kernel: 1, stride: 1024}\n", BIG, "layers[0].kernel", "strides"),
        ("  - {name: c, op: conv, out_channels: 4, kernel: 3, padding: 1048576}\n", {}, "layers[0].out_channels", "elements"),
        ("  - {name: c, op: conv, out_channels: 1048576, kernel: 1}\n", {"channels": 2**20}, "layers[0].out_channels", "weights"),
    ],
)
def test_what_is_too_large_is_refused_at_its_key(tmp_path, layer, sides, key, part):
    found = problems(tmp_path, layer + FC if layer != FC else FC, **sides)
    assert any(where == key and part in message for _, where, message in found), found


def test_a_long_chain_of_layers_is_no_deep_recursion(tmp_path):
    from etasim.config import load_architecture
    from etasim.estimate.shared import outline

    chain = "".join(f"  - {{name: r{i}, op: maxpool, kernel: 1}}\n" for i in range(1200))
    path = tmp_path / "t.yaml"
    head = "name: t\ninput: {channels: 2, height: 1, width: 1}\nclasses: 10\nlayers:\n  - {name: c, op: conv, out_channels: 2, kernel: 1}\n"
    path.write_text(f"{head}{chain}  - {{name: a, op: add, from: [r1199, c]}}\n{FC}")
    assert len(outline(load_architecture("eta_small"), load_network(path), 1, ("ff",)).operations) == 1203
