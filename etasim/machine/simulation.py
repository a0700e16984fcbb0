"""One iteration from values to counters: map, elaborate, run, close the books, check."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etasim.config import Architecture
from etasim.core.trees import Arrays
from etasim.machine import arguments, conservation, deadlock, engine, holding, loaded, rows, sampling
from etasim.machine.checkpoint import NO_CHECKPOINTS, Checkpoints, Kept, stamp_of
from etasim.machine.elaborate import Machine, elaborate
from etasim.machine.errors import DeadlockError
from etasim.machine.estimated import estimated
from etasim.machine.inputs import FunctionalInputs, Inputs, in_program_order
from etasim.machine.intervals import EVENTS_AT_ONCE, IntervalRecorder
from etasim.machine.result import LayerRow, RunResult
from etasim.machine.sampling import Sampler
from etasim.machine.series import Passage, Series, series_of
from etasim.machine.shown import TimelineView
from etasim.machine.watch import Watch
from etasim.mapping import Mapping as TileMapping
from etasim.mapping import map_iteration
from etasim.memory import dram
from etasim.pe import cluster
from etasim.program import hazards
from etasim.program.builder import EVERYTHING
from etasim.program.events import EventLog
from etasim.program.windows import WINDOW_COMMANDS
from etasim.workload import Network
from etasim.workload.lowering import PHASES

if TYPE_CHECKING:
    from etasim.functional import FunctionalRun

CHUNK_CYCLES = 100_000
Progress = Callable[[float, int], None]
Stage = Callable[[str], None]


class Watching(NamedTuple):
    """What a caller wants to see of a simulation (`simulate`), none of which changes its result. ``tell``: called with what a caller should
    know; ``window``: commands of the program that are written and brought into the machine together, where nobody needs all of them."""

    progress: Progress | None = None
    stage: Stage | None = None
    listing: Path | None = None
    timeline: Path | None = None
    checkpoint: Path | None = None
    checkpoint_every: int | None = None
    resume: bool = False
    order: np.ndarray = engine.ORDER
    series_every: int | None = None
    shown: TimelineView = TimelineView()
    tell: Stage | None = None
    window: int = WINDOW_COMMANDS


UNWATCHED = Watching()


def is_compiled(functional: bool = False, sampled: bool = False) -> bool:
    """Whether the machine's kernels, those of values if ``functional`` and those of a series if ``sampled``, are on disk; the first
    simulation compiles them otherwise."""
    run_is = sampling.is_compiled() and holding.is_compiled() if sampled else engine.is_compiled(engine.run_cycles)
    compiled = run_is and hazards.is_compiled()
    if not functional:
        return compiled
    from etasim.functional import is_compiled as values_are_compiled

    return compiled and values_are_compiled()


def simulate(
    architecture: Architecture,
    network: Network,
    *,
    batch: int | None = None,
    phases: tuple[str, ...] = PHASES,
    fidelity: str = "cycle",
    progress: Progress | None = None,
    stage: Stage | None = None,
    listing: Path | None = None,
    timeline: Path | None = None,
    functional: bool = False,
    tensors: Mapping[str, np.ndarray] | None = None,
    iterations: int = 1,
    seed: int = 0,
    checkpoint: Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    series_every: int | None = None,
    timeline_window: tuple[int, int] | None = None,
    timeline_layer: str | None = None,
    order: np.ndarray = engine.ORDER,
) -> RunResult:
    """Simulate one training iteration of ``network`` on ``architecture``.

    ``batch`` samples (default: the architecture's), ``phases`` of ff, bp, wg, wu. ``fidelity`` is ``cycle`` or ``analytical`` (closed
    forms, no simulation). ``progress(share of the commands done, cycles)`` is called about every 100,000 cycles; ``stage(what)`` when a
    functional run turns to calibrating, simulating or comparing. ``listing``: write the tile program there as text; ``timeline``: write
    what ran when, as a trace that Perfetto opens (docs/timeline.md), of the core cycles ``timeline_window`` (first, end), with arrows
    between the commands of ``timeline_layer``. ``order`` permutes the parts within a cycle, which changes nothing.

    ``functional``: compute values too and compare them with the integer reference, over ``iterations`` iterations of training; the result
    has them as ``.tensors``. ``tensors``: arrays by name, ``inputs`` [samples, C, H, W], ``labels`` [samples] and values to start from,
    such as ``conv1.weight``; what is missing is drawn with ``seed``. The cycles are those of one iteration, with or without values.
    A mismatch ends the run; it is the result's ``values.mismatch``.

    ``checkpoint``: the file in which the run is saved about every ``checkpoint_every`` core cycles, and from which it goes on with
    ``resume`` (from the beginning, if there is no such file); the result is that of an undisturbed run.

    ``series_every``: sample the counters about every so many core cycles, 0 for 500 to 2,000 samples; the result has them as ``.series``
    (docs/series.md).

    Raises ArgumentError (an InputError and a ValueError) for arguments that cannot be, InputError for a checkpoint that is damaged or of
    another run, InfeasibleError if an operation fits no tiling or
    the machine cannot compute its values, NumericsError for tensors that do not fit, ProgramError, DeadlockError and ConservationError for
    a defect of the model.
    """
    arguments.check({
        "architecture": architecture, "network": network, "batch": batch, "phases": phases, "fidelity": fidelity, "functional": functional,
        "tensors": tensors, "iterations": iterations, "seed": seed, "progress": progress, "stage": stage, "listing": listing,
        "timeline": timeline, "checkpoint": checkpoint, "checkpoint_every": checkpoint_every, "resume": resume, "order": order,
        "series_every": series_every, "timeline_window": timeline_window, "timeline_layer": timeline_layer,
    })  # fmt: skip
    values = FunctionalInputs(int(seed), int(iterations), arrays=tensors or {}) if functional else None
    batch = architecture.training.batch if batch is None else int(batch)
    inputs = Inputs(architecture, network, batch, in_program_order(phases), fidelity, values)
    shown = TimelineView(timeline_window, timeline_layer)
    watching = Watching(progress, stage, listing, timeline, checkpoint, checkpoint_every, resume, order, series_every, shown)
    return simulate_inputs(inputs, watching)


def _idle_lanes(architecture: Architecture) -> str:
    block, lanes = architecture.channel_block, architecture.array.lanes
    return f"maps lie in blocks of {block} channels (data.channel_block): {lanes - block} of {lanes} lanes idle in FF and BP"


def simulate_inputs(inputs: Inputs, watching: Watching = UNWATCHED) -> RunResult:
    """Simulate what `simulate` describes. Raises as it does, but for arguments."""
    inputs = inputs.in_blocks
    architecture, network, batch, phases, fidelity, functional = inputs
    if watching.tell is not None and architecture.channel_block < architecture.array.lanes:
        watching.tell(_idle_lanes(architecture))
    if fidelity == "analytical" and watching.listing is None:
        return estimated(architecture, network, batch, phases)
    # A timeline shows every command, values come from rows that are gone, an instant command completes in the cycle that asks for it.
    is_whole = watching.timeline is not None or functional is not None or architecture.buffers.ideal
    mapping = map_iteration(architecture, network, batch, phases, EVERYTHING if is_whole else watching.window)
    if watching.listing is not None:
        from etasim.mapping.listing import write_listing

        write_listing(mapping, Path(watching.listing))
    if fidelity == "analytical":
        return estimated(architecture, network, batch, phases)
    stamp = stamp_of(inputs, mapping, (watching.series_every, watching.timeline is not None)) if watching.checkpoint else {}
    checkpoints = Checkpoints(watching.checkpoint, watching.checkpoint_every, stamp)
    saved = checkpoints.read() if watching.resume else None
    if functional is None:
        ran, values = _run_without_values(architecture, mapping, watching, checkpoints, saved), None
    else:
        from etasim.functional import FunctionalRun

        functional_run = FunctionalRun(architecture, network, batch, phases, mapping, functional.arrays, functional.seed)
        ran = _run_with_values(functional_run, functional.iterations, watching, checkpoints, saved)
        values = functional_run.values()
    machine, total_cycles = ran.machine, ran.total_cycles
    table = rows.rows(machine, mapping, total_cycles)
    passage = None if ran.sampler is None else Passage(machine, mapping, ran.sampler)
    conservation.check(machine, mapping, total_cycles, table, None if passage is None else passage.take)
    series = _series(ran, mapping, watching, table, passage)
    parts = rows.components(architecture.dram, machine, mapping, _last_dram_clock(machine, total_cycles) + 1)
    return RunResult(architecture, network, batch, phases, total_cycles, table, parts, values=values, series=series)


class Ran(NamedTuple):
    """A machine that has run, the cycles it took, and what was seen of it: samples, the clusters' intervals."""

    machine: Machine
    total_cycles: int
    sampler: Sampler | None
    recorder: IntervalRecorder | None


