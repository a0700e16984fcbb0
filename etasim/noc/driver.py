"""Drive a network with synthetic traffic and measure it the way BookSim 2 does.

Open loop: warm up for some sample periods, then sample until latency and accepted rate change by less than 5 % from period to
period three times running, then drain the packets that were recorded. A mean latency above 500 cycles means unstable.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.channel import NEVER, Channels, can_pop, channels
from etasim.core.errors import PATIENCE
from etasim.core.jit import kernel, procedure
from etasim.core.message import send_packet
from etasim.noc import columns as col
from etasim.noc.assembly import hop_vcs, open_network, policy_of, topology_of
from etasim.noc.measurement import (
    HOPS,
    IN_FLIGHT,
    LATENCY,
    LEAST,
    MADE_AT,
    MOST,
    PACKETS,
    RECORDED_IN_FLIGHT,
    Measurement,
    ReplayResult,
    energy_pj,
    take_packets,
)
from etasim.noc.network import step
from etasim.noc.parameters import NocDescription, parameters_from, refuse_unless_whole
from etasim.noc.routing import NocError, Policy, destination_masks, path
from etasim.noc.spec import NocSpec, NocState, flits_moved, init, link_counters, longest_wait_cycles
from etasim.noc.topology import ABSENT, routers_between
from etasim.noc.trace import replay_trace
from etasim.noc.traffic import CLOCK, NO_BATCH, Sources, make_packets, sources

TRACE = "trace:"
MODES = ("latency", "throughput", "batch")


@kernel
def _is_drained(sources: Sources, sums: Integers, record_until: int) -> bool:
    """Whether every recorded packet has been made and has arrived."""
    is_drained = sums[RECORDED_IN_FLIGHT] == 0
    for node in range(len(sources.n_choices)):
        is_drained = is_drained and (sources.batch_packets >= 0 or sources.progress[node, CLOCK] > record_until)
    return is_drained


@procedure
def _advance(
    spec: NocSpec,
    state: NocState,
    inject: Channels,
    eject: Channels,
    sources: Sources,
    routers_visited: Integers,
    sums: Integers,
    accepted: Integers,
    histogram: Integers,
    window: tuple[int, int, int, int],
    now: int,
    end: int,
) -> int:
    """Run from cycle ``now`` to ``end``, or until the recorded packets have drained; returns the cycle reached.

    ``window``: record packets from this cycle on, record those made before this one, count all packets, stop when drained.
    """
    record_from, record_until, count_all, until_drained = window
    while now < end:
        n_recorded, n_made, made_at_sum = make_packets(sources, inject, state.interfaces, now, record_from, record_until)
        sums[RECORDED_IN_FLIGHT] += n_recorded
        sums[IN_FLIGHT] += n_made
        sums[MADE_AT] += made_at_sum
        step(spec, state, inject, eject, now)
        take_packets(eject, spec.class_flit_bits[0], routers_visited, sums, accepted, histogram, now, count_all)
        now += 1
        if until_drained and _is_drained(sources, sums, record_until):
            break
    return now


@procedure
def _latency_of_one(
    spec: NocSpec, state: NocState, inject: Channels, eject: Channels, source: int, destination: int, packet_flits: int, limit: int
) -> int:
    """Cycles from the offer of a packet to the ejection of its tail in an empty network; ``limit`` if it never arrives."""
    send_packet(inject, source, 0, destination, packet_flits * spec.class_flit_bits[0], 0, 0)
    for now in range(limit):
        step(spec, state, inject, eject, now)
        if can_pop(eject, destination, now + 1):
            return now
    return limit


def packet_latency_cycles(parameters: NocDescription, source: int, destination: int, packet_flits: int = 1) -> int:
    """Zero-load latency, simulated: one packet through the otherwise empty network of ``parameters``."""
    spec, _ = _spec_of(parameters_from(parameters))
    ends = channels(spec.n_nodes, 2), channels(spec.n_nodes, 2)
    return int(_latency_of_one(spec, init(spec), *ends, source, destination, packet_flits, 1_000_000))


def _spec_of(parameters: NocDescription) -> tuple[NocSpec, np.ndarray]:
    """A network with one route per destination, open to all sources, and the routers visited [source, destination]."""
    return _network_of_all_pairs(parameters, policy_of(parameters))


@lru_cache(maxsize=8)
def _network_of_all_pairs(parameters: NocDescription, policy: Policy) -> tuple[NocSpec, np.ndarray]:
    topology, n_vcs = topology_of(parameters), parameters.virtual_channels
    n_nodes = topology.n_nodes
    ones = np.ones(n_nodes, np.int64)
    if topology.wraps and n_vcs < 2:
        raise NocError(f"noc.virtual_channels: a {topology.name} needs two VCs, got {n_vcs}")
    every, low = (1 << n_vcs) - 1, (1 << n_vcs // 2) - 1 if topology.wraps else 0
    paths = [[path(topology, policy, source, node) for source in range(n_nodes)] for node in range(n_nodes)]
    tables = {
        "route_ports": destination_masks(topology, policy),
        "route_vcs": np.array([hop_vcs(topology, to_node, low, every & ~low) for to_node in paths], np.int64),
        "injection_vcs": ones * every,
        "route_copies": ones,
        "route_links": ones * 0,
        "route_source": ones * ABSENT,
        "destinations": np.arange(n_nodes, dtype=np.int64).reshape(-1, 1),
    }
    return open_network(parameters, topology, tables), routers_between(topology)


class _Run:
    """One replay in progress."""

    def __init__(self, mode: str, spec: NocSpec, routers_visited: np.ndarray, sources: Sources) -> None:
        self.mode, self.spec, self.routers_visited, self.sources = mode, spec, routers_visited, sources
        self.state, self.now = init(spec), 0
        self.inject, self.eject = channels(spec.n_nodes, 1), channels(spec.n_nodes, 2)
        self.measured = Measurement.of(spec.n_nodes)
        self.cleared_at, self.ejected_before, self.unstable = 0, 0, False
        self.patience, self.moved, self.moved_at = PATIENCE * longest_wait_cycles(spec), -1, 0
        self.accepted_rate: float | None = None
        self.accepted_by_node: np.ndarray | None = None
        self.batch_cycles: int | None = None

    def clear(self) -> None:
        self.measured.clear()
        self.cleared_at, self.ejected_before = self.now, int(self.state.counters["flits_ejected"].sum())

    def advance(self, n_cycles: int, window: tuple[int, int, int, int]) -> None:
        measured = self.measured
        self.now = int(
            _advance(
                self.spec, self.state, self.inject, self.eject, self.sources, self.routers_visited, measured.sums,
                measured.accepted, measured.histogram, window, self.now, self.now + n_cycles,
            )
        )  # fmt: skip

    def stands_still(self) -> bool:
        """Whether no flit has moved for longer than the network can need: a defect of the model. To be asked now and then."""
        moved = flits_moved(self.state)
        if moved != self.moved:
            self.moved, self.moved_at = moved, self.now
        return self.now - self.moved_at >= self.patience

    def latency(self) -> float:
        return self.measured.sums[LATENCY] / max(self.measured.sums[PACKETS], 1)

    def latency_with_flits_in_flight(self) -> float:
        """Mean over arrived packets and, at their present age, the flits on the way: grows at once when the network is overloaded."""
        sums, n_flits = self.measured.sums, self.sources.packet_flits
        in_flight = int(sums[IN_FLIGHT])
        age = n_flits * (self.now * in_flight - int(sums[MADE_AT]))
        return (int(sums[LATENCY]) + age) / max(int(sums[PACKETS]) + n_flits * in_flight, 1)

    def last_credit_at(self) -> int:
        """Cycle in which the last credit of an empty network is back, which ends a batch in BookSim's count."""
        return int(self.state.slots[:, :, col.FREE].max())

    def measured_value(self) -> float:
        """The quantity that the mode is about."""
        if self.batch_cycles is not None:
            return self.batch_cycles
        rate: Any = self.accepted_rate  # measured when this is asked
        return rate if self.mode == "throughput" else self.latency()

    def accepted(self) -> float:
        flits = int(self.state.counters["flits_ejected"].sum()) - self.ejected_before
        return flits / self.spec.n_nodes / max(self.now - self.cleared_at, 1)


