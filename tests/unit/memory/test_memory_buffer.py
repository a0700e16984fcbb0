"""Global buffers: one access per port, bank and cycle; answers in order after the latency; conflicts counted; nobody starves."""

import numpy as np
import pytest
from part_bench import NOTHING, fields

from etasim.core.channel import can_pop, can_push, channels, peek, pop, push
from etasim.memory import buffer
from etasim.program.events import event_log

READ, WRITE = 0, 1


class Bench:
    """One buffer with requesters that ask for a list of (word, is_write) each, as fast as they can."""

    def __init__(self, wishes, banks=4, ports="1R1W", latency=2, ideal=0):
        n = len(wishes)
        one = np.array([1])
        self.spec = buffer.BufferSpec(np.array([0, n]), np.arange(n), banks * one, np.array([buffer.PORTS[ports]]), latency * one, ideal)
        self.state = buffer.init(self.spec)
        self.requests, self.responses = channels(n, 4), channels(n, 32)
        self.links = fields(buffer_requests=self.requests, buffer_responses=self.responses)
        self.wishes = [list(enumerate(w)) for w in wishes]

    def run(self, n_cycles):
        """Answers of each requester as (cycle, word, tag)."""
        answers = [[] for _ in self.wishes]
        for now in range(n_cycles):
            for q, wishes in enumerate(self.wishes):
                if wishes and can_push(self.requests, q, now):
                    tag, (word, is_write) = wishes.pop(0)
                    push(self.requests, q, now + 1, word, is_write, tag, 0)
                while can_pop(self.responses, q, now):
                    answers[q].append((now, int(peek(self.responses, q, 0)), int(peek(self.responses, q, 2))))
                    pop(self.responses, q, now + 1)
            buffer.step(self.spec, self.state, NOTHING, self.links, event_log(0, 0), 0, now)
        assert not any(self.wishes)
        return answers

    @property
    def counters(self):
        return self.state.counters[0]


@pytest.mark.parametrize("latency", [1, 2, 5])
@pytest.mark.parametrize("is_write", [READ, WRITE])
def test_an_access_is_answered_after_the_latency(latency, is_write):
    """Pushed in cycle 0, at the bank in cycle 1."""
    bench = Bench([[(9, is_write)]], latency=latency)
    assert bench.run(12) == [[(1 + latency, 9, 0)]]
    assert (bench.counters["read_words"], bench.counters["written_words"]) == (1 - is_write, is_write)
    assert bench.counters["busy_cycles"] == 1


def test_words_of_different_banks_stream_at_one_a_cycle():
    answers = Bench([[(word, READ) for word in range(10)]]).run(20)[0]
    assert answers == [(3 + i, i, i) for i in range(10)]


def last_answers(ports, wishes):
    return [answers[-1][0] for answers in Bench(wishes, ports=ports).run(60)]


@pytest.mark.parametrize(
    ("ports", "kinds", "cycles"),
    [
        ("1RW", (READ, READ), 16), ("1RW", (READ, WRITE), 16),
        ("1R1W", (READ, READ), 16), ("1R1W", (WRITE, WRITE), 16), ("1R1W", (READ, WRITE), 8),
        ("2RW", (READ, READ), 8), ("2RW", (WRITE, WRITE), 8), ("2RW", (READ, WRITE), 8),
    ],
)  # fmt: skip
def test_a_bank_does_as_many_accesses_a_cycle_as_it_has_ports(ports, kinds, cycles):
    """Two requesters with eight accesses each to bank 0; the last answer of all comes ``cycles`` accesses after the first."""
    bench = Bench([[(0, kind)] * 8 for kind in kinds], ports=ports)
    answers = bench.run(60)
    assert max(a[-1][0] for a in answers) == 3 + cycles - 1
    assert bench.counters["busy_cycles"] == cycles
    per_cycle = np.bincount([at for a in answers for at, _, _ in a])
    assert per_cycle.max() == 16 // cycles


def test_three_accesses_exceed_two_ports():
    assert max(last_answers("2RW", [[(0, READ)] * 4, [(0, READ)] * 4, [(0, WRITE)] * 4])) == 3 + 6 - 1


def test_conflicts_count_requests_times_cycles_waited():
    """Three requests for one bank and port: one waits a cycle, one waits two."""
    bench = Bench([[(0, READ)], [(4, READ)], [(8, READ)]])
    answers = bench.run(10)
    assert sorted(a[0][0] for a in answers) == [3, 4, 5]
    assert bench.counters["bank_conflict_cycles"] == 3


def test_different_banks_do_not_conflict():
    bench = Bench([[(bank, READ)] * 5 for bank in range(4)])
    assert {a[-1][0] for a in bench.run(20)} == {7}
    assert bench.counters["bank_conflict_cycles"] == 0


def test_an_ideal_buffer_knows_no_ports():
    bench = Bench([[(0, READ)] * 5 for _ in range(4)], ports="1RW", ideal=1)
    assert {a[-1][0] for a in bench.run(20)} == {7}


def test_competing_requesters_are_served_in_turn():
    """After any number of cycles in which all want the same bank, their shares differ by at most one access a round."""
    answers = Bench([[(0, READ)] * 10 for _ in range(3)]).run(60)
    for until in range(5, 30):
        shares = [sum(at <= until for at, _, _ in a) for a in answers]
        assert max(shares) - min(shares) <= 2
    assert {len(a) for a in answers} == {10}


def test_answers_keep_the_order_of_the_requests():
    answers = Bench([[(0, READ), (1, READ), (0, WRITE), (5, READ), (1, READ)], [(0, READ)] * 5]).run(40)[0]
    assert [tag for _, _, tag in answers] == [0, 1, 2, 3, 4]
    assert [word for _, word, _ in answers] == [0, 1, 0, 5, 1]


def test_the_next_event_is_the_next_visible_request():
    bench = Bench([[(0, READ)]])
    push(bench.requests, 0, 17, 0, 0, 0, 0)
    assert buffer.next_timer(bench.spec, bench.state, NOTHING, bench.links, event_log(0, 0), 0, 3) == 17
