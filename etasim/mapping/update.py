"""Emits WU: SGD with momentum on everything that a unit trains."""

from etasim.mapping.iteration import Iteration
from etasim.mapping.tensors import Tensor
from etasim.mapping.vector import Pass, Place
from etasim.workload import Layer
from etasim.workload.lowering import Unit


class Update:
    """WU of units."""

    def __init__(self, iteration: Iteration):
        self._iteration = iteration

    def emit(self, unit: Unit) -> None:
        """SGD with momentum on everything that the unit trains."""
        if unit.is_convolution:
            tensors = [self._iteration.weights(unit, role) for role in ("weight_gradient", "master_weight", "momentum", "weight")]
            self._update_tensors(unit, unit.head, tensors)
        layer = unit.norm or (unit.head if unit.head.bias else None)
        if layer is not None:
            roles = ("parameter_gradient", "parameter", "parameter_momentum")
            self._update_tensors(unit, layer, [self._iteration.values.per_channel(unit.index, role) for role in roles])

    def _update_tensors(self, unit: Unit, layer: Layer, tensors: list[Tensor]) -> None:
        """Read gradient, master copy and momentum; write the last two and, for weights, the codes that FF and BP use."""
        self._iteration.begin(layer, "wu")
        gradient, others = tensors[0], tensors[1:]
        step = Pass("update", (0, 1, 2), tuple(range(len(others))))
        elements, inputs = gradient.content.plane_elements, [gradient, *tensors[1:3]]
        self._iteration.vector.stream([step], Place(unit.index), gradient.n_blocks, 1, elements, inputs, others)