def _series(
    ran: Ran, mapping: TileMapping, watching: Watching, table: tuple[LayerRow, ...], passage: Passage | None
) -> Series | None:
    """The series of a run, if it is wanted, after its laws were checked; the timeline is written from it."""
    if ran.sampler is None or passage is None:
        return None
    series = series_of(ran.machine, mapping, ran.sampler, passage)
    conservation.check_series(ran.machine, series, table)
    if watching.timeline is not None and ran.recorder is not None:
        from etasim.machine.timeline import Finished, write_timeline

        finished = Finished(ran.machine, mapping, ran.recorder, series, ran.total_cycles)
        note = write_timeline(finished, Path(watching.timeline), watching.shown)
        if note and watching.tell is not None:
            watching.tell(f"timeline: {note}")
    return None if watching.series_every is None else series


def _seen(watching: Watching, machine: Machine) -> tuple[Sampler | None, IntervalRecorder | None]:
    """What watches a machine: samples for a series or a timeline, intervals for a timeline."""
    if watching.timeline is None:
        return (None if watching.series_every is None else Sampler(machine, watching.series_every)), None
    return Sampler(machine, watching.series_every or 0), IntervalRecorder()


def _run_without_values(
    architecture: Architecture, mapping: TileMapping, watching: Watching, checkpoints: Checkpoints, saved: Arrays | None
) -> Ran:
    """One iteration that only counts."""
    machine = elaborate(architecture, mapping, 0 if watching.timeline is None else EVENTS_AT_ONCE)
    sampler, recorder = _seen(watching, machine)
    if recorder is not None:
        checkpoints.beside = recorder.saved
        if saved is not None:
            recorder.resume(saved)
    empty = None if recorder is None else recorder.empty
    total_cycles = run(machine, mapping, watching.progress, watching.order, empty, checkpoints, saved, sampler)
    return Ran(machine, total_cycles, sampler, recorder)


