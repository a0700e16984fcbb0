"""Traces from PyTorch models, by torch.fx; shapes come from a run without data, on the meta device."""

import copy
import importlib
import sys
import warnings
from typing import Any

import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

from etasim.config.errors import InputError, Problem, allowed_names
from etasim.training.arguments import Refused
from etasim.training.graph import OF_THE_MODEL, first_line, problem_at, traced
from etasim.training.import_report import ImportedModel
from etasim.training.modes import DIFFERS, differing
from etasim.training.networks import NETWORKS, build_model
from etasim.training.tensors import ModelOperation
from etasim.training.torch_reader import RESULT, GraphReader
from etasim.training.trace_builder import OwnCount, TraceBuilder, legal_name

SAMPLES = 8191
"""Batch of the run without data: a prime, so that an operation that mixes samples shows in the shapes."""


def trace_model(model: nn.Module, input_shape: tuple[int, ...], name: str) -> ImportedModel:
    """The trace of ``model``, which reads [N, *``input_shape``]: images (channels, height, width), or features.

    Raises InputError for a model that cannot be traced, for modules and operations that a trace cannot hold, for shapes that do not fit,
    and if shapes, parameters or multiply-accumulates of the trace were not those of the model.
    """
    _refuse_own(model, name)
    model = _without_data(model, name)
    in_training, graph = traced(model.train(), name), traced(model.eval(), name)
    other = differing(in_training, graph)
    if other is not None:
        raise InputError([problem_at(other, name, DIFFERS)])
    macs = _run(model, graph, (SAMPLES, *input_shape), name)
    builder = TraceBuilder(legal_name(name), name, SAMPLES)
    reader = GraphReader(builder, model, name)
    for node in graph.nodes:
        reader.read(node)
    output = next(node for node in graph.nodes if node.op == "output")
    place = ModelOperation("output", "output", name, None, "", ())
    last = None
    try:
        last = reader.output(output)
    except Refused as refusal:
        builder.refuse(place, str(refusal))
    parameters = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return builder.build(last, place, OwnCount(parameters, macs))


def load_model(text: str) -> tuple[nn.Module, tuple[int, ...] | None]:
    """The model that ``text`` names, a shipped name or ``package.module:callable`` (called without arguments), and its input shape if
    known.

    Raises InputError if there is no such model.
    """
    if text in NETWORKS:
        return build_model(text), tuple(NETWORKS[text].input_shape)
    module_name, colon, attribute = text.partition(":")
    if not colon:
        raise InputError([Problem(text, None, "", f"no such network; {allowed_names(text, NETWORKS)}, or package.module:callable")])
    sys.path.insert(0, "")
    try:
        model = getattr(importlib.import_module(module_name), attribute)()
    except OF_THE_MODEL as error:  # the user's own code may raise anything
        raise InputError([Problem(text, None, "", f"cannot be made: {type(error).__name__}: {first_line(error)}")]) from None
    finally:
        sys.path.remove("")
    if not isinstance(model, nn.Module):
        raise InputError([Problem(text, None, "", f"gives a {type(model).__name__}, a torch.nn.Module is expected")])
    return model, None


def _refuse_own(model: nn.Module, name: str) -> None:
    """Raise InputError for what torch.fx leaves out of a graph without a word: of the model itself all but its class's forward."""
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError([Problem(name, None, "", "is a script of torch.jit: give the module that it was made of")])
    has_hooks = model._forward_hooks or model._forward_pre_hooks
    for what, is_there in (("a forward hook", has_hooks), ("a forward of its own, set from outside", "forward" in vars(model))):
        if is_there:
            raise InputError([Problem(name, None, "", f"the model has {what}, which a trace cannot hold")])


def _without_data(model: nn.Module, name: str) -> nn.Module:
    """A copy of ``model`` on the meta device, whose shared parameters are shared too."""
    lazy = [path for path, parameter in model.named_parameters() if isinstance(parameter, nn.parameter.UninitializedParameter)]
    if lazy:
        raise InputError([Problem(name, None, path, "is not initialized: run the model once before it is traced") for path in lazy])
    tensors = [*model.parameters(), *model.buffers()]
    memo: dict[int, Any] = {id(t): nn.Parameter(t.detach().to("meta"), t.requires_grad) for t in tensors if isinstance(t, nn.Parameter)}
    memo |= {id(t): t.to("meta") for t in tensors if id(t) not in memo}
    try:
        return copy.deepcopy(model, memo)
    except OF_THE_MODEL as error:  # modules of the user may forbid it in their own ways
        raise InputError([Problem(name, None, "", f"cannot be copied: {first_line(error)}")]) from None


class _ShapeRun(fx.Interpreter):
    """Keeps what each node gives in its meta; tensors have no data."""

    def run_node(self, node: fx.Node) -> Any:
        self.at = node
        result = super().run_node(node)
        node.meta[RESULT] = result
        return result

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        value = super().get_attr(target, args, kwargs)
        return value.to("meta") if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter) else value


def _run(model: nn.Module, graph: fx.Graph, shape: tuple[int, ...], name: str) -> int:
    """Runs ``graph`` without data on an input of ``shape``; returns the multiply-accumulates of one sample, as PyTorch counts them."""
    run = _ShapeRun(model, graph=graph)
    run.at = next(iter(graph.nodes))
    try:
        with warnings.catch_warnings(), torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            warnings.simplefilter("ignore")  # they are about a computation, and there is none
            run.run(torch.empty(shape))
    except OF_THE_MODEL as error:  # a model that does not fit its input raises what its layers raise
        sizes = " x ".join(map(str, shape[1:]))
        raise InputError([problem_at(run.at, name, f"does not run on images of {sizes}: {first_line(error)}")]) from None
    return counter.get_total_flops() // (2 * shape[0])
