"""When everything ran, as a trace in Chrome's JSON format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

Format: "Trace Event Format", Google, 2016. Slices ("X") of a track lie beside each other or inside each other, never across: times are
whole nanoseconds, worked out from cycles once for each edge, so that no rounding makes neighbours overlap.
"""

import gzip
import json
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from etasim.machine.elaborate import Machine
from etasim.machine.flows import arrows
from etasim.machine.intervals import Executions, Recorder, executions
from etasim.machine.rows import retirement_cycles
from etasim.machine.series import Series
from etasim.machine.shown import Shown
from etasim.mapping import Mapping
from etasim.pe.causes import BUSY, CAUSES
from etasim.program.commands import TENSOR_CLASSES, engine_names, engines_of

MOST_EVENTS = 1_000_000
"""That a file holds, about 150 MB, which a browser still opens."""
LAYERS, ENGINES, COUNTERS = 1, 2, 3
"""Processes of the trace, which Perfetto shows as groups of tracks."""
PROCESSES = {LAYERS: "layers: shares of the iteration", ENGINES: "engines", COUNTERS: "counters"}
EXECUTION, WAIT, LAYER, PHASE, FLOW = "execution", "wait", "layer", "phase", "flow"
"""Categories."""

Event = dict[str, Any]


class Finished(NamedTuple):
    """A machine that has run, and what was recorded of it."""

    machine: Machine
    mapping: Mapping
    recorder: Recorder
    series: Series
    total_cycles: int


class Clock:
    """Cycles in the trace's microseconds."""

    def __init__(self, ns_per_cycle: Fraction):
        self._over, self._under = ns_per_cycle.numerator, ns_per_cycle.denominator

    def ns(self, cycle: int) -> int:
        """Whole nanoseconds before a cycle."""
        return cycle * self._over // self._under

    def slice(self, begin: int, end: int) -> Event:
        """Time of a slice of cycles ``begin ... end - 1``."""
        first, last = self.ns(begin), self.ns(end)
        return {"ph": "X", "ts": first / 1000, "dur": (last - first) / 1000}


def write_timeline(finished: Finished, path: Path, shown: Shown, most_events: int = MOST_EVENTS) -> str:
    """Write the trace to ``path``, compressed if it ends in ``.gz``. Returns what was left out as too much, empty for nothing."""
    first, end = shown.window or (0, finished.total_cycles)
    slices = sorted(_slices(finished, first, end), key=lambda event: (event["ts"], -event.get("dur", 0)))
    flows = list(arrows(finished.machine, finished.mapping, shown.layer)) if shown.layer is not None else []
    room, note = most_events, ""
    if len(slices) > room:
        note = f"{len(slices) - room} of {len(slices)} events after {slices[room]['ts'] / 1000:.6f} ms are left out; choose a window"
        slices = slices[:room]
    clock = _clock(finished.machine)
    events = [*_names(finished), *slices, *_counters(finished, clock, first, end), *_arrows(flows, clock, first, end)]
    with ExitStack() as files:
        raw: Any = files.enter_context(path.open("wb"))
        if path.suffix == ".gz":
            raw = files.enter_context(gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0))
        head = json.dumps({"displayTimeUnit": "ns", "otherData": {"left out": note or "nothing"}})
        raw.write(f'{head[:-1]}, "traceEvents": [\n'.encode())
        for i, event in enumerate(events):
            raw.write((",\n" if i else "").encode() + json.dumps(event).encode())
        raw.write(b"\n]}\n")
    return note


def _clock(machine: Machine) -> Clock:
    return Clock(Fraction(machine.clocks.core_ticks) * machine.clocks.tick_seconds * 10**9)


