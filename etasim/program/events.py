"""The record of what the machine did, in the order in which it did it: what `etasim.functional` executes on real bytes.

A log without rows records nothing, so a simulation that only counts cycles pays one comparison an event.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.jit import kernel

LOADED, STORED, SENT, RECEIVED, MULTIPLIED, DRAINED, REDUCED, COLLECTED, PASSED, COMPLETED, ARRIVED, MOVED, BOOKED = range(13)
"""LOADED, STORED: a burst moved (engine, DRAM address, buffer address, bytes). SENT: a feeder injected a word (feeder, row, its packet
number). RECEIVED: a cluster took it (cluster, feeder, packet number). MULTIPLIED: a chunk is finished (cluster, row). DRAINED:
results injected (cluster, row, packet). REDUCED: a packet of results took in another (row, packet; row, packet of the other).
COLLECTED: segments of a packet written (row, packet, first segment of it, segments). PASSED: a pass of the unified core is finished
(row). COMPLETED: an instant engine did a whole command (engine, row). ARRIVED: a burst of the host was handed to DRAM (address, bytes).
MOVED: a mover wrote a word (mover, byte of the source, byte of the target, bytes). BOOKED: from here on the cycles of a cluster have a
cause (cluster, cause, operation, cycle): nothing for values, all for a timeline."""

FIELDS = 5


class EventLog(NamedTuple):
    """``rows`` [capacity, (kind, up to four numbers)]; ``count`` [1]: rows in use; ``limit`` [1]: rows from which on the log must be
    emptied before another cycle."""

    rows: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # in the place of a tuple's own
    limit: np.ndarray


def event_log(capacity: int, most_in_a_cycle: int) -> EventLog:
    """An empty log with room for ``capacity`` events and those of one more cycle; ``capacity`` 0: nothing is recorded."""
    rows = np.zeros((capacity + most_in_a_cycle if capacity else 0, FIELDS), np.int64)
    return EventLog(rows, np.zeros(1, np.int64), np.full(1, capacity, np.int64))


@kernel
def record(log: EventLog, kind: int, a: int, b: int, c: int, d: int) -> None:
    """Append an event."""
    if log.rows.shape[0] > 0:
        i = log.count[0]
        log.rows[i, 0] = kind
        log.rows[i, 1] = a
        log.rows[i, 2] = b
        log.rows[i, 3] = c
        log.rows[i, 4] = d
        log.count[0] = i + 1


@kernel
def is_full(log: EventLog) -> bool:
    """Whether the log must be emptied before another cycle."""
    return log.rows.shape[0] > 0 and log.count[0] >= log.limit[0]
