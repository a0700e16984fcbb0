"""Each conservation law: a healthy machine passes, and a machine with that one thing wrong is refused by name."""

import copy

import numpy as np
import pytest
from program_reading import FIRST_CLUSTER
from small_networks import TINY, architecture, finished

from etasim.config import load_architecture
from etasim.core.channel import NEVER, push
from etasim.machine import conservation, rows
from etasim.machine.elaborate import elaborate
from etasim.machine.errors import ConservationError
from etasim.machine.laws import memory
from etasim.machine.simulation import run
from etasim.mapping import map_iteration
from etasim.noc import columns as col
from etasim.program.commands import LOAD_ACTIVATION


@pytest.fixture
def books(iteration):
    """A private copy of a finished machine: (machine, mapping, total cycles, rows)."""
    mapping, machine, total_cycles = iteration
    machine = copy.deepcopy(machine)
    return machine, mapping, total_cycles, rows.rows(machine, mapping, total_cycles)


def test_a_healthy_machine_keeps_all_laws(books):
    conservation.check(*books)


def bump(array, field, *index):
    """Add one to a counter that is not empty."""
    array[field][index] += 1


def shift(record, source, target):
    """Count one event under another name."""
    record[source] -= 1
    record[target] += 1


def move(words):
    """A word was counted in the next bank."""
    words[0] -= 1
    words[1] += 1


def delay(machine, engine, count):
    """A command is complete long after it was."""
    machine.states.controller.times[machine.program.engine_start[engine] + count - 1, 1] += 10**6


def hurry(machine, engine):
    """Every command of an engine is complete in the cycle after its issue."""
    first, stop = machine.program.engine_start[engine : engine + 2]
    machine.states.controller.times[first:stop, 1] = machine.states.controller.times[first:stop, 0] + 1


