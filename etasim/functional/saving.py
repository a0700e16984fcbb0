"""What a functional run is made of besides its inputs, as arrays by name: to go on from a checkpoint."""

import json
from collections.abc import Mapping

import numpy as np

from etasim.core.json_reading import read_value
from etasim.core.trees import Arrays
from etasim.numerics.reference import State, Value


def state_arrays_of(state: State, name: str) -> Arrays:
    """Integers and exponents of all tensors of ``state``, which has the same ones in the same order all through a run."""
    tensors = list(state.tensors.values())
    found = {f"{name}.{i}": value.integers for i, value in enumerate(tensors)}
    return found | {f"{name}.exponents": np.array([value.exponent for value in tensors], np.int64)}


def state_from_arrays(arrays: Mapping[str, np.ndarray], name: str, like: State) -> State:
    """The inverse; names and formats are those of ``like``."""
    exponents = arrays[f"{name}.exponents"].tolist()
    values = {
        key: Value(arrays[f"{name}.{i}"], exponents[i], value.format) for i, (key, value) in enumerate(like.tensors.items())
    }  # fmt: skip
    return State(values)


def exponent_array(exponents: Mapping[tuple[str, str], int]) -> np.ndarray:
    """Exponents by owner as bytes of text."""
    return np.frombuffer(json.dumps([[*owner, exponent] for owner, exponent in exponents.items()]).encode(), np.uint8)


def exponents_from(array: np.ndarray) -> dict[tuple[str, str], int]:
    """The inverse. Raises JsonError for bytes that are no JSON."""
    return {(unit, role): exponent for unit, role, exponent in read_value(array.tobytes())}
