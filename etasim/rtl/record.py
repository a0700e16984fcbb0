"""A run of the machine seen from outside: what went through every channel and when, what the parts began, and the bytes that moved.

The machine is stopped after every cycle in which it acts. Parts meet only in channels, so what a part is given and what it does in answer
are the pushes and pops of the channels at its ends; the hardware is given the ones and must do the others.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.core.channel import Channels
from etasim.functional import FunctionalRun
from etasim.functional.memories import PACKETS_UNDER_WAY
from etasim.machine import engine
from etasim.machine.elaborate import Machine, elaborate
from etasim.mapping import Mapping, map_iteration
from etasim.program import events
from etasim.workload import Network
from etasim.workload.lowering import PHASES

EVENTS_OF_A_CYCLE = 1_000_000
_FIRST_WORD = 2  # of a slot of a channel, behind the two times


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


class Recording(NamedTuple):
    """``pushes`` and ``pops`` [bank of channels, channel], in order; ``sweeps`` [cluster]; ``groups`` [core]: (cycle, row, groups begun);
    ``sent`` [feeder, packet]; ``drained`` [drain row, packet]: the bytes of a packet of results; ``loaded`` [DMA engine]: (first byte of the
    buffer, bytes) of each burst; ``collected`` [drain row]: segments written together, as (byte of the buffer, bytes) each."""

    machine: Machine
    mapping: Mapping
    values: FunctionalRun
    pushes: dict[tuple[str, int], list[Push]]
    pops: dict[tuple[str, int], list[int]]
    sweeps: dict[int, list[Sweep]]
    groups: dict[int, list[tuple[int, int, int]]]
    sent: dict[tuple[int, int], Words]
    drained: dict[tuple[int, int], bytes]
    loaded: dict[int, list[tuple[int, bytes]]]
    collected: dict[int, list[list[tuple[int, bytes]]]]
    end: int

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
            self.recording.pops[self.name, c] += [now] * int(bank.pops[c] - self.pops[c])
        self.pushes[:], self.pops[:] = bank.pushes, bank.pops


def record(architecture: Architecture, network: Network, batch: int, phases: tuple[str, ...] = PHASES, seed: int = 0) -> Recording:
    """Run an iteration with values and record it. Raises what `etasim.machine.simulate` raises, AssertionError for wrong values."""
    mapping = map_iteration(architecture, network, batch, phases)
    values = FunctionalRun(architecture, network, batch, phases, mapping, {}, seed)
    values.begin()
    machine = elaborate(architecture, mapping, EVENTS_OF_A_CYCLE)
    recording = Recording(
        machine, mapping, values, *(defaultdict(list) for _ in range(4)), {}, {}, defaultdict(list), defaultdict(list), 0,
    )  # fmt: skip
    banks = [_Watched(name, bank, recording) for name, bank in machine.links._asdict().items()]
    bound, time, status = engine.bind(machine), machine.states.time, engine.RUNNING
    work, vectors = machine.states.clusters.work, machine.states.unified.work
    sweeping, begun = work.copy(), vectors.copy()
    while status == engine.RUNNING:
        now = int(time[0])
        status = engine.run(bound, machine, engine.ORDER, now + 1)
        for bank in banks:
            bank.look(now)
        _note_sweeps(recording, sweeping, work, now)
        _note_groups(recording, begun, vectors, now)
        rows = machine.log.rows[: machine.log.count[0]].copy()
        if len(rows):
            values.observe(machine.log)
            _note_bytes(recording, rows)
    assert status == engine.FINISHED and values.end() is None, "the run of the machine is right"
    return recording._replace(end=int(time[1]) + 1)


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
