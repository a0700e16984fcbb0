"""No run goes on for ever: a machine that stays awake and does nothing is given up, one that only waits is not."""

import numpy as np
import pytest
from hand_made import Script, times
from program_reading import FIRST_CLUSTER
from small_networks import TINY, architecture, finished

from etasim.machine import simulate, simulation
from etasim.machine.elaborate import elaborate
from etasim.machine.errors import DeadlockError
from etasim.machine.watch import Watch, longest_wait_cycles, most_work, work_done
from etasim.mapping import map_iteration


def starved(**keys):
    """A machine whose DRAM, once it writes, never reads again, while refreshes keep it awake."""
    mapping = map_iteration(architecture(**keys), TINY, 1)
    machine = elaborate(architecture(**keys), mapping)
    specs = machine.specs._replace(dram=machine.specs.dram._replace(write_low=0))
    return machine._replace(specs=specs), mapping


def test_a_memory_that_only_refreshes_is_reported_as_a_deadlock():
    machine, mapping = starved()
    with pytest.raises(DeadlockError) as error:
        simulation.run(machine, mapping)
    text = str(error.value)
    assert f"nothing was done for {Watch(machine).patience} cycles" in text
    assert "load.activation: " in text
    assert "DRAM channel 0: " in text
    assert " reads and 0 writes queued" in text


def test_a_drain_without_a_low_watermark_ends_with_the_last_write():
    """No watermark at all is the lowest that a queue can have: one write of 16."""
    lowest, none = (simulate(architecture(dram__write_low_watermark=share), TINY, batch=2) for share in (1 / 16, 0))
    assert none.total_cycles == lowest.total_cycles
    assert none.components == lowest.components


def test_a_long_command_is_no_deadlock():
    sweep_cycles = 3_000_000
    machine = Script(architecture()).compute(0, [sweep_cycles]).run()
    assert times(machine, FIRST_CLUSTER) == (0, 1 + sweep_cycles + 1)


def test_the_patience_covers_the_longest_waits():
    base = longest_wait_cycles(elaborate(architecture(), map_iteration(architecture(), TINY, 1)))
    for keys, more in (
        ({"dram__controller_latency": 1020}, 1000 // 4), ({"unified_core__pipeline_depth": 104}, 100), ({"noc__link_latency": 11}, 20),
    ):  # fmt: skip
        slower = architecture(**keys)
        assert longest_wait_cycles(elaborate(slower, map_iteration(architecture(), TINY, 1))) == base + more


@pytest.mark.parametrize("keys", [{}, {"noc__multicast": False, "array__deinterleave_stride": False}, {"buffers__error__ports": "1RW"}])
def test_no_machine_does_more_pieces_of_work_than_its_program_has(keys):
    _, machine, _ = finished(architecture(**keys), TINY, batch=2)
    assert 0.5 * most_work(machine) < work_done(machine) <= most_work(machine)


def test_work_that_the_program_does_not_have_is_reported(iteration):
    _, machine, _ = iteration
    states = machine.states._replace(time=np.array([10**9, 0, 0]), unified=machine.states.unified._replace(
        counters=machine.states.unified.counters.copy()))  # fmt: skip
    states.unified.counters["busy_cycles"][0] += 10**6
    verdict = Watch(machine._replace(states=states)).verdict()
    assert verdict == f"{work_done(machine) + 10**6} pieces of work are done, the program has at most {most_work(machine)}"


def test_the_watch_is_quiet_between_its_looks(iteration):
    machine = iteration[1]
    watch = Watch(machine._replace(states=machine.states._replace(time=np.array([0, 0, 0]))))
    assert watch.verdict() == ""
