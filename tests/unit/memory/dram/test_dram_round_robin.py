"""The round robin scheduler: hand-over to the banks, turns, bursts of writes, precharge and refresh, one situation each."""

from itertools import pairwise

import pytest
from dram_bench import Memory

from etasim.memory.dram.spec import READS

CL, RCD, RP, BL, FAW, RFC, REFI = 13, 13, 13, 4, 26, 243, 7280  # DDR3-1866M
BURST, ROW, BANK = 64, 64 * 128 * 8, 64 * 128
MISS = 1 + RCD + CL + BL
ACT, PRE, PREA, RD, WR, REF = range(6)


def memory(**choices):
    return Memory(scheduler="bank_round_robin", **{"refresh": False} | choices)


def clocks_of(memory, kind):
    return [int(c["clock"]) for c in memory.commands() if c["command"] == kind]


def targets_of(memory, kind):
    return [int(c["target"]) for c in memory.commands() if c["command"] == kind]


def test_banks_take_turns_from_bank_one():
    bench = memory()
    for bank in range(8):
        bench.push(bank * BANK, tag=bank)
    bench.run()
    assert targets_of(bench, ACT) == list(range(8))  # each arrives in a clock of its own and is handed over there
    bench = memory()
    for column in range(7):
        for bank in (0, 3, 1, 2):
            bench.push(bank * BANK + column * BURST)
    bench.run()
    banks = targets_of(bench, RD)[8:20]
    assert all(after == (before + 1) % 4 for before, after in pairwise(banks))


def test_a_bank_holds_eight_and_the_queue_the_rest():
    bench = memory()
    for row in range(12):
        bench.push(row * ROW)
    bench.push(BANK)
    bench.settle(40)
    counters = bench.counters()
    assert counters["accepted_reads"] == 13
    # one of the first bank is served by now, the ninth was handed over in its place; the other bank's was handed over at once
    assert bench.state.registers[0]["n_queued"][READS] == 12 - 1 - 8
    assert targets_of(bench, ACT)[:2] == [0, 1]


def test_a_full_queue_refuses_even_what_it_could_forward():
    bench = memory(write_queue=2)
    for i in range(3):
        bench.push(i * ROW, write=True)
    bench.push(0)
    bench.run()
    assert bench.counters()["forwarded_reads"] == 1
    assert bench.counters()["write_bursts"] == 3


def test_reads_of_one_address_share_a_burst():
    bench = memory()
    for tag in range(4):
        bench.push(0, tag=tag)
    bench.push(ROW, tag=9)
    bench.run()
    assert [(at, tag) for at, _, tag in bench.answers()][:4] == [(MISS, tag) for tag in (0, 3, 2, 1)]
    counters = bench.counters()
    assert (counters["read_bursts"], counters["forwarded_reads"], counters["accepted_reads"]) == (2, 3, 5)
    assert counters["read_latency_clocks"] == sum(MISS - i for i in range(4)) + bench.answers()[4][0] - 4


def test_as_many_reads_may_join_as_the_queue_has_entries():
    bench = memory(read_queue=2)
    for tag in range(8):
        bench.push(0, tag=tag)
    bench.run()
    assert len(bench.answers()) == 8
    assert bench.counters()["read_bursts"] == 3  # a read and the two that joined it, twice; and the last two


def test_four_hits_and_then_the_oldest_request_closes_the_row():
    bench = memory()
    bench.push(0)
    bench.run(100)
    bench.push(ROW, at=100)
    for column in range(1, 7):
        bench.push(column * BURST, at=100)
    bench.run()
    rows = [int(c["row"]) for c in bench.commands() if c["command"] == RD]
    assert rows == [0, 0, 0, 0, 1, 0, 0, 0] or rows == [0, 1, 0, 0, 0, 0, 0, 0]
    assert len(clocks_of(bench, PRE)) == len(clocks_of(bench, ACT)) - 1


def test_a_row_is_closed_at_once_when_nothing_handed_to_the_bank_hits_it():
    bench = memory()
    bench.push(0)
    bench.push(ROW, at=200)
    bench.run()
    assert clocks_of(bench, PRE) == [201]
    assert bench.answers()[1][0] == 200 + 1 + RP + RCD + CL + BL


@pytest.mark.parametrize("write_queue", [4, 16])
def test_writes_wait_for_a_full_queue_while_the_banks_are_busy(write_queue):
    bench = memory(write_queue=write_queue)
    for i in range(40):
        bench.push(i % 4 * BANK + i // 4 * BURST)
        bench.push((4 + i % 4) * BANK + i // 4 * BURST, write=True)
    bench.run()
    full_at = 2 * write_queue - 1  # a request a clock, every other one a write
    first_write_act = next(int(c["clock"]) for c in bench.commands() if c["command"] == ACT and c["target"] >= 4)
    assert first_write_act == max(full_at + 1, 1 + FAW)  # the fifth bank to open
    assert bench.counters()["write_bursts"] == 40


def test_many_writes_go_to_banks_that_hold_nothing():
    bench = memory()
    for i in range(12):
        bench.push(i * BURST, write=True)
    bench.settle(9)
    assert clocks_of(bench, ACT) == [9]  # the ninth write, of clock 8, starts the burst


def test_refresh_closes_bank_by_bank_and_each_rank_in_its_turn():
    bench = memory(refresh=True, ranks=2, mapping="ra:1,ro:16,ba:3,bg:0,co:7")
    for bank in (0, 5):
        bench.push(bank * BANK)
    bench.settle(REFI + RFC)
    assert clocks_of(bench, PREA) == []
    assert targets_of(bench, PRE) == [0, 5]
    assert clocks_of(bench, PRE) == [REFI // 2, REFI // 2 + 1]
    assert list(zip(clocks_of(bench, REF), targets_of(bench, REF), strict=True)) == [(REFI // 2 + 1 + RP, 0), (REFI, 1)]


def test_the_other_rank_goes_on_during_a_refresh():
    bench = memory(refresh=True, ranks=2, mapping="ra:1,ro:16,ba:3,bg:0,co:7")
    due = REFI // 2
    bench.push(0, at=due)
    bench.push(1 << 32, at=due)
    bench.run(due + RFC - 1)
    assert [address for _, address, _ in bench.answers()] == [1 << 32]
