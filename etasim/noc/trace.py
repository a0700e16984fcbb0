"""Replay of a packet trace: a file says which packet is offered when.

The file is comma-separated text with the header ``cycle,source,destinations,flits``. ``destinations`` are one or several node
numbers with blanks between them (several: a multicast); packets of one source enter in the order of their cycles, of the
lines where these are equal.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.channel import NEVER, Channels, can_push, channels, occupancy
from etasim.core.errors import PATIENCE
from etasim.core.jit import kernel, procedure
from etasim.core.message import send_packet
from etasim.noc.assembly import build, topology_of
from etasim.noc.flits import class_widths_bits
from etasim.noc.measurement import HOPS, LATENCY, LEAST, MOST, PACKETS, Measurement, ReplayResult, energy_pj, take_packets
from etasim.noc.network import step
from etasim.noc.parameters import NocDescription
from etasim.noc.routing import NocError, Route
from etasim.noc.spec import NocSpec, NocState, flits_moved, init, link_counters, longest_wait_cycles
from etasim.noc.topology import routers_between

COLUMNS = ["cycle", "source", "destinations", "flits"]
CYCLE, ROUTE, BITS = range(3)
MOST_FLITS = 1 << 20
"""Of a packet: a replay takes at least a cycle for each."""


class TracePacket(NamedTuple):
    """One line of a trace."""

    cycle: int
    source: int
    destinations: tuple[int, ...]
    flits: int


class Offers(NamedTuple):
    """``packets`` [packet, (cycle, route, bits)] grouped by source; ``next`` [node] the first not yet offered, ``end`` [node]."""

    packets: np.ndarray
    next: np.ndarray
    end: np.ndarray


def read_trace(path: Path, n_nodes: int) -> list[TracePacket]:
    """The packets of a trace file. Raises NocError that names file, line and column of what is wrong."""
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NocError(f"{path}: cannot be read: {error}") from None
    if not lines or lines[0] != COLUMNS:
        raise NocError(f"{path}:1: the header must be {','.join(COLUMNS)}")
    packets = [TracePacket(*_cells(path, number, cells, n_nodes)) for number, cells in enumerate(lines[1:], start=2) if cells]
    if not packets:
        raise NocError(f"{path}: has no packets")
    return packets


def _cells(path: Path, number: int, cells: list[str], n_nodes: int) -> Iterator[Any]:
    """The values of one line, checked."""
    if len(cells) != len(COLUMNS):
        raise NocError(f"{path}:{number}: needs {len(COLUMNS)} columns, has {len(cells)}")
    for name, cell in zip(COLUMNS, cells, strict=True):
        try:
            values = [int(part) for part in cell.split()]
        except ValueError:
            raise NocError(f"{path}:{number}: {name}: {cell!r} is not a whole number") from None
        is_node = name in ("source", "destinations")
        least, most = int(name == "flits"), n_nodes - 1 if is_node else MOST_FLITS if name == "flits" else 2**40
        if not values or (len(values) > 1 and name != "destinations") or not all(least <= value <= most for value in values):
            raise NocError(f"{path}:{number}: {name}: must be in {least}..{most}, got {cell!r}")
        yield tuple(values) if name == "destinations" else values[0]


@kernel
def _next_offer(spec: NocSpec, inject: Channels, offers: Offers) -> Any:
    """Cycle of the next packet to be offered, NEVER if there is none; 0 while a packet waits to enter the network."""
    earliest = NEVER
    for node in range(spec.n_nodes):
        if occupancy(inject, node):
            return np.int64(0)
        if offers.next[node] < offers.end[node]:
            earliest = min(earliest, offers.packets[offers.next[node], CYCLE])
    return earliest


@procedure
def _advance(
    spec: NocSpec,
    state: NocState,
    inject: Channels,
    eject: Channels,
    offers: Offers,
    between: Any,
    sums: Integers,
    accepted: Integers,
    histogram: Integers,
    n_copies: int,
    now: int,
    end: int,
) -> int:
    """Offer the packets from cycle ``now`` on and run to ``end``, or until ``n_copies`` have arrived; returns the cycle reached. The cycles
    before an offer to an empty network are skipped."""
    while now < end and sums[PACKETS] < n_copies:
        for node in range(spec.n_nodes):
            following = offers.next[node]
            if following < offers.end[node] and offers.packets[following, CYCLE] <= now and can_push(inject, node, now):
                cycle = offers.packets[following, CYCLE]
                send_packet(inject, node, now, offers.packets[following, ROUTE], offers.packets[following, BITS], cycle, 2 * node + 1)
                offers.next[node] += 1
        step(spec, state, inject, eject, now)
        take_packets(eject, spec.class_flit_bits[0], between, sums, accepted, histogram, now, False)
        now += 1
        if state.free_packets[0] == len(state.packets) and sums[PACKETS] < n_copies:
            following = _next_offer(spec, inject, offers)
            now = max(now, following if following < NEVER else end)
    return now


def _offers(packets: list[TracePacket], routes: dict[tuple[Any, ...], int], n_nodes: int, flit_bits: int) -> Offers:
    """The packets, whole flits of ``flit_bits``, in the order in which each source offers them."""
    ordered = sorted(packets, key=lambda packet: (packet.source, packet.cycle))
    counts = np.bincount([packet.source for packet in ordered], minlength=n_nodes)
    ends = np.cumsum(counts).astype(np.int64)
    rows = [(packet.cycle, routes[packet.source, packet.destinations], packet.flits * flit_bits) for packet in ordered]
    return Offers(np.array(rows, np.int64), ends - counts, ends)


def replay_trace(parameters: NocDescription, path: Path) -> ReplayResult:
    """Offer the packets of the trace file ``path`` and run until all have arrived.

    ``batch_cycles`` is the time until the last tail has been ejected. Each route takes the VCs that keep the order of its packets.
    Raises NocError for a file or network that cannot work.
    """
    topology = topology_of(parameters)
    packets = read_trace(path, topology.n_nodes)
    longest: dict[tuple[int, tuple[int, ...]], int] = {}
    for packet in packets:
        pair = packet.source, packet.destinations
        longest[pair] = max(longest.get(pair, 1), packet.flits)
    flit_bits = class_widths_bits(parameters, 1)[0]
    spec = build(parameters, [Route(source, to, 0, n_flits * flit_bits) for (source, to), n_flits in longest.items()])
    state, measured = init(spec), Measurement.of(spec.n_nodes)
    measured.clear()
    n_copies = sum(len(packet.destinations) for packet in packets)
    offers = _offers(packets, {pair: i for i, pair in enumerate(longest)}, spec.n_nodes, flit_bits)
    ends = channels(spec.n_nodes, 2), channels(spec.n_nodes, 2)
    sums, accepted, histogram = measured.sums, measured.accepted, measured.histogram
    now, before, patience, between = 0, -1, PATIENCE * longest_wait_cycles(spec), routers_between(topology)
    while sums[PACKETS] < n_copies:
        now = int(_advance(spec, state, *ends, offers, between, sums, accepted, histogram, n_copies, now, now + patience))
        done = flits_moved(state) + int(offers.next.sum())
        if done == before:
            break
        before = done
    return ReplayResult(
        status="ok" if sums[PACKETS] == n_copies else "unstable",
        average_packet_latency_cycles=float(sums[LATENCY] / max(sums[PACKETS], 1)),
        minimum_packet_latency_cycles=int(min(sums[LEAST], NEVER)),
        maximum_packet_latency_cycles=int(sums[MOST]),
        average_hops=float(sums[HOPS] / max(sums[PACKETS], 1)),
        accepted_flits_per_node_per_cycle=float(accepted.sum() / spec.n_nodes / now),
        minimum_node_accepted=float(accepted.min() / now),
        maximum_node_accepted=float(accepted.max() / now),
        batch_cycles=now,
        run_to_run_percent=None,
        total_cycles=now,
        histogram=histogram,
        counters=state.counters,
        links=link_counters(state),
        energy_pj=energy_pj(parameters, state.counters),
    )
