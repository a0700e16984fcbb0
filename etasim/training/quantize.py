"""Any model of convolutions, linear layers and normalizations as its 8-bit training version."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

from torch import fx, nn

from etasim.training.boundary import Boundaries, Boundary, Clock, Rounding
from etasim.training.graph import ModelGraph, NodeUnit, model_graph, units_of
from etasim.training.layers import Product, Rectifier
from etasim.training.normalization import BATCH, Normalization
from etasim.training.scheme import TrainingScheme

_REPRESENTABLE = ("maxpool", "shortcut", "relu")
"""Heads whose output needs no rounding: its values are among those of their input."""


class UnitModules(NamedTuple):
    """Paths of a unit's modules in the model (None: it has none) and the names that a trace has for them."""

    name: str
    product: str | None
    norm: str | None
    norm_name: str | None


class QuantizedModel(nn.Module):
    """``body``: the model with its tensors rounded as `docs/training.md` says. ``units``: what it is made of. ``clock``: seed and iteration
    of stochastic rounding; whoever trains counts the iterations."""

    def __init__(self, body: fx.GraphModule, scheme: TrainingScheme, clock: Clock, units: list[UnitModules]):
        super().__init__()
        self.body, self.scheme, self.clock, self.units = body, scheme, clock, units

    def forward(self, x):
        return self.body(x)

    def roundings(self) -> Iterator[Rounding]:
        """Everything that rounds a tensor, forward and backward."""
        for module in self.modules():
            if isinstance(module, Boundary):
                yield from (rounding for rounding in (module.forward_rounding, module.backward_rounding) if rounding is not None)


def quantize_model(model: nn.Module, scheme: TrainingScheme, seed: int = 0) -> QuantizedModel:
    """The 8-bit training version of ``model``, with its weights; ``model`` itself stays as it is.

    Each unit (a layer with the normalization and ReLU that follow it) rounds what the machine writes: its output (class activation), its
    sums and the error that its output collects (sum), its own error (error), its weights (weight), their gradients and those of its
    parameters (weight_gradient). Normalizations become those of the scheme; the bias of a convolution before one is dropped.

    ``seed``: of stochastic rounding. Raises InputError that names modules and operations which are not supported.
    """
    graph = model_graph(copy.deepcopy(model))
    body = fx.GraphModule(graph.model, graph.graph)
    clock = Clock(seed)
    editor = _Editor(graph, body, scheme, Boundaries(scheme, clock))
    units = [editor.quantize(unit) for unit in units_of(graph.layers)]
    editor.insert_after(graph.source, "input", editor.boundaries.between(("input.output", "activation"), None))
    body.graph.lint()
    body.recompile()
    return QuantizedModel(body, scheme, clock, units)


class _Editor:
    """Puts rounded layers and boundaries into a graph."""

    def __init__(self, graph: ModelGraph, body: fx.GraphModule, scheme: TrainingScheme, boundaries: Boundaries):
        self._body, self._scheme, self.boundaries = body, scheme, boundaries
        self._replaced: set[str] = set()

    def quantize(self, unit: NodeUnit) -> UnitModules:
        name, head = unit.name, unit.head
        is_joined_later = bool(unit.last.readers) and all(reader.kind == "concat" for reader in unit.last.readers)
        rounds = head.kind not in _REPRESENTABLE and not is_joined_later
        output = self.boundaries.between((f"{name}.output", "activation") if rounds else None, (f"{name}.partial", "sum"))
        self.insert_after(unit.last.node, f"{name}_output", output)
        if unit.relu is not None and output is not None and type(unit.relu.module) is nn.ReLU:
            self._replace(unit.relu.node.target, Rectifier())
        if head.kind in ("conv", "linear"):
            self._replace(head.node.target, self._product(unit))
        else:
            self._round_error(unit)
        if unit.norm is not None:
            self._replace(unit.norm.node.target, self._normalization(unit))
        is_product = head.kind in ("conv", "linear")
        norm = unit.norm
        return UnitModules(name, head.node.target if is_product else None, norm and norm.node.target, norm and norm.name)

    def _round_error(self, unit: NodeUnit) -> None:
        """Behind the head, before the boundary of the output if that follows at once; but the error of a normalization or ReLU that heads
        its unit is what comes out of it."""
        error, name = self.boundaries.between(None, (f"{unit.name}.error", "error")), f"{unit.name}_error"
        if unit.head.kind in ("norm", "relu"):
            self._insert_before(unit.head.node, name, error)
        else:
            self.insert_after(unit.head.node, name, error)

    def _product(self, unit: NodeUnit) -> Product:
        name, between = unit.name, self.boundaries.between
        boundaries = {
            "weight_boundary": between((f"{name}.weight", "weight"), (f"{name}.weight_gradient", "weight_gradient")),
            "sum_boundary": between((f"{name}.pre_normalization", "sum"), (f"{name}.error", "error")),
        }
        keep_bias = unit.norm is None and unit.head.module.bias is not None
        boundaries["bias_boundary"] = between(None, (f"{name}.parameter_gradient", "weight_gradient")) if keep_bias else None
        return Product(unit.head.module, boundaries, keep_bias)

    def _normalization(self, unit: NodeUnit) -> Normalization:
        old, choice = unit.norm.module, self._scheme.normalization
        channels = old.num_channels if isinstance(old, nn.GroupNorm) else old.num_features
        segments = _segments(unit.norm.inputs[0], channels)
        new = Normalization(channels, choice.kind, choice.group, segments)
        for parameter in ("weight", "bias"):
            if getattr(old, parameter) is not None:
                setattr(new, parameter, getattr(old, parameter))
            gradient = (f"{unit.name}.parameter_gradient.{parameter}", "weight_gradient")
            setattr(new, f"{parameter}_boundary", self.boundaries.between(None, gradient))
        if choice.kind == BATCH and getattr(old, "running_mean", None) is not None:
            new.running_mean, new.running_var = old.running_mean, old.running_var
        return new

    def _replace(self, path: str, module: nn.Module) -> None:
        """Shared modules are replaced once."""
        if path not in self._replaced:
            self._replaced.add(path)
            self._body.set_submodule(path, module)

    def insert_after(self, node: fx.Node, name: str, boundary: Boundary | None) -> None:
        """Let all readers of ``node`` read it through ``boundary``."""
        if boundary is not None:
            with self._body.graph.inserting_after(node):
                new = self._call(name, boundary, node)
            node.replace_all_uses_with(new, lambda user: user is not new)

    def _insert_before(self, node: fx.Node, name: str, boundary: Boundary | None) -> None:
        if boundary is not None:
            with self._body.graph.inserting_before(node):
                source = node.args[0]
                node.replace_input_with(source, self._call(name, boundary, source))

    def _call(self, name: str, boundary: Boundary, source: fx.Node) -> fx.Node:
        path = f"boundaries.{name}"
        self._body.add_submodule(path, boundary)
        return self._body.graph.call_module(path, (source,))


def _segments(layer, channels: int) -> tuple[int, ...]:
    """Channels of the maps that ``layer`` joined; one map if it joined none, or if their sizes are not known from its modules."""
    if layer is None or layer.kind != "concat":
        return (channels,)
    sizes = [_channels(source) for source in layer.inputs]
    return tuple(sizes) if None not in sizes else (channels,)


def _channels(layer) -> int | None:
    while layer is not None and layer.kind not in ("conv", "linear"):
        layer = layer.inputs[0]
    return None if layer is None else layer.module.weight.shape[0]
