"""Channels: what is pushed is seen later, what is popped is free later, so the order of the two ends does not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etasim.core.channel import NEVER, Ends, can_pop, can_push, channels, n_taken, occupancy, peek, pop, push, visible_at


def test_a_message_is_visible_from_its_time_on():
    ch = channels(2, 2)
    assert not can_pop(ch, 1, 0)
    push(ch, 1, 5, 10, 20, 30, 40)
    assert [can_pop(ch, 1, now) for now in (4, 5, 6)] == [False, True, True]
    assert [peek(ch, 1, word) for word in range(4)] == [10, 20, 30, 40]
    assert visible_at(ch, 1) == 5
    assert not can_pop(ch, 0, 100)
    assert visible_at(ch, 0) == NEVER


def test_a_freed_slot_is_free_from_its_time_on():
    ch = channels(1, 1)
    push(ch, 0, 1, 0, 0, 0, 0)
    assert not can_push(ch, 0, 1)
    pop(ch, 0, 4)
    assert [can_push(ch, 0, now) for now in (3, 4)] == [False, True]
    assert occupancy(ch, 0) == 0


@pytest.mark.parametrize(("depth", "expected"), [(1, 10), (2, 19), (3, 19)])
@pytest.mark.parametrize("sender_first", [True, False])
def test_depth_two_sustains_one_message_a_cycle(depth, expected, sender_first):
    """A slot is busy in the cycle of the push and in that of the pop: with one slot every second cycle stays empty."""
    ch = channels(1, depth)
    received = 0

    def send(now):
        if can_push(ch, 0, now):
            push(ch, 0, now + 1, now, 0, 0, 0)

    def receive(now):
        nonlocal received
        if can_pop(ch, 0, now):
            pop(ch, 0, now + 1)
            received += 1

    for now in range(20):
        for end in (send, receive) if sender_first else (receive, send):
            end(now)
    assert received == expected


def test_messages_keep_their_order_around_the_ring():
    ch = channels(1, 3)
    seen = []
    for now in range(30):
        if can_push(ch, 0, now):
            push(ch, 0, now + 1, int(ch.pushes[0]), 0, 0, 0)
        if now % 2 and can_pop(ch, 0, now):
            seen.append(int(peek(ch, 0, 0)))
            pop(ch, 0, now + 1)
    assert seen == list(range(len(seen)))
    assert len(seen) > 9


def test_what_the_other_end_has_taken_shows_when_the_slot_is_free():
    ch = channels(1, 2)
    push(ch, 0, 1, 0, 0, 0, 0)
    push(ch, 0, 1, 0, 0, 0, 0)
    assert n_taken(ch, 0, 100) == 0
    pop(ch, 0, 5)
    pop(ch, 0, 7)
    assert [n_taken(ch, 0, now) for now in (4, 5, 6, 7)] == [0, 1, 1, 2]


def test_a_channel_has_at_least_one_slot():
    with pytest.raises(ValueError, match="at least one slot"):
        channels(1, 0)


@pytest.mark.parametrize(("cycle", "pushed", "popped"), [(1, 7, 9), (10, 70, 99)])
def test_a_push_wakes_the_receiver_and_a_pop_the_sender_when_they_can_see_it(cycle, pushed, popped):
    """Unless they act before; ``pushed``, ``popped``: times of which the one is in core cycle 7, the other in 9."""
    wake_at = np.full(3, NEVER)
    ch = channels(2, 2, Ends(np.array([0, 0]), np.array([2, 1]), wake_at), cycle)
    push(ch, 0, pushed, 0, 0, 0, 0)
    assert wake_at.tolist() == [NEVER, NEVER, 7]
    push(ch, 0, popped, 0, 0, 0, 0)
    pop(ch, 0, popped)
    assert wake_at.tolist() == [9, NEVER, 7]
    push(ch, 1, 0, 0, 0, 0, 0)
    assert wake_at.tolist() == [9, 0, 7]


@settings(max_examples=100)
@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_the_order_of_the_two_ends_within_a_cycle_changes_nothing(depth, wishes):
    """``wishes`` [cycle, (the sender wants to, the receiver wants to)]; both orders give the same history."""
    histories = []
    for sender_first in (True, False):
        ch, history = channels(1, depth), []
        for now, (sends, receives) in enumerate(wishes):
            for is_sender in (sender_first, not sender_first):
                if is_sender and sends and can_push(ch, 0, now):
                    push(ch, 0, now + 1, now, 0, 0, 0)
                if not is_sender and receives and can_pop(ch, 0, now):
                    history.append((now, int(peek(ch, 0, 0))))
                    pop(ch, 0, now + 1)
            history.append((now, int(occupancy(ch, 0)), int(n_taken(ch, 0, now))))
        histories.append(history)
    assert histories[0] == histories[1]
