"""What a functional run is given: samples with labels, and the values that training starts from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from etasim.config.errors import suggest
from etasim.numerics.errors import require
from etasim.numerics.format import GREATEST_EXPONENT, LEAST_EXPONENT
from etasim.numerics.quantization import exponent_of
from etasim.numerics.reference import Key, State, initial_state, state_of
from etasim.numerics.reference.graph import Graph
from etasim.numerics.reference.state import RUNNING_ROLES, state_shapes
from etasim.numerics.scheme import Scheme
from etasim.workload import Network
from etasim.workload.lowering import Unit, lower

INPUTS, LABELS = "inputs", "labels"


@dataclass(frozen=True)
class Samples:
    """``inputs`` [samples, C, H, W], floats, and the class of each, ``labels`` [samples]."""

    inputs: np.ndarray
    labels: np.ndarray

    def batch(self, iteration: int, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels of an iteration: samples in order, from the first one again after the last."""
        which = (iteration * n_samples + np.arange(n_samples)) % len(self.labels)
        return self.inputs[which], self.labels[which]


def random_samples(network: Network, n_samples: int, seed: int) -> Samples:
    """Normal inputs and uniform labels."""
    random = np.random.default_rng([seed, 1])
    return Samples(random.standard_normal((n_samples, *network.input_shape)), random.integers(network.classes, size=n_samples))


