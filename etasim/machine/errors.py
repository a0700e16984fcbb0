"""What can go wrong in a simulation that started from valid inputs; both are defects of a model, never of the user's file."""


class DeadlockError(RuntimeError):
    """No engine can act and work is left; the message names the waiting engines and the channels that are full or empty."""


class ConservationError(RuntimeError):
    """A conservation law does not hold at the end of a simulation; the message lists each violated one."""
