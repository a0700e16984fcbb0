"""The arguments of a simulation: what each may be, said in the same words to callers of `simulate`, the command line and run.yaml."""

from collections.abc import Callable, Collection, Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from etasim.config import Architecture
from etasim.config.base import LARGEST_BATCH
from etasim.config.errors import InputError, Problem, allowed_names
from etasim.workload import Network
from etasim.workload.lowering import PHASES

FIDELITIES = ("cycle", "analytical")
MOST_CHARACTERS = 60
"""Of a value that a message repeats."""

Messages = Iterator[str]
Place = Callable[[str, str], Problem]
"""From an argument and what is wrong with it to a Problem with its place."""


class ArgumentError(InputError, ValueError):
    """Arguments that `etasim.simulate` cannot do anything with; ``problems`` has one for each."""


def shown(value: Any) -> str:
    """``value`` as a message repeats it."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        text = f"a {type(value).__name__} of too many digits"
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."


def is_whole(value: Any) -> bool:
    """Whether ``value`` is a whole number; a truth value is none."""
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def _whole(least: int, most: int | None = None) -> Callable[[Any], Messages]:
    def check(value: Any) -> Messages:
        if not is_whole(value) or value < least:
            yield f"must be a whole number of at least {least}, got {shown(value)}"
        elif most is not None and value > most:
            yield f"must be at most {most:,}, got {shown(value)}"

    return check


def _optional(check: Callable[[Any], Messages]) -> Callable[[Any], Messages]:
    return lambda value: iter(()) if value is None else check(value)


def _instance(kind: type | tuple[type, ...], what: str) -> Callable[[Any], Messages]:
    def check(value: Any) -> Messages:
        if not isinstance(value, kind):
            yield f"must be {what}, got {shown(value)}"

    return check


def _callable(value: Any) -> Messages:
    if not callable(value):
        yield f"must be a function, got {shown(value)}"


def _phases(value: Any) -> Messages:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Collection):
        yield f"must be a list of phases, got {shown(value)}; {allowed_names('', PHASES)}"
        return
    names = list(value)
    if not names:
        yield f"is empty; {allowed_names('', PHASES)}"
    for name in names:
        if not isinstance(name, str) or name not in PHASES:
            yield f"unknown phase {shown(name)}; {allowed_names(name, PHASES)}"


def _fidelity(value: Any) -> Messages:
    if not isinstance(value, str) or value not in FIDELITIES:
        yield f"unknown name {shown(value)}; {allowed_names(value, FIDELITIES)}"


def _tensors(value: Any) -> Messages:
    if not isinstance(value, Mapping):
        yield f"must be arrays by name, such as {{'inputs': ..., 'labels': ...}}, got {shown(value)}"
        return
    for name, array in value.items():
        if not isinstance(name, str):
            yield f"has the name {shown(name)}; names are text"
        elif not isinstance(array, np.ndarray):
            yield f"{name!r} must be a numpy array, got {shown(array)}"


def _order(value: Any) -> Messages:
    from etasim.machine.engine import ORDER

    if not isinstance(value, np.ndarray) or value.dtype != ORDER.dtype or sorted(value.ravel().tolist()) != sorted(ORDER.tolist()):
        yield f"must be a permutation of {ORDER.tolist()} as an array of {ORDER.dtype}, got {shown(value)}"


def _window(value: Any) -> Messages:
    ends = list(value) if isinstance(value, (tuple, list)) else []
    if len(ends) != 2 or not all(is_whole(end) for end in ends) or not 0 <= ends[0] < ends[1]:
        yield f"must be two core cycles, the first of at least 0 and below the second, got {shown(value)}"


CHECKS: dict[str, Callable[[Any], Messages]] = {
    "architecture": _instance(Architecture, "an Architecture, such as etasim.load_architecture('eta_vc709')"),
    "network": _instance(Network, "a Network, such as etasim.load_network('resnet20_cifar')"),
    "batch": _optional(_whole(1, LARGEST_BATCH)),
    "phases": _phases,
    "fidelity": _fidelity,
    "functional": _instance((bool, np.bool_), "True or False"),
    "tensors": _optional(_tensors),
    "iterations": _whole(1),
    "seed": _whole(0),
    "progress": _optional(_callable),
    "stage": _optional(_callable),
    "listing": _optional(_instance((str, Path), "the path of a file")),
    "timeline": _optional(_instance((str, Path), "the path of a file")),
    "timeline_window": _optional(_window),
    "timeline_layer": _optional(_instance(str, "the name of a layer")),
    "checkpoint": _optional(_instance((str, Path), "the path of a file")),
    "checkpoint_every": _optional(_whole(1)),
    "series_every": _optional(_whole(0)),
    "resume": _instance((bool, np.bool_), "True or False"),
    "order": _order,
}
"""What each argument may be by itself."""

OF_VALUES = {"tensors": None, "iterations": 1, "seed": 0}
"""Arguments that are about values, and what they are if they are left out."""


def faults(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(argument, what is wrong) of every argument in ``given``, and of arguments that do not go together."""
    wrong = [(name, message) for name, value in given.items() for message in CHECKS[name](value)]
    yield from wrong
    names = {name for name, _ in wrong}
    if not names & {"fidelity", "functional"}:
        yield from ((name, message) for name, message in _together(given) if name not in names)


def _together(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What does not go together among arguments that are right by themselves."""
    estimates, functional = given.get("fidelity") == "analytical", given.get("functional", False)
    if functional and estimates:
        yield "functional", "an estimate computes no values; leave it out or choose the fidelity 'cycle'"
    if given.get("timeline") is not None and estimates:
        yield "timeline", "an estimate runs no command; leave it out or choose the fidelity 'cycle'"
    if given.get("series_every") is not None and estimates:
        yield "series_every", "an estimate runs no cycle to sample; leave it out or choose the fidelity 'cycle'"
    yield from _of_timeline(given)
    for name in ("checkpoint_every", "resume"):
        if given.get(name) and estimates:
            yield name, "an estimate is done at once; leave it out or choose the fidelity 'cycle'"
        elif given.get(name) and given.get("checkpoint") is None:
            yield name, "needs a file, 'checkpoint'"
    if not functional:
        for name, default in OF_VALUES.items():
            value = given.get(name, default)
            if value is not default and not (is_whole(value) and value == default):
                yield name, "is about values, which need 'functional'"


def _of_timeline(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with what a timeline shall show."""
    for name in ("timeline_window", "timeline_layer"):
        if given.get(name) is not None and given.get("timeline") is None:
            yield name, "is about a timeline, which needs a file, 'timeline'"
    layer, network = given.get("timeline_layer"), given.get("network")
    if layer is not None and isinstance(network, Network):
        names = [each.name for each in network.layers]
        if layer not in names:
            yield "timeline_layer", f"unknown layer {shown(layer)}; {allowed_names(layer, names)}"


def problems(given: Mapping[str, Any], place: Place) -> list[Problem]:
    """What is wrong with the arguments in ``given``, each with its ``place``."""
    return [place(name, message) for name, message in faults(given)]


def check(given: Mapping[str, Any]) -> None:
    """Raises ArgumentError with everything that is wrong with the arguments of a call."""
    found = problems(given, lambda name, message: Problem("simulate", None, name, message))
    if found:
        raise ArgumentError(found)
