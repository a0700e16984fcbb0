"""The greatest pixel of each window."""

from etasim.ops.pooling import pooling
from etasim.ops.schema import OPERATIONS

OPERATIONS.add("maxpool", pooling("maxpool", "greatest_of_windows", keeps=("window",), keeps_exponent=True))
