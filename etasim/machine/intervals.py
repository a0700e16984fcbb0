"""What clusters did when, and when commands were under way: stretches of time that do not overlap, for a timeline."""

from typing import NamedTuple

import numpy as np

from etasim.core.trees import Arrays
from etasim.machine.elaborate import Machine
from etasim.pe.causes import IDLE
from etasim.program.commands import Program, waits_of
from etasim.program.events import BOOKED, EventLog

EVENTS_AT_ONCE = 200_000
SAVED = "timeline.booked"


class Intervals(NamedTuple):
    """Of a cluster: cycles ``begin ... end - 1`` for ``cause`` of ``operation``, in order and without a gap."""

    begin: np.ndarray
    end: np.ndarray
    cause: np.ndarray
    operation: np.ndarray


class Recorder:
    """Keeps from a machine's log of events when the cause of a cluster's cycles changes."""

    def __init__(self) -> None:
        self._booked = [np.zeros((0, 4), np.int64)]

    def observe(self, log: EventLog) -> None:
        """Take from the log what it is for; the log stays as it is."""
        rows = log.rows[: log.count[0]]
        self._booked.append(rows[rows[:, 0] == BOOKED, 1:])

    def empty(self, log: EventLog) -> None:
        """Take from the log what it is for, and empty it."""
        self.observe(log)
        log.count[0] = 0

    def saved(self) -> Arrays:
        """What goes on from a checkpoint."""
        return {SAVED: np.concatenate(self._booked)}

    def resume(self, saved: Arrays) -> None:
        """Go on from what was saved."""
        self._booked = [saved[SAVED]]

    def of_cluster(self, c: int, total_cycles: int) -> Intervals:
        """All intervals of a cluster, equal neighbours as one."""
        booked = np.concatenate(self._booked)
        own = np.concatenate([[[c, IDLE, -1, 0]], booked[booked[:, 0] == c]])
        begin, end = own[:, 3], np.append(own[1:, 3], total_cycles)
        lasts = begin < end
        begin, cause, operation = begin[lasts], own[lasts, 1], np.where(own[lasts, 1] == IDLE, -1, own[lasts, 2])
        changes = np.ones(len(begin), bool)
        changes[1:] = (cause[1:] != cause[:-1]) | (operation[1:] != operation[:-1])
        begin = begin[changes]
        return Intervals(begin, np.append(begin[1:], total_cycles), cause[changes], operation[changes])


class Executions(NamedTuple):
    """Of all commands: one is executed from ``begin``, when its engine has it and the one before is complete, to ``end``; before, from
    ``waits_from`` on, the engine had nothing to do and waited for ``waits_for``, the engine of the dependency that completed last (-1: for
    no other, only to be issued)."""

    begin: np.ndarray
    end: np.ndarray
    waits_from: np.ndarray
    waits_for: np.ndarray


def executions(machine: Machine) -> Executions:
    """When the commands of a machine that has run were executed."""
    program = machine.program
    issued, completed = machine.states.controller.times.T
    before = np.concatenate([[0], completed[:-1]])
    before[program.engine_start[:-1][np.diff(program.engine_start) > 0]] = 0
    begin = np.maximum(np.minimum(issued + 1, completed), before)
    return Executions(begin, completed, np.minimum(before, begin), _last_dependency(program, completed))


def _last_dependency(program: Program, completed: np.ndarray) -> np.ndarray:
    """The engine whose command completed last of those that each command waits for; -1 for none."""
    command, waited = waits_of(program)
    engine_of = np.repeat(np.arange(len(program.engine_start) - 1), np.diff(program.engine_start))
    order = np.argsort(completed[waited], kind="stable")
    last = np.full(len(program.commands), -1)
    last[command[order]] = engine_of[waited[order]]
    return last
