"""Movers against a plain-Python enumeration: which words they touch, and when a command is complete, in closed form."""

from itertools import product

import numpy as np
import pytest
from hand_made import Script, row, times
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import architecture

from etasim.machine import runs
from etasim.program.commands import BUFFERS, KEEP, MOVERS, SECOND, engines_of

WORD_BYTES, SECOND_LATENCY, OTHER_LATENCY = 16, 3, 2
QUEUE, COMPLETION = 1, 1
KEYS = {"buffers__second__size": "8 KiB", "buffers__second__banks": 4, "buffers__second__ports": "1R1W", "buffers__second__read_latency": 3}


def finished(*moves, mover=0, **keys):
    """A machine that has executed the rows ``moves`` on mover number ``mover``, and the engine."""
    own = KEYS if SECOND in MOVERS[mover][1:] else {"mapping__forwarding": True}
    script = Script(architecture(**(own | keys)))
    engine = script.builder.engines.mover(mover)
    for each in moves:
        script.add(engine, ("moves", row("moves", **{"counts": (1, 1, 1), **each})))
    return script.run(), engine


def words_moved(machine, mover):
    """Words that a mover counted."""
    return machine.states.movers.counters["words"][engines_of(machine.program).movers.index(mover)]


def pieces(move):
    """(word of the source, word of the target) of each piece, byte by byte."""
    found = []
    for index in product(*map(range, move["counts"])):
        source, target = (move[f"{end}_address"] + sum(i * s for i, s in zip(index, move[f"{end}_strides"], strict=True))
                          for end in ("source", "target"))  # fmt: skip
        words = [((source + i) // WORD_BYTES, (target + i) // WORD_BYTES) for i in range(move["run_bytes"])]
        found += [pair for i, pair in enumerate(words) if i == 0 or pair != words[i - 1]]
    return found


@pytest.mark.parametrize("mover", range(len(MOVERS)))
@pytest.mark.parametrize(("n_bytes", "source", "target"), [(16, 0, 0), (160, 16, 64), (5, 3, 30), (48, 4, 0), (40, 9, 5)])
def test_a_command_alone_takes_both_accesses_and_a_cycle_a_word(mover, n_bytes, source, target):
    move = {"run_bytes": n_bytes, "source_address": source, "target_address": target}
    machine, engine = finished(move, mover=mover)
    issued, completed = times(machine, engine)
    n_words = len(pieces({"counts": (1, 1, 1), "source_strides": (0,) * 3, "target_strides": (0,) * 3, **move}))
    latencies = [SECOND_LATENCY if buffer == SECOND else OTHER_LATENCY for buffer in MOVERS[mover][1:]]
    assert completed - issued == QUEUE + sum(1 + latency for latency in latencies) + n_words - 1 + COMPLETION
    assert words_moved(machine, mover) == n_words


def test_the_next_command_is_read_while_the_one_before_is_written():
    moves = [{"run_bytes": 160, "source_address": 256 * i, "target_address": 256 * i} for i in range(3)]
    machine, engine = finished(*moves)
    (_, first), (_, last) = (times(machine, engine, count) for count in (1, 3))
    assert last - first < 2 * (10 + SECOND_LATENCY)


ROWS = st.fixed_dictionaries({
    "source_address": st.integers(0, 500), "target_address": st.integers(0, 500), "run_bytes": st.integers(1, 70),
    "counts": st.tuples(*[st.integers(1, 3)] * 3),
    "source_strides": st.tuples(*[st.integers(0, 100)] * 3), "target_strides": st.tuples(*[st.integers(0, 100)] * 3),
})  # fmt: skip


@settings(max_examples=60)
@given(st.lists(ROWS, min_size=1, max_size=3), st.integers(0, len(MOVERS) - 1))
def test_the_words_and_banks_are_those_of_an_enumeration(moves, mover):
    """What the machine counted, what is worked out from the program, and each byte by hand."""
    machine, _ = finished(*moves, mover=mover)
    touched, listed = runs.touched_by(machine, machine.program), [pieces(move) for move in moves]
    assert touched.moved[: len(moves)].tolist() == [len(each) for each in listed]
    assert words_moved(machine, mover) == sum(map(len, listed))
    for access, (buffer, place) in enumerate(((MOVERS[mover].source, 0), (MOVERS[mover].target, 1))):
        n_banks = int(machine.specs.buffers.n_banks[buffer])
        wanted = np.bincount([pair[place] % n_banks for each in listed for pair in each], minlength=n_banks).tolist()
        assert touched.banks[buffer][access].tolist() == wanted
        assert machine.states.buffers.words[buffer, :n_banks, access].tolist() == wanted


def test_movers_share_the_ports_of_the_second_level():
    """Three movers that read one bank with one port take turns."""
    script = Script(architecture(**(KEYS | {"buffers__second__banks": 1})))
    for engine in script.builder.engines.moves[:KEEP]:
        script.add(engine, ("moves", row("moves", run_bytes=320, counts=(1, 1, 1))))
    machine = script.run()
    ends = [times(machine, engine)[1] for engine in script.builder.engines.moves[:KEEP]]
    assert max(ends) >= 3 * 20
    assert machine.states.buffers.counters["bank_conflict_cycles"][SECOND] > 0
    assert machine.states.buffers.counters["read_words"][SECOND] == 3 * 20
    assert len(machine.states.buffers.counters) == len(BUFFERS) + 1
