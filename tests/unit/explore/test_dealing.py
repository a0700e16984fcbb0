from collections import Counter

from etasim.explore.dealing import Dealer


def dealt(dealer, jobs, processes):
    """Which kinds each of ``processes`` gets, in turn, and all indices."""
    dealer.take_in(jobs)
    kinds, indices, turn = {process: Counter() for process in processes}, [], 0
    while dealer.has_more:
        index, job = dealer.next_for(processes[turn % len(processes)])
        kinds[processes[turn % len(processes)]][job[0]] += 1
        indices.append(index)
        turn += 1
    return kinds, indices


def test_without_kinds_jobs_come_in_their_order():
    dealer = Dealer()
    assert dealt(dealer, ["a", "b", "c", "d"], [1, 2])[1] == [0, 1, 2, 3]


def test_every_job_is_dealt_once_those_of_a_kind_in_their_order():
    jobs = [f"{kind}{i}" for i in range(20) for kind in "xyz"]
    _, indices = dealt(Dealer(lambda job: job[0]), jobs, [1, 2])
    assert sorted(indices) == list(range(60))
    for kind in "xyz":
        own = [index for index in indices if jobs[index][0] == kind]
        assert own == sorted(own)


def test_each_process_gets_its_own_kind_as_long_as_there_is_one_and_nobody_waits():
    dealer = Dealer(lambda job: job[0])
    first, _ = dealt(dealer, [f"{kind}{i}" for i in range(10) for kind in "xy"], ["a", "b"])
    assert sorted(map(dict, first.values()), key=str) == [{"x": 10}, {"y": 10}]
    mine = next(iter(first["a"]))
    again, _ = dealt(dealer, [f"{mine}{i}" for i in range(4)] + ["o0", "o1"], ["a", "b"])
    assert again["a"][mine] == 3
    assert again["b"] == {"o": 2, mine: 1}  # what is left is shared


def test_jobs_that_were_left_are_forgotten():
    dealer = Dealer()
    dealer.take_in(["a", "b"])
    dealer.next_for(1)
    assert dealt(dealer, ["c"], [1])[1] == [0]
