"""The integer reference of a training iteration: numpy only, without a machine."""

from etasim.numerics.reference.checks import check_accumulators, written_keys
from etasim.numerics.reference.exponents import next_exponents
from etasim.numerics.reference.graph import Graph
from etasim.numerics.reference.iteration import IterationValues, calibrate, calibrated, run_iteration
from etasim.numerics.reference.loss import loss_and_accuracy
from etasim.numerics.reference.state import State, initial_state, state_of
from etasim.numerics.reference.update import UpdateConstants, update_constants
from etasim.numerics.reference.value import Exponents, Key, Value, of_codes, quantized

__all__ = [
    "Exponents",
    "Graph",
    "IterationValues",
    "Key",
    "State",
    "UpdateConstants",
    "Value",
    "calibrate",
    "calibrated",
    "check_accumulators",
    "initial_state",
    "loss_and_accuracy",
    "next_exponents",
    "of_codes",
    "quantized",
    "run_iteration",
    "state_of",
    "update_constants",
    "written_keys",
]