def _pooled(parameters: NocDescription, runs: list[_Run]) -> ReplayResult:
    """One result from independent replications: unstable if more than half are, else the mean over the stable ones."""
    n_unstable = sum(run.unstable for run in runs)
    is_unstable = 2 * n_unstable > len(runs)
    counted = [run for run in runs if is_unstable or not run.unstable]
    sums = np.sum([run.measured.sums for run in counted], axis=0)
    arrived = sums[PACKETS] > 0
    by_node = None if counted[0].accepted_rate is None else np.mean([np.asarray(run.accepted_by_node) for run in counted], axis=0)
    counters = _summed([run.state.counters for run in counted])
    batches = [run.batch_cycles for run in counted if run.batch_cycles is not None]
    return ReplayResult(
        status="unstable" if is_unstable else "ok",
        average_packet_latency_cycles=float(sums[LATENCY] / sums[PACKETS]) if arrived else None,
        minimum_packet_latency_cycles=min(int(run.measured.sums[LEAST]) for run in counted) if arrived else None,
        maximum_packet_latency_cycles=max(int(run.measured.sums[MOST]) for run in counted) if arrived else None,
        average_hops=float(sums[HOPS] / sums[PACKETS]) if arrived else None,
        accepted_flits_per_node_per_cycle=None if by_node is None else float(np.mean([run.accepted_rate for run in counted])),
        minimum_node_accepted=None if by_node is None else float(by_node.min()),
        maximum_node_accepted=None if by_node is None else float(by_node.max()),
        batch_cycles=round(sum(batches) / len(batches)) if batches else None,
        run_to_run_percent=_spread_percent([run.measured_value() for run in counted]),
        total_cycles=sum(run.now for run in counted),
        histogram=np.sum([run.measured.histogram for run in counted], axis=0),
        counters=counters,
        links=_summed([link_counters(run.state) for run in counted]),
        energy_pj=energy_pj(parameters, counters),
    )


