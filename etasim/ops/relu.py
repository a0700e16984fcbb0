"""A rectified linear unit."""

from etasim.ops.schema import ACTIVATION, OPERATIONS, LaneWork, OpSchema, Pass

OPERATIONS.add(
    "relu",
    OpSchema(
        fused_as=ACTIVATION,
        keeps_exponent=True,
        forward=(Pass("relu", ("output",), ("output", "mask"), "etasim.functional.output_passes:add_operands", each=LaneWork(adds=1)),),
        keeps=("mask",),
        activation="etasim.functional.activations:relu",
        torch={name: {} for name in ("nn.ReLU", "nn.functional.relu", "relu", "relu_")},
        onnx={"Relu": {}},
    ),
)
