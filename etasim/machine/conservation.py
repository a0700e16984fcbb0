"""Conservation laws, checked at the end of every simulation: nothing is lost, nothing appears, every cycle has one cause."""

from collections.abc import Iterator

import numpy as np

from etasim import noc
from etasim.core.program import FEED_STREAM, LOAD_ACTIVATION, LOAD_ERROR, LOAD_WEIGHT, STORE
from etasim.machine.elaborate import ACTIVATION, ERROR, WEIGHT, Machine
from etasim.machine.errors import ConservationError
from etasim.machine.traffic import class_flits, dram_bursts
from etasim.mapping import Mapping
from etasim.pe.cluster import CAUSES


def check(machine: Machine, mapping: Mapping, total_cycles: int, rows: tuple[dict, ...]) -> None:
    """Raise ConservationError listing every law that the finished ``machine`` breaks."""
    laws = (
        _cycles(machine, total_cycles, rows),
        _buffers(machine),
        _network(machine, rows),
        _dram(machine),
        _empty(machine),
        _traffic(mapping, rows),
    )
    violated = [law for group in laws for law in group]
    if violated:
        raise ConservationError("conservation laws do not hold:\n  " + "\n  ".join(violated))


def _equal(what: str, a: int, b: int) -> Iterator[str]:
    if int(a) != int(b):
        yield f"{what}: {int(a)} != {int(b)}"


def _cycles(machine: Machine, total_cycles: int, rows: tuple[dict, ...]) -> Iterator[str]:
    """Rows share the total; a cluster's causes fill it; no more MACs than the busy cycles have."""
    yield from _equal("sum of the rows' cycles, total cycles", sum(row["cycles"] for row in rows), total_cycles)
    counters = machine.states.clusters.counters
    for c in range(counters.shape[1]):
        booked = sum(int(counters[f"{cause}_cycles"][:, c].sum()) for cause in (*CAUSES, "gather_conflict"))
        yield from _equal(f"cluster {c}: cycles of all causes, total cycles", booked, total_cycles)
    passes = machine.states.clusters.passes
    if not (passes[:, 0] == passes[:, 1]).all() or not (passes[:, 1] == passes[:, 2]).all():
        yield f"passes begun, computed, drained differ: {passes.tolist()}"


def _buffers(machine: Machine) -> Iterator[str]:
    """Every word read or written was asked for by a requester that knows of it."""
    s = machine.states
    if machine.specs.controller.instant.any():
        return
    counters, dma, unified = s.buffers.counters, s.dma.buffer_words.sum(axis=0), s.unified.counters
    feeds = s.feeders.counters["packets"].sum(axis=0)
    yield from _equal("activation buffer: words written, loaded", counters["written_words"][ACTIVATION], dma[LOAD_ACTIVATION])
    yield from _equal("activation buffer: words read, fed", counters["read_words"][ACTIVATION], feeds[0])
    yield from _equal("weight buffer: words written, loaded", counters["written_words"][WEIGHT], dma[LOAD_WEIGHT])
    yield from _equal("weight buffer: words read, fed", counters["read_words"][WEIGHT], feeds[1])
    written = dma[LOAD_ERROR] + s.collectors.counters["written_words"].sum() + unified["written_words"].sum()
    yield from _equal("error buffer: words written, loaded + collected + results", counters["written_words"][ERROR], written)
    yield from _equal(
        "error buffer: words read, stored + operands", counters["read_words"][ERROR], dma[STORE] + unified["read_words"].sum()
    )


def _network(machine: Machine, rows: tuple[dict, ...]) -> Iterator[str]:
    """Flits injected are those of the engines' packets; what left the network arrived at a scratchpad or a collector."""
    s = machine.states
    yield from noc.check(machine.specs.noc, s.noc)
    flits = class_flits(machine.specs.noc, machine.specs.feeders.packet_bits)
    offered = np.array([*s.feeders.counters["packets"].sum(axis=0), s.clusters.links["psum_packets"].sum()])
    yield from _equal("flits injected, flits of packets", s.noc.counters["flits_injected"].sum(), offered @ flits)
    arrived = np.array([*s.clusters.arrived.sum(axis=0), s.collectors.counters["packets"].sum()])
    yield from _equal("flits ejected, flits arrived", s.noc.counters["flits_ejected"].sum(), arrived @ flits)
    if not machine.specs.controller.instant[FEED_STREAM]:
        hops = sum(row["flit_hops"] for row in rows)
        yield from _equal("flit hops counted, of the packets' routes", s.noc.counters["flit_hops"].sum(), hops)
    packets = int(s.feeders.counters["packets"].sum() + s.clusters.links["psum_packets"].sum())
    yield from _equal("packets injected, packets of the engines", s.noc.counters["packets_injected"].sum(), packets)
    arrivals = int(s.clusters.arrived.sum() + s.collectors.counters["packets"].sum())
    yield from _equal("packets ejected, packets arrived", s.noc.counters["packets_ejected"].sum(), arrivals)
    sent, reduced = s.clusters.links["psum_packets"].sum(), s.noc.reductions["packets_reduced"].sum()
    yield from _equal("psum packets sent, collected + reduced", sent, s.collectors.counters["packets"].sum() + reduced)
    if not machine.specs.controller.instant[FEED_STREAM]:
        drains = machine.program.drains
        absorbed = drains["n_packets"][drains["member"] > 0].sum()
        yield from _equal("psum packets reduced, of the program", reduced, absorbed)


def _dram(machine: Machine) -> Iterator[str]:
    """Every burst of the program was started by a DMA engine, accepted and served."""
    dma, dram = machine.states.dma.counters, machine.states.dram.counters
    if not machine.specs.controller.instant[STORE]:
        read, written = dram_bursts(machine.program, machine.specs.dram.burst_bytes, *dma.shape)
        yield from _equal("DMA read bursts, of the program", dma["read_bursts"].sum(), read.sum())
        yield from _equal("DMA write bursts, of the program", dma["write_bursts"].sum(), written.sum())
    yield from _equal("DRAM reads accepted, started by DMA", dram["accepted_reads"].sum(), dma["read_bursts"].sum())
    yield from _equal("DRAM writes accepted, started by DMA", dram["accepted_writes"].sum(), dma["write_bursts"].sum())
    if not machine.specs.dram.ideal:
        served = dram["read_bursts"] + dram["forwarded_reads"]
        yield from _equal("DRAM reads accepted, served", dram["accepted_reads"].sum(), served.sum())
        yield from _equal(
            "DRAM writes accepted, written", dram["accepted_writes"].sum(), (dram["write_bursts"] + dram["merged_writes"]).sum()
        )
    for name in ("address_errors", "response_overflows"):
        yield from _equal(f"DRAM {name}", dram[name].sum(), 0)


def _empty(machine: Machine) -> Iterator[str]:
    """Nothing is under way at the end."""
    for name, bank in zip(machine.links._fields, machine.links, strict=True):
        left = np.flatnonzero(bank.pushes - bank.pops)
        if len(left):
            yield f"channels {name} {left.tolist()} are not empty"
    yield from _equal("DMA slots free, all", machine.states.dma.n_free.sum(), machine.specs.dma.n_slots * machine.specs.dma.n_engines)


def _traffic(mapping: Mapping, rows: tuple[dict, ...]) -> Iterator[str]:
    """A convolution moves at least each operand and each weight gradient once."""
    for operation, row in zip(mapping.operations, rows, strict=True):
        for column, n_bytes in operation.compulsory_bytes.items():
            if row[column] < n_bytes:
                yield f"{operation.layer} ({operation.phase}): {column} = {row[column]}, compulsory {n_bytes}"
