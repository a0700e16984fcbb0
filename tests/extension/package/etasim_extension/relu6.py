"""An activation: ReLU6, min(max(x, 0), 6). Errors pass where 0 < x < 6.

The kernel works on integers of ``unit`` (i stands for i 2^unit) in a row of pieces, as the unified core does; the reference on arrays of
them. Both know 6 as the greatest integer that is not above it.
"""

import numpy as np

from etasim.core.jit import routine
from etasim.core.registry import OPERATIONS
from etasim.numerics.reference.activations import ACTIVATIONS
from etasim.ops.schema import ACTIVATION, OpSchema, Pass

FINEST = -50
"""Unit below which 6 is beyond all sums."""


@routine
def relu6(pieces, row, mask, n_elements, unit):
    """Elements become at least 0 and at most 6; row ``mask``, if there is one, says where errors pass."""
    six = 6 << -max(unit, FINEST) if unit < 0 else 6 >> min(unit, 3)
    passes = six + (1 if unit > 1 else 0)
    for i in range(n_elements):
        if mask >= 0:
            pieces[mask, i] = 1 if 0 < pieces[row, i] < passes else 0
        pieces[row, i] = min(max(pieces[row, i], 0), six)


def reference(v, unit):
    """The same of an array, and its mask; ``unit`` may differ between channels."""
    real = np.asarray(v, np.float64) * 2.0 ** np.asarray(unit)
    six = np.floor(6 / 2.0 ** np.maximum(unit, FINEST)).astype(np.int64)
    return np.clip(v, 0, six), (real > 0) & (real < 6)


ACTIVATIONS.add("relu6", reference)
OPERATIONS.add(
    "relu6",
    OpSchema(
        fused_as=ACTIVATION,
        keeps_exponent=True,
        forward=(Pass("relu6", ("output",), ("output", "mask"), "etasim.functional.output_passes:add_operands"),),
        keeps=("mask",),
        activation="etasim_extension.relu6:relu6",
        torch={"nn.ReLU6": {}, "nn.functional.relu6": {}, "nn.Hardtanh": {"min_val": 0.0, "max_val": 6.0}},
        onnx={"Clip": {"min": 0.0, "max": 6.0}},
    ),
)
