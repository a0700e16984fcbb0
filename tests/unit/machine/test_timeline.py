"""The timeline: a trace that keeps to its format, slices that are the work of layers.csv, counters that are the series."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from small_networks import TINY, architecture
from trace_events import Trace

from etasim import simulate
from etasim.machine.arguments import ArgumentError
from etasim.machine.elaborate import elaborate
from etasim.machine.flows import MOST_ARROWS
from etasim.machine.intervals import EVENTS_AT_ONCE, IntervalRecorder
from etasim.machine.rows import rows
from etasim.machine.sampling import Sampler
from etasim.machine.series import Passage, series_of
from etasim.machine.shown import TimelineView
from etasim.machine.simulation import run
from etasim.machine.timeline import EXECUTION, LAYER, PHASE, WAIT, Finished, write_timeline
from etasim.mapping import map_iteration
from etasim.pe.causes import CAUSES

NS = 5
"""Of a cycle at 200 MHz."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(result, trace) of a small network."""
    path = tmp_path_factory.mktemp("timeline") / "trace.json.gz"
    result = simulate(architecture(), TINY, batch=2, timeline=path, timeline_layer="conv1", series_every=50)
    return result, Trace(path)


def finished(net=TINY, chosen=None, batch=1):
    chosen = chosen or architecture()
    mapping = map_iteration(chosen, net, batch)
    machine, recorder = elaborate(chosen, mapping, EVENTS_AT_ONCE), IntervalRecorder()
    sampler = Sampler(machine, 0)
    total = run(machine, mapping, observe=recorder.empty, sampler=sampler)
    passage = Passage(machine, mapping, sampler)
    passage.take(machine.program)
    return Finished(machine, mapping, recorder, series_of(machine, mapping, sampler, passage), total)


def test_the_whole_time_of_each_cluster_has_slices(made):
    result, trace = made
    for c in range(result.architecture.array.clusters):
        own = trace.track(f"cluster.{c}")
        assert (own[0][0], own[-1][1]) == (0, result.total_cycles * NS)
        assert all(a[1] == b[0] for a, b in pairwise(own))
        assert {each[2] for each in own} == {0}


def test_execution_of_the_clusters_is_the_busy_time_of_the_rows(made):
    result, trace = made
    busy = {}
    for c in range(result.architecture.array.clusters):
        for begin, end, _, event in trace.track(f"cluster.{c}"):
            if event["cat"] == EXECUTION:
                busy[event["name"]] = busy.get(event["name"], 0) + (end - begin) // NS
    expected = {f"{row.layer}.{row.phase}": row.count("cluster_busy_cycles") + row.count("gather_conflict_cycles") for row in result.layers}
    assert busy == {name: cycles for name, cycles in expected.items() if cycles}


def test_waits_of_the_clusters_are_the_stalls_of_the_rows(made):
    result, trace = made
    waits = dict.fromkeys(list(CAUSES)[1:], 0)
    for c in range(result.architecture.array.clusters):
        for begin, end, _, event in trace.track(f"cluster.{c}"):
            if event["cat"] == WAIT:
                waits[event["name"].replace(" ", "_")] += (end - begin) // NS
    del waits["gather_conflict"]
    assert waits == {name: sum(row.count(f"{name}_cycles") for row in result.layers) for name in waits}


