"""A program that comes to the machine in windows runs as the whole one: same cycles, same counters, same times of all commands."""

import json
from itertools import pairwise

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import graphs
from small_networks import TINY, architecture
from test_machine_properties import KNOBS

from etasim.config import load_architecture
from etasim.machine import simulation
from etasim.machine.checkpoint import Checkpoints
from etasim.machine.elaborate import elaborate
from etasim.machine.inputs import Inputs
from etasim.machine.loaded import ABSENT
from etasim.machine.simulation import Watching, run, simulate_inputs
from etasim.mapping import map_iteration
from etasim.mapping.listing import lines
from etasim.program import windows as program_windows
from etasim.program.builder import EVERYTHING
from etasim.program.windows import TABLES
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

SECOND = {
    "buffers__second__size": "2 KiB", "buffers__second__banks": 4, "buffers__second__ports": "1R1W", "buffers__second__read_latency": 3,
}  # fmt: skip
HOST = {"host__link_rate": "200 MB/s", "host__latency": "1 us", "host__commands_in_flight": 4}
OTHERS = {"plain": {}, "second level": SECOND, "host": HOST, "forwarding": {"mapping__forwarding": True}}
quick = settings(max_examples=20)


def told(result):
    return json.dumps([result.total_cycles, result.layers, result.components], sort_keys=True)


def ran(chosen, net, batch, window):
    """(mapping, machine) after a run."""
    mapping = map_iteration(chosen, net, batch, window=window)
    machine = elaborate(chosen, mapping)
    run(machine, mapping)
    return mapping, machine


@quick
@given(
    graphs(), st.integers(1, 3), st.sampled_from([1, 7, 60, 400]), st.sampled_from(sorted(OTHERS)),
    st.fixed_dictionaries({key: st.sampled_from(values) for key, values in KNOBS.items()}),
)  # fmt: skip
def test_windows_of_random_programs_run_as_the_whole(sketch, batch, window, other, knobs):
    """With all laws of both; what is listed is the same, and what was when."""
    assume(other not in ("second level", "forwarding") or knobs["buffers__bypass"] is None)
    net, chosen = sketch.build(), architecture(**(OTHERS[other] | knobs))
    whole, parts = (
        simulate_inputs(Inputs(chosen, net, batch, PHASES, "cycle", None), Watching(window=n, series_every=0)) for n in (EVERYTHING, window)
    )
    assert told(whole) == told(parts)
    assert all(np.array_equal(array, parts.series.arrays[name]) for name, array in whole.series.arrays.items())
    one, many = (map_iteration(chosen, net, batch, window=n) for n in (EVERYTHING, window))
    assert list(lines(one)) == list(lines(many))
    assert one.windows is None
    assert many.windows is not None or len(one.program.commands) <= window + 400


def test_a_run_changes_no_window_and_packed_ones_are_the_same(monkeypatch):
    """Programs that are not long are kept as they are, of long ones only the first windows."""
    chosen, net = load_architecture("eta_vc709"), load_network("resnet20_cifar")

    def windows(left_bytes, long_bytes):
        monkeypatch.setattr(program_windows, "LEFT_BYTES", left_bytes)
        monkeypatch.setattr(program_windows, "LONG_BYTES", long_bytes)
        mapping = map_iteration(chosen, net, 1, window=500)
        before = list(mapping.windows.contents)
        run(elaborate(chosen, mapping), mapping, sampler=None)
        assert list(mapping.windows.contents) == before
        return mapping.windows

    kept, packed, some, late = windows(0, 1 << 30), windows(0, 0), windows(1 << 19, 0), windows(1 << 19, 1 << 20)
    sizes = [sum(map(len, each.contents)) for each in (kept, some, packed)]
    assert sizes[0] > 2 * sizes[1] > 2 * sizes[2]
    assert list(late.contents) == list(some.contents)
    for each in (packed, some):
        for one, other in zip(kept, each, strict=True):
            assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in TABLES)


def test_every_command_has_the_times_that_it_has_in_the_whole_program():
    """And a window is gone when its commands are complete, or the machine would hold them all."""
    chosen, net = load_architecture("eta_vc709"), load_network("resnet20_cifar")
    (whole, one), (parts, other) = (ran(chosen, net, 2, window) for window in (EVERYTHING, 500))
    assert np.array_equal(one.states.controller.times, other.states.controller.times)
    assert len(parts.windows) > 10
    assert sum(len(each.commands) for each in parts.stretches()) == len(whole.program.commands)
    assert np.count_nonzero(other.loaded.slots != ABSENT) < 4


def test_no_more_of_a_program_is_held_than_its_windows(monkeypatch):
    """While it runs: rows of other windows are not in the tables."""
    served, held = simulation.loaded.Loaded.serve, []

    def count(self, state):
        served(self, state)
        held.append(np.count_nonzero(self.slots != ABSENT))

    monkeypatch.setattr(simulation.loaded.Loaded, "serve", count)
    mapping, _ = ran(load_architecture("eta_vc709"), load_network("resnet20_cifar"), 8, 200)
    assert len(mapping.windows) > 30
    assert 1 <= max(held) < len(mapping.windows) / 3
    assert len(held) <= len(mapping.windows)


def test_a_run_in_windows_goes_on_from_any_checkpoint(monkeypatch, tmp_path):
    """Wherever it was saved, in a new machine that has no window yet."""
    inputs, keep, saved = Inputs(architecture(), TINY, 3, PHASES, "cycle", None), Checkpoints._write, []

    def copy(self, arrays):
        keep(self, arrays)
        saved.append(self.path.rename(tmp_path / f"{len(saved)}.npz"))

    monkeypatch.setattr(Checkpoints, "_write", copy)
    undisturbed = told(simulate_inputs(inputs, Watching(checkpoint=tmp_path / "c.npz", checkpoint_every=300, window=40)))
    assert undisturbed == told(simulate_inputs(inputs))
    assert len(saved) > 8
    for path in saved[:]:
        assert told(simulate_inputs(inputs, Watching(checkpoint=path, resume=True, window=40))) == undisturbed


def test_windows_follow_each_other():
    """Without a gap, each of about the length that was asked for."""
    windows = map_iteration(architecture(), TINY, 3, window=50).windows
    assert all(np.array_equal(windows[a].end, windows[b].before) for a, b in pairwise(range(len(windows))))
    assert not windows[0].before.any()
    lengths = [int((windows[i].end - windows[i].before).sum()) for i in range(len(windows))]
    assert all(50 <= n < 100 for n in lengths[:-1])
