"""What survives an iteration: weights, master weights, parameters and their momentum, with exponents."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np

from etasim.numerics.arithmetic import DEVIATION_RATIO
from etasim.numerics.errors import require
from etasim.numerics.reference.graph import Graph
from etasim.numerics.reference.value import Key, Value, quantized, stored
from etasim.numerics.scheme import Scheme
from etasim.workload import Network
from etasim.workload.lowering import Unit

WEIGHT_ROLES = ("master_weight", "momentum", "weight")
PARAMETER_ROLES = ("parameter", "parameter_momentum")
RUNNING_ROLES = ("spread", "radial")


@dataclass(frozen=True)
class State:
    """Tensors by (unit, role): WEIGHT_ROLES [K, C / groups, R, S] of units that a convolution or linear layer heads, PARAMETER_ROLES [2, C]
    (scale, offset) of units with a normalization or a bias, RUNNING_ROLES [C] (`etasim.numerics.running`) of those whose scale is one."""

    tensors: Mapping[Key, Value]

    def real(self, role: str) -> dict[str, np.ndarray]:
        """Values of a role by unit, float64: what `state_of` takes."""
        return {unit: value.real() for (unit, of_role), value in self.tensors.items() if of_role == role}


def has_parameters(unit: Unit) -> bool:
    """Whether a unit has scales and offsets, or a bias; a bias before a normalization gives way to the offset."""
    return unit.norm is not None or unit.head.bias


def state_shapes(graph: Graph, is_running: bool = False) -> Iterator[tuple[Key, tuple[int, ...]]]:
    """Keys and shapes of all tensors of a State; ``is_running``: of a scheme whose normalizations have running scales."""
    for unit in graph.units:
        if unit.is_convolution:
            yield from (((unit.name, role), graph.weight_shape(unit)) for role in WEIGHT_ROLES)
        if has_parameters(unit):
            shape = (2, graph.shape(unit.index).channels)
            yield from (((unit.name, role), shape) for role in PARAMETER_ROLES)
        if unit.norm is not None and is_running:
            yield from (((unit.name, role), (graph.shape(unit.index).channels,)) for role in RUNNING_ROLES)


def initial_state(network: Network, scheme: Scheme, seed: int) -> State:
    """Normal weights of variance 2 / (C / groups R S) (He et al., "Delving deep into rectifiers", 2015), of mean 0 in each filter
    before a running scale; scale 1 of a normalization, else 0; offset 0; momentum 0; running deviation 1, radial gradient 0."""
    graph, random = Graph(network), np.random.default_rng(seed)
    weights, parameters = {}, {}
    for unit in graph.units:
        if unit.is_convolution:
            shape = graph.weight_shape(unit)
            weights[unit.name] = random.standard_normal(shape) * sqrt(2 / prod(shape[1:]))
            if unit.norm is not None and scheme.is_running:
                weights[unit.name] -= weights[unit.name].mean((1, 2, 3), keepdims=True)
        if has_parameters(unit):
            parameters[unit.name] = np.zeros((2, graph.shape(unit.index).channels))
            parameters[unit.name][0] = unit.norm is not None
    return state_of(network, scheme, weights, parameters)


def state_of(
    network: Network,
    scheme: Scheme,
    weights: Mapping[str, np.ndarray],
    parameters: Mapping[str, np.ndarray],
    momentum: Mapping[str, np.ndarray] | None = None,
    parameter_momentum: Mapping[str, np.ndarray] | None = None,
    spread: Mapping[str, np.ndarray] | None = None,
    radial: Mapping[str, np.ndarray] | None = None,
) -> State:
    """The State nearest to float arrays by unit (shapes as in State), each with the least exponent that holds it; weights are encoded from
    their master copies. Momentum and radial gradients that are not given are 0, spreads those of a deviation of 1.

    Raises NumericsError for arrays that are missing, unknown, of the wrong shape, or hold NaN or infinity.
    """
    given = {"master_weight": weights, "momentum": momentum or {}, "parameter": parameters, "parameter_momentum": parameter_momentum or {},
             "spread": spread or {}, "radial": radial or {}}  # fmt: skip
    arrays = {(unit, role): np.asarray(array) for role, by_unit in given.items() for unit, array in by_unit.items()}
    shapes = {key: shape for key, shape in state_shapes(Graph(network), scheme.is_running) if key[1] != "weight"}
    require(_array_faults(arrays, shapes))
    usual = {"spread": 1 / DEVIATION_RATIO}
    given_or_usual = {key: arrays.get(key, np.full(shape, usual.get(key[1], 0.0))) for key, shape in shapes.items()}
    tensors = {key: quantized(array, scheme.format(key[1])) for key, array in given_or_usual.items()}
    for (unit, role), master in list(tensors.items()):
        if role == "master_weight":
            tensors[unit, "weight"] = stored(master.integers, master.unit, master.exponent, scheme.weight)
    return State(tensors)


def _array_faults(arrays: Mapping[Key, np.ndarray], shapes: Mapping[Key, tuple[int, ...]]) -> Iterator[tuple[str, str]]:
    for (unit, role), array in arrays.items():
        if (unit, role) not in shapes:
            yield f"{unit}.{role}", "there is no such tensor in the network"
        elif array.shape != shapes[unit, role]:
            yield f"{unit}.{role}", f"must have the shape {shapes[unit, role]}, got {array.shape}"
        elif not np.issubdtype(array.dtype, np.floating):
            yield f"{unit}.{role}", f"must be floats, got {array.dtype}"
        elif not np.isfinite(array).all():
            yield f"{unit}.{role}", "holds NaN or infinity"
    for unit, role in shapes.keys() - arrays.keys():
        if role in ("master_weight", "parameter"):
            yield f"{unit}.{role}", "is missing"
