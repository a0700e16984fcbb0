"""Values: executes what the machine did, event by event, on real bytes, and compares the result with the integer reference."""

from etasim.functional.compare import Mismatch
from etasim.functional.execute import is_compiled
from etasim.functional.run import EVENTS_AT_ONCE, FunctionalRun, Step, Values

__all__ = ["EVENTS_AT_ONCE", "FunctionalRun", "Mismatch", "Step", "Values", "is_compiled"]
