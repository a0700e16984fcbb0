"""The mean of each window, in which padding counts as zero."""

from etasim.ops.pooling import pooling
from etasim.ops.schema import OPERATIONS, LaneWork

OPERATIONS.add("avgpool", pooling("avgpool", "means_of_windows", LaneWork(multiplies=1, adds=2), LaneWork(multiplies=1, adds=2)))
