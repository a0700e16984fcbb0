"""The arrays in nested tuples with names, such as the state of a machine, by their path."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def arrays_of(tree: Any, name: str) -> Arrays:
    """All arrays in ``tree``: ``states.dma.n_free``, where ``name`` is ``states``."""
    if isinstance(tree, np.ndarray):
        return {name: tree}
    found: Arrays = {}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        for field, value in zip(tree._fields, tree, strict=True):
            found |= arrays_of(value, f"{name}.{field}")
    return found


def fill(tree: Any, name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Give the arrays in ``tree``, but for those that cannot change, the contents that they have in ``arrays``. Raises ValueError if one
    is missing there, or has another shape or type."""
    for path, array in arrays_of(tree, name).items():
        saved = arrays.get(path)
        if saved is None or saved.shape != array.shape or saved.dtype != array.dtype:
            raise ValueError(f"has no {path} as this machine has it")
        if array.flags.writeable:
            array[...] = saved
