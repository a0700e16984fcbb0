"""Softmax cross-entropy, which ends a network: BP begins with what it contributes to the error of the output that it reads."""

from etasim.ops.schema import OPERATIONS, OWN, LaneWork, OpSchema, Pass

OPERATIONS.add(
    "loss",
    OpSchema(
        flattens=True,
        is_loss=True,
        channels=OWN,
        backward=Pass("loss", ("output",), ("partial",), "etasim.functional.loss_pass:loss", streams=False,
                      each=LaneWork(multiplies=1, adds=7, divides=1)),
    ),
)
