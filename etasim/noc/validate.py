"""Compare the network with measured runs of BookSim 2, point by point.

A bar is a difference in percent that a row may show; 0 means to the cycle. `replay` draws the random numbers of the reference, so
a row repeats its run: with the same seed (column ``seed``, 1 if there is none) random traffic agrees as exactly as the other.
Values are compared at the six digits that the reference prints. A references folder may have further columns under the
names of BookSim's router parameters.
"""

import csv
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from etasim.noc.driver import ReplayResult, packet_latency_cycles, replay
from etasim.noc.parameters import BOOKSIM_ROUTER, NocParameters, RouterParameters, from_booksim
from etasim.noc.routing import NocError

REFERENCES = Path(__file__).resolve().parents[2] / "tests" / "validation" / "data" / "noc"
LATENCY_BAR_PERCENT, THROUGHPUT_BAR_PERCENT = 2.0, 3.0
SWEEP_KEYS = {"k", "vcs", "buf", "pkt", "traffic", "seed", *BOOKSIM_ROUTER}
"""What the lines of one sweep of the rate have in common."""

COLUMNS = ("k", "vcs", "buf", "pkt", "traffic", "mode", "rate", "status", "avg_plat", "avg_acc_flit", "cycles")
"""What every line of ``sweep.csv`` has."""

BATCH_PACKETS = {4: 500, 8: 200}
"""Packets of a node in the batches of the reference, by the width of its network."""


def _row(name: str, ours: float, reference: float, bar_percent: float) -> dict:
    ours = float(f"{ours:.6g}")
    error = 100.0 * (ours - reference) / reference
    return {
        "name": name, "ours": ours, "reference": reference, "error_percent": error, "bar_percent": bar_percent,
        "pass": abs(error) <= bar_percent,
    }  # fmt: skip


def _read(folder: Path, name: str) -> list[dict]:
    path = folder / name
    if not path.is_file():
        raise NocError(f"references: {path.name} is not in {folder}")
    with path.open(newline="") as lines:
        reader = csv.DictReader(lines)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise NocError(f"references: {path.name} has no column {', '.join(missing)}")
        return list(reader)


def zero_load_rows() -> Iterator[dict]:
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


def _parameters(point: dict) -> NocParameters:
    """The router of a reference row."""
    keys = {"k": int(point["k"]), "num_vcs": int(point["vcs"]), "vc_buf_size": int(point["buf"])}
    return from_booksim(keys | {key: int(point[key]) for key in BOOKSIM_ROUTER if point.get(key)})


def _replay(point: dict) -> ReplayResult:
    """The run that a reference row describes."""
    n_packets = BATCH_PACKETS.get(int(point["k"]), BATCH_PACKETS[8])
    seed, rate = int(point.get("seed") or 1), float(point["rate"])
    return replay(_parameters(point), point["traffic"], rate, int(point["pkt"]), seed, mode=point["mode"], batch_packets=n_packets)


def _name(point: dict, what: str) -> str:
    router = ", ".join(f"{key} {point[key]}" for key in BOOKSIM_ROUTER if point.get(key))
    size = f"{point['k']}x{point['k']} {point['vcs']} VC x {point['buf']}"
    return f"{size}{', ' if router else ''}{router}, {point['pkt']}-flit {point['traffic']}, {what}"


def _point_rows(point: dict, result: ReplayResult) -> Iterator[dict]:
    """The rows of one line of ``sweep.csv``: latency below saturation, accepted rate, time of a batch."""
    rate = f"{float(point['rate']):g}"
    if point["mode"] == "batch":
        yield _row(_name(point, "batch"), result.batch_cycles, int(point["cycles"]), 0.0)
        return
    if point["mode"] == "latency" and point["status"] == "ok":
        latency = result.average_packet_latency_cycles or 0
        yield _row(_name(point, f"latency at {rate}"), latency, float(point["avg_plat"]), LATENCY_BAR_PERCENT)
    accepted, offered = result.accepted_flits_per_node_per_cycle, "offered" if point["mode"] == "throughput" else "at"
    yield _row(_name(point, f"accepted {offered} {rate}"), accepted, float(point["avg_acc_flit"]), THROUGHPUT_BAR_PERCENT)


def _saturation_rows(points: list[dict], results: list[ReplayResult]) -> Iterator[dict]:
    """For every sweep of the rate in which the reference became unstable: the first rate at which it is (0 for never)."""
    sweeps: dict[tuple, list[tuple[dict, str]]] = {}
    for point, result in zip(points, results, strict=True):
        if point["mode"] == "latency":
            sweeps.setdefault(tuple(point[key] for key in point if key in SWEEP_KEYS), []).append((point, result.status))
    for sweep in sweeps.values():
        reference = min((float(point["rate"]) for point, _ in sweep if point["status"] != "ok"), default=None)
        if reference is not None:
            ours = min((float(point["rate"]) for point, status in sweep if status != "ok"), default=0.0)
            yield _row(_name(sweep[0][0], "first unstable rate"), ours, reference, 0.0)


def rows(references_folder=None) -> list[dict]:
    """Every comparison: ``name``, ``ours``, ``reference``, ``error_percent``, ``bar_percent``, ``pass``.

    ``references_folder`` holds ``sweep.csv``; by default the copy in this repository. Raises NocError if it is not there.
    """
    points = _read(REFERENCES if references_folder is None else Path(references_folder), "sweep.csv")
    results = [_replay(point) for point in points]
    compared = [row for point, result in zip(points, results, strict=True) for row in _point_rows(point, result)]
    return [*zero_load_rows(), *compared, *_saturation_rows(points, results)]
