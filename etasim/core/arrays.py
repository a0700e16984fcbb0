"""What arrays hold: names of their types."""

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]
"""Numbers of one type."""

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

Records = npt.NDArray[np.void]
"""A structured array: columns by name."""

Whole = int | Numbers
"""An integer, or an array of integers that broadcasts."""

int64: Any = np.int64
"""In kernels, which tell it from a constant; an integer like others to types."""

Record = np.void
"""One of `Records`."""