def _names(finished: Finished) -> Iterator[Event]:
    """Names and order of groups and tracks."""
    for process, name in PROCESSES.items():
        yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": name}}
        yield {"ph": "M", "pid": process, "name": "process_sort_index", "args": {"sort_index": process}}
    for engine, name in enumerate(engine_names(engines_of(finished.machine.program))):
        yield {"ph": "M", "pid": ENGINES, "tid": engine + 1, "name": "thread_name", "args": {"name": name}}
        yield {"ph": "M", "pid": ENGINES, "tid": engine + 1, "name": "thread_sort_index", "args": {"sort_index": engine}}
    yield {"ph": "M", "pid": LAYERS, "tid": 1, "name": "thread_name", "args": {"name": "layers"}}


def _slices(finished: Finished, first: int, end: int) -> Iterator[Event]:
    """All slices of the cycles ``first ... end - 1``, cut at the edges of the window."""
    clock = _clock(finished.machine)
    for process, track, name, category, a, b, details in _stretches(finished):
        begin, stop = max(a, first), min(b, end)
        if begin < stop:
            about = {"from_cycle": a, "to_cycle": b} | details
            yield {"pid": process, "tid": track, "name": name, "cat": category, **clock.slice(begin, stop), "args": about}


Stretch = tuple[int, int, str, str, int, int, dict[str, Any]]
"""Process, track, name, category, first cycle, cycle after the last, what else there is to say."""


def _stretches(finished: Finished) -> Iterator[Stretch]:
    yield from _layers(finished)
    multiplying = engines_of(finished.machine.program).computes
    times = executions(finished.machine)
    for engine in range(engines_of(finished.machine.program).total):
        if engine in multiplying:
            yield from _cluster(finished, engine, engine - multiplying.start)
        else:
            yield from _engine(finished, engine, times)


def _layers(finished: Finished) -> Iterator[Stretch]:
    """The rows of layers.csv in their shares of the time, those of a layer that follow each other inside one slice."""
    completed = finished.machine.states.controller.counters["last_completion_at"]
    ends = np.cumsum(retirement_cycles(completed, finished.total_cycles)).tolist()
    rows = zip(finished.mapping.operations, [0, *ends[:-1]], ends, strict=True)
    for layer, group in groupby(rows, key=lambda row: row[0].layer):
        own = list(group)
        yield LAYERS, 1, layer, LAYER, own[0][1], own[-1][2], {}
        for operation, begin, end in own:
            yield LAYERS, 1, operation.phase, PHASE, begin, end, {"macs": int(operation.macs)}


def _cluster(finished: Finished, engine: int, c: int) -> Iterator[Stretch]:
    """What the cycles of a cluster are booked to: at work for an operation, or waiting, and for what."""
    names = [*CAUSES]
    for begin, end, cause, operation in zip(*map(np.ndarray.tolist, finished.recorder.of_cluster(c, finished.total_cycles)), strict=True):
        of = _name(finished.mapping, operation) if operation >= 0 else ""
        if cause == BUSY:
            yield ENGINES, engine + 1, of, EXECUTION, begin, end, {}
        else:
            yield ENGINES, engine + 1, names[cause].replace("_", " "), WAIT, begin, end, {"operation": of} if of else {}


def _engine(finished: Finished, engine: int, times: Executions) -> Iterator[Stretch]:
    """The commands of an engine, the oldest that is not complete in each cycle, and its waits."""
    program, names = finished.machine.program, engine_names(engines_of(finished.machine.program))
    moves_bytes = engine in engines_of(program).dma
    for index in range(program.engine_start[engine], program.engine_start[engine + 1]):
        command, (begin, end, since, waited) = program.commands[index], (int(column[index]) for column in times)
        of = _name(finished.mapping, int(command["operation"]))
        about: dict[str, Any] = {"order": int(command["order"]), "issued_at_cycle": int(finished.machine.states.controller.times[index, 0])}
        if moves_bytes:
            transfer = program.transfers[command["row"]]
            about |= {
                "tensor": TENSOR_CLASSES[transfer["tensor_class"]], "bytes": int(transfer["run_bytes"] * transfer["counts"].prod()),
            }  # fmt: skip
        if since < begin:
            cause = f"waits for {names[waited]}" if waited >= 0 else "waits to be issued"
            yield ENGINES, engine + 1, cause, WAIT, since, begin, {"operation": of}
        yield ENGINES, engine + 1, of, EXECUTION, begin, end, about


