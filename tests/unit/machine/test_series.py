"""The series: its sums are the run's counters on every kind of machine, and no way of sampling changes what happened."""

import copy
import subprocess
import sys

import numpy as np
import pytest
from small_networks import TINY, architecture, conv, layer, network

from etasim import simulate
from etasim.machine import conservation, sampling
from etasim.machine.elaborate import elaborate
from etasim.machine.errors import ConservationError
from etasim.machine.laws import series as laws
from etasim.machine.sampling import Sampler, whole_bursts_cycles
from etasim.machine.series import Passage, series_of
from etasim.machine.simulation import run
from etasim.mapping import map_iteration
from etasim.mapping.mapper import limits_of
from etasim.memory.dram.standards import RD, WR
from etasim.program.accesses import accesses
from etasim.program.commands import MOVERS, TENSOR_CLASSES

STRIDED = network((4, 9, 9), conv("a", 8, kernel=3, stride=2, padding=1), layer("n", "norm"), layer("r", "relu"), conv("b", 8), classes=3)
SECOND = {
    "buffers__second__size": "16 KiB", "buffers__second__banks": 4, "buffers__second__ports": "1R1W", "buffers__second__read_latency": 3,
}  # fmt: skip
MACHINES = {
    "small": {}, "second level": SECOND, "host": {"host__link_rate": "200 MB/s", "host__latency": "1 us", "host__commands_in_flight": 4},
    "ideal network": {"noc__ideal": True}, "ideal DRAM": {"dram__ideal": True}, "two channels": {"dram__channels": 2},
    "one bank": {"buffers__error__banks": 1, "buffers__error__ports": "1RW"}, "odd clock": {"core__clock": "233 MHz"},
    "all ideal": {"noc__ideal": True, "dram__ideal": True, "buffers__ideal": True, "unified_core__ideal": True},
}  # fmt: skip


def ran(chosen, net=TINY, batch=1, every=0):
    """(machine, mapping, sampler) of a finished run."""
    mapping = map_iteration(chosen, net, batch)
    machine = elaborate(chosen, mapping)
    sampler = Sampler(machine, every)
    run(machine, mapping, sampler=sampler)
    return machine, mapping, sampler


def told(machine, mapping, sampler):
    """The series of a finished run, without its laws."""
    passage = Passage(machine, mapping, sampler)
    for program in machine.stretches():
        passage.take(program)
    return series_of(machine, mapping, sampler, passage)


def sampled(chosen, net=TINY, batch=1, every=0):
    """The same, of its inputs."""
    return told(*ran(chosen, net, batch, every))


@pytest.mark.parametrize("keys", MACHINES.values(), ids=MACHINES.keys())
@pytest.mark.parametrize("net", [TINY, STRIDED], ids=["tiny", "strided"])
def test_sums_are_the_counters_of_the_report(keys, net):
    """Which a law checks in every run; here against the rows and components, and with samples of a few cycles."""
    result = simulate(architecture(**keys), net, batch=2, series_every=1)
    arrays = result.series.arrays
    is_instant = keys.get("dram__ideal") and keys.get("buffers__ideal")
    for i, name in enumerate(TENSOR_CLASSES):
        for access in ("read", "write"):
            if not is_instant:
                assert arrays[f"class_{access}_bytes"][:, i].sum() == sum(row[f"dram_{access}_{name}_bytes"] for row in result.layers)
    for name, counted in (("dram", result.components["dram"]), ("noc", result.components["noc"])):
        for c, counters in enumerate(counted):
            for key, value in counters.items():
                if f"{name}_{key}" in arrays:
                    assert arrays[f"{name}_{key}"][:, c].sum() == value, key
    for link, counters in enumerate(result.components["noc_link"]):
        assert arrays["link_flits"][:, link].sum() == counters["flits"]
        assert (counters["router"], counters["port"]) == tuple(arrays["links"][link])
        assert counters["to"] == arrays["link_targets"][link]
    inner = np.char.startswith(arrays["link_targets"], "router ")
    if not result.architecture.noc.ideal:
        assert arrays["link_flits"][:, inner].sum(axis=(0, 1)).tolist() == arrays["noc_flit_hops"].sum(axis=0).tolist()
    assert arrays["cluster_cycles"].sum() == result.total_cycles * result.architecture.array.clusters
    for part, name in (("activation_buffer", "activation"), ("error_buffer", "error")):
        b = arrays["buffers"].tolist().index(name)
        assert arrays["buffer_read_words"][:, b].sum() == result.components[part][0]["read_words"]
    if not any("ideal" in key for key in keys):
        at_both_ends = np.isin(arrays["port_parts"], [mover.name for mover in MOVERS])
        words = arrays["port_words"].sum() + arrays["port_words"][:, at_both_ends].sum()
        assert words == arrays["buffer_read_words"].sum() + arrays["buffer_written_words"].sum()


def test_sampling_changes_nothing():
    plain, with_series = simulate(architecture(), TINY, batch=2), simulate(architecture(), TINY, batch=2, series_every=7)
    assert plain.series is None
    assert (plain.total_cycles, plain.layers, plain.components) == (with_series.total_cycles, with_series.layers, with_series.components)


