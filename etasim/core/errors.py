"""What a run says that cannot go on, wherever it is found."""

PATIENCE = 4
"""Multiple of the longest wait that a machine can need (the sum of the longest waits of its parts) after which a run without any piece of
work done is given up. A margin on a bound, not a measurement: larger only means later."""


class DeadlockError(RuntimeError):
    """No engine can act, or nothing was done for longer than the machine can need, and work is left: a defect of the model, never of
    the user's file. The message names what waits."""
