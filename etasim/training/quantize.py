"""Any model of convolutions, linear layers and normalizations as its 8-bit training version."""

import fnmatch
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import fx, nn

from etasim.config.errors import InputError, Problem, allowed_names
from etasim.mapping.scales import COPY, REQUANTISE
from etasim.numerics.scheme import RUNNING_L1
from etasim.ops import JOINED, OPERATIONS, PADDED, SAME
from etasim.training.boundary import Boundaries, Boundary, Clock, Rounding, SecondBoundary
from etasim.training.carried import graph_problems, private_copy, tensor_problems, tensors_of
from etasim.training.directions import Directions
from etasim.training.graph import LayerNode, ModelGraph, NodeUnit, units_of
from etasim.training.layers import Rectifier, round_tensors
from etasim.training.modes import graph_of_both_modes, insert_switches
from etasim.training.normalization import Normalization
from etasim.training.running import RunningNormalization, centre
from etasim.training.scheme import BATCH, OWN, TrainingScheme

_BATCH_NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d)


class UnitModules(NamedTuple):
    """Paths of a unit's modules in the model (None: it has none) and the names that a trace has for them."""

    name: str
    product: str | None
    norm: str | None
    norm_name: str | None


class QuantizedModel(nn.Module):
    """``body``: the model with its tensors rounded as `docs/training.md` says. ``units``: what it is made of. ``clock``: seed and iteration
    of stochastic rounding; whoever trains counts the iterations. ``changes``: what of the model the scheme has replaced or dropped, a
    sentence each that begins with the path of the module."""

    def __init__(self, body: fx.GraphModule, scheme: TrainingScheme, clock: Clock, units: list[UnitModules], changes: list[str]) -> None:
        super().__init__()
        self.body, self.scheme, self.clock, self.units, self.changes = body, scheme, clock, units, changes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)

    def learn_before_steps(self, optimizer: torch.optim.Optimizer) -> None:
        """Have the running scales of the model learn before each step of ``optimizer``, any of PyTorch's; without it they stay as they
        are, and so do the scales behind them."""
        get = self.body.get_submodule
        pairs: list[tuple[Any, Any]] = [(get(unit.norm), get(unit.product)) for unit in self.units if unit.norm and unit.product]
        running = [(norm, product) for norm, product in pairs if isinstance(norm, RunningNormalization)]

        def before_step(of: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
            for norm, product in running:
                norm.learn(product.weight)

        optimizer.register_step_pre_hook(before_step)

    def roundings(self) -> Iterator[Rounding]:
        """Everything that rounds a tensor, forward and backward."""
        for module in self.modules():
            if isinstance(module, Boundary):
                yield from (rounding for rounding in (module.forward_rounding, module.backward_rounding) if rounding is not None)


def quantize_model(model: nn.Module, scheme: TrainingScheme, seed: int = 0) -> QuantizedModel:
    """The 8-bit training version of ``model``, with its weights and in its mode; ``model`` itself stays as it is.

    Each unit (a layer with the normalization and ReLU that follow it) rounds what the machine writes: its output (class activation), its
    sums and the error that its output collects (sum), its own error (error), its weights (weight), their gradients and those of its
    parameters (weight_gradient). The scheme's normalization takes the place of batch normalizations, and the bias of a convolution before
    one is dropped. All else computes what it did: with ``normalization.kind`` ``own`` and fp32 the outputs are the model's, bit for bit.

    ``seed``: of stochastic rounding. Raises InputError that names modules and operations which are not supported.
    """
    copied = private_copy(model)
    before = tensors_of(copied)
    graph, switches = graph_of_both_modes(copied)
    body = fx.GraphModule(graph.model, graph.graph)
    problems = [*tensor_problems(before, copied, body)]
    problems += [*graph_problems(graph.layers), *_refused_normalizations(graph.layers, scheme.normalization.kind)]
    units = list(units_of(graph.layers))
    problems += _without_filters(units, scheme.normalization.kind)
    problems += _unused_rules(scheme, [unit.name for unit in units])
    if problems:
        raise InputError(Problem(type(model).__name__, 1, path, message) for path, message in problems)
    clock = Clock(seed)
    editor = _Editor(graph, body, scheme, Boundaries(scheme, clock))
    quantized_units = [editor.quantize(unit) for unit in units]
    editor.insert_after(graph.source, "input", editor.boundaries.between(("input.output", "activation"), None))
    for unit in units:
        editor.give_second_input(unit)
    insert_switches(body, switches, model)
    body.graph.lint()
    body.recompile()
    quantized = QuantizedModel(body, scheme, clock, quantized_units, editor.changes)
    quantized.training = model.training
    return quantized


def _refused_normalizations(layers: list[LayerNode], kind: str) -> Iterator[tuple[str, str]]:
    """(path, why) of the normalizations whose place ``kind`` cannot take."""
    for layer in layers:
        if kind != OWN and layer.kind == "norm" and not isinstance(layer.module, _BATCH_NORMALIZATIONS):
            what = type(layer.module).__name__
            message = f"normalization.kind {kind} takes the place of batch normalizations, this is {what}; {OWN} keeps it"
            yield str(layer.node.target), message


def _without_filters(units: list[NodeUnit], kind: str) -> Iterator[tuple[str, str]]:
    """(path, why) of the normalizations that ``kind``, a running scale, cannot learn for."""
    for unit in units:
        if kind == RUNNING_L1 and unit.norm is not None and not OPERATIONS[unit.head.kind].on_array:
            yield str(unit.norm.node.target), f"normalization.kind {kind} needs a convolution or linear layer right before"


def _unused_rules(scheme: TrainingScheme, names: list[str]) -> Iterator[tuple[str, str]]:
    """(key, why) of the exceptions by unit that fit none of ``names``."""
    for i, rule in enumerate(scheme.layers):
        if not fnmatch.filter([*names, "input"], rule.match):
            yield f"layers[{i}].match", f"{rule.match!r} fits no unit; {allowed_names(rule.match, names)}"


class _Editor:
    """Puts rounded layers and boundaries into a graph; ``changes`` as of QuantizedModel."""

    def __init__(self, graph: ModelGraph, body: fx.GraphModule, scheme: TrainingScheme, boundaries: Boundaries) -> None:
        self._body, self._scheme, self.boundaries = body, scheme, boundaries
        self._keeps_norms = scheme.normalization.kind in (OWN, BATCH)
        self._training = graph.model.training
        self.changes: list[str] = []

    def quantize(self, unit: NodeUnit) -> UnitModules:
        name, head, norm = unit.name, unit.head, unit.norm
        is_joined_later = bool(unit.last.readers) and all(OPERATIONS[reader.kind].channels == JOINED for reader in unit.last.readers)
        rounds = not _selects(head) and not is_joined_later
        output = self.boundaries.between((f"{name}.output", "activation") if rounds else None, (f"{name}.partial", "sum"))
        self.insert_after(unit.last.node, f"{name}_output", output)
        if unit.activation is not None and output is not None and type(unit.activation.module) is nn.ReLU:
            self._body.set_submodule(str(unit.activation.node.target), Rectifier())
        is_product = OPERATIONS[head.kind].on_array
        if is_product:
            self._round_product(unit)
        else:
            self._round_error(unit)
        if norm is not None:
            self._normalize(unit, norm)
        product, path = str(head.node.target) if is_product else None, str(norm.node.target) if norm else None
        return UnitModules(name, product, path, norm.name if norm else None)

    def _round_error(self, unit: NodeUnit) -> None:
        """Behind the head, before the boundary of the output if that follows at once; but the error of a normalization or ReLU that heads
        its unit is what comes out of it."""
        error, name = self.boundaries.between(None, (f"{unit.name}.error", "error")), f"{unit.name}_error"
        if OPERATIONS[unit.head.kind].fused_as:
            self._insert_before(unit.head.node, name, error)
        else:
            self.insert_after(unit.head.node, name, error)

    def _round_product(self, unit: NodeUnit) -> None:
        name, between = unit.name, self.boundaries.between
        layer: Any = unit.head.module
        if layer.bias is not None and unit.norm is not None and not self._keeps_norms:
            layer.bias = None
            self.changes.append(f"{unit.head.node.target}: its bias is dropped, the offset of {unit.norm.node.target} takes its place")
        boundaries: dict[str, nn.Module | None] = {
            "weight_boundary": between((f"{name}.weight", "weight"), (f"{name}.weight_gradient", "weight_gradient")),
            "directions": self._directions(name),
        }
        error = None if boundaries["directions"] else (f"{name}.error", "error")
        boundaries["sum_boundary"] = between((f"{name}.pre_normalization", "sum"), error)
        bias = (f"{name}.parameter.bias", "parameter"), (f"{name}.parameter_gradient", "weight_gradient")
        boundaries["bias_boundary"] = None if layer.bias is None else between(*bias)
        self._round(layer, boundaries)

    def _directions(self, name: str) -> Directions | None:
        """Of a product whose operands have two sets of blocks."""
        make, classes = self.boundaries.second, {"input": "activation", "weight": "weight", "error": "error"}
        second = {role: make(f"{name}.{role}.second", of_class) for role, of_class in classes.items()}
        if all(rounding is None for rounding in second.values()):
            return None
        weight = None if second["weight"] is None else SecondBoundary(second["weight"], None)
        error = None if second["error"] is None else Boundary(None, second["error"])
        first = self.boundaries.between(None, (f"{name}.error", "error"))
        return Directions(weight, first, error, self._scheme.second_direction == REQUANTISE).train(self._training)

    def give_second_input(self, unit: NodeUnit) -> None:
        """Let a product of two sets of blocks read the second set of its input too: of the values that the first was made of, or, where
        another operation lies between, of what that made of the first."""
        second = self.boundaries.second(f"{unit.name}.input.second", "activation")
        if second is None or not OPERATIONS[unit.head.kind].on_array:
            return
        node: Any = unit.head.node
        source = node.args[0]
        with self._body.graph.inserting_before(node):
            made_of = self._before_rounding(source) if self._scheme.second_direction == COPY else source
            node.args = (source, self._call(f"{unit.name}_second_input", SecondBoundary(second, None), made_of))

    def _before_rounding(self, node: fx.Node) -> Any:
        """What the first set of blocks at ``node`` was made of, in the same shape."""
        module: Any = self._body.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, Boundary) and module.forward_rounding is not None:
            return node.args[0]
        if not isinstance(module, (nn.Flatten, nn.Identity)):
            return node
        source: Any = node.args[0]
        before = self._before_rounding(source)
        return node if before is source else self._body.graph.node_copy(node, lambda read: before)

    def _normalize(self, unit: NodeUnit, norm: LayerNode) -> None:
        """Round the gradients of a normalization that stays, or put the scheme's in its place."""
        path, choice = str(norm.node.target), self._scheme.normalization
        old: Any = norm.module
        gradients = {name: (f"{unit.name}.parameter_gradient.{name}", "weight_gradient") for name in ("weight", "bias")}
        values = {name: (f"{unit.name}.parameter.{name}", "parameter") for name in gradients}
        boundaries = {f"{name}_boundary": self.boundaries.between(values[name], gradient) for name, gradient in gradients.items()}
        if self._keeps_norms:
            self._round(old, boundaries)
            return
        new: RunningNormalization | Normalization
        if choice.kind == RUNNING_L1:
            new, product, meant = RunningNormalization(old.num_features), unit.head.module, " behind filters of zero mean"
            centre(cast(nn.Parameter, cast(nn.Module, product).weight))
        else:
            new = Normalization(old.num_features, choice.kind, choice.group, _segments(norm.inputs[0], old.num_features))
            meant = f" over groups of {choice.group} channels"
        new.weight, new.bias, new.training = old.weight, old.bias, old.training
        self._body.set_submodule(path, new)
        for name, boundary in boundaries.items():
            setattr(new, name, self._in_mode(boundary))
        self.changes.append(f"{path}: {old} becomes {choice.kind}{meant}")

    def _round(self, layer: nn.Module, boundaries: Mapping[str, nn.Module | None]) -> None:
        round_tensors(layer, {name: self._in_mode(boundary) for name, boundary in boundaries.items()})

    def _in_mode(self, boundary: Any) -> Any:
        return boundary if boundary is None else boundary.train(self._training)

    def insert_after(self, node: fx.Node, name: str, boundary: Boundary | None) -> None:
        """Let all readers of ``node`` read it through ``boundary``."""
        if boundary is not None:
            with self._body.graph.inserting_after(node):
                new = self._call(name, boundary, node)
            node.replace_all_uses_with(new, lambda user: user is not new)

    def _insert_before(self, node: fx.Node, name: str, boundary: Boundary | None) -> None:
        if boundary is not None:
            with self._body.graph.inserting_before(node):
                source: Any = node.args[0]
                node.replace_input_with(source, self._call(name, boundary, source))

    def _call(self, name: str, boundary: Boundary, source: fx.Node) -> fx.Node:
        path = f"boundaries.{name}"
        self._body.add_submodule(path, boundary.train(self._training))
        return self._body.graph.call_module(path, (source,))


def _selects(head: LayerNode) -> bool:
    """Whether the output needs no rounding: its values are among those of the input."""
    return OPERATIONS[head.kind].keeps_exponent and not head.meaning.note


def _segments(layer: LayerNode | None, channels: int) -> tuple[int, ...]:
    """Channels of each of the maps that were joined in the output of ``layer``, ``channels`` in all, as
    `etasim.numerics.reference.graph.Graph.segments`; one map if the modules do not tell."""
    found = tuple(_channels(layer))
    return found if sum(found) == channels else (channels,)


def _channels(layer: LayerNode | None) -> list[int]:
    """Of each of the maps; 0 for those of which no module tells."""
    while layer is not None and OPERATIONS[layer.kind].channels == SAME:
        layer = layer.inputs[0]
    if layer is None:
        return [0]
    if OPERATIONS[layer.kind].channels == JOINED:
        return [channels for source in layer.inputs for channels in _channels(source)]
    module: Any = layer.module
    if OPERATIONS[layer.kind].channels == PADDED:
        before = _channels(layer.inputs[0])[:-1]
        return [*before, module.out_channels - sum(before)] if all(before) else [0]
    return [module.weight.shape[0]]
