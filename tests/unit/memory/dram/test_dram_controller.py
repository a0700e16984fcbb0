"""The controller in hand-made situations: closed forms, order, refresh, interleaving."""

from itertools import pairwise

import numpy as np
import pytest
from dram_bench import Memory

from etasim.core.channel import push

CL, RCD, RP, BL, RC, CWL, WTR, RFC, REFI = 13, 13, 13, 4, 45, 9, 7, 243, 7280  # DDR3-1866M
BURST, ROW, BANK = 64, 64 * 128 * 8, 64 * 128
MISS = 1 + RCD + CL + BL


def ready_times(memory, port=0):
    return [at for at, _, _ in memory.answers(port)]


def test_first_read_of_a_closed_bank():
    memory = Memory(refresh=False)
    memory.push(0, tag=5)
    assert memory.run().answers() == [(MISS, 0, 5)]


def test_row_hit_and_row_conflict():
    memory = Memory(refresh=False)
    memory.push(0)
    memory.push(BURST, at=200)
    memory.push(ROW, at=400)
    assert ready_times(memory.run()) == [MISS, 200 + 1 + CL + BL, 400 + 1 + RP + RCD + CL + BL]
    counters = memory.counters()
    assert (counters["row_hits"], counters["row_misses"], counters["row_conflicts"]) == (1, 1, 1)


@pytest.mark.parametrize("latency", [0, 1, 20])
def test_controller_latency_delays_the_answer_only(latency):
    memory = Memory(refresh=False, controller_latency=latency)
    memory.push(0)
    memory.push(BURST)
    assert ready_times(memory.run()) == [MISS + latency, MISS + BL + latency]
    assert memory.counters()["read_latency_clocks"] == MISS + (MISS + BL - 1)


def test_write_then_read_of_another_row_waits_for_the_turnaround():
    memory = Memory(refresh=False)
    memory.push(0, write=True)
    memory.push(BURST, at=100)
    memory.run()
    write = next(c for c in memory.commands() if c["command"] == 4)
    assert write["clock"] == 1 + RCD
    assert ready_times(memory) == [100 + 1 + CL + BL]


def test_read_is_answered_from_a_queued_write():
    memory = Memory(refresh=False)
    for i in range(6):
        memory.push(i * ROW, write=True)
    memory.push(5 * ROW, tag=9)
    memory.run()
    assert memory.answers() == [(6 + 1, 5 * ROW, 9)]
    counters = memory.counters()
    assert counters["forwarded_reads"] == 1
    assert counters["read_bursts"] == 0
    assert counters["write_bursts"] == 6


def test_read_is_answered_from_a_write_whose_row_is_being_opened():
    memory = Memory(refresh=False)
    memory.push(0, write=True)
    memory.push(0, at=5)
    assert ready_times(memory.run()) == [6]


def test_second_write_to_a_queued_address_is_merged():
    memory = Memory(refresh=False)
    memory.push(ROW, write=True)
    memory.push(0, write=True)
    memory.push(0, write=True)
    memory.run()
    assert memory.counters()["merged_writes"] == 1
    assert memory.counters()["write_bursts"] == 2


def test_write_waits_for_an_older_read_of_its_address():
    memory = Memory(refresh=False)
    memory.push(0)
    memory.push(0, write=True)
    memory.run()
    read, write = (next(c["clock"] for c in memory.commands() if c["command"] == kind) for kind in (3, 4))
    assert read < write
    assert memory.counters()["accepted_writes"] == 1


def test_idle_memory_refreshes_and_catches_up_exactly():
    idle, stepped = Memory(), Memory()
    for memory in (idle, stepped):
        memory.push(0)
    stepped.run(10 * REFI + 50, every_clock=True)
    idle.run()
    assert idle.clock < REFI
    idle.settle(10 * REFI + 49)
    assert idle.counters()["refreshes"] == 10
    np.testing.assert_array_equal(idle.commands(), stepped.commands())


def test_refresh_delays_a_read():
    memory = Memory()
    memory.push(0, at=REFI)
    assert ready_times(memory.run()) == [REFI + RFC + RCD + CL + BL]


