"""Numbers: data formats, quantization, normalization, and the integer reference of a training iteration.

Names are imported when they are first used, so that reading a format's name does not load the compiler.
"""

from etasim.core.lazy import lazy

_HOME = {
    "Code": "format",
    "CodeFormat": "format",
    "TableFormat": "format",
    "DataFormat": "format",
    "data_format": "format",
    "BlockFormat": "element",
    "Blocks": "block",
    "encode_blocks": "block",
    "pack": "block",
    "unpack": "block",
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
    "NORMALIZATIONS": "normalization",
    "NormalizationGradients": "normalization",
    "NormalizationResult": "normalization",
    "normalize": "normalization",
    "normalize_backward": "normalization",
}

__getattr__, __dir__ = lazy(__name__, _HOME)
