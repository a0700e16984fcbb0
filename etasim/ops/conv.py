"""A convolution, whose sums the PE array makes."""

from etasim.ops.schema import ACTIVATION, NORMALIZATION, OPERATIONS, OWN, OpSchema, any_channels
from etasim.ops.unit import REQUANTISE

OPERATIONS.add(
    "conv",
    OpSchema(
        keys=("out_channels", "kernel", "stride", "padding", "dilation", "groups", "bias"),
        faults=any_channels,
        on_array=True,
        fuses=(NORMALIZATION, ACTIVATION),
        channels=OWN,
        forward=(REQUANTISE,),
    ),
)
