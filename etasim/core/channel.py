"""Bounded first-in first-out channels: the only way in which components meet.

A slot carries the time at which its content becomes visible and the time at which it becomes
free again. A push is seen, and a freed slot can be reused, only at a later time, so the result
of a cycle does not depend on the order in which the components step. For the same reason a
channel needs a depth of two to carry one message every cycle.

Times are integers in whatever unit both ends agree on: core cycles inside the core clock domain,
ticks (`etasim.core.clock`) where two clock domains meet. ``push`` without ``can_push`` is a bug.

A channel wakes who stands at its ends (`etasim.machine.engine`): a push the receiver when the message becomes visible, a pop the sender
when the slot becomes free.
"""

from typing import Any, NamedTuple

import numpy as np

from etasim.core.jit import kernel

NEVER: Any = np.int64(1) << np.int64(62)
WORDS = 4  # payload words of a message
_VISIBLE, _FREE, _PAYLOAD = 0, 1, 2


class Channels(NamedTuple):
    """A bank of channels. Shapes: ``slots`` [channel, slot, 2 + WORDS]; ``wake_at`` [sleeper]; the others [channel].

    ``head`` and ``tail`` are the slots of the next pop and push (kept beside the counts, because a remainder is slow). ``visible``: when
    the oldest message is visible, ``room``: when the next slot is free, NEVER while there is none; parts look far more often than they
    push and pop. ``sender`` and ``receiver``: who sleeps at the ends; ``wake_at``: the core cycle in which each sleeper acts next, at the
    latest; ``cycle``: the length of a core cycle in the bank's unit of time.
    """

    slots: np.ndarray
    head: np.ndarray
    tail: np.ndarray
    visible: np.ndarray
    room: np.ndarray
    pops: np.ndarray
    pushes: np.ndarray
    depth: np.ndarray
    sender: np.ndarray
    receiver: np.ndarray
    wake_at: np.ndarray
    cycle: int


class Ends(NamedTuple):
    """Who sends into each channel of a bank and who receives from it: places in ``wake_at``, which the banks of a machine share."""

    sender: np.ndarray
    receiver: np.ndarray
    wake_at: np.ndarray


def channels(n_channels: int, depth: int, ends: Ends | None = None, cycle: int = 1) -> Channels:
    """``n_channels`` empty channels of ``depth`` slots each, between ``ends`` (None: nobody sleeps there)."""
    if depth < 1:
        raise ValueError(f"a channel needs at least one slot, got {depth}")
    if ends is None:
        ends = Ends(np.zeros(n_channels, np.int64), np.zeros(n_channels, np.int64), np.zeros(1, np.int64))
    return Channels(
        slots=np.zeros((n_channels, depth, 2 + WORDS), np.int64),
        head=np.zeros(n_channels, np.int64),
        tail=np.zeros(n_channels, np.int64),
        visible=np.full(n_channels, NEVER),
        room=np.zeros(n_channels, np.int64),
        pops=np.zeros(n_channels, np.int64),
        pushes=np.zeros(n_channels, np.int64),
        depth=np.full(n_channels, depth, np.int64),
        sender=ends.sender,
        receiver=ends.receiver,
        wake_at=ends.wake_at,
        cycle=cycle,
    )


@kernel
def _wake(ch: Channels, sleeper: int, at: int) -> None:
    """Have ``sleeper`` act in the core cycle that time ``at`` is in, if not before."""
    core_cycle = at if ch.cycle == 1 else at // ch.cycle
    if core_cycle < ch.wake_at[sleeper]:
        ch.wake_at[sleeper] = core_cycle


@kernel
def can_push(ch: Channels, c: int, now: int) -> bool:
    """Whether channel ``c`` has a slot that is free at time ``now``."""
    return ch.room[c] <= now


@kernel
def push(ch: Channels, c: int, visible_at: int, w0: int, w1: int, w2: int, w3: int) -> None:
    """Append a message of four words that the other end sees from ``visible_at`` on."""
    slot = ch.tail[c]
    ch.slots[c, slot, _VISIBLE] = visible_at
    ch.slots[c, slot, _PAYLOAD] = w0
    ch.slots[c, slot, _PAYLOAD + 1] = w1
    ch.slots[c, slot, _PAYLOAD + 2] = w2
    ch.slots[c, slot, _PAYLOAD + 3] = w3
    if ch.pushes[c] == ch.pops[c]:
        ch.visible[c] = visible_at
    slot = slot + 1 if slot + 1 < ch.depth[c] else 0
    ch.pushes[c] += 1
    ch.tail[c] = slot
    ch.room[c] = ch.slots[c, slot, _FREE] if ch.pushes[c] - ch.pops[c] < ch.depth[c] else NEVER
    _wake(ch, ch.receiver[c], visible_at)


@kernel
def can_pop(ch: Channels, c: int, now: int) -> bool:
    """Whether the oldest message of channel ``c`` is visible at time ``now``."""
    return ch.visible[c] <= now


@kernel
def peek(ch: Channels, c: int, word: int) -> int:
    """Word ``word`` of the oldest message; valid only after ``can_pop``."""
    return ch.slots[c, ch.head[c], _PAYLOAD + word]


@kernel
def pop(ch: Channels, c: int, free_at: int) -> None:
    """Remove the oldest message; its slot can be reused from ``free_at`` on."""
    slot = ch.head[c]
    ch.slots[c, slot, _FREE] = free_at
    if ch.pushes[c] - ch.pops[c] >= ch.depth[c]:
        ch.room[c] = free_at
    slot = slot + 1 if slot + 1 < ch.depth[c] else 0
    ch.pops[c] += 1
    ch.head[c] = slot
    ch.visible[c] = ch.slots[c, slot, _VISIBLE] if ch.pushes[c] != ch.pops[c] else NEVER
    _wake(ch, ch.sender[c], free_at)


@kernel
def visible_at(ch: Channels, c: int) -> int:
    """Time at which the oldest message of channel ``c`` is visible, ``NEVER`` if it is empty."""
    return ch.visible[c]


@kernel
def sooner(at: int, now: int, timer: int) -> int:
    """The earlier of ``timer`` and ``at``, if ``at`` is still to come."""
    return at if now < at < timer else timer


@kernel
def occupancy(ch: Channels, c: int) -> int:
    """Messages in channel ``c``, visible or not."""
    return ch.pushes[c] - ch.pops[c]


@kernel
def n_taken(ch: Channels, c: int, now: int) -> int:
    """Messages that the other end has taken from channel ``c``, as seen at time ``now`` (a pop is seen when its slot is free)."""
    n = ch.pops[c]
    while n > 0 and n > ch.pops[c] - ch.depth[c] and ch.slots[c, (n - 1) % ch.depth[c], _FREE] > now:
        n -= 1
    return n
