"""Replay of a request trace through one DRAM channel, as the reference simulators were driven."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from etasim.core.channel import NEVER, can_pop, can_push, channels, pop, push, visible_at
from etasim.core.clock import Clocks
from etasim.core.jit import entry
from etasim.memory.dram.controller import next_timer, settle, step
from etasim.memory.dram.energy import Energy, energy_of
from etasim.memory.dram.parts import part_from_parameters, reference_parameters
from etasim.memory.dram.spec import ACCEPTED_AT, COUNTERS, DONE_AT, LOGGED, READ_AT, build, init, n_entries_of
from etasim.memory.dram.standards import COMMANDS
from etasim.memory.dram.traces import reference_trace

DEPENDENT = -1
COMMAND_COUNTERS = ("activates", "precharges", "precharge_alls", "read_bursts", "write_bursts", "refreshes")
COMMAND_RECORD = np.dtype([("clock", np.int64), ("command", np.int64), ("target", np.int64), ("row", np.int64), ("address", np.int64)])
"""One recorded command. ``target``: rank for PREA and REF, else flat bank; ``row`` and ``address`` -1 where no request is served."""


@dataclass(frozen=True)
class Replay:
    """Outcome of a replay, in DRAM clocks.

    ``cycles``: clock of the last read data or, if later, the last WR command; ``read_cycles``: of the last read data;
    ``accept_cycles``: of the last acceptance. Latency: acceptance to last data beat.
    ``row_hit_rate``: 1 - ACT / (RD + WR). ``commands``: number of each command. ``latency_histogram``: see ``LATENCY_BINS``.
    """

    cycles: int
    read_cycles: int
    accept_cycles: int
    average_read_latency_cycles: float | None
    max_read_latency_cycles: int
    row_hit_rate: float
    bandwidth_gb_per_s: float | None
    peak_bandwidth_gb_per_s: float
    commands: dict[str, int]
    counters: dict[str, int]
    latency_histogram: tuple[int, ...]
    read_queue: int
    write_queue: int
    energy: Energy | None
    log: np.ndarray


@entry
def drive(spec, state, requests, responses, addresses, writes, interval, limit):
    """Feed requests in order until all are accepted and served, or ``limit`` is reached. Returns the clock of the last step.

    ``interval`` 0: as fast as accepted; n: request i not before clock n * i; DEPENDENT: one clock after the data of the read before.
    """
    n, sent, reads_sent, clock, earliest = addresses.shape[0], np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while clock < limit:
        while can_pop(responses, 0, clock):
            if interval == DEPENDENT:
                earliest = visible_at(responses, 0) + 1
            pop(responses, 0, clock)
        while sent < n and can_push(requests, 0, clock):
            if interval == DEPENDENT and (requests.pushes[0] != requests.pops[0] or responses.pops[0] < reads_sent):
                break
            push(requests, 0, max(earliest, interval * sent), addresses[sent], writes[sent], sent, 0)
            reads_sent += 1 - writes[sent]
            sent += 1
        step(spec, state, requests, responses, clock)
        timer = next_timer(spec, state, requests, clock)
        if timer == NEVER:
            if sent == n and responses.pushes[0] == responses.pops[0]:
                return clock
            timer = max(clock + 1, visible_at(responses, 0)) if responses.pushes[0] != responses.pops[0] else clock + 1
        clock = timer
    return clock


def interval_of(mode: str) -> int:
    """Interval of ``sat``, ``dep`` or ``paceN``; ValueError for anything else."""
    fixed = {"sat": 0, "dep": DEPENDENT}
    if mode in fixed:
        return fixed[mode]
    if mode.startswith("pace") and mode[4:].isdigit() and int(mode[4:]) > 0:
        return int(mode[4:])
    raise ValueError(f"mode: {mode!r}, allowed: sat, dep, paceN with N >= 1")


def replay_config(parameters: dict, mapping: str, **choices) -> SimpleNamespace:
    """A ``dram`` section of one channel for a replay; ``choices`` override its keys."""
    part = part_from_parameters(parameters)
    organisation = part.organisation
    config = {
        "part": part, "channels": 1, "ranks": parameters.get("ranks", 1), "mapping": mapping,
        "channel_interleave_bytes": organisation.bus_width_bits * organisation.burst_length // 8,
        "refresh": True, "page_policy": "open", "scheduler": "fr_fcfs", "read_queue": 32, "write_queue": 32,
        "write_high_watermark": 0.8, "write_low_watermark": 0.2, "controller_latency": 0, "ideal": False,
    }
    unknown = set(choices) - set(config)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: unknown, allowed: {', '.join(config)}")
    return SimpleNamespace(**(config | choices))


def run_trace(config, addresses, is_write, mode: str, log_capacity: int = 0) -> Replay:
    """Replay byte addresses and write flags (equal lengths) through a one-channel ``dram`` section."""
    addresses = np.ascontiguousarray(addresses, np.int64)
    writes = np.ascontiguousarray(is_write, np.int64)
    if addresses.shape != writes.shape or addresses.ndim != 1:
        raise ValueError(f"trace: addresses {addresses.shape} and write flags {writes.shape} must be two equally long rows")
    spec = build(config, Clocks(1, 1, 1 / config.part.clock_hz), 1, log_capacity)
    state = init(spec)
    bad = (addresses < 0) | (addresses >= spec.capacity_bytes) | (addresses % spec.burst_bytes != 0)
    if bad.any():
        at = int(np.argmax(bad))
        rule = f"must be a multiple of {spec.burst_bytes} B below {spec.capacity_bytes} B"
        raise ValueError(f"trace: address {addresses[at]} of request {at} {rule}")
    requests, responses = channels(1, 4), channels(1, n_entries_of(spec) + spec.read_clocks + 2)
    end = drive(spec, state, requests, responses, addresses, writes, interval_of(mode), np.int64(NEVER))
    settle(spec, state, int(end))
    return _result(config, spec, state, end)


def _result(config, spec, state, end: int) -> Replay:
    counters = {name: int(state.counters[0][name]) for name in COUNTERS.names}
    cycles = int(state.registers[0, DONE_AT])
    reads, bursts = counters["accepted_reads"], counters["read_bursts"] + counters["write_bursts"]
    seconds = cycles / float(config.part.clock_hz)
    moved_bytes = counters["read_bytes"] + counters["write_bytes"]
    logged = state.log[0, : state.registers[0, LOGGED]] if spec.log_capacity else state.log[0, :0]
    return Replay(
        cycles=cycles, read_cycles=int(state.registers[0, READ_AT]), accept_cycles=int(state.registers[0, ACCEPTED_AT]),
        average_read_latency_cycles=counters["read_latency_clocks"] / reads if reads else None,
        max_read_latency_cycles=counters["max_read_latency_clocks"],
        row_hit_rate=1 - counters["activates"] / bursts if bursts else 0.0,
        bandwidth_gb_per_s=moved_bytes / seconds / 1e9 if seconds else None,
        peak_bandwidth_gb_per_s=spec.burst_bytes / spec.burst_clocks * float(config.part.clock_hz) / 1e9,
        commands=dict(zip(COMMANDS, (counters[name] for name in COMMAND_COUNTERS), strict=True)),
        counters=counters, latency_histogram=tuple(int(n) for n in state.latency[0]),
        read_queue=spec.read_queue, write_queue=spec.write_queue,
        energy=energy_of(config.part, config.ranks, counters, int(end)),
        log=np.ascontiguousarray(logged).view(COMMAND_RECORD)[:, 0],
    )


def replay(
    parameters: dict | str, mapping: str, trace, mode: str, *, refresh: bool = True, scheduler: str = "fr_fcfs",
    read_queue: int = 32, write_queue: int = 32, log_capacity: int = 0,
) -> Replay:
    """Replay a trace as the reference simulators were driven (in order, at most one request a DRAM clock).

    ``parameters``: one entry of a ``parameters.json`` or its name there; ``mapping``: bit fields, most significant first, or a name
    from the entry's ``mappings_msb_to_lsb``; ``trace``: (byte addresses, write flags), or the name of a reference trace; ``mode``: ``sat``,
    ``dep`` or ``paceN``. The first ``log_capacity`` commands are recorded in the result's ``log``. Raises ValueError naming the bad input.
    """
    if isinstance(parameters, str):
        parameters = reference_parameters(parameters)
    mapping = parameters.get("mappings_msb_to_lsb", {}).get(mapping, mapping)
    config = replay_config(parameters, mapping, refresh=refresh, scheduler=scheduler, read_queue=read_queue, write_queue=write_queue)
    if isinstance(trace, str):
        trace = reference_trace(trace, parameters["geo"], parameters["tx"])
    return run_trace(config, trace[0], trace[1], mode, log_capacity)