def test_layers_and_phases_are_nested_and_take_their_share(made):
    result, trace = made
    own = trace.track("layers")
    phases = [((end - begin) // NS, event["name"]) for begin, end, depth, event in own if event["cat"] == PHASE and depth == 1]
    assert phases == [(row.cycles, row.phase) for row in result.layers if row.cycles]
    layers = [(begin, end) for begin, end, depth, event in own if event["cat"] == LAYER and depth == 0]
    assert sum(end - begin for begin, end in layers) == result.total_cycles * NS


def test_a_command_is_executed_after_it_was_issued_and_when_the_one_before_is_done(made):
    _, trace = made
    for name in ("load.activation", "load.weight", "load.error", "store", "feed.stream", "feed.stationary", "unified", "drain.0"):
        own = [each for each in trace.track(name) if each[3]["cat"] == EXECUTION]
        assert own
        assert all(a[1] <= b[0] for a, b in pairwise(own))
        assert [each[3]["args"]["order"] for each in own] == sorted(each[3]["args"]["order"] for each in own)
        assert all(each[3]["args"]["issued_at_cycle"] < each[3]["args"]["from_cycle"] for each in own)


def test_bytes_of_the_loads_and_stores_are_those_of_the_rows(made):
    result, trace = made
    for names, access in ((("load.activation", "load.weight", "load.error"), "read"), (("store",), "write")):
        moved = {}
        for name in names:
            for *_, event in trace.track(name):
                if event["cat"] == EXECUTION:
                    key = event["name"], event["args"]["tensor"]
                    moved[key] = moved.get(key, 0) + event["args"]["bytes"]
        for (name, tensor), n_bytes in moved.items():
            (row,) = [row for row in result.layers if f"{row.layer}.{row.phase}" == name]
            assert n_bytes <= row.count(f"dram_{access}_{tensor}_bytes"), "DRAM moves whole bursts"


def test_a_wait_names_the_engine_that_it_ends_with(made):
    _, trace = made
    waits = {event["name"] for place in trace.tracks.values() for *_, event in place if event["cat"] == WAIT}
    engines = {name for (_, tid), name in trace.names.items() if tid is not None}
    told = {name.removeprefix("waits for ") for name in waits if name.startswith("waits for ")}
    assert {"load.activation", "load.weight"} & told
    assert told <= engines


def test_counters_are_the_series(made):
    result, trace = made
    series, lengths = result.series.arrays, np.diff(result.series.ends, prepend=0)
    own = {name: [event for event in trace.counters if event["name"] == name] for name in {event["name"] for event in trace.counters}}
    assert all(len(events) == len(lengths) for events in own.values())
    moved = sum(event["args"]["read"] * n * 5e-9 * 1e9 for event, n in zip(own["DRAM [GB/s]"], lengths, strict=True))
    assert moved == pytest.approx(series["dram_read_bytes"].sum(), rel=1e-4)
    for i, event in enumerate(own["clusters"]):
        assert event["args"]["busy"] == pytest.approx(series["cluster_cycles"][i, 0] / lengths[i], abs=1e-6)
        assert event["ts"] * 200 == pytest.approx(result.series.ends[i] - lengths[i])
    held = [event["args"]["weight"] * 1024 for event in own["buffers hold [KiB]"]]
    assert held == pytest.approx(series["held_bytes"][:, 1].sum(axis=1).tolist(), abs=1e-2)


def test_arrows_lead_from_load_to_compute_to_store(made):
    _, trace = made
    tracks = {(a["tid"], b["tid"]) for a, b in trace.flows}
    names = {tid: name for (pid, tid), name in trace.names.items() if pid == 2 and tid is not None}
    steps = {(names[a].split(".")[0], names[b].split(".")[0]) for a, b in tracks}
    assert {("load", "feed"), ("feed", "cluster"), ("cluster", "drain")} <= steps
    assert any(b == "store" for _, b in steps)
    assert 0 < len(trace.flows) <= MOST_ARROWS


def test_a_window_shows_what_is_in_it(made, tmp_path):
    result, whole = made
    first, end = result.total_cycles // 3, result.total_cycles // 2
    simulate(architecture(), TINY, batch=2, timeline=tmp_path / "t.json", timeline_window=(first, end))
    part = Trace(tmp_path / "t.json")
    assert all(first * NS <= a and b <= end * NS for place in part.tracks.values() for a, b, *_ in place)
    for place, own in whole.tracks.items():
        inside = sum(max(0, min(b, end * NS) - max(a, first * NS)) for a, b, *_ in own)
        assert sum(b - a for a, b, *_ in part.tracks.get(place, [])) == inside


def test_what_is_too_much_is_left_out_and_told(tmp_path):
    done = finished()
    assert write_timeline(done, tmp_path / "all.json", TimelineView()) == ""
    every = Trace(tmp_path / "all.json")
    note = write_timeline(done, tmp_path / "some.json", TimelineView(), most_events=100)
    some = Trace(tmp_path / "some.json")
    assert len(some.slices) == 100
    assert note.startswith(f"{len(every.slices) - 100} of {len(every.slices)} events after ")
    assert some.whole["otherData"] == {"left out": note}
    assert max(event["ts"] for event in some.slices) <= min(
        event["ts"] for event in every.slices if event not in some.slices
    )  # fmt: skip


@pytest.mark.parametrize("clock", ["230 MHz", "333 MHz", "1.7 GHz", "7 MHz"])
def test_no_rounding_makes_slices_cross(clock, tmp_path):
    """The validator looks at every pair of neighbours."""
    simulate(architecture(core__clock=clock), TINY, batch=1, timeline=tmp_path / "t.json")
    Trace(tmp_path / "t.json")


def test_equal_runs_write_equal_bytes(tmp_path):
    for name in ("a.json.gz", "b.json.gz"):
        simulate(architecture(), TINY, batch=1, timeline=tmp_path / name, timeline_layer="conv1")
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_intervals_are_those_of_the_counters():
    done = finished()
    cycles = done.machine.states.clusters.cycles
    table = rows(done.machine, done.mapping, done.total_cycles)
    assert sum(row.count("cluster_busy_cycles") for row in table) > 0
    for c in range(cycles.shape[1]):
        own = done.recorder.of_cluster(c, done.total_cycles)
        for cause in (1, 2, 3, 5, 6):
            assert (own.end - own.begin)[own.cause == cause].sum() == cycles[:, c, cause].sum()


@pytest.mark.parametrize(("options", "message"), [
    ({"timeline_window": (5, 5)}, "timeline_window: must be two core cycles"),
    ({"timeline_window": (1,)}, "timeline_window: must be two core cycles"),
    ({"timeline_window": (0, 1.5)}, "timeline_window: must be two core cycles"),
    ({"timeline_layer": "conv7"}, "timeline_layer: unknown layer 'conv7'; allowed: add1, conv1"),
    ({"timeline": None, "timeline_layer": "conv1"}, "timeline_layer: is about a timeline"),
])  # fmt: skip
def test_what_a_timeline_cannot_show_is_refused(options, message, tmp_path):
    with pytest.raises(ArgumentError) as caught:
        simulate(architecture(), TINY, **({"timeline": tmp_path / "t.json"} | options))
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


HOSTILE = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "x" * 500, "\u0637\u0628\u0642\u0629", "two\nlines\\"]


def test_a_hostile_name_is_text(tmp_path):
    """A trace of a network is refused such names; a timeline does not rely on it."""
    whole = finished()
    names = dict(zip(dict.fromkeys(operation.layer for operation in whole.mapping.operations), HOSTILE, strict=False))
    renamed = [replace(operation, layer=names.get(operation.layer, operation.layer)) for operation in whole.mapping.operations]
    write_timeline(whole._replace(mapping=replace(whole.mapping, operations=renamed)), tmp_path / "trace.json", TimelineView())
    trace = Trace(tmp_path / "trace.json")
    assert {f"{name}.ff" for name in names.values()} <= {event["name"] for event in trace.slices}
