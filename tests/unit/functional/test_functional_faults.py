"""A machine that loses or changes a value on its way is caught: the comparison fails and names the layer, the phase and the value."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from small_networks import TINY, architecture, conv, layer, network

from etasim import simulate
from etasim.functional import run as functional_run
from etasim.functional.memories import PACKETS_UNDER_WAY
from etasim.mapping import map_iteration
from etasim.program.events import COLLECTED, DRAINED, LOADED, MULTIPLIED, PASSED, RECEIVED, SENT, STORED

TALL = network((2, 24, 6), conv("tall", 4, kernel=3, padding=1), layer("pool", "avgpool", kernel=6), classes=4)
BATCH = 2


class Scene:
    """A network on an architecture, and what the events of its program are about."""

    def __init__(self, net, **overrides):
        self.architecture, self.network = architecture(**overrides), net
        self.mapping = map_iteration(self.architecture, net, BATCH, ("ff", "bp", "wg", "wu"))
        self.program, self.layout = self.mapping.program, self.mapping.layout

    def tensor(self, unit, role):
        index = -1 if unit == "input" else next(u.index for u in self.layout.units if u.name == unit)
        return self.layout.tensors[index, role]

    def touches(self, event, unit, role):
        """Whether a burst lies in a tensor."""
        tensor = self.tensor(unit, role)
        return tensor.address <= event[2] < tensor.address + tensor.n_blocks * tensor.pitch_bytes

    def belongs(self, row, layer, phase):
        """Whether a row of one of the program's tables belongs to an operation."""
        operation = self.mapping.operations[row["operation"]]
        return (operation.layer, operation.phase) == (layer, phase)

    def mismatch(self, monkeypatch, fault):
        """The mismatch of a run in which ``fault`` happens once."""
        monkeypatch.setattr(functional_run, "execute", Once(fault, functional_run.execute))
        values = simulate(self.architecture, self.network, batch=BATCH, functional=True).values
        assert functional_run.execute.happened
        return values.mismatch


class Once:
    """`execute` with a fault that takes over single events until it says, by True, that it has done its work."""

    def __init__(self, fault, execute):
        self.fault, self.execute, self.happened = fault, execute, False

    def __call__(self, machine, log):
        first = 0
        for i in range(len(log)):
            if self.happened:
                break
            if log[i, 0] != self.fault.kind:
                continue
            self.execute(machine, log[first:i])
            first = i
            if self.fault.where(machine, log[i]):
                self.happened = self.fault.spoil(machine, self.execute, log[i : i + 1].copy())
                first = i + 1
        self.execute(machine, log[first:])


class Fault(NamedTuple):
    """``spoil(machine, execute, event)`` takes over events of ``kind`` for which ``where(machine, event)`` holds."""

    kind: int
    where: Callable
    spoil: Callable


@pytest.fixture(scope="module")
def tiny():
    return Scene(TINY)


def lost(machine, execute, event):
    return True


def test_a_byte_that_a_burst_drops(tiny, monkeypatch):
    def spoil(machine, execute, event):
        _, _, _, to, n_bytes = event[0]
        before = machine.memories.weight[to : to + n_bytes].copy()
        execute(machine, event)
        different = np.flatnonzero(machine.memories.weight[to : to + n_bytes] != before)
        machine.memories.weight[to + different[0]] = before[different[0]]
        return True

    fault = Fault(LOADED, lambda _, event: tiny.touches(event, "conv2", "weight"), spoil)
    found = tiny.mismatch(monkeypatch, fault)
    assert (found.layer, found.phase, found.name) == ("conv2", "ff", "conv2.ofmap")
    assert found.got != found.expected
    assert "layer conv2, phase ff: conv2.ofmap [" in str(found)


