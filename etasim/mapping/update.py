"""WU: SGD with momentum on everything that a unit trains."""

from collections.abc import Iterator, Sequence

from etasim.mapping.iteration import Iteration
from etasim.mapping.steps import Alone, Place, alone
from etasim.mapping.tensors import Tensor
from etasim.ops import Pass
from etasim.ops.unit import UPDATE
from etasim.workload import Layer
from etasim.workload.lowering import Unit

_WEIGHTS = ("weight_gradient", "master_weight", "momentum", "weight")
_PARAMETERS = ("parameter_gradient", "parameter", "parameter_momentum")
_RUNNING = ("spread", "radial", "magnitude")


class Update:
    """WU of units."""

    def __init__(self, iteration: Iteration):
        self._iteration = iteration

    def works(self, unit: Unit) -> Iterator[Alone]:
        """SGD with momentum on everything that the unit trains, and what its normalization learns beside it."""
        norm, per_channel = self._iteration.norm_schema(unit), self._iteration.values.per_channel
        if unit.is_convolution:
            tensors, step, brings = [self._iteration.weights(unit, role) for role in _WEIGHTS], UPDATE, list[Tensor]()
            turned = self._iteration.weights(unit, "weight", second=True)
            tensors += [turned] if self._iteration.writes_copies and turned is not tensors[-1] else []
            if norm is not None and norm.update_weights is not None:
                step, brings = norm.update_weights, [per_channel(unit.index, role) for role in norm.update_brings]
            yield self._update(unit, unit.head, [step], tensors, brings)
        layer = unit.norm or (unit.head if unit.head.bias else None)
        if layer is not None:
            own = norm.update if norm is not None else ()
            roles = (*_RUNNING, *_PARAMETERS) if own else _PARAMETERS
            yield self._update(unit, layer, own or [UPDATE], [per_channel(unit.index, role) for role in roles])

    def _update(self, unit: Unit, layer: Layer, steps: Sequence[Pass], tensors: list[Tensor], brings: Sequence[Tensor] = ()) -> Alone:
        """Read gradient, master copy and momentum; write the last two and, for weights, the codes that FF and BP use. Planes are those of
        the last step's first operand."""
        planes = next((t.n_blocks, 1, t.content.plane_elements) for t in tensors if t.content.role in steps[-1].reads)
        operation = self._iteration.begin(layer, "wu")
        read, written = (set().union(*roles) for roles in ((step.reads for step in steps), (step.writes for step in steps)))
        inputs, outputs = ([tensor for tensor in tensors if tensor.content.role in roles] for roles in (read, written))
        return alone(self._iteration.array, operation, steps, Place(unit.index), planes, inputs, outputs, brings)
