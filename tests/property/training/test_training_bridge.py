"""One iteration in PyTorch is one iteration of the integer reference: every tensor, code by code."""

import numpy as np
import pytest

from etasim.config.errors import InputError

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from etasim.training import SGD, load_scheme, parameter_groups, quantize_model  # noqa: E402
from etasim.training.bridge import differences, integer_iteration, machine_scheme, torch_iteration  # noqa: E402
from etasim.training.checkpoint import state_arrays  # noqa: E402
from etasim.training.layers import Add, Concat, Shortcut  # noqa: E402
from etasim.training.networks.resnet import CifarResNet  # noqa: E402
from etasim.training.running import RunningNormalization  # noqa: E402
from etasim.training.torch_import import trace_model  # noqa: E402


class Joined(nn.Module):
    """Concatenation, both poolings, a shortcut, a bias without normalization, a normalization and a ReLU of their own."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.left, self.norm1, self.relu1 = nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()
        self.right, self.relu2 = nn.Conv2d(4, 4, (1, 3), padding=(0, 1)), nn.ReLU()
        self.average, self.concat, self.maximum = nn.AvgPool2d(4, 1, 0), Concat(), nn.MaxPool2d(3, 2, 1)
        self.norm2, self.relu3 = nn.BatchNorm2d(10), nn.ReLU()
        self.last, self.shortcut, self.add = nn.Conv2d(10, 12, 3, 2, 1, bias=False), Shortcut(12, 2), Add()
        self.flatten, self.fc = nn.Flatten(), nn.Linear(12 * 9, 5)

    def forward(self, x):
        x = self.norm0(self.stem(x))
        x = self.concat(self.relu1(self.norm1(self.left(x))), self.relu2(self.right(x)))
        x = self.maximum(self.average(x))
        x = self.relu3(self.norm2(x))
        return self.fc(self.flatten(self.add(self.last(x), self.shortcut(x))))


CASES = {
    "resnet20": (lambda: CifarResNet(width=4, blocks=2), (3, 16, 16), "pint8"),
    "option_a": (lambda: CifarResNet(width=4, blocks=1, projection=False), (3, 16, 16), "bfp8"),
    "joined": (Joined, (3, 13, 13), "pint8"),
}
RUNNING = ("resnet20", "option_a")
"""Those whose normalizations all follow convolutions."""


def prepared(case: str, **normalization):
    build, shape, scheme_name = CASES[case]
    torch.manual_seed(2)
    original = build()
    network = trace_model(original, shape, case).network
    changes = {f"normalization.{key}": value for key, value in ({"group": 4} | normalization).items()}
    model = quantize_model(original, load_scheme(scheme_name, changes))
    random = np.random.default_rng(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.from_numpy(random.normal(0, 0.2, parameter.shape)).float())
    samples = {"inputs": random.standard_normal((3, *shape)), "labels": random.integers(0, 5, 3)}
    return network, model, samples


@pytest.mark.parametrize(("case", "kind"), [*((case, "l1_group") for case in CASES), *((case, "running_l1") for case in RUNNING)])
def test_every_tensor_has_the_same_integers(case, kind):
    network, model, samples = prepared(case, kind=kind)
    for norm in (module for module in model.modules() if kind == "running_l1" and isinstance(module, RunningNormalization)):
        norm.spread.uniform_(0.3, 2)
        norm.radial.uniform_(-1e-3, 1e-3)
    scheme = machine_scheme(model.scheme, 0.1)
    iteration = integer_iteration(network, scheme, state_arrays(model, {}, 3) | samples)
    found = differences(iteration, torch_iteration(model, iteration))
    roles = {row.tensor.split(".")[1] for row in found}
    assert roles == {"output", "pre_normalization", "partial", "error", "weight", "weight_gradient", "parameter_gradient"}
    assert [row for row in found if row.n_different] == []


def test_the_update_differs_by_one_step_at_most():
    """The constants of the machine have 16 bits, and scale and offset share an exponent there."""
    network, model, samples = prepared("resnet20")
    scheme = machine_scheme(model.scheme, 0.1, 0.9, 1e-3)
    iteration = integer_iteration(network, scheme, state_arrays(model, {}, 3) | samples)
    model.double()
    optimizer = SGD(parameter_groups(model, 1e-3), model.scheme, lr=0.1, momentum=0.9)
    for unit in model.units:
        if unit.product is not None:
            weight = model.body.get_submodule(unit.product).weight
            gradient = iteration.values.tensors[unit.name, "weight_gradient"].real() / 3
            weight.grad = torch.from_numpy(gradient).reshape(weight.shape)
    optimizer.step()
    for unit in model.units:
        if unit.product is not None:
            expected = iteration.values.tensors[unit.name, "master_weight"]
            got = model.body.get_submodule(unit.product).weight.detach().numpy().reshape(expected.integers.shape)
            assert np.abs(got - expected.real()).max() <= 2.0**expected.unit


def test_schemes_that_the_machine_lacks_are_refused():
    with pytest.raises(InputError) as caught:
        machine_scheme(load_scheme("fp32", {"normalization.kind": "range"}), 0.1)
    assert len(str(caught.value).splitlines()) == 8
    with pytest.raises(InputError, match="error: the machine rounds"):
        machine_scheme(load_scheme("pint8", {"error.rounding": "stochastic"}), 0.1)