BREAKS = {
    "sum of the rows' cycles": lambda m, table: table[0].update(cycles=table[0]["cycles"] + 1),
    "cluster 1: cycles of all causes": lambda m, table: bump(m.states.clusters.counters, "stream_stall_cycles", 0, 1),
    "cluster 0: cycles of all causes": lambda m, table: bump(m.states.clusters.counters, "gather_conflict_cycles", 0, 0),
    "passes begun, computed, drained": lambda m, table: bump(m.states.clusters.passes, "drained", 0),
    "activation buffer: words written, of load.activation": lambda m, table: bump(m.states.buffers.counters, "written_words", 0),
    "activation buffer: words read, of feed.stream": lambda m, table: bump(m.states.buffers.counters, "read_words", 0),
    "weight buffer: words written, of load.weight": lambda m, table: np.add.at(m.states.dma.buffer_words, (0, 1), 1),
    "weight buffer: words read, of feed.stationary": lambda m, table: bump(m.states.feeders.counters, "packets", 0, 1),
    "error buffer: words written, of load.error + collectors": lambda m, table: bump(m.states.unified.counters, "written_words", 0),
    "error buffer: words read, of store + unified operands": lambda m, table: bump(m.states.unified.counters, "read_words", 0),
    "flits injected, flits of packets": lambda m, table: bump(m.states.clusters.links, "psum_packets", 0, 0),
    "flits ejected, flits arrived": lambda m, table: np.add.at(m.states.clusters.arrived, (1, 0), 1),
    "sum of the rows' flit_hops, of the parts": lambda m, table: bump(m.states.noc.counters, "flit_hops", 0),
    "psum packets sent, collected": lambda m, table: bump(m.states.collectors.counters, "packets", 0, 0),
    "DMA read bursts, of the program": lambda m, table: bump(m.states.dma.counters, "read_bursts", 0, 0),
    "DMA write bursts, of the program": lambda m, table: bump(m.states.dma.counters, "write_bursts", 0, 0),
    "DRAM reads accepted, started by DMA": lambda m, table: bump(m.states.dram.counters, "accepted_reads", 0),
    "DRAM writes accepted, started by DMA and host": lambda m, table: bump(m.states.dram.counters, "accepted_writes", 0),
    "DRAM reads accepted, served": lambda m, table: bump(m.states.dram.counters, "read_bursts", 0),
    "DRAM writes accepted, written": lambda m, table: bump(m.states.dram.counters, "merged_writes", 0),
    "DRAM address_errors": lambda m, table: bump(m.states.dram.counters, "address_errors", 0),
    "DRAM response_overflows": lambda m, table: bump(m.states.dram.counters, "response_overflows", 0),
    "channels buffer_requests [2] are not empty": lambda m, table: push(m.links.buffer_requests, 2, 0, 0, 0, 0, 0),
    "channels eject [4] are not empty": lambda m, table: push(m.links.eject, 4, 0, 0, 0, 0, 0),
    "busy + conflict cycles, sweeps of the program": lambda m, table: bump(m.states.clusters.counters, "busy_cycles", 3, 1),
    "conflict cycles, of the program": lambda m, table: shift(m.states.clusters.counters[0, 0], "busy_cycles", "gather_conflict_cycles"),
    "MACs that busy cycles hold": lambda m, table: np.multiply.at(m.program.geometries["n_pixels"], slice(None), 100),
    "MACs of the program, of the layer": lambda m, table: np.floor_divide.at(m.program.geometries["n_pixels"], slice(None), 8),
    "words arrived, of the program's chunks": lambda m, table: np.add.at(m.program.computes["stationary_words"], 0, 1),
    "unified core busy_cycles": lambda m, table: bump(m.states.unified.counters, "busy_cycles", 1),
    "unified core read_words": lambda m, table: shift(m.states.unified.counters[1], "read_words", "written_words"),
    "DMA engine 0: words": lambda m, table: np.add.at(m.states.dma.buffer_words, (0, 0), 1),
    "DMA commands, of the program": lambda m, table: bump(m.states.dma.engine_counters, "commands", 2),
    "DMA bursts, of the program": lambda m, table: bump(m.states.dma.engine_counters, "bursts", 3),
    "feeder 1: packets": lambda m, table: bump(m.states.feeders.counters, "packets", 0, 1),
    "psum packets, of the program": lambda m, table: bump(m.states.clusters.links, "psum_packets", 0, 1),
    "collectors written_words": lambda m, table: bump(m.states.collectors.counters, "written_words", 0, 0),
    "weight buffer: words of a bank, of the program": lambda m, table: move(m.states.buffers.words[1, :, 0]),
    "words beyond those that a sweep needs": lambda m, table: np.put(m.states.clusters.spare, 1, -1),
    "error buffer: ports, words of a bank in a cycle": lambda m, table: np.add.at(m.states.buffers.most, (2, 0, 2), 2),
    "words that ports allow": lambda m, table: np.multiply.at(m.states.buffers.words, (2, 0), 1000),
    "buffers: written_words, of all banks": lambda m, table: np.add.at(m.states.buffers.words, (2, 5, 1), 1),
    "total cycles, cycles of a cluster's sweeps": lambda m, table: np.multiply.at(m.program.sweep_cycles, slice(None), 100),
    "total cycles, flits on a link": lambda m, table: np.multiply.at(m.states.noc.link_flits, slice(None), 100),
    "total cycles, end of the last command": lambda m, table: np.add.at(m.states.controller.times, (5, 1), 10**6),
    "issue of a command, end of what it waits for": lambda m, table: delay(m, *m.program.dependencies[0].tolist()),
    "commands completed in order": lambda m, table: np.add.at(m.states.controller.times, (0, 1), 10**6),
    "end of a command, its issue": lambda m, table: np.add.at(m.states.controller.times, (9, 1), -(10**6)),
    "commands completed, of the program": lambda m, table: bump(m.states.controller.counters, "commands", 2),
    "first issue, of the commands": lambda m, table: bump(m.states.controller.counters, "first_issue_at", 4),
    "last completion, of the commands": lambda m, table: bump(m.states.controller.counters, "last_completion_at", 4),
    "engine 7: cycles of a command, on an idle machine": lambda m, table: hurry(m, FIRST_CLUSTER),
    "engine 0: cycles of a command, on an idle machine": lambda m, table: hurry(m, LOAD_ACTIVATION),
    "cluster 0: end of a drain": lambda m, table: hurry(m, FIRST_CLUSTER + 2),
    "start of a pass, both halves of the psum memory being full": lambda m, table: hurry(m, FIRST_CLUSTER),
    "cluster 1: end of a chunk, arrival of its last stream word": lambda m, table: hurry(m, FIRST_CLUSTER + 1),
    "DRAM accepted_reads, of the program's addresses": lambda m, table: bump(m.states.dram.counters, "accepted_reads", 0),
    "DRAM latencies, reads accepted": lambda m, table: np.add.at(m.states.dram.latency, (0, 5), 1),
    "DRAM read bytes, bursts": lambda m, table: bump(m.states.dram.counters, "read_bytes", 0),
    "DRAM read latencies, RD in the next clock": lambda m, table: np.floor_divide.at(m.states.dram.counters["read_latency_clocks"], 0, 100),
    "DRAM row hits, misses, conflicts, bursts": lambda m, table: bump(m.states.dram.counters, "row_hits", 0),
    "DRAM clocks of the data bus": lambda m, table: bump(m.states.dram.counters, "busy_data_clocks", 0),
    "DRAM banks open, of all ranks": lambda m, table: np.add.at(m.states.dram.open_banks, (0, 0, 0), 1),
    "DRAM refreshes done and due, clocks / REFI": lambda m, table: bump(m.states.dram.counters, "refreshes", 0),
    "DRAM refreshes that may be due, are due": lambda m, table: np.add.at(m.states.dram.registers["refreshes_due"], 0, 9),
    "DRAM clock of the next refresh": lambda m, table: np.add.at(m.states.dram.registers["refresh_at"], 0, 1),
    "commands recorded, counted": lambda m, table: bump(m.states.dram.counters, "activates", 0),
    "bank and row of a command, of its address": lambda m, table: np.add.at(m.states.dram.log, (0, 0, 3), 1),
    "RD in clock": lambda m, table: np.subtract.at(m.states.dram.log, (0, 1, 0), 1),
    "sum of the rows' cluster_busy_cycles": lambda m, table: table[0].update(cluster_busy_cycles=0),
    "sum of the rows' DRAM read bytes": lambda m, table: table[0].update(dram_read_mask_bytes=64),
    "1 credits did not come back": lambda m, table: np.put(m.states.noc.slots[0, 0], col.FREE, NEVER),
    "DMA slots free": lambda m, table: np.add.at(m.states.dma.n_free, 3, -1),
    "conv2 (bp): dram_read_error_bytes": lambda m, table: next(
        row for row in table if (row["layer"], row["phase"]) == ("conv2", "bp")
    ).update(dram_read_error_bytes=1),
    "conv1 (wg): dram_write_weight_gradient_bytes": lambda m, table: next(
        row for row in table if (row["layer"], row["phase"]) == ("conv1", "wg")
    ).update(dram_write_weight_gradient_bytes=0),
}


