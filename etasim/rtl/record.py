"""A run of the machine seen from outside: what went through every channel and when, what the parts began, and the bytes that moved.

The machine is stopped after every cycle in which it acts. Parts meet only in channels, so what a part is given and what it does in answer
are the pushes and pops of the channels at its ends; the hardware is given the ones and must do the others.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.core.channel import NEVER, Channels
from etasim.functional import FunctionalRun
from etasim.functional.memories import PACKETS_UNDER_WAY
from etasim.functional.operands import unit_of
from etasim.machine import engine
from etasim.machine.elaborate import Machine, elaborate
from etasim.mapping import Mapping, map_iteration
from etasim.noc import columns as col
from etasim.noc.spec import NocState, init
from etasim.program import events
from etasim.program.commands import MAX_READS, OPERANDS
from etasim.workload import Network
from etasim.workload.lowering import PHASES

EVENTS_OF_A_CYCLE = 1_000_000
_FREE_AT, _FIRST_WORD = 1, 2  # of a slot of a channel: its times, then its words


class Push(NamedTuple):
    """A message: the cycle of its sender, the time at which it is visible, its words."""

    cycle: int
    visible_at: int
    words: tuple[int, ...]


class Sweep(NamedTuple):
    """A sweep begins: of a chunk (row of its table), and when it ends."""

    cycle: int
    row: int
    number: int
    ends_at: int


class Words(NamedTuple):
    """Bytes of a packet on the way to a scratchpad: feed, first byte of the scratchpad's half, data."""

    row: int
    first: int
    data: bytes


class Passed(NamedTuple):
    """A pass of the unified core: bytes of its operands before it and of its results after it, and the lanes' sums [plane, lane] of its
    planes that came with the drains, one after the other."""

    operands: list[bytes]
    results: list[bytes]
    sums: list[int]


class Flit(NamedTuple):
    """A flit on its way into an input VC of the network: when it was sent and is there, its packet (route, flits, number in the run)."""

    cycle: int
    at: int
    route: int
    length: int
    packet: int


@dataclass
class Recording:
    """``pushes`` and ``pops`` [bank of channels, channel], in order, ``freed``: when the slot of a pop was free; ``sweeps`` [cluster];
    ``groups`` [core]: (cycle, row, groups begun); ``sent`` [feeder, packet]; ``drained`` [drain row, packet]: the bytes of a packet of
    results; ``loaded`` [DMA engine]: (first byte of the buffer, bytes) of each burst; ``collected`` [drain row]: segments written together,
    as (byte of the buffer, bytes) each; ``passed`` [row]; ``flits`` [input VC of the network]; ``credits`` [input VC]: (cycle, free from);
    ``end``: cycles in all."""

    machine: Machine
    mapping: Mapping
    values: FunctionalRun
    pushes: dict[tuple[str, int], list[Push]] = field(default_factory=lambda: defaultdict(list))
    pops: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    freed: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    sweeps: dict[int, list[Sweep]] = field(default_factory=lambda: defaultdict(list))
    groups: dict[int, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    sent: dict[tuple[int, int], Words] = field(default_factory=dict)
    drained: dict[tuple[int, int], bytes] = field(default_factory=dict)
    loaded: dict[int, list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))
    collected: dict[int, list[list[tuple[int, bytes]]]] = field(default_factory=lambda: defaultdict(list))
    passed: dict[int, Passed] = field(default_factory=dict)
    flits: dict[int, list[Flit]] = field(default_factory=lambda: defaultdict(list))
    credits: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    end: int = 0

    @property
    def names(self) -> list[str]:
        """Layer and phase of each operation."""
        return [f"{operation.layer}.{operation.phase}" for operation in self.mapping.operations]


class _Watched:
    """Counts of a bank of channels as they were last seen."""

    def __init__(self, name: str, bank: Channels, recording: Recording):
        self.name, self.bank, self.recording = name, bank, recording
        self.pushes, self.pops = bank.pushes.copy(), bank.pops.copy()

    def look(self, now: int) -> None:
        """Note what was pushed and popped in cycle ``now``."""
        bank = self.bank
        for c in np.flatnonzero(bank.pushes != self.pushes).tolist():
            depth = int(bank.depth[c])
            for number in range(int(self.pushes[c]), int(bank.pushes[c])):
                slot = bank.slots[c, number % depth].tolist()
                self.recording.pushes[self.name, c].append(Push(now, slot[0], tuple(slot[_FIRST_WORD:])))
        for c in np.flatnonzero(bank.pops != self.pops).tolist():
            numbers = range(int(self.pops[c]), int(bank.pops[c]))
            self.recording.pops[self.name, c] += [now] * len(numbers)
            self.recording.freed[self.name, c] += [int(bank.slots[c, number % bank.depth[c], _FREE_AT]) for number in numbers]
        self.pushes[:], self.pops[:] = bank.pushes, bank.pops


def _stepped(machine: Machine) -> Machine:
    """``machine`` with a network without memory: its routers step in every cycle."""
    return machine._replace(states=machine.states._replace(noc=init(machine.specs.noc)))


