"""The mean of each window, in which padding counts as zero."""

from etasim.ops.pooling import pooling
from etasim.ops.schema import add_operation

add_operation("avgpool", pooling("avgpool", "means_of_windows"))