def _name(mapping: Mapping, operation: int) -> str:
    return f"{mapping.operations[operation].layer}.{mapping.operations[operation].phase}"


def _counters(finished: Finished, clock: Clock, first: int, end: int) -> Iterator[Event]:
    """The series as counter tracks: a value holds from the beginning of its sample to the next one."""
    ends = finished.series.ends
    begins = np.concatenate([[0], ends[:-1]])
    tracks = {name: [(key, column.tolist()) for key, column in columns.items()] for name, columns in _tracks(finished).items()}
    for i in np.flatnonzero((ends > first) & (begins < end)).tolist():
        at = clock.ns(max(int(begins[i]), first)) / 1000
        for name, columns in tracks.items():
            yield {"ph": "C", "pid": COUNTERS, "name": name, "ts": at, "args": {key: column[i] for key, column in columns}}


def _tracks(finished: Finished) -> dict[str, dict[str, np.ndarray]]:
    """Values [sample] of each counter track, by the names of their curves."""
    arrays, lengths = finished.series.arrays, np.diff(finished.series.ends, prepend=0)
    seconds = lengths * float(finished.machine.clocks.core_ticks * finished.machine.clocks.tick_seconds)

    def mean(amounts: np.ndarray) -> np.ndarray:
        return np.round(amounts / lengths, 6)

    tracks = {"DRAM [GB/s]": {way: np.round(arrays[f"dram_{way}_bytes"].sum(axis=1) / seconds / 1e9, 6) for way in ("read", "write")}}
    for way in ("read", "write"):
        moved = arrays[f"class_{way}_bytes"]
        tracks[f"DRAM {way} by class [GB/s]"] = {
            name: np.round(moved[:, i] / seconds / 1e9, 6) for i, name in enumerate(TENSOR_CLASSES) if moved[:, i].any()
        }
    for i, way in enumerate(("read", "write")):
        waits = arrays[f"dram_{way}_queue_entry_clocks"].sum(axis=1) / np.maximum(arrays["dram_occupancy_clocks"].sum(axis=1), 1)
        tracks.setdefault("DRAM queues [requests a channel]", {})[("reads", "writes")[i]] = np.round(waits, 6)
    tracks["clusters"] = {name.replace("_", " "): mean(arrays["cluster_cycles"][:, i]) for i, name in enumerate(CAUSES)}
    tracks["NoC [flits injected a cycle]"] = {
        str(name): mean(arrays["noc_flits_injected"][:, i]) for i, name in enumerate(arrays["flit_classes"])
    }
    tracks["unified core [busy]"] = {str(i): mean(busy) for i, busy in enumerate(arrays["unified_busy_cycles"].T)}
    words = arrays["buffer_read_words"] + arrays["buffer_written_words"]
    tracks["buffers [words a cycle]"] = {str(name): mean(words[:, i]) for i, name in enumerate(arrays["buffers"])}
    held = arrays["held_bytes"].sum(axis=2)
    tracks["buffers hold [KiB]"] = {str(name): np.round(held[:, i] / 1024, 6) for i, name in enumerate(arrays["buffers"])}
    return tracks


def _arrows(flows: list[tuple[int, int, int, int]], clock: Clock, first: int, end: int) -> Iterator[Event]:
    """An arrow from a cycle of an engine's slice to one of another's."""
    for number, (source, left_at, target, came_at) in enumerate(flows):
        if first <= left_at < end and first <= came_at < end:
            common = {"name": FLOW, "cat": FLOW, "id": number + 1, "pid": ENGINES}
            yield {"ph": "s", "tid": source + 1, "ts": clock.ns(left_at) / 1000, **common}
            yield {"ph": "f", "bp": "e", "tid": target + 1, "ts": clock.ns(came_at) / 1000, **common}
