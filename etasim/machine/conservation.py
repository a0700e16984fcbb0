"""Conservation laws, checked at the end of every simulation: nothing is lost, nothing appears, every cycle has one cause, and the work
done is the program's. The laws of work, time and memory are in `etasim.machine.laws`."""

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from etasim import noc
from etasim.machine.elaborate import Machine
from etasim.machine.errors import ConservationError
from etasim.machine.laws import host, memory, order, work
from etasim.machine.laws import series as series_laws
from etasim.machine.laws.compare import equal, same
from etasim.machine.laws.said import Said, joined, said_by
from etasim.machine.parts import buffers_of
from etasim.machine.result import FLIT_CLASSES, SCRATCHPADS, LayerRow
from etasim.machine.rows import words_by_part
from etasim.machine.runs import Touched, touched_by
from etasim.machine.series import Series
from etasim.machine.traffic import class_flits, forwarded_bytes, held_bytes, served_bytes
from etasim.mapping import Mapping
from etasim.pe.causes import CAUSES, STALL_CAUSES
from etasim.program.commands import (
    FEED_STREAM,
    STORE,
    TENSOR_CLASSES,
    Program,
    engines_of,
    parts_at,
)  # fmt: skip


def check(
    machine: Machine, mapping: Mapping, total_cycles: int, rows: tuple[dict[str, Any], ...], take: Callable[[Program], None] | None = None
) -> None:
    """Raise ConservationError listing every law that the finished ``machine`` breaks. ``take`` is given each stretch of the program on the
    way, which takes time to unpack."""
    windows, violated = [], []
    for program in machine.stretches():
        touched = touched_by(machine, program)
        windows.append(said_by(machine, program, touched, len(mapping.operations)))
        violated += [law for group in _commands(machine, program, touched) for law in group]
        if take is not None:
            take(program)
    said = joined(windows)
    laws = (
        _cycles(machine, total_cycles, rows),
        _rows(machine, rows),
        _buffers(machine),
        _network(machine, said),
        _dram(machine, said),
        _empty(machine),
        _traffic(mapping, rows),
        *_work(machine, mapping, said, total_cycles),
    )
    _refuse([law for group in laws for law in group] + violated)


def _commands(machine: Machine, program: Program, touched: Touched) -> Iterator[Iterator[str]]:
    """What `etasim.machine.laws` has of single commands, of a window of the program."""
    yield from (order.dependencies(machine, program), order.durations(machine, program, touched), order.arrivals(machine, program))
    yield host.commands(machine, program, touched)


def check_series(machine: Machine, series: Series, rows: tuple[LayerRow, ...]) -> None:
    """Raise ConservationError listing every law that the ``series`` of the finished ``machine`` breaks."""
    _refuse(list(series_laws.violated(machine, series, rows)))


def _refuse(violated: list[str]) -> None:
    if violated:
        raise ConservationError("conservation laws do not hold:\n  " + "\n  ".join(violated))


def _work(machine: Machine, mapping: Mapping, said: Said, total_cycles: int) -> Iterator[Iterator[str]]:
    """What `etasim.machine.laws` has, of the whole program."""
    last_clock = (total_cycles * machine.clocks.core_ticks - 1) // machine.specs.dram.dram_ticks
    yield from (work.sweeps(machine, mapping, said), work.passes(machine, said), work.unified(machine, said), work.movers(machine, said))
    yield from (work.banks(machine, said, total_cycles), work.rates(machine, said, total_cycles))
    yield from (order.scores(machine, said), order.drains(machine, said), host.arrivals(machine, said, total_cycles))
    yield from (memory.requests(machine, said), memory.service(machine, last_clock), memory.refreshes(machine, last_clock))
    yield from (memory.addresses(machine), memory.commands(machine))


