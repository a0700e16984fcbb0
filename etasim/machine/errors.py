"""What can go wrong in a simulation that started from valid inputs: defects of a model, never of the user's file."""

from etasim.core.errors import DeadlockError, ProgramError

__all__ = ["DEFECTS", "ConservationError", "DeadlockError", "ProgramError"]


class ConservationError(RuntimeError):
    """A conservation law does not hold at the end of a simulation; the message lists each violated one."""


DEFECTS = (ConservationError, DeadlockError, ProgramError)
