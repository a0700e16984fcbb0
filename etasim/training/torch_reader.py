"""Reads a graph of torch.fx, node after node, into a trace: what each node is given, and which weights it has."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from etasim.config.errors import InputError
from etasim.training.arguments import Arguments, Refused
from etasim.training.graph import Meaning, meaning_of, problem_at, what_is
from etasim.training.tensors import ModelOperation, ModelTensor
from etasim.training.torch_operations import FUNCTIONS, IN_PLACE, MODULES, VIEWS
from etasim.training.trace_builder import TraceBuilder, Weight

RESULT = "result"
"""Key of a node's meta: what it gives in a run on the meta device."""


@dataclass
class Call:
    """One operation with what it was given. ``kind`` of a trace's layer, ``note``: how it differs; ``module``: None for a function."""

    builder: TraceBuilder
    operation: ModelOperation
    arguments: Arguments
    module: nn.Module | None
    kind: str
    note: str
    reader: "GraphReader"

    def value(self, name: str = "input") -> ModelTensor:
        """The tensor that the operation reads as ``name``."""
        value = self.arguments[name]
        if not isinstance(value, ModelTensor):
            what = "a parameter or buffer" if isinstance(value, Weight) else f"{value!r:.60}"
            raise Refused(f"{name} is {what}, a tensor that depends on the network's input is expected")
        return value

    def values(self, name: str) -> list[ModelTensor]:
        """The tensors of the sequence ``name``."""
        found = self.arguments[name]
        if not isinstance(found, (list, tuple)) or not all(isinstance(value, ModelTensor) for value in found):
            raise Refused(f"{name} are not all tensors that depend on the network's input")
        return list(found)

    def weights(self, *names: str) -> list[Weight]:
        """Weights of a module, or those given to a function; without those that are None."""
        if self.module is not None:
            tensors = [getattr(self.module, name) for name in names]
            return [self.reader.weight(tensor) for tensor in tensors if tensor is not None]
        found = [self.arguments[name] for name in names]
        if any(isinstance(weight, ModelTensor) for weight in found):
            raise Refused("has weights that depend on the network's input")
        return [weight for weight in found if weight is not None]


