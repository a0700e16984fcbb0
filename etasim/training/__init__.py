"""The 8-bit training scheme in PyTorch (extra ``train``), and traces from PyTorch and ONNX models.

Names are imported when they are first used: nothing here is needed by the simulator, and ``import etasim`` does not import torch.
"""

from etasim.core.lazy import lazy

NORMALIZATION_KINDS = ("l1_group", "running_l1", "range", "l2_group", "batch", "own")
"""Kinds of normalization that a scheme may have; here, because the command line names them without importing what they need."""

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

__getattr__, __dir__ = lazy(__name__, _HOME)
