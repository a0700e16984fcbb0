"""What a run says that cannot begin or cannot go on, wherever it is found."""

import shlex
from collections.abc import Mapping
from typing import NamedTuple

PATIENCE = 4
"""Multiple of the longest wait that a machine can need (the sum of the longest waits of its parts) after which a run without any piece of
work done is given up. A margin on a bound, not a measurement: larger only means later."""


class DeadlockError(RuntimeError):
    """No engine can act, or nothing was done for longer than the machine can need, and work is left: a defect of the model, never of
    the user's file. The message names what waits."""


class ProgramError(RuntimeError):
    """A tile program that no machine may run: a defect of the mapper, never of the user's file. The message has each broken rule."""


class Reason(NamedTuple):
    """Why a machine cannot run an iteration; the ``layer`` of the network and the ``key`` of the architecture that it is about, empty if
    there is none."""

    message: str
    layer: str = ""
    key: str = ""


class InfeasibleError(ValueError):
    """A machine that cannot run an iteration.

    ``reasons``: all that was found, a line of the message each; ``changes``: overrides of the architecture with which it can, empty where
    none are known.
    """

    def __init__(self, *reasons: Reason | str, changes: Mapping[str, int | str] | None = None):
        self.reasons = tuple(Reason(reason) if isinstance(reason, str) else reason for reason in reasons)
        self.changes = dict(changes or {})
        super().__init__(*reasons)

    @property
    def options(self) -> str:
        """The changes as options of the command line."""
        return " ".join(shlex.join(["--set", f"{key}={value}"]) for key, value in self.changes.items())

    @property
    def brief(self) -> str:
        """The first reason, how many others there are, and the changes, for a cell of a table."""
        others = len(self.reasons) - 1
        parts = [self.reasons[0].message, f"{others} more" if others else "", f"would fit with {self.options}" if self.changes else ""]
        return "; ".join(part for part in parts if part)

    def __str__(self) -> str:
        lines = [reason.message for reason in self.reasons]
        return "\n".join([*lines, f"it would fit with {self.options}"] if self.changes else lines)