def record(
    architecture: Architecture, network: Network, batch: int, change: Callable[[Machine], Machine] = lambda machine: machine,
) -> Recording:  # fmt: skip
    """Run an iteration with values and record it; ``change`` makes a fault in the machine, for tests. Raises what `etasim.machine.simulate`
    raises, AssertionError for wrong values."""
    mapping = map_iteration(architecture, network, batch, PHASES)
    values = FunctionalRun(architecture, network, batch, PHASES, mapping, {}, 0)
    values.begin()
    machine = change(_stepped(elaborate(architecture, mapping, EVENTS_OF_A_CYCLE)))
    recording = Recording(machine, mapping, values)
    banks = [_Watched(name, bank, recording) for name, bank in machine.links._asdict().items()]
    bound, time, status = engine.bind(machine), machine.states.time, engine.RUNNING
    work, vectors = machine.states.clusters.work, machine.states.unified.work
    sweeping, begun, slots, packets = work.copy(), vectors.copy(), machine.states.noc.slots.copy(), _Packets(machine.states.noc)
    while status == engine.RUNNING:
        now = int(time[0])
        status = engine.run(bound, machine, engine.ORDER, now + 1)
        for bank in banks:
            bank.look(now)
        _note_sweeps(recording, sweeping, work, now)
        _note_groups(recording, begun, vectors, now)
        _note_flits(recording, packets, slots, now)
        rows = machine.log.rows[: machine.log.count[0]].copy()
        if len(rows):
            begun_passes = {int(row[1]): _operands(recording, int(row[1])) for row in rows if row[0] == events.PASSED}
            values.observe(machine.log)
            _note_bytes(recording, rows)
            for row, found in begun_passes.items():
                recording.passed[row] = found._replace(results=_streams(recording, row, range(MAX_READS, OPERANDS)))
    assert status == engine.FINISHED, "the machine finishes"
    assert values.end() is None, "its values are those of the reference"
    recording.end = int(time[1]) + 1
    return recording


def _streams(recording: Recording, row: int, streams: range) -> list[bytes]:
    """Words of the error buffer that streams of a pass cover."""
    vector, core = recording.machine.program.vectors[row], recording.values.machine.core
    spans = [(int(vector["address"][s]) * core.word_bytes, int(vector["words"][s]) * core.word_bytes) for s in streams]
    return [core.buffer[at : at + n].tobytes() for at, n in spans]


def _operands(recording: Recording, row: int) -> Passed:
    vector, core = recording.machine.program.vectors[row], recording.values.machine.core
    block = int(core.units[unit_of(vector)]["first_block"] + vector["first_block"])
    planes = [
        (block + b) * core.batch + int(vector["first_sample"]) + n
        for b in range(int(vector["n_blocks"])) for n in range(int(vector["n_samples"]))
    ]  # fmt: skip
    return Passed(_streams(recording, row, range(MAX_READS)), [], core.registers.sums[planes].ravel().tolist())


def _note_sweeps(recording: Recording, before: np.ndarray, work: np.ndarray, now: int) -> None:
    for c in np.flatnonzero((work["sweeping"] == 1) & (before != work)).tolist():
        found = work[c]
        if before[c]["sweep_ends_at"] != found["sweep_ends_at"] or before[c]["sweeping"] == 0:
            recording.sweeps[c].append(Sweep(now, int(found["row"]), int(found["sweep"]), int(found["sweep_ends_at"])))
    before[:] = work


def _note_groups(recording: Recording, before: np.ndarray, work: np.ndarray, now: int) -> None:
    for c in np.flatnonzero(work["begun"] > before["begun"]).tolist():
        recording.groups[c].append((now, int(work[c]["row"]), int(work[c]["begun"])))
    before[:] = work


class _Packets:
    """Packets under way, whose places in the network's table are used again: numbered in the order of the run."""

    def __init__(self, state: NocState):
        self.state, self.count = state, 0
        self.found: dict[int, tuple[tuple[int, ...], int]] = {}

    def number(self, place: int) -> int:
        """Number of the packet at a place of the table."""
        row = self.state.packets[place]
        stamp = (int(row[col.ROUTE]), int(row[col.OFFERED_AT]), int(row[col.WORD2]), int(row[col.WORD3]))
        if place not in self.found or self.found[place][0] != stamp:
            self.count += 1
            self.found[place] = stamp, self.count
        return self.found[place][1]


def _note_flits(recording: Recording, packets: _Packets, before: np.ndarray, now: int) -> None:
    slots = recording.machine.states.noc.slots
    for vc, slot in np.argwhere(before[:, :, col.AT] != slots[:, :, col.AT]).tolist():
        place = int(slots[vc, slot, col.PACKET])
        row = packets.state.packets[place]
        flit = Flit(now, int(slots[vc, slot, col.AT]), int(row[col.ROUTE]), int(row[col.FLITS]), packets.number(place))
        recording.flits[vc].append(flit)
    freed = (before[:, :, col.FREE] != slots[:, :, col.FREE]) & (slots[:, :, col.FREE] != NEVER)
    for vc, slot in np.argwhere(freed).tolist():
        recording.credits[vc].append((now, int(slots[vc, slot, col.FREE])))
    before[:] = slots


def _note_bytes(recording: Recording, rows: np.ndarray) -> None:
    memories, program = recording.values.machine.memories, recording.machine.program
    for kind, a, b, c, d in rows.tolist():
        if kind == events.SENT:
            slot = c % PACKETS_UNDER_WAY
            row, first, n = memories.sent_to[a, slot].tolist()
            recording.sent[a, c] = Words(row, first, memories.sent[a, slot, :n].tobytes())
        elif kind == events.DRAINED:
            slot = (int(memories.drained_first[b]) + c) % PACKETS_UNDER_WAY
            recording.drained[b, c] = memories.drained[a, slot].tobytes()
        elif kind == events.LOADED:
            recording.loaded[a].append((c, memories.image[b : b + d].tobytes()))
        elif kind == events.COLLECTED:
            drain, lanes = program.drains[a], recording.values.machine.core.lanes
            n_bytes = lanes * int(recording.values.machine.results.operations[drain["operation"]]["bytes"])
            first = int(drain["segment_table"] + b * drain["segments_per_packet"]) + c
            places = (int(drain["buffer_address"]) + program.segment_offsets[first : first + d]).tolist()
            recording.collected[a].append([(at, memories.error[at : at + n_bytes].tobytes()) for at in places])
