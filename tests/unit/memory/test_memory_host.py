"""The host's engine: when a command is complete, in closed form, and what stops its link."""

from fractions import Fraction
from itertools import pairwise
from math import ceil

import pytest
from hand_made import Script, arrival, times
from small_networks import architecture

from etasim.config import InputError

BURST_BYTES, CLOCK_HZ = 64, 200 * 10**6
QUEUE, TAKEN, COMPLETION = 1, 2, 1


def finished(n_bursts, **keys):
    """Commands of so many bursts on a machine whose host has the ``keys``."""
    given = {"link_rate": "800 MB/s", "latency": "50 ns", "commands_in_flight": 4} | keys
    others = {key: given.pop(key) for key in list(given) if "__" in key}
    script = Script(architecture(**{f"host__{key}": value for key, value in given.items()}, **others))
    (engine,) = script.builder.engines.arrivals
    for i, n in enumerate(n_bursts):
        script.add(engine, arrival(n * BURST_BYTES, dram_address=i * 4096))
    machine = script.run()
    return machine, [times(machine, engine, i + 1) for i in range(len(n_bursts))]


@pytest.mark.parametrize("is_ideal", [False, True])
@pytest.mark.parametrize(("rate", "latency"), [(800, 50), (3000, 5), (4000, 1000), (7, 5), (1601, 333)])
def test_a_command_takes_a_latency_and_its_bursts(rate, latency, is_ideal):
    _, [(issued, completed)] = finished([9], link_rate=f"{rate} MB/s", latency=f"{latency} ns", dram__ideal=is_ideal)
    on_link = ceil(9 * Fraction(BURST_BYTES * CLOCK_HZ, rate * 10**6))
    assert completed - issued == QUEUE + ceil(Fraction(latency * CLOCK_HZ, 10**9)) + on_link + TAKEN + COMPLETION


def test_commands_asked_for_ahead_share_a_latency():
    """Sixteen cycles a burst, a latency of 200."""
    alone, ahead = ([end for _, end in finished([5, 5, 5], latency="1 us", commands_in_flight=n)[1]] for n in (1, 3))
    first = QUEUE + 200 + 80 + TAKEN + COMPLETION
    assert ahead == [first, first + 80, first + 160]
    assert [end - start for start, end in pairwise(alone)] == [200 + 80 + TAKEN] * 2
    assert alone[0] == first


def test_runs_lie_where_the_program_says():
    script = Script(architecture(host__link_rate="800 MB/s", host__latency="5 ns", host__commands_in_flight=1))
    (engine,) = script.builder.engines.arrivals
    script.add(engine, arrival(128, dram_address=1 << 20, counts=(3,), dram_strides=(4096,)))
    machine = script.run()
    writes = machine.states.dram.log[0][machine.states.dram.log[0][:, 1] == 4]
    addresses = [(1 << 20) + 4096 * run + 64 * burst for run in range(3) for burst in range(2)]
    assert machine.states.dram.counters["accepted_writes"].sum() == len(addresses)
    assert set(writes[:, 4].tolist()) <= set(addresses)


def test_a_link_faster_than_the_dram_waits_for_it():
    """Bursts that the DRAM's queue does not take stop the link: it then delivers at the rate of the DRAM."""
    slow = {"dram__mapping": "co:7,ba:3,ro:16", "dram__write_queue": 1}
    machine, [(_, behind)] = finished([40], link_rate="100 GB/s", **slow)
    _, [(_, alone)] = finished([40], link_rate="100 GB/s", dram__ideal=True)
    (stalled,) = machine.states.host.counters["dram_stall_cycles"].tolist()
    assert 0 < stalled <= behind - alone


def test_a_link_that_no_counter_holds_is_refused():
    with pytest.raises(InputError, match=r"host\.link_rate.*fewer digits"):
        architecture(host__link_rate="1234567.8901234 MB/s", host__latency="1 us", host__commands_in_flight=1)


def test_a_host_is_said_in_whole():
    with pytest.raises(InputError, match=r"host\.latency"):
        architecture(host__link_rate="1 GB/s", host__commands_in_flight=1)
