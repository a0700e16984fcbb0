"""torchvision's classifiers, without its C++ operators, which these do not use and which do not load beside every build of PyTorch.

torchvision registers shapes for its operators when it is imported, and an operator that is not there ends the import; so operators of the
same names are declared first, unless the real ones load. Weights are never downloaded.
"""

import importlib.util
import re
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch

_REGISTERED = r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"'


def _imported():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its image codecs, which may not load either
        from torchvision import models
    return models


def _declare_operators() -> torch.library.Library:
    folder = Path(importlib.util.find_spec("torchvision").origin).parent
    library = torch.library.Library("torchvision", "DEF")
    for name in sorted(set(re.findall(_REGISTERED, (folder / "_meta_registrations.py").read_text()))):
        library.define(f"{name}(Tensor x) -> Tensor")
    return library


try:
    models = _imported()
except RuntimeError:
    _OPERATORS = _declare_operators()  # kept: they go with it
    models = _imported()

NAMES = tuple(models.list_models(module=models))


def build(name: str, device: str = "cpu", **options) -> torch.nn.Module:
    """The classifier ``name``; on the device ``meta`` it has shapes and no values."""
    with warnings.catch_warnings(), torch.device(device), _real_block_widths():
        warnings.simplefilter("ignore")  # GoogLeNet and Inception announce another initialization
        return models.get_model(name, weights=None, **options)


@contextmanager
def _real_block_widths():
    """RegNets compute the widths of their blocks with tensors, which need values."""
    parameters = models.regnet.BlockParams
    original = parameters.from_init_params

    def on_cpu(*arguments, **options):
        with torch.device("cpu"):
            return original(*arguments, **options)

    parameters.from_init_params = on_cpu
    try:
        yield
    finally:
        parameters.from_init_params = original