def _cycles(machine: Machine, total_cycles: int, rows: tuple[dict[str, Any], ...]) -> Iterator[str]:
    """Rows share the total; a cluster's causes fill it; no more MACs than the busy cycles have."""
    yield from equal("sum of the rows' cycles, total cycles", sum(row["cycles"] for row in rows), total_cycles)
    counters = machine.states.clusters.counters
    for c in range(counters.shape[1]):
        booked = sum(int(counters[f"{cause}_cycles"][:, c].sum()) for cause in CAUSES)
        yield from equal(f"cluster {c}: cycles of all causes, total cycles", booked, total_cycles)


def _rows(machine: Machine, rows: tuple[dict[str, Any], ...]) -> Iterator[str]:
    """What the rows of the report show adds up to what the parts counted."""
    s, instant = machine.states, machine.specs.controller.instant
    counted = {f"{cause}_cycles": s.clusters.counters[f"{cause}_cycles"].sum() for cause in STALL_CAUSES}
    counted |= {"cluster_busy_cycles": s.clusters.counters["busy_cycles"].sum()}
    if not instant[engines_of(machine.program).vectors[0]]:
        counted["unified_core_busy_cycles"] = s.unified.counters["busy_cycles"].sum()
    if not instant[FEED_STREAM]:
        counted |= {f"{name}_flits": n for name, n in zip(FLIT_CLASSES, s.noc.counters["flits_injected"], strict=False)}
        counted["flit_hops"] = s.noc.counters["flit_hops"].sum()
    if not instant.any():
        for b, name in enumerate(buffers_of(machine.architecture)):
            counted[f"{name}_buffer_reads"] = s.buffers.counters["read_words"][b]
            counted[f"{name}_buffer_writes"] = s.buffers.counters["written_words"][b]
        counted |= {f"{name}_scratchpad_writes": s.clusters.arrived[:, i].sum() for i, name in enumerate(SCRATCHPADS)}
    for column, total in counted.items():
        yield from equal(f"sum of the rows' {column}, of the parts", sum(map(itemgetter(column), rows)), total)
    if engines_of(machine.program).arrivals:
        sent = s.host.counters["bursts"].sum() * machine.specs.host.burst_bytes
        yield from equal("sum of the rows' host_bytes, of the host", sum(row["host_bytes"] for row in rows), sent)
    if not instant[STORE]:
        for access in ("read", "write"):
            accepted = s.dram.counters[f"accepted_{access}s"].sum() * machine.specs.dram.burst_bytes
            columns = itemgetter(*(f"dram_{access}_{name}_bytes" for name in TENSOR_CLASSES))
            shown = sum(sum(columns(row)) for row in rows)
            yield from equal(f"sum of the rows' DRAM {access} bytes, of bursts accepted", shown, accepted)


def _buffers(machine: Machine) -> Iterator[str]:
    """Every word read or written was asked for by a requester that knows of it."""
    s = machine.states
    if machine.specs.controller.instant.any():
        return
    unified = np.array([s.unified.counters["read_words"].sum(), s.unified.counters["written_words"].sum()])
    fed, collected = s.feeders.counters["packets"].sum(axis=0), s.collectors.counters["written_words"].sum()
    moved = words_by_part(fed, s.dma.buffer_words.sum(axis=0), unified, collected, s.movers.moved.sum(axis=0))
    for buffer, name in enumerate(buffers_of(machine.architecture)):
        for what, writes in (("read", False), ("written", True)):
            parts, counted = parts_at(buffer, writes, moved), s.buffers.counters[f"{what}_words"][buffer]
            yield from equal(f"{name} buffer: words {what}, of {' + '.join(parts)}", counted, sum(int(moved[part]) for part in parts))