class GraphReader:
    """Values of the nodes that were read; None for those behind a refused one."""

    def __init__(self, builder: TraceBuilder, model: nn.Module, title: str) -> None:
        self._builder, self._title = builder, title
        self._modules = dict(model.named_modules())
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._values: dict[fx.Node, Any] = {}
        self._roots: dict[fx.Node, fx.Node] = {}

    def weight(self, tensor: torch.Tensor) -> Weight:
        """A tensor of the model."""
        return Weight(self._names.get(id(tensor)), tuple(tensor.shape), not tensor.requires_grad)

    def read(self, node: fx.Node) -> None:
        """Read ``node``, whose sources were read before."""
        result: Any = node.meta.get(RESULT)
        if node.op == "output" or not _holds_tensors(result):
            return
        if node.op == "placeholder" and not isinstance(result, torch.Tensor):
            raise InputError([problem_at(node, self._title, "is any number of inputs; a trace has one, of images or features")])
        if node.op == "placeholder":
            self._values[node] = self._builder.input(tuple(result.shape))
        elif node.op == "get_attr":
            self._values[node] = self.weight(result)
        else:
            self._values[node] = self._call(node, result)

    def output(self, node: fx.Node) -> ModelTensor | None:
        """The one tensor that the model returns."""
        tensors = [source for source in node.all_input_nodes if _holds_tensors(source.meta.get(RESULT))]
        if len(tensors) != 1:
            names = ", ".join(source.name for source in tensors)
            raise Refused(f"the model returns {len(tensors)} tensors{f' ({names})' if names else ''}; a trace has one output")
        value = self._values[tensors[0]]
        if isinstance(value, Weight):
            raise Refused("the model returns a parameter or buffer")
        return value

    def _call(self, node: fx.Node, result: Any) -> ModelTensor | None:
        module = self._modules.get(node.target) if node.op == "call_module" else None
        what = type(module).__name__ if module is not None else getattr(node.target, "__name__", str(node.target))
        shape = tuple(result.shape) if isinstance(result, torch.Tensor) else ()
        problem = problem_at(node, self._title, "")
        operation = ModelOperation(self._builder.free_name(node.name), what, problem.file, problem.line, problem.key, shape)
        try:
            return self._modelled(node, module, operation)
        except Refused as refusal:
            blamed = refusal.operation or operation
            self._builder.refuse(blamed, str(refusal))
            self._refuse_attributes(node)
            return None

    def _modelled(self, node: fx.Node, module: nn.Module | None, operation: ModelOperation) -> ModelTensor | None:
        row = MODULES.get(type(module)) if module is not None else FUNCTIONS.get(node.target)
        if row is None or not isinstance(node.meta[RESULT], torch.Tensor):
            raise Refused(f"{what_is(node, module)} is not supported")
        if any(self._values.get(source, source) is None for source in node.all_input_nodes):
            if row.is_of_host:  # behind a layer, though a refused one
                raise Refused(f"{what_is(node, module)} is not supported")
            return None
        if module is not None and (module._forward_hooks or module._forward_pre_hooks):
            raise Refused("has a forward hook, which a trace cannot hold")
        if module is not None and "forward" in vars(module):
            raise Refused("has a forward of its own, set from outside, which a trace cannot hold")
        given = [self._resolved(argument) for argument in node.args]
        named = {name: self._resolved(argument) for name, argument in node.kwargs.items()}
        attributes = _attributes(module) if module is not None else {}
        arguments = Arguments(row.arguments, given, named, row.attributes, attributes)
        self._check_in_place(node, arguments)
        meaning: Meaning | None = meaning_of(node, module)
        call = Call(self._builder, operation, arguments, module, *(meaning or Meaning("relu")), self)
        value = row.rule(call)
        arguments.check()
        return value

    def _resolved(self, argument: Any) -> Any:
        """An argument whose nodes are replaced by what they stand for: values, weights, numbers."""
        if isinstance(argument, fx.Node):
            return self._values[argument] if argument in self._values else argument.meta[RESULT]
        if isinstance(argument, slice):
            return slice(*(self._resolved(part) for part in (argument.start, argument.stop, argument.step)))
        if isinstance(argument, (list, tuple)):
            items = [self._resolved(item) for item in argument]
            return items if isinstance(argument, list) else tuple(items)
        return argument

    def _refuse_attributes(self, node: fx.Node) -> None:
        """Name the parameters and buffers that a refused operation reads."""
        for source in node.all_input_nodes:
            if source.op == "get_attr":
                problem = problem_at(source, self._title, "")
                operation = ModelOperation("", "", problem.file, problem.line, str(source.target), ())
                self._builder.refuse(operation, what_is(source, None))

    def _check_in_place(self, node: fx.Node, arguments: Arguments) -> None:
        """Refused if the node changes a tensor that a later one reads otherwise than through it."""
        sources = [source for source in node.all_input_nodes if isinstance(self._values.get(source), ModelTensor)]
        is_in_place = node.target in IN_PLACE or ("inplace" in arguments and arguments["inplace"] is True)
        root = self._roots.get(sources[0], sources[0]) if sources else node
        if is_in_place:
            before = [other for other in self._values if self._roots.get(other, other) is root]
            late = [user for other in before for user in other.users if user is not node and user not in self._values and _reads_data(user)]
            if late:
                raise Refused(f"changes in place what {late[0].name} reads afterwards")
        if is_in_place or node.target in VIEWS or type(self._modules.get(node.target) if node.op == "call_module" else None) in VIEWS:
            self._roots[node] = root


def _reads_data(user: fx.Node) -> bool:
    return user.op == "output" or _holds_tensors(user.meta.get(RESULT))


def _holds_tensors(result: Any) -> bool:
    """Whether ``result`` is a tensor, or holds any."""
    if isinstance(result, (list, tuple)):
        return any(_holds_tensors(item) for item in result)
    if isinstance(result, dict):
        return any(_holds_tensors(item) for item in result.values())
    return isinstance(result, torch.Tensor)


def _attributes(module: nn.Module) -> dict[str, Any]:
    """What a module was made with, and what it lists as constant; parameters are read elsewhere."""
    names: Sequence[str] = (*inspect.signature(type(module).__init__).parameters, *getattr(module, "__constants__", ()))
    return {name: getattr(module, name) for name in names if name in vars(module)}