def test_a_halo_row_that_is_skipped(monkeypatch):
    scene = Scene(TALL, buffers__activation__size="256 B")
    tensor, loads, halo_row = scene.tensor("input", "output"), [], []

    def row_bytes(row):
        first = tensor.address + row * TALL.input_shape.width * scene.layout.lanes
        return first, first + TALL.input_shape.width * scene.layout.lanes

    def where(machine, event):
        """The second time that the rows of the first sample begin anew: a band after the first, whose first row is a halo."""
        if not scene.touches(event, "input", "output") or event[2] >= tensor.address + tensor.plane_bytes:
            return False
        again = bool(loads) and any(first < event[2] + event[4] and event[2] < last for first, last in loads)
        loads.append((event[2], event[2] + event[4]))
        return again

    def spoil(machine, execute, event):
        _, engine, start, to, n_bytes = event[0].tolist()
        row = -(-(start - tensor.address) // (row_bytes(1)[0] - row_bytes(0)[0]))
        first, last = row_bytes(row)
        first, last = max(first, start), min(last, start + n_bytes)
        halo_row.append(row)
        for a, b in ((start, first), (last, start + n_bytes)):
            execute(machine, np.array([[LOADED, engine, a, to + a - start, b - a]]))
        return True

    found = scene.mismatch(monkeypatch, Fault(LOADED, where, spoil))
    assert (found.layer, found.phase, found.name) == ("tall", "ff", "tall.sums")
    assert found.index[0] == 0
    assert abs(found.index[2] - halo_row[0]) <= 1


def test_two_channels_that_are_swapped(tiny, monkeypatch):
    def where(machine, event):
        return tiny.belongs(tiny.program.drains[event[1]], "conv2", "bp")

    def spoil(machine, execute, event):
        _, row, packet, first, _ = event[0].tolist()
        drain = tiny.program.drains[row]
        cluster = int(drain["engine"]) - (len(tiny.program.engine_start) - 1 - len(machine.memories.n_drained))
        slot = (machine.memories.drained_first[row] + packet) % PACKETS_UNDER_WAY
        at = first * 2 * machine.core.lanes
        lanes = machine.memories.drained[cluster, slot, at : at + 4].copy()
        machine.memories.drained[cluster, slot, at : at + 4] = np.roll(lanes, 2)
        execute(machine, event)
        return not np.array_equal(lanes[:2], lanes[2:])

    found = tiny.mismatch(monkeypatch, Fault(COLLECTED, where, spoil))
    assert (found.layer, found.phase, found.name) == ("conv1", "bp", "conv1.error")


def test_a_psum_that_is_lost(tiny, monkeypatch):
    def where(machine, event):
        return tiny.belongs(tiny.program.computes[event[2]], "conv2", "wg")

    def spoil(machine, execute, event):
        execute(machine, event)
        half = tiny.program.computes[event[0, 2]]["psum_half"]
        psums = machine.memories.psums[event[0, 1], half]
        psums[tuple(np.argwhere(np.abs(psums) == np.abs(psums).max())[0])] = 0
        return True

    found = tiny.mismatch(monkeypatch, Fault(MULTIPLIED, where, spoil))
    assert (found.layer, found.phase, found.name, found.got) == ("conv2", "wg", "conv2.weight_gradient", 0)


def test_a_packet_of_operands_that_is_lost(tiny, monkeypatch):
    def where(machine, event):
        row = machine.memories.sent_to[event[2], event[3] % PACKETS_UNDER_WAY, 0]
        return tiny.belongs(tiny.program.feeds[row], "fc", "ff")

    found = tiny.mismatch(monkeypatch, Fault(RECEIVED, where, lost))
    assert (found.layer, found.phase, found.name) == ("fc", "ff", "fc.ofmap")


def test_a_packet_of_results_that_is_lost(tiny, monkeypatch):
    fault = Fault(COLLECTED, lambda _, event: tiny.belongs(tiny.program.drains[event[1]], "projection", "wg"), lost)
    found = tiny.mismatch(monkeypatch, fault)
    assert (found.layer, found.phase, found.name) == ("projection", "wg", "projection.weight_gradient")


def test_a_stale_word(tiny, monkeypatch):
    def spoil(machine, execute, event):
        _, feeder, _, packet, _ = event[0].tolist()
        execute(machine, event)
        now, before = packet % PACKETS_UNDER_WAY, (packet - 1) % PACKETS_UNDER_WAY
        sent = machine.memories.sent[feeder]
        is_same = np.array_equal(sent[now], sent[before])
        sent[now] = sent[before]
        return not is_same

    fault = Fault(SENT, lambda _, event: tiny.belongs(tiny.program.feeds[event[2]], "conv2", "bp"), spoil)
    found = tiny.mismatch(monkeypatch, fault)
    assert (found.layer, found.phase, found.name) == ("conv1", "bp", "conv1.error")


def test_results_that_are_drained_twice(tiny, monkeypatch):
    """The second time in place of what follows, so that the next packet is the one before."""

    def spoil(machine, execute, event):
        cluster = event[0, 1]
        execute(machine, event)
        slot = (machine.memories.n_drained[cluster] - 1) % PACKETS_UNDER_WAY
        is_same = np.array_equal(machine.memories.drained[cluster, slot], machine.memories.drained[cluster, slot - 1])
        machine.memories.drained[cluster, slot] = machine.memories.drained[cluster, slot - 1]
        return not is_same

    fault = Fault(DRAINED, lambda _, event: event[3] > 0 and tiny.belongs(tiny.program.drains[event[2]], "conv1", "ff"), spoil)
    found = tiny.mismatch(monkeypatch, fault)
    assert (found.layer, found.phase, found.name) == ("conv1", "ff", "conv1.ofmap")


def test_a_wrong_bit_of_a_mask(tiny, monkeypatch):
    def spoil(machine, execute, event):
        machine.memories.error[event[0, 3]] ^= 1
        execute(machine, event)
        return True

    found = tiny.mismatch(monkeypatch, Fault(STORED, lambda _, event: tiny.touches(event, "conv1", "mask"), spoil))
    assert (found.layer, found.phase, found.name, abs(found.got - found.expected)) == ("relu1", "ff", "relu1.mask", 1)


def test_a_mask_that_is_read_wrongly(tiny, monkeypatch):
    def spoil(machine, execute, event):
        execute(machine, event)
        machine.memories.error[event[0, 3] : event[0, 3] + event[0, 4]] ^= 255
        return True

    found = tiny.mismatch(monkeypatch, Fault(LOADED, lambda _, event: tiny.touches(event, "conv1", "mask"), spoil))
    assert (found.layer, found.phase, found.name) == ("conv1", "bp", "conv1.error")


def test_an_update_that_is_skipped(tiny, monkeypatch):
    fault = Fault(PASSED, lambda _, event: tiny.belongs(tiny.program.vectors[event[1]], "conv2", "wu"), lost)
    found = tiny.mismatch(monkeypatch, fault)
    assert (found.layer, found.phase) == ("conv2", "wu")
    assert found.name.startswith("conv2.")