def _spread_percent(values: list[float]) -> float | None:
    """Standard deviation in percent of the mean; None for a single value."""
    return float(100 * np.std(values, ddof=1) / np.mean(values)) if len(values) > 1 else None


def _summed(arrays: list[np.ndarray]) -> np.ndarray:
    """Sum of structured arrays, counter by counter."""
    total = arrays[0].copy()
    for name in total.dtype.names or ():
        total[name] = np.sum([array[name] for array in arrays], axis=0)
    return total


def _relative_change(value: float, before: float) -> float:
    return abs(value - before) / value if value else 0.0


def _sample(run: _Run, sample_cycles: int, warmup_periods: int, max_periods: int, limit: float) -> int:
    """Warm up and sample; returns the cycle from which packets were recorded. Sets ``run.unstable``."""
    converged, latency, accepted, record_from, is_open_loop = 0, 0.0, 0.0, NEVER, run.mode == "latency"
    for period in range(max_periods):
        warm = period >= warmup_periods
        if warm and record_from == NEVER:
            record_from = run.now
            run.clear()
        elif not warm and period % 2 == 0:
            run.clear()
        run.advance(sample_cycles, (record_from, NEVER, not warm, False))
        if is_open_loop and run.latency_with_flits_in_flight() > limit:
            run.unstable = True
            break
        steady = _relative_change(run.accepted(), accepted) <= 0.05
        if is_open_loop:
            steady = steady and _relative_change(run.latency(), latency) <= 0.05
        latency, accepted = run.latency(), run.accepted()
        converged = converged + 1 if warm and steady else 0
        if converged == 3:
            break
    return record_from


