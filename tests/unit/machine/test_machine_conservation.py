"""Each conservation law: a healthy machine passes, and a machine with that one thing wrong is refused by name."""

import copy

import numpy as np
import pytest
from small_networks import TINY, architecture, finished

from etasim.core.channel import push
from etasim.machine import conservation, rows
from etasim.machine.errors import ConservationError


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


BREAKS = {
    "sum of the rows' cycles": lambda m, table: table[0].update(cycles=table[0]["cycles"] + 1),
    "cluster 1: cycles of all causes": lambda m, table: bump(m.states.clusters.counters, "stream_stall_cycles", 0, 1),
    "cluster 0: cycles of all causes": lambda m, table: bump(m.states.clusters.counters, "gather_conflict_cycles", 0, 0),
    "passes begun, computed, drained": lambda m, table: np.add.at(m.states.clusters.passes, (0, 2), 1),
    "activation buffer: words written, loaded": lambda m, table: bump(m.states.buffers.counters, "written_words", 0),
    "activation buffer: words read, fed": lambda m, table: bump(m.states.buffers.counters, "read_words", 0),
    "weight buffer: words written, loaded": lambda m, table: np.add.at(m.states.dma.buffer_words, (0, 1), 1),
    "weight buffer: words read, fed": lambda m, table: bump(m.states.feeders.counters, "packets", 0, 1),
    "error buffer: words written": lambda m, table: bump(m.states.unified.counters, "written_words", 0),
    "error buffer: words read": lambda m, table: bump(m.states.unified.counters, "read_words", 0),
    "flits injected, flits of packets": lambda m, table: bump(m.states.clusters.links, "psum_packets", 0, 0),
    "flits ejected, flits arrived": lambda m, table: np.add.at(m.states.clusters.arrived, (1, 0), 1),
    "flit hops counted, of the packets' routes": lambda m, table: bump(m.states.noc.counters, "flit_hops", 0),
    "psum packets sent, collected": lambda m, table: bump(m.states.collectors.counters, "packets", 0, 0),
    "DMA read bursts, of the program": lambda m, table: bump(m.states.dma.counters, "read_bursts", 0, 0),
    "DMA write bursts, of the program": lambda m, table: bump(m.states.dma.counters, "write_bursts", 0, 0),
    "DRAM reads accepted, started by DMA": lambda m, table: bump(m.states.dram.counters, "accepted_reads", 0),
    "DRAM writes accepted, started by DMA": lambda m, table: bump(m.states.dram.counters, "accepted_writes", 0),
    "DRAM reads accepted, served": lambda m, table: bump(m.states.dram.counters, "read_bursts", 0),
    "DRAM writes accepted, written": lambda m, table: bump(m.states.dram.counters, "merged_writes", 0),
    "DRAM address_errors": lambda m, table: bump(m.states.dram.counters, "address_errors", 0),
    "DRAM response_overflows": lambda m, table: bump(m.states.dram.counters, "response_overflows", 0),
    "channels buffer_requests [2] are not empty": lambda m, table: push(m.links.buffer_requests, 2, 0, 0, 0, 0, 0),
    "channels eject [4] are not empty": lambda m, table: push(m.links.eject, 4, 0, 0, 0, 0, 0),
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
    for law in ("passes begun, computed, drained", "DMA slots free", "DRAM address_errors"):
        BREAKS[law](books[0], books[3])
    with pytest.raises(ConservationError) as error:
        conservation.check(*books)
    assert len(str(error.value).splitlines()) == 1 + 3


@pytest.mark.parametrize("ideal", ["dram", "noc", "buffers", "unified_core"])
def test_laws_hold_with_ideal_parts(ideal):
    chosen = architecture(**{f"{ideal}__ideal": True})
    mapping, machine, total_cycles = finished(chosen, TINY)
    conservation.check(machine, mapping, total_cycles, rows.rows(machine, mapping, total_cycles))
