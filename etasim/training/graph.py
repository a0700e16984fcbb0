"""A PyTorch model as a graph of layers: what each node of its torch.fx graph is in the words of a trace."""

import inspect
import operator
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.nn import functional

from etasim.config.errors import InputError, Problem
from etasim.ops import ACTIVATION, NORMALIZATION, OPERATIONS
from etasim.training import in_place
from etasim.training.in_place import InPlaceProxy
from etasim.training.layers import Add, Concat, Shortcut
from etasim.workload.lowering import fused

PASS = "pass"
"""Kind of a node that a trace leaves out: what it reads is what its readers read."""

_EXACT = ""
_BATCH_NORM = "statistics of the machine are per sample and group of channels"
_ACTIVATION = "computed as a ReLU"
_DROPPED = "not in the machine"
_SHAPE_ONLY = "no work: only the shape changes"
_LOSS_PART = "part of the loss"


class Meaning(NamedTuple):
    """``kind`` of a trace's layer, or PASS; ``note``: how it differs from what the model says, empty if it does not."""

    kind: str
    note: str = _EXACT


_MODULES: dict[type, Meaning] = {
    nn.Conv2d: Meaning("conv"),
    nn.Linear: Meaning("linear"),
    nn.BatchNorm1d: Meaning("norm", _BATCH_NORM),
    nn.BatchNorm2d: Meaning("norm", _BATCH_NORM),
    nn.InstanceNorm2d: Meaning("norm", _BATCH_NORM),
    nn.GroupNorm: Meaning("norm", _BATCH_NORM),
    nn.MaxPool2d: Meaning("maxpool"),
    nn.AvgPool2d: Meaning("avgpool"),
    nn.AdaptiveAvgPool2d: Meaning("avgpool"),
    Add: Meaning("add"),
    Concat: Meaning("concat"),
    Shortcut: Meaning("shortcut"),
    **dict.fromkeys((nn.Flatten, nn.Identity), Meaning(PASS, _SHAPE_ONLY)),
    **dict.fromkeys((nn.Dropout, nn.Dropout2d), Meaning(PASS, _DROPPED)),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), Meaning(PASS, _LOSS_PART)),
    **dict.fromkeys(
        (nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardtanh, nn.Hardswish, nn.Sigmoid, nn.Tanh),
        Meaning("relu", _ACTIVATION),
    ),
}

_FUNCTIONS: dict[Callable[..., Any] | str, Meaning] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), Meaning("add")),
    **dict.fromkeys((torch.cat, torch.concat), Meaning("concat")),
    **dict.fromkeys((functional.relu6, functional.gelu, functional.silu, functional.leaky_relu), Meaning("relu", _ACTIVATION)),
    functional.max_pool2d: Meaning("maxpool"),
    functional.avg_pool2d: Meaning("avgpool"),
    functional.adaptive_avg_pool2d: Meaning("avgpool"),
    **dict.fromkeys((torch.mean, "mean"), Meaning("avgpool")),
    **dict.fromkeys((torch.flatten, "flatten", "view", "reshape", "contiguous", "squeeze"), Meaning(PASS, _SHAPE_ONLY)),
    functional.dropout: Meaning(PASS, _DROPPED),
    **dict.fromkeys((functional.log_softmax, functional.softmax, torch.log_softmax, torch.softmax), Meaning(PASS, _LOSS_PART)),
}

_SIZES = ("size", "dim", "numel")
"""Methods that give numbers, not tensors."""


@dataclass(eq=False)
class LayerNode:
    """A node with its meaning; ``inputs``: the layers that it reads, past all PASS nodes, None being the network's input."""

    node: fx.Node
    meaning: Meaning
    module: nn.Module | None
    inputs: list["LayerNode | None"]
    readers: list["LayerNode"] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the layer in a trace."""
        return self.node.name

    @property
    def kind(self) -> str:
        """Kind of the layer, or PASS."""
        return self.meaning.kind


@dataclass(frozen=True, eq=False)
class ModelGraph:
    """``layers`` in the order of computation, PASS nodes included; ``source``: the input's node; ``model``: what was traced."""

    model: nn.Module
    graph: fx.Graph
    source: fx.Node
    layers: list[LayerNode]


_NOT_THE_MODEL = (str(Path(torch.__file__).parent / "_")[:-1], in_place.__file__, "<")
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_PLACE = "place"
"""Key of a node's meta: file and line of the model's code that made it."""