def _drain(run: _Run, record_from: int, limit: float) -> None:
    """Run on under load until all recorded packets are out; checks every 1,000 cycles that this is not hopeless."""
    until = run.now
    while not run.unstable:
        before = run.now
        run.advance(1000, (record_from, until, False, True))
        if run.now - before < 1000:
            return
        run.unstable = run.latency_with_flits_in_flight() > limit or run.stands_still()


def _measure(run: _Run, sampling: tuple[int, int, int], limit: float) -> _Run:
    """Carry out one replication; ``sampling``: cycles of a period, warm-up periods, most periods."""
    if run.mode == "batch":
        run.clear()
        while not run.unstable and run.measured.sums[PACKETS] < run.sources.batch_packets * run.spec.n_nodes:
            run.advance(run.patience, (0, NEVER, True, True))
            run.unstable = run.stands_still()
        run.batch_cycles = run.last_credit_at() + 1
        return run
    record_from = _sample(run, *sampling, limit)
    run.accepted_rate, run.accepted_by_node = run.accepted(), run.measured.accepted / max(run.now - run.cleared_at, 1)
    if run.mode == "latency":
        _drain(run, record_from, limit)
    return run


def replay(
    parameters: NocDescription,
    traffic: str = "uniform",
    rate: float = 0.1,
    packet_flits: int = 1,
    seed: int = 1,
    mode: str = "latency",
    batch_packets: int = 500,
    replications: int = 1,
    sample_cycles: int = 2000,
    warmup_periods: int = 3,
    max_periods: int = 10,
    latency_limit_cycles: float = 500.0,
) -> ReplayResult:
    """Run synthetic ``traffic``, or "trace:FILE" (see `etasim.noc.trace`), through the network of ``parameters`` and measure.

    ``parameters``: an object with the attributes of ``architecture.noc``, or a mapping with its keys or with BookSim 2's.
    ``rate``: offered flits a node and cycle. ``mode``: "latency" (open loop, drained), "throughput" (accepted rate only), or
    "batch" (``batch_packets`` a node as fast as the network takes them). ``seed`` is that of BookSim 2, whose random
    numbers are drawn; the result pools ``replications`` runs with the seeds from ``seed`` on. Raises NocError for what cannot be run.
    """
    if mode not in MODES:
        raise NocError(f"mode: unknown {mode!r}, known are {', '.join(MODES)}")
    at_least = {
        "batch_packets": (batch_packets, 1), "replications": (replications, 1), "sample_cycles": (sample_cycles, 1),
        "warmup_periods": (warmup_periods, 0), "max_periods": (max_periods, warmup_periods + 1),
    }  # fmt: skip
    for name, (value, least) in at_least.items():
        refuse_unless_whole(name, value, least)
    if not 0 < latency_limit_cycles < float("inf"):
        raise NocError(f"latency_limit_cycles: must be a positive number of cycles, got {latency_limit_cycles!r}")
    parameters = parameters_from(parameters)
    if str(traffic).startswith(TRACE):
        return replay_trace(parameters, Path(traffic.removeprefix(TRACE)))
    spec, routers_visited = _spec_of(parameters)
    batch = batch_packets if mode == "batch" else NO_BATCH
    size = parameters.columns * parameters.concentration, parameters.rows
    runs = []
    for replication in range(replications):
        made = sources(traffic, *size, rate, packet_flits, int(spec.class_flit_bits[0]), seed + replication, batch)
        run = _Run(mode, spec, routers_visited, made)
        runs.append(_measure(run, (sample_cycles, warmup_periods, max_periods), latency_limit_cycles))
    return _pooled(parameters, runs)