def test_channels_are_independent_and_interleaved():
    memory = Memory(channels=2, refresh=False)
    for i in range(8):
        memory.push(i * BURST, tag=i)
    memory.run()
    for channel in range(2):
        assert [tag for _, _, tag in memory.answers(channel)] == list(range(channel, 8, 2))
        assert ready_times(memory, channel) == [MISS + i * BL for i in range(4)]


def test_requesters_take_turns():
    memory = Memory(n_requesters=2, refresh=False)
    for i in range(20):
        memory.push(i * BURST, requester=0)
        memory.push((64 + i) * BURST, requester=1)
    memory.run()
    gaps = np.array(ready_times(memory, 1)) - np.array(ready_times(memory, 0))
    assert set(gaps) == {BL}


def test_ideal_memory_answers_in_the_next_clock():
    memory = Memory(ideal=True)
    for i in range(10):
        memory.push(i * ROW, write=i % 2 == 1)
    memory.run()
    assert ready_times(memory) == [1, 3, 5, 7, 9]
    assert memory.counters()["read_bytes"] == memory.counters()["write_bytes"] == 5 * BURST
    assert memory.counters()["activates"] == 0


@pytest.mark.parametrize("address", [32, 1 << 32])
def test_impossible_addresses_are_counted(address):
    memory = Memory(refresh=False)
    memory.push(address)
    memory.run()
    assert memory.counters()["address_errors"] == 1
    assert len(memory.answers()) == 1


def test_answers_without_room_are_counted():
    memory = Memory(refresh=False, depth=4)
    for i in range(4):
        memory.push(i * BURST)
    for _ in range(3):
        push(memory.responses, 0, 0, 0, 0, 0, 0)
    memory.run()
    assert memory.counters()["response_overflows"] == 3


@pytest.mark.parametrize(("policy", "closed_at"), [("open", None), ("closed", 1 + 32), ("timeout", 1 + RCD + 200)])
def test_page_policies_close_idle_rows(policy, closed_at):
    memory = Memory(refresh=False, page_policy=policy)
    memory.push(0)
    memory.run()
    memory.settle(1000)
    precharges = [int(c["clock"]) for c in memory.commands() if c["command"] == 1]
    assert precharges == ([] if closed_at is None else [closed_at])


def test_fcfs_never_overtakes():
    memory = Memory(refresh=False, scheduler="fcfs")
    order = [0, ROW, BURST, BANK, ROW + BURST]
    for address in order:
        memory.push(address)
    memory.run()
    assert [address for _, address, _ in memory.answers()] == order


def test_round_robin_moves_on_to_the_next_bank():
    memory = Memory(refresh=False, scheduler="bank_round_robin")
    for bank in range(3):
        memory.push(bank * BANK)
    for column in range(1, 3):
        for bank in range(3):
            memory.push(bank * BANK + column * BURST)
    memory.run()
    banks = [int(c["target"]) for c in memory.commands() if c["command"] == 3]
    assert sorted(banks) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert all(a != b for a, b in pairwise(banks[3:]))


def test_two_ranks_share_the_data_bus_with_a_gap():
    memory = Memory(ranks=2, mapping="ra:1,ro:16,ba:3,bg:0,co:7", refresh=False)
    memory.push(0)
    memory.push(1 << 32)
    memory.push(BURST, at=100)
    memory.push((1 << 32) + BURST, at=100)
    memory.run()
    assert ready_times(memory)[2:] == [100 + 1 + CL + BL, 100 + 1 + CL + BL + BL + 2]


def test_row_and_column_commands_of_hbm_share_a_clock():
    memory = Memory("HBM2_2000", refresh=False)
    for i in range(64):
        memory.push((i % 16) * 32 * 32 * 5 + i * 32)
    memory.run()
    clocks = memory.commands()["clock"]
    assert len(set(clocks.tolist())) < len(clocks)
    assert len(memory.answers()) == 64


def test_queue_occupancy_is_entries_times_clocks():
    memory = Memory(refresh=False)
    for i in range(3):
        memory.push(i * ROW)
    memory.settle(500)
    acts = [int(c["clock"]) for c in memory.commands() if c["command"] == 0]
    assert memory.counters()["read_queue_entry_clocks"] == sum(acts) - (0 + 1 + 2)
    assert memory.counters()["occupancy_clocks"] == 500
