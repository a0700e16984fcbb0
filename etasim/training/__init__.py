"""The 8-bit training scheme in PyTorch (extra ``train``), and traces from PyTorch and ONNX models.

Names are imported when they are first used: nothing here is needed by the simulator, and ``import etasim`` does not import torch.
"""

from importlib import import_module

_HOME = {
    "TrainingScheme": "scheme",
    "load_scheme": "scheme",
    "encode": "quantizer",
    "to_real": "quantizer",
    "represent": "quantizer",
    "Normalization": "normalization",
    "quantize_model": "quantize",
    "QuantizedModel": "quantize",
    "SGD": "optimizer",
    "parameter_groups": "optimizer",
    "build_model": "networks",
    "trace_model": "torch_import",
    "import_onnx": "onnx_import",
    "integer_iteration": "bridge",
}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
