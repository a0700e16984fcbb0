"""Cases that show one fault each: what the pool must notice. Not part of a campaign."""

import os
import signal
import time

import numpy as np

from .case import Case


def attempt(case: Case, seed: int, number: int) -> None:
    """The fault whose number it is."""
    FAULTS[number](case)


def _nothing(case: Case) -> None:
    case.etasim("list")


def _raise(case: Case) -> None:
    case.etasim("explain", "total_cycles")
    raise ZeroDivisionError("as asked")


def _hang(case: Case) -> None:
    case.note("waits")
    time.sleep(1000)


def _hoard(case: Case) -> None:
    np.ones(10**9)


def _die(case: Case) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _status(case: Case) -> None:
    case.etasim("explain", "total_cycle", allowed=(0,))


def _leave(case: Case) -> None:
    case.write(".etasim-left", "")
    case.etasim("list")


FAULTS = (_nothing, _raise, _hang, _hoard, _die, _status, _leave)
SORTS = ((), ("traceback",), ("hang",), ("memory",), ("crash",), ("status",), ("leftover",))
"""What each of ``FAULTS`` must be called."""
