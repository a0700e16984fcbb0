"""Traces of PyTorch and ONNX models."""

import pytest

from etasim.config.errors import InputError
from etasim.workload import load_network

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from etasim.training.graph import model_graph, units_of  # noqa: E402
from etasim.training.networks import NETWORKS, build_model  # noqa: E402
from etasim.training.torch_import import trace_model  # noqa: E402
from etasim.workload.lowering import lower  # noqa: E402

SHIPPED = sorted(NETWORKS.keys() - {"resnet20_narrow", "resnet8_narrow"})


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_model(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_traces_of_the_modules_are_the_shipped_ones(name):
    imported = trace_model(on_meta(name), NETWORKS[name].input_shape, name)
    assert imported.network == load_network(name)
    assert imported.mac_share == {"modelled": 1, "approximated": 0, "ignored": 0}


@pytest.mark.parametrize("name", ["resnet20_cifar_a", "inceptionv3_cifar"])
def test_units_without_shapes_are_those_of_the_lowering(name):
    units = lower(load_network(name))[:-1]
    found = units_of(model_graph(on_meta(name)).layers)
    assert [unit.name for unit in found] == [unit.name for unit in units]
    assert [(u.norm is None, u.activation is None) for u in found] == [(u.norm is None, u.activation is None) for u in units]


class Functional(nn.Module):
    """Everything by functions and methods, with a dropout and an activation that the machine lacks."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.norm, self.fc, self.dropout = nn.BatchNorm2d(8), nn.Linear(64, 5), nn.Dropout(0.5)

    def forward(self, x):
        x = functional.relu(self.norm(self.first(x)))
        y = functional.gelu(self.second(x))
        x = torch.cat([x + y, functional.avg_pool2d(y, 3, 1, 1)], 1)
        x = functional.max_pool2d(x, 2)
        x = functional.adaptive_avg_pool2d(x, 2)
        return functional.log_softmax(self.fc(self.dropout(x.view(x.size(0), -1))), dim=1)


def test_functions_methods_and_approximations():
    imported = trace_model(Functional(), (3, 16, 16), "functional")
    kinds = [(layer.kind, layer.out_shape[:2]) for layer in imported.network.layers]
    assert kinds == [
        ("conv", (8, 16)), ("norm", (8, 16)), ("relu", (8, 16)), ("conv", (8, 16)), ("relu", (8, 16)), ("add", (8, 16)),
        ("avgpool", (8, 16)), ("concat", (16, 16)), ("maxpool", (16, 8)), ("avgpool", (16, 2)), ("linear", (5, 1)), ("loss", (5, 1)),
    ]  # fmt: skip
    status = {(line.status, line.kind) for line in imported.report}
    assert {("approximated", "gelu"), ("ignored", "Dropout"), ("ignored", "log_softmax"), ("modelled", "Conv2d")} <= status
    assert imported.network.classes == 5


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 2))
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.inner(x) * self.gain


def test_everything_that_is_not_supported_is_named_with_its_path():
    with pytest.raises(InputError) as caught:
        trace_model(Odd(), (3, 8, 8), "odd")
    text = str(caught.value)
    assert "inner.1: the module" in text
    assert "ConvTranspose2d is not supported" in text
    assert "the operation mul is not supported" in text
    assert "parameter or buffer used outside a layer (gain)" in text


def test_models_that_do_not_fit_say_why():
    with pytest.raises(InputError, match="does not run on images of 4 x 8 x 8"):
        trace_model(Functional(), (4, 8, 8), "functional")
    with pytest.raises(InputError, match="cannot be traced"):
        trace_model(type("Branching", (nn.Module,), {"forward": lambda self, x: x if x.sum() > 0 else -x})(), (3, 8, 8), "branching")
