"""One training iteration of a quantized model as the machine computes it, and the same iteration in PyTorch, code by code.

`integer_iteration` hands weights, samples and formats to the integer reference, with which the functional machine agrees to the bit.
`torch_iteration` runs the PyTorch model itself in float64, where sums are exact, under the same exponents; `differences` compares.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx, nn

from etasim.core.arrays import Whole
from etasim.functional.samples import state_from
from etasim.numerics.normalization import normalize, normalize_backward
from etasim.numerics.reference import IterationValues, State, Value, calibrate, loss, quantized, run_iteration
from etasim.numerics.reference.graph import Graph
from etasim.numerics.running import RunningScale, normalize_running, radial_product, running_backward, scale_gradient
from etasim.numerics.scheme import Scheme
from etasim.training.boundary import Boundary, Rounding, cross
from etasim.training.machine_scheme import machine_scheme
from etasim.training.normalization import Normalization
from etasim.training.quantize import QuantizedModel
from etasim.training.running import RunningNormalization
from etasim.workload import INPUT, Network

__all__ = ["Difference", "IntegerIteration", "differences", "integer_iteration", "machine_scheme", "torch_iteration"]


class IntegerIteration(NamedTuple):
    """What `integer_iteration` ran with (``network``, ``scheme``, the ``state`` before, ``inputs``, ``labels``), and its ``values``."""

    network: Network
    scheme: Scheme
    state: State
    inputs: Value
    labels: np.ndarray
    exponents: Mapping[tuple[str, str], int]
    values: IterationValues


def integer_iteration(network: Network, scheme: Scheme, arrays: Mapping[str, np.ndarray]) -> IntegerIteration:
    """One iteration in integers from the content of a state.npz: its samples, weights, parameters and momentum; exponents are calibrated.

    Raises NumericsError for arrays that do not fit ``network``.
    """
    state = state_from(network, scheme, {name: array for name, array in arrays.items() if name not in ("inputs", "labels")}, seed=0)
    inputs, labels = quantized(arrays["inputs"], scheme.activation), np.asarray(arrays["labels"])
    exponents = calibrate(network, scheme, state, inputs, labels)
    values = run_iteration(network, scheme, state, inputs, labels, exponents)
    return IntegerIteration(network, scheme, state, inputs, labels, exponents, values)


def torch_iteration(model: QuantizedModel, iteration: IntegerIteration) -> dict[tuple[str, str], np.ndarray]:
    """FF, BP and WG of the same iteration by a copy of ``model`` in float64: the integers of all tensors that it rounds, by (unit, role).

    The copy has the state of ``iteration`` and its exponents. Its normalizations round their statistics as the machine does, each
    contribution to an error is rounded for itself, and the gradient of the logits comes from the machine's table of exponentials.
    """
    graph = Graph(iteration.network)
    twin = copy.deepcopy(model).double().train()
    recorder = _Recorder(graph, iteration)
    for rounding in twin.roundings():
        recorder.attach(rounding)
    _load(twin, iteration.state)
    for unit in twin.units:
        if unit.norm is not None:
            norm: Any = twin.body.get_submodule(unit.norm)
            exact = _ExactRunning if iteration.scheme.is_running else _ExactNormalization
            twin.body.set_submodule(unit.norm, exact(norm, unit.name, iteration))
    _round_each_contribution(twin.body)
    twin.body.recompile()
    logits = twin(torch.from_numpy(iteration.inputs.real()))
    value = iteration.values.tensors[iteration.values.output, "output"]
    integers = np.rint(np.ldexp(logits.detach().numpy(), -value.unit)).astype(np.int64).reshape(len(logits), -1)
    gradient = loss.gradient(integers, value.unit, iteration.labels)
    logits.backward(torch.from_numpy(np.ldexp(gradient.astype(np.float64), loss.CONTRIBUTION_UNIT)).reshape(logits.shape))
    for unit in twin.units:
        norm = twin.body.get_submodule(unit.norm) if unit.norm else None
        if isinstance(norm, _ExactRunning):
            product: Any = twin.body.get_submodule(str(unit.product))
            norm.learn(product.weight)
    return recorder.found


class Difference(NamedTuple):
    """Of a tensor: how many of its values differ, and by how much at most, in units of its exponent."""

    tensor: str
    n_values: int
    n_different: int
    greatest: int


def differences(iteration: IntegerIteration, found: Mapping[tuple[str, str], np.ndarray]) -> list[Difference]:
    """Each tensor of `torch_iteration` beside that of the reference."""
    rows = []
    for key, integers in found.items():
        before = iteration.state.tensors.get(key)
        expected = (before if before is not None else iteration.values.tensors[key]).integers.reshape(integers.shape)
        apart = np.abs(expected - integers)
        rows.append(Difference(".".join(key), integers.size, int(np.count_nonzero(apart)), int(apart.max())))
    return rows


@dataclass
class _Recorder:
    """Gives roundings their exponents and collects what they round, as integers."""

    graph: Graph
    iteration: IntegerIteration

    def __post_init__(self) -> None:
        self.found: dict[tuple[str, str], np.ndarray] = {}

    def attach(self, rounding: Rounding) -> None:
        unit, role, *row = rounding.name.split(".")
        owner = self.graph.owner((unit, role))
        if role == "weight":
            value = self.iteration.state.tensors[unit, role]
        elif owner == (INPUT, "output"):
            value = self.iteration.inputs
        else:
            value = self.iteration.values.tensors[unit, role]
        rounding.given = value.exponent
        rounding.observe = lambda name, values, rounded, exponent: self._note(unit, role, row, value.unit, rounded)

    def _note(self, unit: str, role: str, row: list[str], value_unit: int, rounded: torch.Tensor) -> None:
        integers = np.rint(np.ldexp(rounded.detach().numpy(), -value_unit)).astype(np.int64)
        if role == "parameter_gradient":
            both = self.found.setdefault((unit, role), np.zeros((2, len(integers)), np.int64))
            both[0 if row == ["weight"] else 1] = integers
        elif role == "partial" and (unit, role) in self.found:
            self.found[unit, role] = self.found[unit, role] + integers
        else:
            self.found[unit, role] = integers


def _load(model: QuantizedModel, state: State) -> None:
    """Put the real values of ``state`` into ``model``."""
    with torch.no_grad():
        for unit in model.units:
            parameter: Any = state.tensors.get((unit.name, "parameter"))
            if unit.product is not None:
                product: Any = model.body.get_submodule(unit.product)
                weight = torch.from_numpy(state.tensors[unit.name, "master_weight"].real())
                product.weight.copy_(weight.reshape(product.weight.shape))
                if product.bias is not None:
                    product.bias.copy_(torch.from_numpy(parameter.real()[1]))
            if unit.norm is not None:
                norm: Any = model.body.get_submodule(unit.norm)
                norm.weight.copy_(torch.from_numpy(parameter.real()[0]))
                norm.bias.copy_(torch.from_numpy(parameter.real()[1]))


class _ExactNormalize(torch.autograd.Function):
    """A normalization on real values that stand for the machine's integers: statistics and normalized values rounded as there."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        scale: torch.Tensor,
        offset: torch.Tensor,
        units: tuple[int, int, int],
        group: int,
        segments: tuple[int, ...],
        reciprocal: str,
    ) -> torch.Tensor:
        unit_p, unit_parameter, ctx.unit_d = units
        x4 = x.reshape(*x.shape[:2], *(x.shape[2:] or (1, 1)))
        result = normalize(
            _integers(x4, unit_p), unit_p, _integers(scale, unit_parameter), _integers(offset, unit_parameter), unit_parameter,
            group=group, segments=segments, reciprocal=reciprocal,
        )  # fmt: skip
        ctx.result = result
        return _real(result.v, result.unit_v).reshape(x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        found = normalize_backward(_integers(gradient, ctx.unit_d).reshape(ctx.result.p.shape), ctx.unit_d, ctx.result)
        dx = _real(found.v, found.unit[:, :, None, None]).reshape(gradient.shape)
        return dx, _real(found.dscale, found.unit_dscale), _real(found.doffset, found.unit_doffset), None, None, None, None


class _ExactNormalization(nn.Module):
    """`_ExactNormalize` in the place of ``norm`` of ``unit``."""

    def __init__(self, norm: Normalization, unit: str, iteration: IntegerIteration) -> None:
        super().__init__()
        self._norm, tensors = norm, iteration.values.tensors
        graph = Graph(iteration.network)
        of_unit = next(u for u in graph.units if u.name == unit)
        source = (unit, "pre_normalization") if of_unit.is_convolution else (graph.name(of_unit.inputs[0]), "output")
        self._units = (tensors[source].unit, iteration.state.tensors[unit, "parameter"].unit, tensors[unit, "partial"].unit)
        self._segments = graph.normalization_segments(of_unit)
        self._scheme = iteration.scheme

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        norm, scheme = self._norm, self._scheme
        weight, bias = cross(norm.weight_boundary, norm.weight), cross(norm.bias_boundary, norm.bias)
        return _ExactNormalize.apply(x, weight, bias, self._units, scheme.normalization_group, self._segments, scheme.reciprocal)  # type: ignore[no-untyped-call]  # PyTorch's


class _ExactScale(torch.autograd.Function):
    """A running scale on real values that stand for the machine's integers."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, units: tuple[int, int], by: RunningScale
    ) -> torch.Tensor:
        unit_p, ctx.unit_d = units
        p = _integers(x.reshape(*x.shape[:2], *(x.shape[2:] or (1, 1))), unit_p)
        ctx.by, ctx.result = by, normalize_running(p, unit_p, by)
        return _real(ctx.result.v, ctx.result.unit_v).reshape(x.shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        d = _integers(gradient, ctx.unit_d).reshape(ctx.result.v.shape) * ctx.result.is_inside
        v, unit = running_backward(d, ctx.unit_d, ctx.result.is_negative, ctx.by)
        return _real(v, unit).reshape(gradient.shape), None, _real(d.sum((0, 2, 3)), ctx.unit_d), None, None


class _ExactRunning(nn.Module):
    """`_ExactScale` in the place of ``norm`` of ``unit``, by the integers that the iteration began with."""

    def __init__(self, norm: RunningNormalization, unit: str, iteration: IntegerIteration) -> None:
        super().__init__()
        self._norm, self._tensors = norm, iteration.values.tensors
        before, reciprocal = iteration.state.tensors, iteration.scheme.reciprocal
        spread, radial, parameter = (before[unit, role] for role in ("spread", "radial", "parameter"))
        scale, offset = parameter.integers
        self._by = RunningScale(spread.integers, spread.unit, radial.integers, radial.unit, scale, offset, parameter.unit, reciprocal)
        self._unit, self._weight = unit, before[unit, "master_weight"]
        self._units = (self._tensors[unit, "pre_normalization"].unit, self._tensors[unit, "partial"].unit)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._count = x.numel() // x.shape[1]
        return _ExactScale.apply(x, self._norm.weight, cross(self._norm.bias_boundary, self._norm.bias), self._units, self._by)  # type: ignore[no-untyped-call]  # PyTorch's

    def learn(self, filters: torch.nn.Parameter) -> None:
        """Round the gradient of the scale, as WU makes it."""
        assert filters.grad is not None, "BP has been"
        gradient, magnitude = self._tensors[self._unit, "weight_gradient"], self._tensors[self._unit, "magnitude"]
        integers = _integers(filters.grad, gradient.unit).reshape(self._weight.integers.shape)
        product, unit = radial_product(self._weight.integers, integers), self._weight.unit + gradient.unit
        found, units = scale_gradient(self._by, product, unit, magnitude.integers, magnitude.unit, self._count)
        if self._norm.weight_boundary is not None and self._norm.weight_boundary.backward_rounding is not None:
            self._norm.weight_boundary.backward_rounding(_real(found, units))


def _round_each_contribution(body: fx.GraphModule) -> None:
    """Let every reader of an output round what it contributes to its error, instead of rounding their sum."""
    for node in list(body.graph.nodes):
        boundary: Any = body.get_submodule(node.target) if node.op == "call_module" else None
        is_output = isinstance(boundary, Boundary) and boundary.backward_rounding is not None
        if not is_output or not boundary.backward_rounding.name.endswith(".partial") or len(node.users) < 2:
            continue
        for number, user in enumerate(list(node.users)):
            path = f"{node.target}_{number}"
            body.add_submodule(path, Boundary(None, boundary.backward_rounding))
            with body.graph.inserting_before(user):
                user.replace_input_with(node, body.graph.call_module(path, (node,)))
        boundary.backward_rounding = None


def _integers(values: torch.Tensor, unit: int) -> np.ndarray:
    return np.rint(np.ldexp(values.detach().numpy(), -unit)).astype(np.int64)


def _real(integers: np.ndarray, unit: Whole) -> torch.Tensor:
    return torch.from_numpy(np.ldexp(integers.astype(np.float64), unit))
