"""What can go wrong in a simulation that started from valid inputs; both are defects of a model, never of the user's file."""

from etasim.core.errors import DeadlockError

__all__ = ["ConservationError", "DeadlockError"]


class ConservationError(RuntimeError):
    """A conservation law does not hold at the end of a simulation; the message lists each violated one."""