@pytest.mark.parametrize("keys", [{}, SECOND, {"core__clock": "233 MHz"}], ids=["small", "second level", "odd clock"])
def test_a_long_sample_is_the_sum_of_short_ones(keys):
    """What is open when a sample is taken is booked to the cycle, so nothing moves from one sample to another."""
    chosen = architecture(**keys)
    short, long = sampled(chosen, STRIDED, every=1), sampled(chosen, STRIDED, every=sampled(chosen, STRIDED, every=1).sample_cycles * 3)
    assert long.sample_cycles == 3 * short.sample_cycles
    first = np.arange(0, len(short.ends), 3)
    for name, amounts in long.arrays.items():
        is_of_samples = amounts.ndim and (len(amounts), len(short.arrays[name])) == (len(long.ends), len(short.ends))
        if is_of_samples and name not in ("held_bytes", "commands_waiting"):
            assert np.array_equal(np.add.reduceat(short.arrays[name], first, axis=0), amounts), name
    last = np.append(first[1:], len(short.ends)) - 1
    for name in ("held_bytes", "commands_waiting"):
        assert np.array_equal(short.arrays[name][last], long.arrays[name]), name


def test_when_room_is_used_up_samples_are_twice_as_long(monkeypatch):
    monkeypatch.setattr(sampling, "MOST_SAMPLES", 8)
    few = sampled(architecture(), TINY, every=1)
    monkeypatch.undo()
    assert 4 <= len(few.ends) <= 9
    assert few.sample_cycles & (few.sample_cycles - 1) == 0
    whole = sampled(architecture(), TINY, every=few.sample_cycles)
    assert np.array_equal(few.ends, whole.ends)
    for name, array in whole.arrays.items():
        assert np.array_equal(few.arrays[name], array), name


@pytest.mark.parametrize(("short_cycles", "least", "most"), [(1, 1_250, sampling.MOST_SAMPLES), (10**9, 400, 1_000)])
def test_a_long_run_has_about_2000_samples_and_a_short_one_as_many_as_a_picture_shows(short_cycles, least, most, monkeypatch):
    monkeypatch.setattr(sampling, "SHORT_CYCLES", short_cycles)
    series = sampled(architecture(), STRIDED, batch=16)
    assert least < len(series.ends) <= most
    assert (np.diff(series.ends, prepend=0)[:-1] == series.sample_cycles).all()


@pytest.mark.parametrize(("least", "cycles"), [(4_000_000, 3_200), (500_000, 1_000), (40_000, 100)])
def test_a_sample_is_only_short_where_they_would_be_few(least, cycles, monkeypatch):
    monkeypatch.setattr(sampling, "least_cycles", lambda machine: least)
    assert sampling.usual_cycles(None) == cycles


def test_samples_are_whole_bursts_long():
    spec = elaborate(architecture(core__clock="233 MHz"), map_iteration(architecture(), TINY, 1)).specs.dram
    cycles = whole_bursts_cycles(spec)
    ticks = spec.burst_clocks * spec.dram_ticks
    assert cycles * spec.core_ticks % ticks == 0
    assert all(n * spec.core_ticks % ticks for n in range(1, cycles))


