"""The windows of a program that are in a machine: brought when an engine is about to issue the first command of one, gone when all of
their commands are complete.

Of the engines' next commands the machine always has what it needs to know when they could start: of the first one of a window that is
not there, what it waits for but not its row (`etasim.program.windows.Head`). When such a command could be issued the controller stops the
machine at the end of the cycle, the window is brought, and the controller issues the command in the same cycle still. Within a cycle the
order of the parts changes nothing, so the run is that of the whole program.
"""

from typing import TYPE_CHECKING

import numpy as np

from etasim.core import frame
from etasim.machine import engine
from etasim.machine.controller import NOWHERE, ControllerState
from etasim.program.commands import ROWS, Program, engines_of, table_of
from etasim.program.windows import TABLES, ProgramWindows

if TYPE_CHECKING:
    from etasim.machine.elaborate import Machine

ABSENT = -1


class Loaded:
    """Puts windows into the tables of ``program``, which the machine reads. ``slots`` [window]: which rows of the tables it has, as many
    for each slot; `ABSENT` if it is not there.

    The tables have room for all windows; pages that nobody writes take no memory.
    """

    def __init__(self, windows: ProgramWindows) -> None:
        self.windows, outline = windows, windows.outline
        self._ends = np.array([windows[number].end for number in range(len(windows))])
        self.slots = np.full(len(windows), ABSENT)
        self._held: dict[int, Program] = {}
        rows = {name: len(windows) * n for name, n in windows.most_rows.items()}
        room = {name: np.zeros(rows[name], getattr(outline, name).dtype) for name in TABLES}
        self.program = outline._replace(engine_start=np.zeros_like(outline.engine_start), before=np.zeros_like(outline.before), **room)
        self._table_of = [table_of(group) for group, own in engines_of(outline)._asdict().items() for _ in own]
        self._fill(np.zeros(len(outline.before), np.int64))

    def serve(self, state: ControllerState) -> None:
        """Bring the windows that the controller wants."""
        for number in np.flatnonzero((self.slots != ABSENT) & (self._ends <= state.done).all(axis=1)).tolist():
            self.slots[number] = ABSENT
            del self._held[number]
        for e in np.flatnonzero(state.wanted).tolist():
            number = self._window_of(e, int(state.issued[e]))
            if self.slots[number] == ABSENT:
                self._bring(number, next(slot for slot in range(len(self.slots)) if slot not in self.slots))
        self._fill(state.done)

    def restore(self, state: ControllerState) -> None:
        """Bring the windows that ``slots`` says, into a machine whose controller is in ``state``."""
        for number in np.flatnonzero(self.slots != ABSENT).tolist():
            self._bring(number, int(self.slots[number]))
        self._fill(state.done)

    def _window_of(self, e: int, number: int) -> int:
        """The window of a command of engine ``e``, counted from 0; the number of windows after the last one."""
        return int(np.searchsorted(self._ends[:, e], number, side="right"))

    def _bring(self, number: int, slot: int) -> None:
        """Copy the rows of a window into a slot."""
        window = self.windows.program(number)
        commands = window.commands.copy()
        for name in ROWS:
            rows, first = getattr(window, name), slot * self.windows.most_rows[name]
            getattr(self.program, name)[first : first + len(rows)] = rows
        for e, table in enumerate(self._table_of):
            commands["row"][window.engine_start[e] : window.engine_start[e + 1]] += slot * self.windows.most_rows[table]
        empty = {name: getattr(window, name)[:0].copy() for name in ROWS}
        self._held[number], self.slots[number] = window._replace(commands=commands, **empty), slot

    def _fill(self, done: np.ndarray) -> None:
        """Write the commands of each engine that are there from the first that is not ``done`` [engine] on, and the one after them."""
        program, n_waits, first_wait = self.program, 0, {}
        for number, window in self._held.items():
            first_wait[number], n = n_waits, len(window.dependencies)
            program.dependencies[n_waits : n_waits + n] = window.dependencies
            n_waits += n
        at = 0
        for e in range(len(done)):
            number = self._window_of(e, int(done[e]))
            program.before[e] = self.windows[number].before[e] if number < len(self.windows) else done[e]
            while number in self._held:
                window = self._held[number]
                own = program.commands[at : at + window.engine_start[e + 1] - window.engine_start[e]]
                own[:] = window.commands[window.engine_start[e] : window.engine_start[e + 1]]
                own["first_dependency"] += first_wait[number]
                at += len(own)
                number = self._window_of(e, int(self._ends[number, e]))
            if number < len(self.windows):
                head = self.windows[number].heads[e]
                program.commands[at] = head.command[0]
                program.commands[at]["first_dependency"] = n_waits
                program.dependencies[n_waits : n_waits + len(head.dependencies)] = head.dependencies
                at, n_waits = at + 1, n_waits + len(head.dependencies)
            program.engine_start[e + 1] = at


def run(bound: engine.Engine, machine: "Machine", order: np.ndarray, until: int, loop: engine.Loop | None = None) -> int:
    """As `engine.run`, with the windows that are wanted on the way."""
    state, time, loaded = machine.states.controller, machine.states.time, machine.loaded
    status = engine.run(bound, machine, order, until, loop)
    while loaded is not None and state.wanted_at[0] != NOWHERE:
        now, place = int(state.wanted_at[0]), bound.instances.controller[0]
        loaded.serve(state)
        frame.bound(bound.steps.table, place)(now)
        state.wanted_at[0] = NOWHERE
        time[:] = now + 1, now
        wake_at = machine.links.commands.wake_at
        wake_at[place] = min(wake_at[place], now + 1)
        status = engine.run(bound, machine, order, until, loop)
    return status
