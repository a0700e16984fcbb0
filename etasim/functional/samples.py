"""What a functional run is given: samples with labels, and the values that training starts from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etasim.numerics.errors import require
from etasim.numerics.reference import State, initial_state, state_of
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


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an ``.npz`` file by name. Raises NumericsError if it is not one or holds Python objects."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, AttributeError, TypeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        require([(str(path), f"not an .npz archive of arrays: {error}")])
        raise


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
    inputs, labels = arrays.get(INPUTS), arrays.get(LABELS)
    if inputs is not None:
        if inputs.ndim != 4 or inputs.shape[1:] != tuple(network.input_shape) or len(inputs) == 0:
            yield INPUTS, f"must have the shape (samples, {', '.join(map(str, network.input_shape))}), got {inputs.shape}"
        if not np.issubdtype(inputs.dtype, np.floating):
            yield INPUTS, f"must be floats, got {inputs.dtype}"
        elif not np.isfinite(inputs).all():
            yield INPUTS, "holds NaN or infinity"
    if labels is not None:
        if not np.issubdtype(labels.dtype, np.integer):
            yield LABELS, f"must be integers, got {labels.dtype}"
        elif labels.size and not 0 <= labels.min() <= labels.max() < network.classes:
            yield LABELS, f"must be 0 ... {network.classes - 1}, got {labels.min()} ... {labels.max()}"
        if inputs is not None and labels.shape != inputs.shape[:1]:
            yield LABELS, f"must have the shape {inputs.shape[:1]}, got {labels.shape}"


def parameter_names(unit: Unit) -> tuple[str, str] | None:
    """Names of the two rows of a unit's parameters: scale and offset of its normalization, or nothing and a bias."""
    if unit.norm is not None:
        return f"{unit.norm.name}.scale", f"{unit.norm.name}.offset"
    return ("", f"{unit.name}.bias") if unit.head.bias else None


def state_from(network: Network, scheme: Scheme, arrays: Mapping[str, np.ndarray], seed: int) -> State:
    """What training starts from: ``<layer>.weight``, ``<layer>.scale``, ``<layer>.offset``, ``<layer>.bias`` and their
    ``..._momentum`` among ``arrays``, the rest drawn with ``seed``.

    Raises NumericsError, with all problems, for unknown names and for arrays that do not fit.
    """
    state, units = initial_state(network, scheme, seed), lower(network)
    real = {role: state.real(role) for role in ("master_weight", "momentum", "parameter", "parameter_momentum")}
    unknown = set(arrays) - {INPUTS, LABELS}
    faults = []
    for unit in units:
        names = parameter_names(unit)
        for suffix, role, parameter_role in (("", "master_weight", "parameter"), ("_momentum", "momentum", "parameter_momentum")):
            name = f"{unit.name}.weight{suffix}"
            if unit.is_convolution and name in unknown:
                unknown.remove(name)
                given, there = arrays[name], real[role][unit.name]
                is_linear = unit.head.kind == "linear" and given.ndim == 2 and given.size == there.size
                real[role][unit.name] = given.reshape(there.shape) if is_linear else given
            for row, label in enumerate(names or ()):
                name = f"{label}{suffix}"
                if label and name in unknown:
                    unknown.remove(name)
                    rows = real[parameter_role][unit.name]
                    if arrays[name].shape != rows[row].shape or not np.issubdtype(arrays[name].dtype, np.floating):
                        faults.append((name, f"must be floats of shape {rows[row].shape}, got {arrays[name].dtype} {arrays[name].shape}"))
                    else:
                        rows[row] = arrays[name]
    faults += [(name, "there is no such tensor in the network") for name in sorted(unknown)]
    require(faults)
    return state_of(network, scheme, real["master_weight"], real["parameter"], real["momentum"], real["parameter_momentum"])
