"""Numbers: data formats, quantization, normalization, and the integer reference of a training iteration.

Names are imported when they are first used, so that reading a format's name does not load the compiler.
"""

from importlib import import_module

_HOME = {
    "CodeFormat": "format",
    "DataFormat": "format",
    "data_format": "format",
    "decode": "codec",
    "encode": "codec",
    "encode_integers": "codec",
    "to_real": "codec",
    "Quantized": "quantization",
    "TrackedExponent": "quantization",
    "exponent_of": "quantization",
    "quantize": "quantization",
    "representable": "quantization",
    "accumulate": "products",
    "multiply": "products",
    "KINDS": "normalization",
    "NormalizationGradients": "normalization",
    "NormalizationResult": "normalization",
    "normalize": "normalization",
    "normalize_backward": "normalization",
}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
