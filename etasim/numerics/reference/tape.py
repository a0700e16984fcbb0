"""What an iteration has written so far, by tensor."""

from collections import defaultdict

import numpy as np

from etasim.core.arrays import Whole
from etasim.numerics.arithmetic import integer_limit, integer_unit, round_clip
from etasim.numerics.normalization import NormalizationResult
from etasim.numerics.reference.exponents import Exponent
from etasim.numerics.reference.graph import Graph
from etasim.numerics.reference.update import Term
from etasim.numerics.reference.value import Key, Value, stored
from etasim.numerics.scheme import Scheme
from etasim.workload.lowering import Unit


class Tape:
    """``tensors`` written, or found by the iteration; ``normalized``: by unit, what the backward pass of its normalization needs;
    ``contributions``: by unit, to the error of its output."""

    def __init__(self, graph: Graph, scheme: Scheme, exponent: Exponent, found: dict[Key, Value]) -> None:
        self.graph, self.scheme, self._exponent = graph, scheme, exponent
        self.tensors: dict[Key, Value] = dict(found)
        self.normalized: dict[int, NormalizationResult] = {}
        self._contributions: dict[int, list[Term]] = defaultdict(list)

    def output(self, index: int) -> Value:
        """The output of unit ``index``, -1 being the network's input."""
        return self.tensors[self.graph.name(index), "output"]

    def of(self, unit: Unit, role: str) -> Value:
        """A tensor of a unit."""
        return self.tensors[unit.name, role]

    def write(self, unit: Unit, role: str, v: np.ndarray, v_unit: Whole) -> Value:
        """Round integers ``v`` of ``v_unit`` into the format and exponent of a tensor."""
        key = (unit.name, role)
        self.tensors[key] = stored(v, v_unit, self._exponent.of(key, v, v_unit), self.scheme.format(role))
        return self.tensors[key]

    def keep(self, unit: Unit, role: str, value: Value) -> None:
        """Note a tensor that needs no exponent of its own."""
        self.tensors[unit.name, role] = value

    def contribute(self, index: int, v: np.ndarray, v_unit: int) -> None:
        """Add integers ``v`` of ``v_unit`` to the error of the output of unit ``index``."""
        self._contributions[index].append((v, v_unit))

    def sum_contributions(self, unit: Unit) -> Value:
        """The ``partial`` of a unit, once all readers have contributed: each of n contributions is rounded to its unit and limited to an
        n-th of its range, so that the order of the sum does not matter."""
        terms = self._contributions.pop(unit.index)
        v = np.stack([v for v, _ in terms])
        v_unit = np.array([v_unit for _, v_unit in terms]).reshape(-1, *[1] * (v.ndim - 1))
        bits = self.scheme.sum_bits
        exponent = self._exponent.of((unit.name, "partial"), len(terms) * v, v_unit)
        limited = round_clip(v, integer_unit(exponent, bits) - v_unit, integer_limit(bits) // len(terms))
        self.keep(unit, "partial", Value(limited.sum(axis=0), exponent, bits))
        return self.of(unit, "partial")
