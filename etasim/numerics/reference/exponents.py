"""Exponents of what an iteration writes: those that its values need, and those that the next iteration is given (delayed scaling)."""

from collections.abc import Mapping

from etasim.core.arrays import Numbers, Whole
from etasim.numerics.arithmetic import exponent_seen
from etasim.numerics.reference.graph import Graph
from etasim.numerics.reference.value import Exponents, Key, clamped
from etasim.workload import INPUT

INPUT_OUTPUT: Key = (INPUT, "output")


class Exponent:
    """Exponents of tensors while an iteration writes them.

    ``given``: by owner; None gives each tensor the exponent of its own values (the first run of a calibration). ``seen``: by owner, the
    least exponent that holds all values written so far; None for zeros alone. ``used``: by owner, the exponents that its tensors have. What
    shares the exponent of the network's input is neither.
    """

    def __init__(self, graph: Graph, input_exponent: int, given: Exponents | None) -> None:
        self._graph = graph
        self._given = None if given is None else {**given, INPUT_OUTPUT: input_exponent}
        self._input_exponent = input_exponent
        self.seen: dict[Key, int | None] = {}
        self.used: dict[Key, set[int]] = {}

    def of(self, key: Key, v: Numbers, unit: Whole) -> int:
        """The exponent of tensor ``key``, of which values ``v`` of ``unit`` are now written."""
        owner = self._graph.owner(key)
        if owner == INPUT_OUTPUT:
            return self._input_exponent
        needed = exponent_seen(v, unit)
        self.seen[owner] = max((e for e in (self.seen.get(owner), needed) if e is not None), default=None)
        exponent = clamped(needed or 0) if self._given is None else self._given[owner]
        self.used.setdefault(owner, set()).add(exponent)
        return exponent


def next_exponents(exponents: Exponents, seen: Mapping[Key, int | None], margin: int) -> dict[Key, int]:
    """Exponents of the next iteration: those ``seen`` plus ``margin``; an exponent of which only zeros were seen stays."""
    return {key: exponent if (last := seen.get(key)) is None else clamped(last + margin) for key, exponent in exponents.items()}
