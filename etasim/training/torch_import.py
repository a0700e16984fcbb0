"""Traces from PyTorch models, by torch.fx; shapes come from a run without data, on the meta device."""

import copy
import importlib
import sys
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from etasim.config.errors import InputError, Problem, allowed_names
from etasim.training.graph import PASS, LayerNode, model_graph
from etasim.training.networks import NETWORKS, build_model
from etasim.training.trace_builder import ImportedModel, TraceBuilder, n_classes, whole_map
from etasim.workload.layer import Shape

_WHOLE = (functional.adaptive_avg_pool2d, torch.mean, "mean")
"""Functions whose window follows from the shapes."""


def trace_model(model: nn.Module, input_shape: tuple[int, int, int], name: str) -> ImportedModel:
    """The trace of ``model``, which reads images [N, *``input_shape``] (channels, height, width).

    Raises InputError for a model that cannot be traced, for modules and operations that a trace cannot hold, for shapes that do not fit.
    """
    graph = model_graph(copy.deepcopy(model).to("meta").eval())
    shapes = _shapes(fx.GraphModule(graph.model, graph.graph), input_shape, name)
    builder = TraceBuilder(name, Shape(*input_shape))
    builder.start(graph.source.name)
    for layer in graph.layers:
        inputs = [graph.source.name if source is None else source.name for source in layer.inputs]
        what = type(layer.module).__name__ if layer.module is not None else getattr(layer.node.target, "__name__", str(layer.node.target))
        if layer.kind == PASS:
            builder.skip(layer.name, inputs[0], what, layer.meaning.note)
            continue
        try:
            keys = _KEYS.get(layer.kind, _no_keys)(layer, shapes)
        except ValueError as error:
            builder.refuse(layer.name, f"{what}: {error}")
            continue
        builder.add(layer.name, layer.name, layer.kind, inputs, what, layer.meaning.note, **keys)
    last = next(node for node in graph.graph.nodes if node.op == "output").all_input_nodes
    if len(last) != 1:
        raise InputError([Problem(name, 1, "", f"has {len(last)} outputs, one is expected")])
    return builder.build(last[0].name, n_classes(shapes[last[0].name]))


def load_model(text: str) -> tuple[nn.Module, tuple[int, int, int] | None]:
    """The model that ``text`` names, a shipped name or ``package.module:callable`` (called without arguments), and its input shape if
    known.

    Raises InputError if there is no such model.
    """
    if text in NETWORKS:
        return build_model(text), tuple(NETWORKS[text].input_shape)
    module_name, colon, attribute = text.partition(":")
    if not colon:
        raise InputError([Problem(text, 1, "", f"no such network; {allowed_names(text, NETWORKS)}, or package.module:callable")])
    sys.path.insert(0, "")
    try:
        model = getattr(importlib.import_module(module_name), attribute)()
    except Exception as error:  # the user's own code may raise anything
        raise InputError([Problem(text, 1, "", f"cannot be made: {type(error).__name__}: {error}")]) from None
    finally:
        sys.path.remove("")
    if not isinstance(model, nn.Module):
        raise InputError([Problem(text, 1, "", f"gives a {type(model).__name__}, a torch.nn.Module is expected")])
    return model, None


def _shapes(body: fx.GraphModule, input_shape: tuple[int, int, int], name: str) -> dict[str, tuple[int, ...]]:
    try:
        ShapeProp(body).propagate(torch.empty(1, *input_shape, device="meta"))
    except Exception as error:  # a model that does not fit its input raises what its layers raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError([Problem(name, 1, "", f"does not run on images of {Shape(*input_shape)}: {reason}")]) from None
    return {node.name: tuple(node.meta["tensor_meta"].shape) for node in body.graph.nodes if hasattr(node.meta.get("tensor_meta"), "shape")}


def _no_keys(layer: LayerNode, shapes: dict) -> dict[str, Any]:
    return {}


def _convolution(layer: LayerNode, shapes: dict) -> dict[str, Any]:
    conv = layer.module
    if conv.padding_mode != "zeros":
        raise ValueError(f"padding mode {conv.padding_mode!r} is not supported")
    return {
        "out_channels": conv.out_channels, "kernel": conv.kernel_size, "stride": conv.stride,
        "padding": (0, 0) if conv.padding == "valid" else conv.padding, "dilation": conv.dilation, "groups": conv.groups,
        "bias": conv.bias is not None,
    }  # fmt: skip


def _linear(layer: LayerNode, shapes: dict) -> dict[str, Any]:
    source = shapes[layer.node.all_input_nodes[0].name]
    if len(source) != 2:
        raise ValueError(f"reads values of shape {source}, [samples, features] is expected: flatten them first")
    return {"out_channels": layer.module.out_features, "bias": layer.module.bias is not None}


def _shortcut(layer: LayerNode, shapes: dict) -> dict[str, Any]:
    return {"out_channels": layer.module.out_channels, "stride": layer.module.stride}


def _pool(layer: LayerNode, shapes: dict) -> dict[str, Any]:
    """Kernel, stride and padding of a pooling module or function; those of an adaptive pooling or mean follow from the shapes."""
    node, pool = layer.node, layer.module
    source, result = shapes[node.all_input_nodes[0].name], shapes[node.name]
    if isinstance(pool, nn.AdaptiveAvgPool2d) or node.target in _WHOLE:
        return _from_shapes(source, result)
    names = ("kernel_size", "stride", "padding")
    given = (
        {name: getattr(pool, name) for name in (*names, "ceil_mode", "dilation") if hasattr(pool, name)}
        if pool is not None
        else dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
    )
    if given.get("ceil_mode") or given.get("dilation", 1) not in (1, (1, 1)):
        raise ValueError("ceil_mode and dilation of a pooling are not supported")
    return {"kernel": given["kernel_size"], "stride": given.get("stride"), "padding": given.get("padding", 0)}


def _from_shapes(source: tuple[int, ...], result: tuple[int, ...]) -> dict[str, Any]:
    out_size = result[2:] if len(result) == 4 else (1, 1)
    kernel = whole_map(source, out_size) if len(source) == 4 and result[:2] == source[:2] else None
    if kernel is None:
        raise ValueError(f"from {source} to {result} is not a mean of windows of one size")
    return {"kernel": kernel}


_KEYS = {"conv": _convolution, "linear": _linear, "shortcut": _shortcut, "maxpool": _pool, "avgpool": _pool}
"""Keys of a layer of each kind in a trace; other kinds have none."""
