"""ReLU6, from outside: its row, and its reference in integers."""

import numpy as np

from etasim.numerics.reference.activations import ACTIVATIONS
from etasim.ops import ACTIVATION, OPERATIONS, OpSchema, Pass

OPERATIONS.add(
    "relu6",
    OpSchema(
        fused_as=ACTIVATION,
        keeps_exponent=True,
        forward=(Pass("relu6", ("output",), ("output", "mask"), "etasim.functional.output_passes:add_operands"),),
        keeps=("mask",),
        activation="relu6_values:relu6",
        torch={"nn.ReLU6": {}, "nn.functional.relu6": {}, "nn.Hardtanh": {"min_val": 0.0, "max_val": 6.0}},
        onnx={"Clip": {"min": 0.0, "max": 6.0}},
    ),
)


def relu6(v, unit):
    """Clip at 0 and at 6, which is 6 * 2^-unit; the error passes strictly between them."""
    limit = np.where(unit <= 0, np.left_shift(6, np.clip(-unit, 0, 59)), np.right_shift(6, np.clip(unit, 0, 62)))
    return np.clip(v, 0, limit), (v > 0) & (v < limit)


ACTIVATIONS.add("relu6", relu6)
