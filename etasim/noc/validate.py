"""Compare the network with measured runs of BookSim 2, point by point.

A bar is a difference in percent that a row may show; 0 means to the cycle. `replay` draws the random numbers of the reference, so
a row repeats its run: with the same seed (column ``seed``, 1 if there is none) random traffic agrees as exactly as the other.
Values are compared at the six digits that the reference prints.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from etasim.config.catalog import shipped_folder
from etasim.config.errors import InputError, Problem
from etasim.noc.driver import packet_latency_cycles, replay
from etasim.noc.measurement import ReplayResult
from etasim.noc.parameters import NocParameters, RouterParameters, from_booksim
from etasim.noc.references import FILE, ReferenceRun, read_references
from etasim.noc.routing import NocError

LATENCY_BAR_PERCENT, THROUGHPUT_BAR_PERCENT = 2.0, 3.0


def _row(name: str, ours: float, reference: float, bar_percent: float) -> dict[str, Any]:
    ours = float(f"{ours:.6g}")
    error = 100.0 * (ours - reference) / reference
    return {
        "name": name, "ours": ours, "reference": reference, "error_percent": error, "bar_percent": bar_percent,
        "pass": abs(error) <= bar_percent,
    }  # fmt: skip


def zero_load_rows() -> Iterator[dict[str, Any]]:
    """One packet through an empty 4x4 mesh against the closed form, for every distance, packet length and stage option."""
    destinations = (0, 1, 2, 3, 7, 11, 15)  # 1 to 7 routers from node 0
    for routing_delay, speculative, packet_flits in product((1, 0), (False, True), (1, 4)):
        parameters = NocParameters(router=RouterParameters(routing_delay=routing_delay, speculative=speculative))
        for n_routers, node in enumerate(destinations, start=1):
            stages = f"{'look-ahead' if routing_delay == 0 else 'routed'}{', speculative' if speculative else ''}"
            ours = packet_latency_cycles(parameters, 0, node, packet_flits)
            # the published form of the reference, spelled out here so that the model is checked too
            removed = (routing_delay == 0) + speculative
            reference = 7 + 5 * (n_routers - 1) + packet_flits - 1 - removed * n_routers
            yield _row(f"zero load, {n_routers} routers, {packet_flits}-flit packet, {stages}", ours, reference, 0.0)


def _replay(folder: Path, run: ReferenceRun) -> ReplayResult:
    """Repeat a run of the reference. Raises InputError for one that the model refuses."""
    try:
        parameters, batch_packets = from_booksim(dict(run.network)), run.batch_packets
        return replay(parameters, run.traffic, run.rate, run.packet_flits, run.seed, mode=run.mode, batch_packets=batch_packets)
    except NocError as error:
        raise InputError([Problem(str(folder / FILE), run.line, "", str(error))]) from None


def _name(run: ReferenceRun, what: str) -> str:
    (_, k), (_, n_vcs), (_, depth), *router = run.network
    stages = "".join(f", {key} {value}" for key, value in router)
    return f"{k}x{k} {n_vcs} VC x {depth}{stages}, {run.packet_flits}-flit {run.traffic}, {what}"


def _run_rows(run: ReferenceRun, result: ReplayResult) -> Iterator[dict[str, Any]]:
    """The rows of one run: latency below saturation, accepted rate, time of a batch, as far as they were measured."""
    if run.batch_cycles is not None:
        yield _row(_name(run, "batch"), result.batch_cycles or 0, run.batch_cycles, 0.0)
    if run.latency is not None:
        yield _row(_name(run, f"latency at {run.rate:g}"), result.average_packet_latency_cycles or 0, run.latency, LATENCY_BAR_PERCENT)
    if run.accepted is not None:
        what = f"accepted {'offered' if run.mode == 'throughput' else 'at'} {run.rate:g}"
        yield _row(_name(run, what), result.accepted_flits_per_node_per_cycle or 0, run.accepted, THROUGHPUT_BAR_PERCENT)


def _saturation_rows(runs: list[ReferenceRun], results: list[ReplayResult]) -> Iterator[dict[str, Any]]:
    """For every sweep of the rate in which the reference became unstable: the first rate at which it is (0 for never)."""
    sweeps: dict[tuple[Any, ...], list[tuple[ReferenceRun, bool]]] = {}
    for run, result in zip(runs, results, strict=True):
        if run.mode == "latency":
            sweeps.setdefault((run.network, run.packet_flits, run.traffic, run.seed), []).append((run, result.status == "ok"))
    for sweep in sweeps.values():
        reference = min((run.rate for run, _ in sweep if not run.is_stable), default=None)
        if reference is not None:
            ours = min((run.rate for run, is_stable in sweep if not is_stable), default=0.0)
            yield _row(_name(sweep[0][0], "first unstable rate"), ours, reference, 0.0)


def rows(references_folder: Path | None = None) -> list[dict[str, Any]]:
    """Every comparison: ``name``, ``ours``, ``reference``, ``error_percent``, ``bar_percent``, ``pass``.

    ``references_folder`` holds ``sweep.csv``; by default the runs that are shipped. Raises InputError for what cannot be read or run.
    """
    folder = shipped_folder("references") / "noc" if references_folder is None else Path(references_folder)
    runs = read_references(folder)
    results = [_replay(folder, run) for run in runs]
    compared = [row for run, result in zip(runs, results, strict=True) for row in _run_rows(run, result)]
    return [*zero_load_rows(), *compared, *_saturation_rows(runs, results)]