def _network(machine: Machine, said: Said) -> Iterator[str]:
    """Flits injected are those of the engines' packets; what left the network arrived at a scratchpad or a collector."""
    s = machine.states
    yield from noc.check(machine.specs.noc, s.noc)
    flits, n = class_flits(machine.specs.noc, machine.specs.feeders.packet_bits), machine.specs.noc.n_classes
    offered = np.array([*s.feeders.counters["packets"].sum(axis=0), s.clusters.links["psum_packets"].sum()])
    yield from same("flits injected, flits of packets [class]", s.noc.counters["flits_injected"], (offered * flits)[:n])
    arrived = np.array([*s.clusters.arrived.sum(axis=0), s.collectors.counters["packets"].sum()])
    yield from same("flits ejected, flits arrived [class]", s.noc.counters["flits_ejected"], (arrived * flits)[:n])
    packets = int(s.feeders.counters["packets"].sum() + s.clusters.links["psum_packets"].sum())
    yield from equal("packets injected, packets of the engines", s.noc.counters["packets_injected"].sum(), packets)
    arrivals = int(s.clusters.arrived.sum() + s.collectors.counters["packets"].sum())
    yield from equal("packets ejected, packets arrived", s.noc.counters["packets_ejected"].sum(), arrivals)
    sent, reduced = s.clusters.links["psum_packets"].sum(), s.noc.reductions["packets_reduced"].sum()
    yield from equal("psum packets sent, collected + reduced", sent, s.collectors.counters["packets"].sum() + reduced)
    if not machine.specs.controller.instant[FEED_STREAM]:
        yield from equal("psum packets reduced, of the program", reduced, int(said["reduced"]))


def _dram(machine: Machine, said: Said) -> Iterator[str]:
    """Every burst of the program was started by a DMA engine or the host's, accepted and served."""
    dma, dram = machine.states.dma.counters, machine.states.dram.counters
    if not machine.specs.controller.instant[STORE]:
        yield from same("DMA read bursts, of the program [operation, class]", dma["read_bursts"], said["bursts_read"])
        yield from same("DMA write bursts, of the program [operation, class]", dma["write_bursts"], said["bursts_written"])
    yield from equal("DRAM reads accepted, started by DMA", dram["accepted_reads"].sum(), dma["read_bursts"].sum())
    started = dma["write_bursts"].sum() + machine.states.host.bursts.sum()
    yield from equal("DRAM writes accepted, started by DMA and host", dram["accepted_writes"].sum(), started)
    if not machine.specs.dram.ideal:
        served = dram["read_bursts"] + dram["forwarded_reads"]
        yield from equal("DRAM reads accepted, served", dram["accepted_reads"].sum(), served.sum())
        yield from equal(
            "DRAM writes accepted, written", dram["accepted_writes"].sum(), (dram["write_bursts"] + dram["merged_writes"]).sum()
        )
    for name in ("address_errors", "response_overflows"):
        yield from equal(f"DRAM {name}", dram[name].sum(), 0)


def _empty(machine: Machine) -> Iterator[str]:
    """Nothing is under way at the end."""
    for name, bank in zip(machine.links._fields, machine.links, strict=True):
        left = np.flatnonzero(bank.pushes - bank.pops)
        if len(left):
            yield f"channels {name} {left.tolist()} are not empty"
    yield from equal("DMA slots free, all", machine.states.dma.n_free.sum(), machine.specs.dma.n_slots * machine.specs.dma.n_engines)


def _traffic(mapping: Mapping, rows: tuple[dict[str, Any], ...]) -> Iterator[str]:
    """A convolution moves at least each operand and each weight gradient once, through DRAM, out of the second level or on chip; what lives
    on chip was copied there once."""
    served = served_bytes(mapping)
    for number, (operation, row, of_row) in enumerate(zip(mapping.operations, rows, served, strict=True)):
        for column, n_bytes in operation.compulsory_bytes.items():
            others = of_row.get(column, 0) + forwarded_bytes(mapping, number).get(column, 0)
            if row[column] + others < n_bytes:
                yield f"{operation.layer} ({operation.phase}): {column} = {row[column] + others}, compulsory {n_bytes}"
    yield from same("bytes copied to where tensors live [buffer], of the tensors", *held_bytes(mapping))
