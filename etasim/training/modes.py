"""A model's two graphs, in training and in evaluation, as one: what depends on ``self.training`` goes on depending on it."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

from torch import fx, nn
from torch.fx.node import map_aggregate

from etasim.config.errors import InputError, Problem
from etasim.training.graph import ModelGraph, model_graph, owner_of

DIFFERS = "computes something else in evaluation than in training"


class Mode(nn.Module):
    """Gives ``self.training`` of the module that it is put into."""

    def forward(self) -> bool:
        return self.training


class Switch(NamedTuple):
    """A node some of whose arguments are ``self.training`` of the module that it belongs to; ``places`` of these among all arguments."""

    node: fx.Node
    places: tuple[int, ...]


def graph_of_both_modes(model: nn.Module) -> tuple[ModelGraph, list[Switch]]:
    """The graph of ``model`` in training, and what of it is different in evaluation; each module keeps its own mode.

    Raises InputError, beside what `model_graph` raises, for a model that does other operations in evaluation.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        graph, other = (_graph_in(model, mode) for mode in (True, False))
    finally:
        for module, mode in modes.items():
            module.training = mode
    try:
        return graph, list(_switches(tuple(graph.graph.nodes), tuple(other.graph.nodes)))
    except _DifferError as error:
        at = owner_of(error.node) or error.node.name
        raise InputError([Problem(type(model).__name__, 1, at, DIFFERS)]) from None


def differing(training: fx.Graph, evaluation: fx.Graph) -> fx.Node | None:
    """The first node of ``training`` that is another one in ``evaluation``, other than by a ``self.training`` that it is given."""
    try:
        list(_switches(tuple(training.nodes), tuple(evaluation.nodes)))
    except _DifferError as error:
        return error.node
    return None


def insert_switches(body: fx.GraphModule, switches: Sequence[Switch], model: nn.Module) -> None:
    """Let the nodes of ``switches`` follow the mode of ``body``, or of the part of it that they belong to; it begins as in ``model``."""
    for node, places in switches:
        owner = owner_of(node)
        path = f"{owner}.is_training" if owner else "is_training"
        body.add_submodule(path, Mode())
        body.get_submodule(path).training = model.get_submodule(owner).training
        with body.graph.inserting_before(node):
            mode = body.graph.call_module(path)
        place = count()
        filled = map_aggregate((node.args, node.kwargs), lambda value: mode if next(place) in places else value)  # noqa: B023 - used at once
        node.args, node.kwargs = filled


def _graph_in(model: nn.Module, mode: bool) -> ModelGraph:
    for module in model.modules():
        module.training = mode
    return model_graph(model)


class _DifferError(Exception):
    def __init__(self, node: fx.Node) -> None:
        self.node = node
        super().__init__()


def _switches(training: Sequence[fx.Node], evaluation: Sequence[fx.Node]) -> Iterator[Switch]:
    partner = dict(zip(training, evaluation, strict=False))
    for node, other in partner.items():
        ours, theirs = _arguments(node), _arguments(other)
        if (node.op, node.target, node.kwargs.keys(), len(ours)) != (other.op, other.target, other.kwargs.keys(), len(theirs)):
            raise _DifferError(node)
        places = tuple(place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair == (True, False))
        if not all(_same(*pair, partner) for place, pair in enumerate(zip(ours, theirs, strict=True)) if place not in places):
            raise _DifferError(node)
        if places:
            yield Switch(node, places)
    if len(training) != len(evaluation):
        raise _DifferError(training[-1])


def _arguments(node: fx.Node) -> list[Any]:
    """All values among the arguments of ``node``, those in lists too."""
    found: list[Any] = []
    map_aggregate((node.args, node.kwargs), found.append)
    return found


def _same(ours: Any, theirs: Any, partner: dict[fx.Node, fx.Node]) -> bool:
    if isinstance(ours, fx.Node):
        return partner.get(ours) is theirs
    return type(ours) is type(theirs) and repr(ours) == repr(theirs)
