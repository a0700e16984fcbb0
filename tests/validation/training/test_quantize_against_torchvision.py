"""quantize_model beside torchvision: in fp32 with its own normalizations a classifier is what it was, or it is refused by the path of a
module.

All 80 classifiers are looked at: built without values (a vit_h_14 would take 2.5 GB), each is refused, or has the operations and modules
that it had, with all attributes. Of each that is accepted values and gradients are compared, bit for bit, on small images.
"""

import pytest
import torch
from same_model import differing
from torch import fx
from torchvision_models import NAMES, build

from etasim.config.errors import InputError
from etasim.training import load_scheme, quantize_model

ACCEPTED = ("alexnet", "densenet", "mnasnet", "mobilenet_v2", "regnet_x", "resnet", "resnext", "squeezenet", "vgg", "wide_resnet")
SIDES = {"alexnet": 63}
"""Of the images, where 32 pixels are too few."""
EXACT = load_scheme("fp32", {"normalization.kind": "own"})


def operations(graph: fx.Graph) -> list[str]:
    """The nodes in words. torch.fx takes ``x += y`` for ``x + y``, etasim does not."""
    return [(node.format_node() or str(node.args)).replace("operator.iadd", "operator.add") for node in graph.nodes]


def is_refused(model: torch.nn.Module) -> bool:
    """Whether the model is refused; then each problem has the path of a module, or the name of an operation of the model's own."""
    try:
        quantize_model(model, EXACT)
    except InputError as error:
        paths = {path for path, _ in model.named_modules()}
        return all((problem.key in paths or "." not in problem.key) and problem.message for problem in error.problems)
    return False


@pytest.mark.parametrize("name", NAMES)
def test_every_classifier_is_what_it_was_or_refused_by_path(name):
    model = build(name, "meta")
    if not name.startswith(ACCEPTED):
        assert is_refused(model)
        return
    quantized = quantize_model(model, EXACT)
    assert quantized.changes == []
    for mode in (True, False):
        assert operations(quantized.body.graph) == operations(fx.Tracer().trace(model.train(mode)))
    modules = dict(quantized.body.named_modules())
    leaves = {path: module for path, module in model.named_modules() if not list(module.children())}
    assert {path: (type(modules[path]), repr(modules[path])) for path in leaves} == {p: (type(m), repr(m)) for p, m in leaves.items()}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(ACCEPTED)])
def test_values_and_gradients_are_the_same_bits(name):
    torch.manual_seed(0)
    model, side = build(name, num_classes=10), SIDES.get(name, 32)
    x = torch.randn(2, 3, side, side)
    assert differing(model, quantize_model(model, EXACT), x) == []
