"""WU: SGD with momentum on everything that a unit trains."""

from collections.abc import Iterator

from etasim.mapping.iteration import Iteration
from etasim.mapping.steps import Alone, Place, alone
from etasim.mapping.tensors import Tensor
from etasim.ops.unit import UPDATE
from etasim.workload import Layer
from etasim.workload.lowering import Unit


class Update:
    """WU of units."""

    def __init__(self, iteration: Iteration):
        self._iteration = iteration

    def works(self, unit: Unit) -> Iterator[Alone]:
        """SGD with momentum on everything that the unit trains."""
        if unit.is_convolution:
            tensors = [self._iteration.weights(unit, role) for role in ("weight_gradient", "master_weight", "momentum", "weight")]
            yield self._update(unit, unit.head, tensors)
        layer = unit.norm or (unit.head if unit.head.bias else None)
        if layer is not None:
            roles = ("parameter_gradient", "parameter", "parameter_momentum")
            yield self._update(unit, layer, [self._iteration.values.per_channel(unit.index, role) for role in roles])

    def _update(self, unit: Unit, layer: Layer, tensors: list[Tensor]) -> Alone:
        """Read gradient, master copy and momentum; write the last two and, for weights, the codes that FF and BP use."""
        gradient, others = tensors[0], tensors[1:]
        planes = gradient.n_blocks, 1, gradient.content.plane_elements
        operation = self._iteration.begin(layer, "wu")
        return alone(self._iteration.array, operation, [UPDATE], Place(unit.index), planes, [gradient, *tensors[1:3]], others)