def test_turns_are_those_of_the_commands_on_the_bus():
    machine, mapping, sampler = ran(architecture(), batch=2, every=1)
    log = machine.states.dram.log[0]
    issued = log[(log[:, 1] == RD) | (log[:, 1] == WR)]
    assert len(issued) == machine.states.dram.counters["read_bursts"].sum() + machine.states.dram.counters["write_bursts"].sum()
    directions = np.append(False, issued[:, 1] == WR)
    turns = issued[np.flatnonzero(directions[1:] != directions[:-1]), 0]
    series = told(machine, mapping, sampler)
    clocks = -(-series.ends * machine.specs.dram.core_ticks // machine.specs.dram.dram_ticks)
    expected = np.bincount(np.searchsorted(clocks, turns, side="right"), minlength=len(series.ends))
    assert len(turns) > 3
    assert np.array_equal(series.arrays["dram_turns"][:, 0], expected)


def test_bytes_on_the_pins_are_those_of_the_commands():
    """Sample by sample, against the log of DRAM commands."""
    machine, mapping, sampler = ran(architecture(), batch=2, every=1)
    series, log, spec = told(machine, mapping, sampler), machine.states.dram.log[0], machine.specs.dram
    clocks = -(-series.ends * spec.core_ticks // spec.dram_ticks)
    for command, name in ((RD, "read"), (WR, "write")):
        at = log[log[:, 1] == command, 0]
        expected = np.bincount(np.searchsorted(clocks, at, side="right"), minlength=len(series.ends)) * spec.burst_bytes
        assert np.array_equal(series.arrays[f"dram_{name}_bytes"][:, 0], expected)


@pytest.mark.parametrize("keys", [{}, SECOND], ids=["small", "second level"])
def test_what_buffers_hold_is_what_is_still_to_be_read(keys):
    """Byte by byte, command by command, in the order of time: the slow way."""
    chosen = architecture(**keys)
    machine, mapping, sampler = ran(chosen, TINY, 1, 40)
    series, program, limits = told(machine, mapping, sampler), machine.program, limits_of(chosen, mapping)
    (every,) = accesses(program, limits.buffer_bytes, limits.word_bytes, limits.segment_bytes)
    times = machine.states.controller.times[np.argsort(program.commands["order"])]
    spans = {}
    for command, first, end, writes in zip(every.command, every.first, every.end, every.writes, strict=True):
        begun, done = times[command]
        for byte in range(first, min(end, every.base[-1])):
            own = spans.setdefault(byte, [])
            if writes:
                begins = max(begun, own[-1][1]) if own else begun
                own.append([begins, max(done, begins)])
            elif own:
                own[-1][1] = max(own[-1][1], done)
    held = np.zeros((len(series.ends), len(limits.buffer_bytes)), int)
    for byte, own in spans.items():
        buffer = np.searchsorted(every.base, byte, side="right") - 1
        for begins, ends in own:
            held[:, buffer] += (begins < series.ends) & (ends >= series.ends)
    assert held.max() > 0
    assert np.array_equal(series.arrays["held_bytes"].sum(axis=2), held)


def test_series_goes_on_from_a_checkpoint(tmp_path):
    whole = simulate(architecture(), TINY, batch=2, series_every=3).series
    saved = {"checkpoint": tmp_path / "c.npz", "checkpoint_every": 700}
    simulate(architecture(), TINY, batch=2, series_every=3, **saved)
    again = simulate(architecture(), TINY, batch=2, series_every=3, resume=True, **saved).series
    assert np.array_equal(whole.ends, again.ends)
    for name, array in whole.arrays.items():
        assert np.array_equal(array, again.arrays[name]), name


AMOUNTS = ("dram_read_bytes", "class_read_bytes", "noc_flit_hops", "buffer_read_words", "cluster_cycles", "link_flits", "dram_turns",
           "work_cluster_busy_cycles", "scratchpad_words", "work_write_bytes")  # fmt: skip


@pytest.mark.parametrize("name", AMOUNTS)
def test_an_amount_that_is_lost_breaks_a_law(name):
    result = simulate(architecture(), TINY, batch=1, series_every=9)
    machine = ran(architecture())[0]
    conservation.check_series(machine, result.series, result.layers)
    broken = copy.deepcopy(result.series)
    place = np.unravel_index(np.argmax(broken.arrays[name]), broken.arrays[name].shape)
    broken.arrays[name][place] -= 1
    with pytest.raises(ConservationError, match="series: "):
        conservation.check_series(machine, broken, result.layers)


@pytest.mark.parametrize(("name", "by"), [("dram_read_bursts", 1_000), ("held_bytes", 1 << 30), ("commands_waiting", -1_000)])
def test_more_than_there_is_breaks_a_law(name, by):
    result = simulate(architecture(), TINY, batch=1, series_every=9)
    machine = ran(architecture())[0]
    broken = copy.deepcopy(result.series)
    broken.arrays[name].reshape(-1)[0] += by
    assert any(name.split("_")[0] in law or "bytes held" in law for law in laws.violated(machine, broken, result.layers))


def test_an_estimate_has_no_series():
    with pytest.raises(ValueError, match="series_every: an estimate runs no cycle to sample"):
        simulate(architecture(), TINY, fidelity="analytical", series_every=0)


def test_a_sampled_run_compiles_all_that_it_is_asked_for_and_no_more():
    """Otherwise each run says that it compiles, or none does."""
    code = """
from etasim import load_architecture, load_network, simulate
from etasim.core import frame, jit, machine_code
from etasim.machine import is_compiled
simulate(load_architecture("eta_small"), load_network("digits_cnn"), batch=1, series_every=0)
used, asked = {function.__qualname__ for function, _ in machine_code._addresses}, set()
frame.are_kept = machine_code.are_kept = lambda functions: asked.update(function.__qualname__ for function in functions) or True
assert is_compiled(sampled=True)
print(sorted(asked - used), "run_cycles" in asked, jit.DISABLED or {"run_sampled", "_walk"} <= asked)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == "[] False True"


def test_of_a_network_of_many_links_fewer_samples_are_kept(monkeypatch):
    usual = sampled(architecture(), every=20)
    monkeypatch.setattr(sampling, "MOST_LINK_BYTES", usual.arrays["link_flits"].nbytes // 3)
    found = sampled(architecture(), every=20)
    assert found.arrays["link_flits"].nbytes <= sampling.MOST_LINK_BYTES
    assert 20 < len(found.ends) < len(usual.ends)
    assert np.array_equal(found.arrays["link_flits"].sum(axis=0), usual.arrays["link_flits"].sum(axis=0))


def test_buffers_of_any_size_take_the_memory_of_what_is_held_in_them():
    huge = told(*ran(architecture(buffers__weight__size="512 GiB", buffers__activation__size="512 GiB")))
    small = told(*ran(architecture(buffers__weight__size="1 MiB", buffers__activation__size="1 MiB")))
    assert np.array_equal(huge.arrays["held_bytes"], small.arrays["held_bytes"])
    assert huge.arrays["held_bytes"].any()
