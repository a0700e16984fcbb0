"""Compare the network with measured runs of BookSim 2, point by point.

A bar is a difference in percent that a row may show; 0 means to the cycle. Random traffic is compared with the mean of
replications, whose number grows as the rate falls so that every row rests on about as many packets. A reference row is a single
run: the distance its packets happened to travel is given as ``hops``, and latency is compared at that distance (its share of the
latency is exact), which removes the noise of drawing destinations; the noise of queueing stays.
"""

import csv
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from etasim.noc.driver import packet_latency_cycles, replay
from etasim.noc.model import zero_load_latency_cycles
from etasim.noc.parameters import NocParameters, RouterParameters, from_booksim
from etasim.noc.routing import NocError

REFERENCES = Path(__file__).resolve().parents[2] / "tests" / "validation" / "data" / "noc"
LATENCY_BAR_PERCENT, THROUGHPUT_BAR_PERCENT = 2.0, 3.0
PACKETS_PER_ROW = 20_000
RESOLVED = 1 / 3
"""A point of random traffic is held to its bar where one run resolves it: its run-to-run deviation is at most this part of the bar.
Beyond, close to saturation, a single reference run says too little about the mean."""


def _row(name: str, ours: float, reference: float, bar_percent: float) -> dict:
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
        return list(csv.DictReader(lines))


def _replications(point: dict) -> int:
    """Replications of 6,000 recorded cycles each that together send PACKETS_PER_ROW packets, between 4 and 32."""
    packets = float(point["rate"]) / int(point["pkt"]) * int(point["k"]) ** 2 * 6000
    return min(max(round(PACKETS_PER_ROW / packets), 4), 32)


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


def _is_random(traffic: str) -> bool:
    return traffic not in ("transpose", "neighbor")


def _point_row(point: dict) -> dict | None:
    """The row of one line of ``sweep.csv``; None where the reference gives nothing that a bar applies to."""
    parameters = from_booksim({"k": int(point["k"]), "num_vcs": int(point["vcs"]), "vc_buf_size": int(point["buf"])})
    traffic, mode, rate, packet_flits = point["traffic"], point["mode"], float(point["rate"]), int(point["pkt"])
    name = f"{point['k']}x{point['k']} {point['vcs']} VC x {point['buf']}, {packet_flits}-flit {traffic}, {mode} {rate:g}"
    if mode == "batch":
        if _is_random(traffic):
            return None
        return _row(name, replay(parameters, traffic, 1.0, packet_flits, mode=mode, replications=1).batch_cycles, int(point["cycles"]), 0.0)
    if point["status"] != "ok":
        return None
    if mode == "throughput":
        bar, result = THROUGHPUT_BAR_PERCENT, replay(parameters, traffic, rate, packet_flits, mode=mode, replications=16)
        ours, reference = result.accepted_flits_per_node_per_cycle, float(point["avg_acc_flit"])
    else:
        bar, result = LATENCY_BAR_PERCENT, replay(parameters, traffic, rate, packet_flits, replications=_replications(point))
        hop_cycles = zero_load_latency_cycles(parameters, 2, 1) - zero_load_latency_cycles(parameters, 1, 1)
        at_its_distance = hop_cycles * (float(point["hops"]) - (result.average_hops or 0))
        ours, reference = (result.average_packet_latency_cycles or 0) + at_its_distance, float(point["avg_plat"])
    is_resolved = result.status == "ok" and result.run_to_run_percent <= bar * RESOLVED
    return _row(name, ours, reference, bar) if is_resolved else None


def rows(references_folder=None) -> list[dict]:
    """Every comparison: ``name``, ``ours``, ``reference``, ``error_percent``, ``bar_percent``, ``pass``.

    ``references_folder`` holds ``sweep.csv``; by default the copy in this repository. Raises NocError if it is not there.
    """
    folder = REFERENCES if references_folder is None else Path(references_folder)
    points = map(_point_row, _read(folder, "sweep.csv"))
    return [*zero_load_rows(), *(row for row in points if row)]
