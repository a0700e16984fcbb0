"""The greatest pixel of each window."""

from etasim.ops.pooling import pooling
from etasim.ops.schema import OPERATIONS, LaneWork

OPERATIONS.add("maxpool", pooling("maxpool", "greatest_of_windows", LaneWork(adds=1), LaneWork(adds=2), ("window",), True))
