"""The graph of a network: order of layers, joined shapes."""

from collections.abc import Iterable, Mapping, Sequence

from etasim.config.errors import allowed_names
from etasim.ops import OPERATIONS
from etasim.workload.layer import Fault, NetworkError, Shape

INPUT = "input"
"""Name by which layers refer to the network's input."""

LOSS = "loss"
"""Name of the loss that a network adds to layers without one."""


def unknown_layer(name: str, known: Iterable[str]) -> str:
    """What is wrong with a ``name`` that a layer reads, and no layer has."""
    return f"unknown layer {name!r}; {allowed_names(name, known)}"


def topological_order(inputs: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of the layers so that each comes after what it reads; layers keep their order where they can.

    Raises NetworkError for names that are not layers and for a cycle, which it names.
    """
    known = {INPUT, *inputs}
    faults = [
        Fault(layer, "inputs", unknown_layer(name, known))
        for layer, names in inputs.items()
        for name in names
        if name not in known
    ]
    if faults:
        raise NetworkError(faults)
    order: list[str] = []
    done = {INPUT}
    waiting = list(inputs)
    while waiting:
        ready = next((name for name in waiting if done.issuperset(inputs[name])), None)
        if ready is None:
            cycle = _cycle(inputs, waiting, done)
            raise NetworkError([Fault(cycle[0], "inputs", f"a cycle: {' reads '.join(cycle)}")])
        waiting.remove(ready)
        done.add(ready)
        order.append(ready)
    return order


def _cycle(inputs: Mapping[str, Sequence[str]], waiting: Sequence[str], done: set[str]) -> list[str]:
    """A closed walk among the layers that wait for each other; first and last name are the same."""
    walk = [waiting[0]]
    while walk[-1] not in walk[:-1]:
        walk.append(next(name for name in inputs[walk[-1]] if name not in done))
    return walk[walk.index(walk[-1]) :]


def joined_shape(layer: str, kind: str, shapes: Sequence[Shape]) -> Shape:
    """Shape that a layer of ``kind`` reads when its inputs have ``shapes``; NetworkError if they do not join."""
    schema = OPERATIONS[kind]
    try:
        joined = schema.joined(shapes)
    except ValueError as error:
        raise NetworkError([Fault(layer, "inputs", str(error))]) from None
    return Shape(joined.channels * joined.height * joined.width, 1, 1) if schema.flattens else joined