OF_THE_MODEL = (Exception, SystemExit)
"""What the model's own code may raise when it is run."""


class _Tracer(fx.Tracer):
    """Makes the nodes of a graph, which says nothing of the contexts that they are computed in: there may be none."""

    def __init__(self) -> None:
        super().__init__()
        self._around = _contexts()

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return InPlaceProxy(node, self)

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return isinstance(module, (Add, Concat, Shortcut)) or super().is_leaf_module(module, path)

    def create_node(self, *args: Any, **named: Any) -> fx.Node:
        node = super().create_node(*args, **named)
        node.meta[_PLACE] = _model_code()
        for name, is_on, was_on in zip(_CONTEXTS, _contexts(), self._around, strict=True):
            if is_on and not was_on and (name != _NO_GRAD or self.root.training):
                raise ValueError(f"computes under {name}, which its graph does not keep")
        return node


_NO_GRAD = "torch.no_grad"
_CONTEXTS = (_NO_GRAD, "torch.autocast", "torch.autocast")


def _contexts() -> tuple[bool, bool, bool]:
    """Which of `_CONTEXTS` are on."""
    return not torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")


def _model_code() -> tuple[str, int] | None:
    """File and line of the innermost code that is neither torch's nor of this file; None if there is none up to this file."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename != __file__:
        if not frame.f_code.co_filename.startswith(_NOT_THE_MODEL):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return None


def problem_at(node: fx.Node, title: str, message: str) -> Problem:
    """A problem with ``node``: at the line of the model's code if it is known, else of ``title``, under the path of the module."""
    place = node.meta.get(_PLACE)
    file, line = place if place is not None else (title, None)
    return Problem(file, line, str(node.target) if node.op == "call_module" else owner_of(node) or node.name, message)


def traced(model: nn.Module, title: str) -> fx.Graph:
    """The graph of ``model``, whose arguments after the first have their defaults; InputError (at ``title``) if it cannot be traced."""
    try:
        parameters = list(inspect.signature(model.forward).parameters.values())[1:]
        fixed = {p.name: p.default for p in parameters if p.default is None or isinstance(p.default, (bool, int, float, str))}
        return _without_checks(_Tracer().trace(model, fixed or None))
    except OF_THE_MODEL as error:  # tracing runs the model's own code, which may raise anything
        file, line = _raised_at(error) or (title, None)
        raise InputError([Problem(file, line, "", f"cannot be traced by torch.fx: {first_line(error)}")]) from None


def _without_checks(graph: fx.Graph) -> fx.Graph:
    """``graph`` without assertions and the comparisons that only they read; torch.fx adds some for arguments that it fixes."""
    for node in reversed(list(graph.nodes)):
        name = getattr(node.target, "__name__", "")
        if not node.users and name in ("_assert", "_assert_is_none", *_COMPARISONS):
            graph.erase_node(node)
    return graph


