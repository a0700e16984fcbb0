"""A host that brings the inputs while the machine works: exact values, what it costs, what it hides, and its laws."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from small_networks import TINY, architecture, finished

from etasim import simulate
from etasim.machine import conservation, rows
from etasim.machine.errors import ConservationError
from etasim.mapping import map_iteration
from etasim.mapping.listing import lines
from etasim.program.commands import LOAD_ACTIVATION, engine_names, engines_of, waits_of
from etasim.report.energy import NO_FIGURE, breakdown
from etasim.report.metrics import layer_rows

BATCH, CLOCK_HZ, BURST_BYTES = 3, 200 * 10**6, 64
LINK = {"host__link_rate": "200 MB/s", "host__latency": "1 us", "host__commands_in_flight": 4}
LATENCY_CYCLES, BURST_CYCLES = 200, 64


def machine(**keys):
    return architecture(**(LINK | keys))


@pytest.fixture(scope="module")
def runs():
    """A run with values whose inputs lie in DRAM, and one whose host brings them."""
    return {is_there: simulate(machine() if is_there else architecture(), TINY, batch=BATCH, functional=True) for is_there in (False, True)}


def input_bytes():
    """Bytes of the input and the labels in whole bursts."""
    tensors = [tensor for tensor in map_iteration(machine(), TINY, BATCH).tensors if tensor.from_host]
    assert [tensor.name for tensor in tensors] == ["input.output", "loss.label"]
    return sum(tensor.n_blocks * tensor.pitch_bytes for tensor in tensors)


def test_values_are_exact_and_those_without_a_host(runs):
    assert all(run.values.mismatch is None for run in runs.values())
    values = [{name: value.integers.tolist() for name, value in run.tensors.items()} for run in runs.values()]
    assert values[0] == values[1]


def test_iterations_bring_new_samples():
    run = simulate(machine(), TINY, batch=BATCH, functional=True, iterations=3)
    assert run.values.mismatch is None
    assert len({step.loss for step in run.values.steps}) == 3


def test_the_host_brings_the_inputs_once(runs):
    (counters,) = runs[True].components["host"]
    assert counters["bursts"] * BURST_BYTES == input_bytes()
    columns = {(row["layer"], row["phase"]): row["host_bytes"] for row in layer_rows(runs[True]) if row["host_bytes"]}
    assert columns == {("conv1", "ff"): input_bytes() - BURST_BYTES, ("loss", "bp"): BURST_BYTES}
    without, with_host = (sum(row["dram_write_activation_bytes"] for row in runs[is_there].layers) for is_there in (False, True))
    assert with_host - without == input_bytes()
    assert "host" not in runs[False].components
    assert "host_bytes" not in layer_rows(runs[False])[0]


def test_the_first_layer_waits_for_its_samples_only(runs):
    """What the host costs is no more than the time until all is there, less than if the machine waited for all of it, and no less than
    what the first sample takes."""
    late = runs[True].total_cycles - runs[False].total_cycles
    n_bursts = input_bytes() // BURST_BYTES
    first_sample = (n_bursts - 1) // BATCH
    assert LATENCY_CYCLES + first_sample * BURST_CYCLES < late < LATENCY_CYCLES + n_bursts * BURST_CYCLES


def test_a_faster_host_costs_less_down_to_its_latency():
    """With a link beyond the DRAM's rate what is left is the latency, and the time in which DRAM writes what it then reads: a burst a
    cycle at its pins, turns of the bus and an activation for each few of them. Refreshes, which fall on other work in a run that begins
    later, would blur it by a few cycles."""
    quiet = {"dram__refresh": False}
    rates = ("100 MB/s", "1 GB/s", "50 GB/s")
    cycles = [simulate(machine(host__link_rate=rate, **quiet), TINY, batch=BATCH).total_cycles for rate in rates]
    alone = simulate(architecture(**quiet), TINY, batch=BATCH).total_cycles
    assert cycles[0] > cycles[1] > cycles[2] >= alone + LATENCY_CYCLES
    assert cycles[2] < alone + LATENCY_CYCLES + 5 * input_bytes() // BURST_BYTES


def test_inputs_that_come_sample_by_sample_overlap_with_work():
    """A batch of one sample waits for all of its input; of three, two come while the first is under way."""
    def late(batch):
        brought, lying = (simulate(chosen, TINY, batch=batch).total_cycles for chosen in (machine(), architecture()))
        return brought - lying

    assert late(BATCH) < BATCH * (late(1) - LATENCY_CYCLES) + LATENCY_CYCLES


def test_an_ideal_machine_waits_for_the_link():
    ideal = {"buffers__ideal": True, "noc__ideal": True, "dram__ideal": True, "unified_core__ideal": True}
    run = simulate(machine(**ideal), TINY, batch=BATCH, functional=True)
    assert run.values.mismatch is None
    assert run.total_cycles > simulate(architecture(**ideal), TINY, batch=BATCH).total_cycles + LATENCY_CYCLES
    assert sum(row["host_bytes"] for row in run.layers) == input_bytes()


@pytest.mark.parametrize("phases", [("wg",), ("ff",), ("bp", "wg"), ("wu",)])
def test_any_phase_may_be_the_first_to_read(phases):
    run = simulate(machine(host__latency="1 ms" if phases == ("wu",) else "1 us"), TINY, batch=BATCH, phases=phases)
    reads_input, reads_labels = bool({"ff", "wg"} & {*phases}), "bp" in phases
    wanted = reads_input * (input_bytes() - BURST_BYTES) + reads_labels * BURST_BYTES
    assert sum(row["host_bytes"] for row in run.layers) == wanted


def test_an_estimate_knows_the_host():
    """The same bytes; and the time that the link adds within ten percent of the iteration."""
    for keys in ({}, {"host__commands_in_flight": 1, "host__latency": "20 us"}, {"host__link_rate": "20 MB/s"}):
        cycle, quick = (simulate(machine(**keys), TINY, batch=BATCH, fidelity=fidelity) for fidelity in ("cycle", "analytical"))
        assert [row["host_bytes"] for row in quick.layers] == [row["host_bytes"] for row in cycle.layers]
        column = "dram_write_activation_bytes"
        assert [row[column] for row in quick.layers] == [row[column] for row in cycle.layers]
        assert abs(quick.total_cycles / cycle.total_cycles - 1) < 0.1


def test_loads_wait_for_the_sample_that_they_read():
    """Of the program, not of its timing: the first load waits for the first sample, the last load of the layer for the last."""
    mapping = map_iteration(machine(buffers__activation__size="256 B"), TINY, BATCH)
    program = mapping.program
    (host,) = engines_of(program).arrivals
    assert engine_names(engines_of(program))[host] == "host"
    waits = [0]
    for engine, count in sorted(_waits(program, LOAD_ACTIVATION, host)):
        assert engine == host
        waits.append(count)
    assert set(waits[1:]) == {1, 2, 3}
    assert any("host#1: activation host to dram 0x" in line for line in lines(mapping))


def _waits(program, engine, other):
    """(engine, count) on ``other`` that commands of ``engine`` wait for."""
    command, waited = waits_of(program)
    own = (command >= program.engine_start[engine]) & (command < program.engine_start[engine + 1])
    on_other = (waited >= program.engine_start[other]) & (waited < program.engine_start[other + 1])
    return [(other, int(place - program.engine_start[other] + 1)) for place in waited[own & on_other]]


def test_energy_of_the_link_is_known_if_it_is_stated(runs):
    figure = {"energy": "10 pJ", "source": "a test", "technology": "none"}
    stated = replace(runs[True], architecture=machine(
        host__energy_per_byte__energy=figure["energy"], host__energy_per_byte__source=figure["source"],
        host__energy_per_byte__technology=figure["technology"]))  # fmt: skip
    (unknown,), (known,) = ([part for part in breakdown(run) if part.component == "host link"] for run in (runs[True], stated))
    assert (unknown.energy_joule, unknown.reason) == (None, NO_FIGURE)
    assert known.energy_joule * 10**12 == 10 * input_bytes()
    assert not [part for part in breakdown(runs[False]) if part.component == "host link"]


@pytest.fixture(scope="module")
def books():
    mapping, done, total_cycles = finished(machine(), TINY, BATCH)
    return done, mapping, total_cycles, rows.rows(done, mapping, total_cycles)


def test_laws_hold(books):
    conservation.check(*books)


BREAKS = {
    "host commands, of the program": lambda m, table: np.add.at(m.states.host.counters["commands"], 0, 1),
    "host bursts, of its commands": lambda m, table: np.add.at(m.states.host.counters["bursts"], 0, 1),
    "host bursts, of the program [operation, class]": lambda m, table: np.add.at(m.states.host.bursts, (0, 1), 1),
    "DRAM writes accepted, started by DMA and host": lambda m, table: np.add.at(m.states.host.bursts, (0, 0), 1),
    "sum of the rows' host_bytes": lambda m, table: table[0].update(host_bytes=0),
    "host: cycles of a command": lambda m, table: m.states.controller.times[m.program.engine_start[-2]].__setitem__(1, 1),
    "total cycles, latency of the host and its bursts": lambda m, table: np.multiply.at(m.program.arrivals["run_bytes"], slice(None), 100),
    "DRAM accepted_writes, of the program's addresses": lambda m, table: np.add.at(m.program.arrivals["run_bytes"], 0, BURST_BYTES),
}


@pytest.mark.parametrize("law", BREAKS)
def test_each_law_is_broken_by_what_it_is_about(books, law):
    done, mapping, total_cycles, table = copy.deepcopy(books[0]), *books[1:3], copy.deepcopy(books[3])
    BREAKS[law](done, table)
    with pytest.raises(ConservationError) as caught:
        conservation.check(done, mapping, total_cycles, table)
    assert law in str(caught.value)
