"""An activation of another package: in traces, in the machine to the last bit, and where models are imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


def run(*arguments, with_package=True):
    """What Python says, run beside the package or without it."""
    path = [*([str(HERE / "package")] if with_package else []), str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ":".join(path)})
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def found():
    return json.loads(run(str(HERE / "simulation.py")))


def test_values_are_those_of_the_reference(found):
    assert found["mismatch"] == "None"
    assert found["n_tensors"] > 20


def test_values_lie_between_zero_and_six(found):
    """Inputs are an even ramp from -20 to 20, in codes of 8 bits: their steps are 2^-7 below 0.5 and 0.5 above it."""
    expected = np.clip(np.linspace(-20, 20, 216).reshape(2, 3, 6, 6), 0, 6)
    output = np.array(found["output"])
    assert np.abs(output - expected).max() <= 0.25
    assert output.max() == 6.0
    assert np.array(found["norm"]).max() <= 6.0


def test_errors_pass_strictly_between(found):
    """An error where the output is 0 or 6 would be one that the mask stopped; the mask itself is that of the input's codes."""
    output, mask = np.array(found["output"]), np.array(found["mask"])
    assert np.array_equal(mask, (output > 0) & (output < 6))
    assert np.count_nonzero(found["error"])


def test_a_module_of_torch_is_it_to_the_last_bit():
    pytest.importorskip("torch")
    code = """
from torch import nn
from etasim.training.torch_import import trace_model
for module in (nn.ReLU6(), nn.Hardtanh(0.0, 6.0), nn.Hardtanh(0.0, 5.0), nn.ReLU()):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), module, nn.Flatten(), nn.Linear(8, 2))
    print([layer.kind for layer in trace_model(model, (1, 4, 4), "m").network.layers][1])
"""
    assert run("-c", code).split() == ["relu6", "relu6", "relu", "relu"]


@pytest.mark.parametrize(("greatest", "kind"), [(6.0, "relu6"), (5.0, "relu")])
def test_an_operator_of_onnx_is_it_to_the_last_bit(tmp_path, greatest, kind):
    pytest.importorskip("onnx")
    code = f"""
import numpy as np, onnx
from onnx import TensorProto, helper as h, numpy_helper
from etasim.training.onnx_import import import_onnx
weight = lambda name, value: numpy_helper.from_array(np.array(value, np.float32), name)
weights = [weight("w", np.zeros((2, 1, 3, 3))), weight("low", 0.0), weight("high", {greatest}), weight("v", np.zeros((2, 8)))]
nodes = [
    h.make_node("Conv", ["x", "w"], ["a"]), h.make_node("Clip", ["a", "low", "high"], ["b"]), h.make_node("Flatten", ["b"], ["c"]),
    h.make_node("Gemm", ["c", "v"], ["y"], transB=1),
]
value = lambda name, shape: h.make_tensor_value_info(name, TensorProto.FLOAT, shape)
graph = h.make_graph(nodes, "g", [value("x", [1, 1, 4, 4])], [value("y", None)], weights)
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)]), "{tmp_path}/m.onnx")
from pathlib import Path
print([layer.kind for layer in import_onnx(Path("{tmp_path}/m.onnx"), None).network.layers][1])
"""
    assert run("-c", code).split() == [kind]


def test_without_the_package_there_is_no_such_operation():
    code = "from etasim.ops import OPERATIONS; print('relu6' in OPERATIONS)"
    assert (run("-c", code).strip(), run("-c", code, with_package=False).strip()) == ("True", "False")
