"""Synthetic traffic: where packets go, when they are made, and what happened to them.

A pattern is a list of destinations per source, from which one is drawn with equal weight (a node listed twice is twice as
likely). All nodes draw from one stream, in BookSim 2's order: a cycle, then a node, then "is there a packet", then where to.
So a run is the run of the reference with the same seed.
"""

from math import ceil
from numbers import Real
from typing import NamedTuple

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.channel import Channels, occupancy
from etasim.core.jit import kernel
from etasim.core.message import send_packet
from etasim.noc import columns as col
from etasim.noc.generator import FRACTION, FRACTION_ONE, INTEGER, Generators, draw, generators
from etasim.noc.parameters import refuse_unless_whole
from etasim.noc.routing import NocError

# Columns of Sources.progress
CLOCK, MADE = range(2)
NO_BATCH = -1


class Sources(NamedTuple):
    """Packet sources. ``progress`` [node, column]: the cycle up to which packets have been drawn, packets made;
    ``choices`` [node, choice] destinations, of which ``n_choices`` [node] count; a packet is made in a cycle when a fraction is below
    ``threshold``, or at once while fewer than ``batch_packets`` were made. A packet has ``packet_flits``, its message ``packet_bits``.
    """

    generators: Generators
    progress: np.ndarray
    choices: np.ndarray
    n_choices: np.ndarray
    threshold: int
    packet_flits: int
    packet_bits: int
    batch_packets: int


def _uniform(columns: int, rows: int) -> list[list[int]]:
    return [list(range(columns * rows))] * (columns * rows)


def _transpose(columns: int, rows: int) -> list[list[int]]:
    if columns != rows:
        raise NocError(f"traffic transpose: needs a square network, got {columns} x {rows}")
    return [[x * columns + y] for y in range(rows) for x in range(columns)]


def _neighbor(columns: int, rows: int) -> list[list[int]]:
    return [[(y + 1) % rows * columns + (x + 1) % columns] for y in range(rows) for x in range(columns)]


def _hotspot(columns: int, rows: int) -> list[list[int]]:
    n_nodes = columns * rows
    hot = columns * (rows // 2) + columns // 2
    return [sorted(list(range(n_nodes)) + [hot] * (n_nodes // 4))] * n_nodes


def _corners(columns: int, rows: int) -> list[list[int]]:
    last = columns * rows - 1
    return [[0, columns - 1, last - columns + 1, last]] * (columns * rows)


PATTERNS = {"uniform": _uniform, "transpose": _transpose, "neighbor": _neighbor, "hotspot": _hotspot, "corners": _corners}
"""Patterns by name: functions of (columns, rows) to the list of destinations of every node.

uniform: every node, itself included; transpose: (x, y) to (y, x); neighbor: (x + 1, y + 1), wrapping; hotspot: every node, the
one at the centre 1 + N/4 times; corners: the four corner nodes.
"""


def sources(
    pattern: str, columns: int, rows: int, rate: float, packet_flits: int, flit_bits: int, seed: int, batch_packets: int = NO_BATCH
) -> Sources:
    """Generators of ``rate`` flits a node and cycle in packets of ``packet_flits`` of ``flit_bits``, or of batches.

    Raises NocError for an unknown pattern or a rate of more than one packet a cycle.
    """
    if pattern not in PATTERNS:
        raise NocError(f"traffic: unknown {pattern!r}, known are {sorted(PATTERNS)}")
    refuse_unless_whole("packet_flits", packet_flits, 1)
    refuse_unless_whole("seed", seed, 0)
    if not isinstance(rate, Real) or not 0 <= rate <= packet_flits:
        raise NocError(f"rate: must lie in 0..{packet_flits} flits a node and cycle, got {rate!r}")
    lists = PATTERNS[pattern](columns, rows)
    n_choices = np.array([len(choices) for choices in lists], np.int64)
    choices = np.zeros((len(lists), n_choices.max()), np.int64)
    for node, destinations in enumerate(lists):
        choices[node, : len(destinations)] = destinations
    threshold = ceil(rate / packet_flits * FRACTION_ONE)
    progress, packet_bits = np.zeros((len(lists), 2), np.int64), packet_flits * flit_bits
    return Sources(generators(seed), progress, choices, n_choices, threshold, packet_flits, packet_bits, batch_packets)


@kernel
def _make_packet(sources: Sources, inject: Channels, node: int, now: int, made_at: int, is_recorded: int) -> None:
    choice = 0
    if sources.n_choices[node] > 1:
        choice = draw(sources.generators, INTEGER) % sources.n_choices[node]
    draw(sources.generators, INTEGER)  # the reference draws which of its networks takes the packet, though it has one
    send_packet(inject, node, now, sources.choices[node, choice], sources.packet_bits, made_at, 2 * node + is_recorded)
    sources.progress[node, MADE] += 1


@kernel
def make_packets(
    sources: Sources, inject: Channels, interfaces: Integers, now: int, record_from: int, record_until: int
) -> tuple[int, int, int]:
    """Every node whose last packet has left draws until it has caught up with ``now`` or made a packet.

    The latency of a packet counts from the cycle for which it was drawn, so the queue in front of the network is endless though
    one message of it exists at a time. Packets made while ``now`` >= ``record_from`` and drawn for a cycle before
    ``record_until`` are recorded. Returns (recorded packets made, packets made, sum of their cycles).
    """
    n_recorded = 0
    n_made = 0
    made_at_sum = 0
    for node in range(len(sources.n_choices)):
        if occupancy(inject, node) or interfaces[node, col.CURRENT] >= 0:
            continue
        if sources.batch_packets >= 0:
            if sources.progress[node, MADE] < sources.batch_packets:
                _make_packet(sources, inject, node, now, now, 1)
                n_made += 1
                n_recorded += 1
                made_at_sum += now
            continue
        at = sources.progress[node, CLOCK]
        while at <= now:
            at += 1
            if draw(sources.generators, FRACTION) < sources.threshold:
                is_recorded = 1 if now >= record_from and at - 1 < record_until else 0
                _make_packet(sources, inject, node, now, at - 1, is_recorded)
                n_made += 1
                n_recorded += is_recorded
                made_at_sum += at - 1
                break
        sources.progress[node, CLOCK] = at
    return n_recorded, n_made, made_at_sum
