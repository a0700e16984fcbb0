"""The mean of each window, in which padding counts as zero."""

from etasim.ops.pooling import pooling
from etasim.ops.schema import OPERATIONS

OPERATIONS.add("avgpool", pooling("avgpool", "means_of_windows"))