def _run_with_values(
    values: "FunctionalRun", iterations: int, watching: Watching, checkpoints: Checkpoints, saved: Arrays | None
) -> Ran:
    """Iterations of the same program on values, up to the first mismatch, the first of them from what was ``saved``: the machine after the
    last one, cycles of one, what was seen of the last one."""
    from etasim.functional import EVENTS_AT_ONCE

    stage, progress = watching.stage or (lambda _: None), watching.progress
    first, total_cycles = (0, 0) if saved is None else (len(saved["values.steps"]), int(saved["total_cycles"]))
    for iteration in range(first, iterations):
        if iteration == 0:
            stage("calibrating")
        if saved is None:
            values.begin()
        else:
            checkpoints.resume(values, saved)
        stage("simulating")
        machine = elaborate(values.architecture, values.mapping, EVENTS_AT_ONCE)
        sampler, recorder = _seen(watching, machine)
        if recorder is not None and saved is not None:
            recorder.resume(saved)
        checkpoints.beside = partial(_beside, values, recorder, total_cycles)
        share, observe = progress and _overall(progress, iteration, iterations, total_cycles), partial(_observe, recorder, values.observe)
        total_cycles = run(machine, values.mapping, share, watching.order, observe, checkpoints, saved, sampler)
        saved = None
        stage("comparing")
        if values.end() is not None:
            break
    return Ran(machine, total_cycles, sampler, recorder)