def _raised_at(error: BaseException) -> tuple[str, int] | None:
    """File and line of the innermost code of the model in an error's traceback."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename != __file__ and not frame.f_code.co_filename.startswith(_NOT_THE_MODEL):
            found = frame.f_code.co_filename, line
    return found


def first_line(error: BaseException) -> str:
    """What an error of foreign code says, in one line."""
    return str(error).splitlines()[0] if str(error).strip() else type(error).__name__


def model_graph(model: nn.Module) -> ModelGraph:
    """The layers of ``model``, which has one input and one output.

    Raises InputError that names every module (by its path) and operation that has no meaning here, or why the model cannot be traced.
    """
    title = type(model).__name__
    graph = traced(model, title)
    modules = dict(model.named_modules())
    sources = [node for node in graph.nodes if node.op == "placeholder" and node.users]
    problems = [Problem(title, 1, "", f"has {len(sources)} inputs, one is expected")] if len(sources) != 1 else []
    layers: dict[fx.Node, LayerNode] = {}
    for node in graph.nodes:
        if node.op in ("placeholder", "output") or _is_number(node):
            continue
        module = modules.get(node.target) if node.op == "call_module" else None
        meaning = meaning_of(node, module)
        if meaning is None:
            problems.append(problem_at(node, title, f"{what_is(node, module)} is not supported"))
            meaning = Meaning(PASS)
        inputs = [_layer_behind(layers.get(source)) for source in _tensors(node)]
        layers[node] = LayerNode(node, meaning, module, inputs)
    if problems:
        raise InputError(problems)
    for layer in layers.values():
        for source in layer.inputs if layer.kind != PASS else ():
            if source is not None:
                source.readers.append(layer)
    return ModelGraph(model, graph, sources[0], list(layers.values()))


def owner_of(node: fx.Node) -> str:
    """Path of the module whose code makes ``node``; empty for the model itself."""
    calls = node.meta.get("nn_module_stack") or {"": ("", None)}
    return next(reversed(calls.values()))[0]


def meaning_of(node: fx.Node, module: nn.Module | None) -> Meaning | None:
    """What a node is in the words of a trace, if it is anything."""
    exact = next((kind for kind, schema in OPERATIONS.items() if _is_exactly(node, module, schema.torch)), None)
    if exact is not None:
        return Meaning(exact)
    if module is not None:
        return next((meaning for type_, meaning in _MODULES.items() if type(module) is type_), None)
    meaning = _FUNCTIONS.get(node.target) if node.op in ("call_function", "call_method") else None
    if meaning is not None and meaning.kind == "add" and len(_tensors(node)) == 1:
        return Meaning(PASS, "addition of a number")
    return meaning


def _is_exactly(node: fx.Node, module: nn.Module | None, names: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether one of ``names``, those of a row in `etasim.ops`, means a node, with the arguments that it was given."""
    target = node.target if module is None else type(module)
    arguments = node.kwargs if module is None else vars(module)
    return any(
        target in (name, _of_torch(name)) and all(arguments.get(key) == value for key, value in given.items())
        for name, given in names.items()
    )


@lru_cache(maxsize=256)
def _of_torch(name: str) -> Any:
    """The class or function ``name`` of torch, None if it has none."""
    found: Any = torch
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def what_is(node: fx.Node, module: nn.Module | None) -> str:
    """A node in words."""
    if module is not None:
        return f"the module {type(module).__module__.removesuffix('.' + type(module).__name__.lower())}.{type(module).__name__}"
    if node.op == "get_attr":
        return f"a parameter or buffer used outside a layer ({node.target})"
    return f"the operation {getattr(node.target, '__name__', node.target)}"


def _is_number(node: fx.Node) -> bool:
    """Whether a node computes with sizes instead of tensors."""
    if node.op == "call_method":
        return node.target in _SIZES
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in ("shape", "ndim", "device", "dtype")
    is_arithmetic = node.op == "call_function" and getattr(node.target, "__module__", "") == "_operator"
    return is_arithmetic and bool(node.all_input_nodes) and all(_is_number(source) for source in node.all_input_nodes)


def _tensors(node: fx.Node) -> list[fx.Node]:
    """Nodes whose tensors ``node`` reads, in order, as often as it reads them."""
    found: list[fx.Node] = []

    def collect(argument: Any) -> None:
        if isinstance(argument, fx.Node):
            if not _is_number(argument):
                found.append(argument)
        elif isinstance(argument, (tuple, list)):
            for item in argument:
                collect(item)

    collect(node.args)
    collect(tuple(node.kwargs.values()))
    return found


def _layer_behind(layer: LayerNode | None) -> LayerNode | None:
    while layer is not None and layer.kind == PASS:
        layer = layer.inputs[0] if layer.inputs else None
    return layer


class NodeUnit(NamedTuple):
    """A layer with the normalization and activation that are fused with it, as `etasim.workload.lowering.Unit`."""

    head: LayerNode
    norm: LayerNode | None
    activation: LayerNode | None

    @property
    def name(self) -> str:
        """Name of the layer that heads the unit."""
        return self.head.name

    @property
    def last(self) -> LayerNode:
        """The layer whose output is the unit's."""
        return self.activation or self.norm or self.head


def units_of(layers: Iterable[LayerNode]) -> list[NodeUnit]:
    """The units of `etasim.workload.lowering.lower`, without shapes."""
    units: list[NodeUnit] = []
    taken: set[Any] = set()
    for layer in layers:
        if layer.kind == PASS or layer in taken:
            continue
        group = fused(layer, lambda node: node.kind, lambda node: node.readers)
        taken.update(group)
        by_role = {OPERATIONS[node.kind].fused_as: node for node in group}
        units.append(NodeUnit(layer, by_role.get(NORMALIZATION), by_role.get(ACTIVATION)))
    return units
