"""What an iteration is emitted with: commands of a tile program, or an outline of them."""

from typing import NamedTuple

from etasim.mapping.context import Context
from etasim.mapping.gradient_stationary import GradientStationary
from etasim.mapping.result_stationary import ResultStationary
from etasim.mapping.vector import VectorEmitter


class Emitters(NamedTuple):
    """The shared context, the unified core's work, and the two dataflows of the PE array."""

    context: type = Context
    vector: type = VectorEmitter
    result: type = ResultStationary
    gradient: type = GradientStationary