def _beside(values: "FunctionalRun", recorder: IntervalRecorder | None, total_cycles: int) -> Arrays:
    """What is saved of a run with values besides its machine."""
    return values.saved() | {"total_cycles": np.array(total_cycles)} | (recorder.saved() if recorder is not None else {})


def _observe(recorder: IntervalRecorder | None, execute: Callable[[EventLog], None], log: EventLog) -> None:
    """Record from a log of events before it is executed and emptied."""
    if recorder is not None:
        recorder.observe(log)
    execute(log)


def _overall(progress: Progress, iteration: int, iterations: int, cycles_of_each: int) -> Progress:
    """``progress`` of all iterations from that of one."""
    return lambda share, cycles: progress((iteration + share) / iterations, iteration * cycles_of_each + cycles)


def run(
    machine: Machine, mapping: TileMapping, progress: Progress | None = None, order: np.ndarray = engine.ORDER,
    observe: Callable[[EventLog], None] | None = None, checkpoints: Checkpoints = NO_CHECKPOINTS, saved: Arrays | None = None,
    sampler: Sampler | None = None,
) -> int:  # fmt: skip
    """Run an elaborated machine to its end, from what was ``saved`` of it; returns the total core cycles. Raises DeadlockError if it stands
    still, or if it stays awake and does nothing (`etasim.machine.watch`).

    ``observe`` is given the log of events whenever it must be emptied, and at the end; ``sampler`` takes its samples.
    """
    n_commands, time = machine.n_commands, machine.states.time
    bound, status, watch, why = engine.bind(machine), engine.RUNNING, Watch(machine), ""
    slots = np.zeros(0, np.int64) if machine.loaded is None else machine.loaded.slots
    if saved is not None:
        samples = sampler.taken(saved["machine.samples.progress"]) if sampler else ()
        checkpoints.restore(Kept(machine.states, machine.links, watch.seen, samples, slots), saved)
        if machine.loaded is not None:
            machine.loaded.restore(machine.states.controller)
    while status == engine.RUNNING and not why:
        status = _run_and_sample(bound, machine, order, checkpoints.until(int(time[0]), CHUNK_CYCLES), sampler)
        if observe is not None:
            observe(machine.log)
        if progress is not None:
            progress(int(machine.states.controller.total_done[0]) / n_commands, int(time[0]))
        why = "no engine can act" if status == engine.DEADLOCK else watch.verdict()
        if status == engine.RUNNING and not why:
            checkpoints.keep(Kept(machine.states, machine.links, watch.seen, sampler.taken() if sampler else (), slots))
    if why:
        layers = [f"{operation.layer}.{operation.phase}" for operation in mapping.operations]
        raise DeadlockError(deadlock.report(machine, layers, why))
    total_cycles = int(time[1]) + 1
    close(machine, bound, total_cycles)
    if sampler is not None:
        sampler.finish(total_cycles)
    return total_cycles


def _run_and_sample(bound: engine.Engine, machine: Machine, order: np.ndarray, until: int, sampler: Sampler | None) -> int:
    """As `engine.run`, with samples."""
    if sampler is None:
        return loaded.run(bound, machine, order, until)
    status = loaded.run(bound, machine, order, until, sampler.loop)
    while sampler.makes_room():
        status = loaded.run(bound, machine, order, until, sampler.loop)
    return status


def _last_dram_clock(machine: Machine, total_cycles: int) -> int:
    """The DRAM clock that begins last."""
    return (total_cycles * machine.clocks.core_ticks - 1) // machine.specs.dram.dram_ticks


def close(machine: Machine, bound: engine.Engine, total_cycles: int) -> None:
    """Book what is open at the end: the clusters' last interval, the DRAM's refreshes and occupancies."""
    cluster.close_books(machine.states.clusters, total_cycles)
    engine.catch_up_dram(bound, total_cycles - 1)
    dram.settle(machine.specs.dram, machine.states.dram, _last_dram_clock(machine, total_cycles))