@pytest.mark.parametrize("law", BREAKS)
def test_a_broken_law_is_named(books, law):
    BREAKS[law](books[0], books[3])
    with pytest.raises(ConservationError) as error:
        conservation.check(*books)
    assert law in str(error.value)


@pytest.mark.parametrize("field", ["flits_injected", "flits_ejected", "flits_expected"])
def test_the_networks_own_laws_are_part_of_the_check(books, field):
    bump(books[0].states.noc.counters, field, 0)
    with pytest.raises(ConservationError):
        conservation.check(*books)


def test_all_violations_are_listed_at_once(books):
    for law in ("DMA commands, of the program", "DMA slots free", "DRAM address_errors"):
        BREAKS[law](books[0], books[3])
    with pytest.raises(ConservationError) as error:
        conservation.check(*books)
    assert len(str(error.value).splitlines()) == 1 + 3


@pytest.mark.parametrize("ideal", ["dram", "noc", "buffers", "unified_core"])
def test_laws_hold_with_ideal_parts(ideal):
    chosen = architecture(**{f"{ideal}__ideal": True})
    mapping, machine, total_cycles = finished(chosen, TINY)
    conservation.check(machine, mapping, total_cycles, rows.rows(machine, mapping, total_cycles))


def test_a_refresh_that_falls_due_in_the_cycle_after_the_last_is_no_violation():
    """The channels are woken in that cycle: 1 of 1,000 random machines ended so. Here the first refresh falls due then; a later one would
    leave the iteration as it is."""
    last_clock = 60_000
    for _ in range(2):
        chosen = load_architecture("eta_small", {"dram.timing_clocks.REFI": last_clock + 1})
        mapping = map_iteration(chosen, TINY, 1)
        machine = elaborate(chosen, mapping)
        total_cycles = run(machine, mapping)
        last_clock = (total_cycles * machine.clocks.core_ticks - 1) // machine.specs.dram.dram_ticks
    assert machine.specs.dram.refresh_interval_clocks == last_clock + 1
    assert [*memory.refreshes(machine, last_clock)] == []