class Expected:
    """What the arrays of a network look like, ``is_running``: one with running scales: their names, shapes and types, known before any of
    them is read."""

    def __init__(self, network: Network, is_running: bool = False) -> None:
        shapes = dict(state_shapes(Graph(network), is_running))
        names = state_names(network, is_running)
        places = {name: shapes[key] if row is None else shapes[key][1:] for name, (key, row) in names.items()}
        flat = {f"{unit.name}.weight{suffix}" for unit in lower(network) if unit.head.schema.flattens for suffix in ("", "_momentum")}
        self._shapes = {name: {shape} | ({(shape[0], prod(shape[1:]))} if name in flat else set()) for name, shape in places.items()}
        self._image = tuple(network.input_shape)

    def fits(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> bool:
        """Whether an array has nothing wrong with it but, perhaps, its values."""
        is_known = name in (INPUTS, LABELS) or name in self._shapes
        return is_known and not any(True for _ in self.faults(name, shape, dtype))

    def faults(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[tuple[str, str]]:
        """(name, what is wrong) with an array, whatever its values."""
        if name == LABELS:
            if not np.issubdtype(dtype, np.integer):
                yield name, f"must be integers, got {dtype}"
            elif len(shape) != 1:
                yield name, f"must have the shape (samples,), got {shape}"
            return
        if name == INPUTS and (len(shape) != 4 or shape[1:] != self._image or shape[0] == 0):
            yield name, f"must have the shape (samples, {', '.join(map(str, self._image))}), got {shape}"
        elif name != INPUTS and name not in self._shapes:
            close = suggest(name, (INPUTS, LABELS, *self._shapes))
            yield name, "there is no such tensor in the network" + (f"; did you mean {close!r}?" if close else "")
            return
        elif name != INPUTS and shape not in self._shapes[name]:
            yield name, f"must have the shape {' or '.join(map(str, sorted(self._shapes[name], key=len)))}, got {shape}"
        if not np.issubdtype(dtype, np.floating):
            yield name, f"must be floats, got {dtype}"


def samples_of(network: Network, arrays: Mapping[str, np.ndarray], n_samples: int, seed: int) -> Samples:
    """The samples among ``arrays`` (``inputs`` and ``labels``), or random ones if there are none.

    Raises NumericsError, with all problems, for wrong shapes and types, NaN and infinity, and labels that are not classes.
    """
    if INPUTS not in arrays and LABELS not in arrays:
        return random_samples(network, n_samples, seed)
    require(_sample_faults(network, arrays))
    return Samples(arrays[INPUTS], arrays[LABELS])


def _sample_faults(network: Network, arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    for name in (INPUTS, LABELS):
        if name not in arrays:
            yield name, "is missing"
    expected, inputs, labels = Expected(network), arrays.get(INPUTS), arrays.get(LABELS)
    if inputs is not None:
        yield from _array_faults(expected, INPUTS, inputs)
    if labels is not None:
        faults = list(expected.faults(LABELS, labels.shape, labels.dtype))
        yield from faults
        if not faults and labels.size and not 0 <= labels.min() <= labels.max() < network.classes:
            yield LABELS, f"must be 0 ... {network.classes - 1}, got {labels.min()} ... {labels.max()}"
        if not faults and inputs is not None and labels.shape != inputs.shape[:1]:
            yield LABELS, f"must have the shape {inputs.shape[:1]}, got {labels.shape}"


def parameter_names(unit: Unit) -> tuple[str, str] | None:
    """Names of the two rows of a unit's parameters: scale and offset of its normalization, or nothing and a bias."""
    if unit.norm is not None:
        return f"{unit.norm.name}.scale", f"{unit.norm.name}.offset"
    return ("", f"{unit.name}.bias") if unit.head.bias else None


def running_names(unit: Unit) -> dict[str, str]:
    """Roles of what a unit with a running scale keeps for the next iteration, by name."""
    return {} if unit.norm is None else {f"{unit.norm.name}.running_spread": "spread", f"{unit.norm.name}.radial": "radial"}


def state_names(network: Network, is_running: bool = False) -> dict[str, tuple[Key, int | None]]:
    """Names of what training starts from and leaves: key of the State, and the row of it that the name means (None: all); ``is_running``:
    with running scales.

    ``<layer>.weight`` is the 16-bit master copy; codes follow from it.
    """
    names: dict[str, tuple[Key, int | None]] = {}
    for unit in lower(network):
        for suffix, weight_role, parameter_role in (("", "master_weight", "parameter"), ("_momentum", "momentum", "parameter_momentum")):
            if unit.is_convolution:
                names[f"{unit.name}.weight{suffix}"] = (unit.name, weight_role), None
            for row, label in enumerate(parameter_names(unit) or ()):
                if label:
                    names[label + suffix] = (unit.name, parameter_role), row
        if is_running:
            names |= {name: ((unit.name, role), None) for name, role in running_names(unit).items()}
    return names


def state_arrays(network: Network, state: State) -> dict[str, np.ndarray]:
    """``state`` as floats by name, exact in float32: what `state_from` takes."""
    is_running = any(role in RUNNING_ROLES for _, role in state.tensors)
    real = {name: (state.tensors[key].real(), row) for name, (key, row) in state_names(network, is_running).items()}
    return {name: (array if row is None else array[row]).astype(np.float32) for name, (array, row) in real.items()}


def state_from(network: Network, scheme: Scheme, arrays: Mapping[str, np.ndarray], seed: int) -> State:
    """What training starts from: ``<layer>.weight``, ``<layer>.scale``, ``<layer>.offset``, ``<layer>.bias`` and their
    ``..._momentum`` among ``arrays``, the rest drawn with ``seed``. Weights of a linear layer may be [K, C R S].

    Raises NumericsError, with all problems, for unknown names and for arrays that do not fit.
    """
    state, names = initial_state(network, scheme, seed), state_names(network, scheme.is_running)
    real = {key: value.real() for key, value in state.tensors.items()}
    places = {name: real[key] if row is None else real[key][row] for name, (key, row) in names.items()}
    expected, given = Expected(network, scheme.is_running), {name: array for name, array in arrays.items() if name not in (INPUTS, LABELS)}
    require(fault for name, array in given.items() for fault in _array_faults(expected, name, array))
    for name, array in given.items():
        places[name][...] = array.reshape(places[name].shape)
    roles = ("master_weight", "parameter", "momentum", "parameter_momentum", *RUNNING_ROLES)
    by_role = ({unit: array for (unit, of), array in real.items() if of == role} for role in roles)  # empty where no layer has such values
    return state_of(network, scheme, *by_role)


def _array_faults(expected: Expected, name: str, array: np.ndarray) -> Iterator[tuple[str, str]]:
    """What is wrong with an array; its values are looked at only if it is one that a network has."""
    faults = list(expected.faults(name, array.shape, array.dtype))
    yield from faults
    if faults:
        return
    if not np.isfinite(array).all():
        yield name, "holds NaN or infinity"
    elif (exponent := exponent_of(array)) is not None and not LEAST_EXPONENT <= exponent <= GREATEST_EXPONENT:
        yield name, f"needs the exponent {exponent}, allowed: {LEAST_EXPONENT} ... {GREATEST_EXPONENT}"
