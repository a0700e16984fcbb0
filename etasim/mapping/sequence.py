"""The order of an iteration: FF runs the units in order; BP and WG visit them in reverse; WU follows at the end, or after each unit."""

from collections.abc import Iterator

from etasim.core.errors import InfeasibleError
from etasim.mapping.backward import Backward, Complete
from etasim.mapping.forward import Forward
from etasim.mapping.iteration import Iteration
from etasim.mapping.update import Update
from etasim.mapping.works import Work


def works(iteration: Iteration) -> Iterator[Work]:
    """All works, each to be taken before the next is asked for. Raises InfeasibleError if there is none."""
    forward, backward, update = Forward(iteration), Backward(iteration), Update(iteration)
    phases, update_at_once = iteration.phases, iteration.architecture.training.weight_update == "after_layer"
    if "ff" in phases:
        for unit in iteration.units:
            yield from forward.works(unit)
    for each in backward.works():
        if not isinstance(each, Complete):
            yield each
        elif "wu" in phases and update_at_once:
            yield from update.works(each.unit)
    if "wu" in phases and not update_at_once:
        for unit in iteration.units:
            yield from update.works(unit)
    if not iteration.operations:
        raise InfeasibleError(f"phases {', '.join(phases)}: no layer of {iteration.network.name} has anything to do in them")
