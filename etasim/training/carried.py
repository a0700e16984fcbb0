"""What of a PyTorch model its quantized version carries over. Whatever would be lost is refused by the path of its module.

A module that is not replaced computes as it did, with all that it has. ATTRIBUTES says of each class that is replaced where every argument
of its constructor goes; one that a newer PyTorch added, and that nobody thought about, is refused.
"""

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from etasim.config.errors import InputError, Problem
from etasim.ops import OPERATIONS
from etasim.training.graph import PASS, LayerNode
from etasim.training.in_place import OPERATORS

CARRIED = "carried"
STATISTICS = "of the statistics that the scheme's take the place of"
PLACE = "where the result is stored"

_WINDOW = ("kernel_size", "stride", "padding", "dilation", "padding_mode")
_BATCH_NORM = dict.fromkeys(("num_features", "affine", "bias", "device", "dtype"), CARRIED)
_BATCH_NORM |= dict.fromkeys(("eps", "momentum", "track_running_stats"), STATISTICS)
ATTRIBUTES: dict[type, dict[str, str]] = {
    nn.Conv2d: dict.fromkeys((*_WINDOW, "in_channels", "out_channels", "groups", "bias", "device", "dtype"), CARRIED),
    nn.Linear: dict.fromkeys(("in_features", "out_features", "bias", "device", "dtype"), CARRIED),
    nn.BatchNorm1d: _BATCH_NORM,
    nn.BatchNorm2d: _BATCH_NORM,
    nn.ReLU: {"inplace": PLACE},
}

KEPT_NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d)
"""Normalizations that a quantized model can have as they are."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_MODES = ("train", "eval")


def private_copy(model: nn.Module) -> nn.Module:
    """A copy of ``model`` to work on. Raises InputError for what a copy, or a replaced module, would not carry."""
    title = type(model).__name__
    problems = [Problem(title, 1, path, message) for path, message in _lost(model)]
    if problems:
        raise InputError(problems)
    try:
        return copy.deepcopy(model)
    except Exception as error:  # copying runs the model's own code, which may raise anything
        raise InputError([Problem(title, 1, "", f"cannot be copied: {type(error).__name__}")]) from None


def _lost(model: nn.Module) -> Iterator[tuple[str, str]]:
    """(path of the module or parameter, what of it would be lost)."""
    for path, module in model.named_modules():
        if any(getattr(module, name) for name in _HOOKS):
            yield path, "has hooks, which would be lost: remove them"
        if parametrize.is_parametrized(module):
            yield path, "is parametrized: torch.nn.utils.parametrize.remove_parametrizations makes plain weights of it"
        if "forward" in vars(module):
            yield path, "has a forward of its own, set from outside, which would be lost"
        if any(name in vars(module) or getattr(type(module), name) is not getattr(nn.Module, name) for name in _MODES):
            yield path, f"overrides {' or '.join(_MODES)}, which would be lost"
        known = ATTRIBUTES.get(type(module))
        if known is None:
            continue
        for name in inspect.signature(type(module).__init__).parameters:
            if name not in known and name != "self":
                yield path, f"this version of PyTorch gives {type(module).__name__} the attribute {name!r}, which etasim does not know"
    for path, parameter in model.named_parameters():
        if any(getattr(parameter, name, None) for name in _PARAMETER_HOOKS):
            yield path, "has hooks, which would be lost: remove them"


def tensors_of(model: nn.Module) -> dict[str, tuple[Tensor, int]]:
    """Parameters and buffers of ``model`` by their paths, with how often each was changed in place."""
    return {path: (tensor, tensor._version) for path, tensor in (*model.named_parameters(), *model.named_buffers())}


def tensor_problems(before: Mapping[str, tuple[Tensor, int]], traced: nn.Module, body: fx.GraphModule) -> Iterator[tuple[str, str]]:
    """(path, why) of each parameter and buffer that running the model's code changed on the way from ``before`` to ``traced``, or that its
    graph, ``body``, does not read and so has not."""
    after, kept = tensors_of(traced), {id(tensor) for tensor in (*body.parameters(), *body.buffers())}
    for path, (tensor, n_changes) in before.items():
        if path not in after or after[path][0] is not tensor or after[path][1] != n_changes:
            yield path, "is changed by forward, which a graph of torch.fx does not keep"
        elif id(tensor) not in kept:
            yield path, "is read by nothing that reaches the output, and would be lost: remove it"


def graph_problems(layers: Sequence[LayerNode]) -> Iterator[tuple[str, str]]:
    """(path, why) of each operation of a graph that would not be what it was once tensors around it are rounded."""
    seen: set[str] = set()
    for layer in layers:
        path = str(layer.node.target) if layer.module is not None else layer.name
        if layer.kind in OPERATIONS and OPERATIONS[layer.kind].is_trained and layer.module is not None:
            if type(layer.module) not in (*ATTRIBUTES, *KEPT_NORMALIZATIONS):
                yield path, f"the module {type(layer.module).__name__} is not supported"
            if path in seen:
                yield path, "is used more than once; a layer of the machine has weights of its own"
            seen.add(path)
        reader = _later_reader(layer, {other.node: other for other in layers})
        if reader is not None:
            yield path, f"changes in place what {reader} reads later"


def _later_reader(layer: LayerNode, layers: dict[fx.Node, LayerNode]) -> str | None:
    """Name of a node that reads, past ``layer``, what ``layer`` changes in place."""
    node = layer.node
    name: Any = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    by_name = layer.module is None and (name.endswith("_") or node.target in OPERATORS)
    if not (by_name or getattr(layer.module, "inplace", False) or node.kwargs.get("inplace") is True):
        return None
    first: Any = node.args[0]
    while first in layers and layers[first].kind == PASS and first.all_input_nodes:
        first = first.all_input_nodes[0]
    order = {other: place for place, other in enumerate(node.graph.nodes)}
    views = [first]
    for view in views:
        for user in view.users:
            if user is not node and order[user] > order[node]:
                return user.name
            if user is not node and user in layers and layers[user].kind == PASS:
                views.append(user)
    return None
