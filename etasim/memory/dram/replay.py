"""Replay of a request trace through DRAM channels, as the reference simulators were driven."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from etasim.core.arrays import Integers, int64
from etasim.core.channel import NEVER, Channels, can_pop, can_push, channels, pop, visible_at
from etasim.core.clock import Clocks
from etasim.core.errors import PATIENCE, DeadlockError
from etasim.core.jit import kernel, procedure
from etasim.core.message import send_access
from etasim.memory.dram.address import channel_of, fields_of
from etasim.memory.dram.controller import next_timer, settle, step
from etasim.memory.dram.parts import geometry_name, part_from_parameters, reference_parameters
from etasim.memory.dram.spec import PAGE_TIMEOUT_CLOCKS, DramSpec, DramState, build, init, longest_wait_clocks, n_entries_of
from etasim.memory.dram.standards import COMMANDS
from etasim.memory.dram.statistics import Figures, together
from etasim.memory.dram.traces import read_trace, reference_trace

DEPENDENT = -1
COMMAND_COUNTERS = ("activates", "precharges", "precharge_alls", "read_bursts", "write_bursts", "refreshes")
COMMAND_RECORD = np.dtype([("clock", np.int64), ("command", np.int64), ("target", np.int64), ("row", np.int64), ("address", np.int64)])
"""One recorded command. ``target``: rank for PREA and REF, else flat bank; ``row`` and ``address`` -1 where no request is served."""


@dataclass(frozen=True)
class Replay(Figures):
    """Outcome of a replay, in DRAM clocks.

    ``cycles``: clock of the last read data or, if later, the last WR command; ``read_cycles``: of the last read data;
    ``accept_cycles``: of the last acceptance. Latency: acceptance to last data beat. ``commands``: number of each command.
    ``log``: recorded commands of the first channel.
    """

    cycles: int
    read_cycles: int
    accept_cycles: int
    commands: dict[str, int]
    read_queue: int
    write_queue: int
    log: np.ndarray

    @property
    def average_read_latency_cycles(self) -> float | None:
        """The mean read latency; the references call a DRAM clock a cycle."""
        return self.average_read_latency_clocks

    @property
    def max_read_latency_cycles(self) -> int:
        """The longest read latency."""
        return self.counters["max_read_latency_clocks"]


@kernel
def collect(responses: Channels, clock: int, served: int, earliest: int) -> tuple[int, int]:
    """Take the answers visible in ``clock``. Returns the reads served, and one clock after the last answer taken."""
    for port in range(responses.pops.shape[0]):
        while can_pop(responses, port, clock):
            earliest = max(earliest, visible_at(responses, port) + 1)
            pop(responses, port, clock)
            served += 1
    return served, earliest


@kernel
def next_answer(responses: Channels) -> int:
    """Clock in which the next answer is visible."""
    following = NEVER
    for port in range(responses.pops.shape[0]):
        following = min(following, visible_at(responses, port))
    return following


@kernel
def n_served(state: DramState) -> int:
    """Requests that the channels have served so far."""
    n = int64(0)
    for channel in range(state.counters.shape[0]):
        counters = state.counters[channel]
        n += counters["read_bursts"] + counters["write_bursts"] + counters["forwarded_reads"] + counters["merged_writes"]
    return n


@procedure
def drive(
    spec: DramSpec, state: DramState, requests: Channels, responses: Channels, addresses: Integers, writes: Integers, interval: int,
    patience: int, reached: Integers,
) -> bool:  # fmt: skip
    """Feed requests in order until all are accepted and served, or until none was sent or served for ``patience`` clocks.

    ``interval`` 0: as fast as accepted; n: request i not before clock n * i; DEPENDENT: one clock after the data of the read before.
    Returns whether all is done; ``reached`` [1]: the clock of the last step.
    """
    n, sent, reads_sent, served, clock, earliest = addresses.shape[0], int64(0), int64(0), int64(0), int64(0), int64(0)
    last = port = channel_of(spec, addresses[0]) if n > 0 else int64(0)
    look_at, seen = patience, int64(-1)
    while True:
        if clock >= look_at:
            done = sent + n_served(state)
            if done == seen:
                reached[0] = clock
                return False
            look_at, seen = clock + patience, done
        served, earliest = collect(responses, clock, served, earliest)
        while sent < n and can_push(requests, port, clock):
            if interval == DEPENDENT and (requests.pushes[last] != requests.pops[last] or served < reads_sent):
                break
            send_access(requests, port, earliest if interval == DEPENDENT else interval * sent, addresses[sent], writes[sent], sent, 0)
            reads_sent += 1 - writes[sent]
            sent += 1
            last = port
            if sent < n:
                port = channel_of(spec, addresses[sent])
        step(spec, state, requests, responses, clock)
        timer = next_timer(spec, state, requests, clock)
        if timer == NEVER:
            following = next_answer(responses)
            if sent == n and following == NEVER:
                reached[0] = clock
                return True
            timer = clock + 1 if following == NEVER else max(clock + 1, following)
        clock = max(timer, clock + 1)


def interval_of(mode: str) -> int:
    """Interval of ``sat``, ``dep`` or ``paceN``; ValueError for anything else."""
    fixed = {"sat": 0, "dep": DEPENDENT}
    if mode in fixed:
        return fixed[mode]
    paced = re.fullmatch(r"pace([1-9][0-9]{0,8})", mode)
    if paced:
        return int(paced[1])
    raise ValueError(f"mode: {mode!r}, allowed: sat, dep, paceN with 1 <= N < 10^9")


def replay_config(parameters: dict[str, Any], mapping: str, **choices: Any) -> SimpleNamespace:
    """A ``dram`` section for a replay; ``choices`` override its keys. Ranks, where nothing states them, follow from the mapping."""
    part = part_from_parameters(parameters)
    organisation, rank_bits = part.organisation, sum(bits for field, bits in fields_of(mapping) if field == "ra")
    config = {
        "part": part, "channels": 1, "ranks": parameters.get("ranks", 1 << rank_bits), "mapping": mapping,
        "channel_interleave_bytes": organisation.bus_width_bits * organisation.burst_length // 8,
        "refresh": True, "page_policy": "open", "page_timeout": PAGE_TIMEOUT_CLOCKS, "scheduler": "fr_fcfs",
        "read_queue": 32, "write_queue": 32, "write_high_watermark": 0.8, "write_low_watermark": 0.2,
        "controller_latency": 0, "ideal": False,
    }
    unknown = set(choices) - set(config)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: unknown, allowed: {', '.join(config)}")
    return SimpleNamespace(**(config | choices))


def _column(values: Any, name: str) -> np.ndarray:
    """Whole numbers of a trace; ValueError for anything else."""
    column = np.asarray(values)
    if column.dtype.kind not in "biuf" or not (column < 2.0**63).all() or (column != np.floor(column)).any():
        raise ValueError(f"trace: {name} must be whole numbers of at most 63 bits")
    return np.ascontiguousarray(column, np.int64)


def run_trace(config: Any, addresses: Any, is_write: Any, mode: str, log_capacity: int = 0) -> Replay:
    """Replay byte addresses and write flags (equal lengths) through a ``dram`` section, one request a clock and channel."""
    addresses, writes = _column(addresses, "addresses"), _column(is_write, "write flags")
    if addresses.shape != writes.shape or addresses.ndim != 1:
        raise ValueError(f"trace: addresses {addresses.shape} and write flags {writes.shape} must be two equally long rows")
    if not np.isin(writes, (0, 1)).all():
        raise ValueError("trace: write flags must be 0 (read) or 1 (write)")
    spec = build(config, Clocks(1, 1, 1 / config.part.clock_hz), 1, log_capacity)
    state = init(spec)
    bad = (addresses < 0) | (addresses >= spec.capacity_bytes) | (addresses % spec.burst_bytes != 0)
    if bad.any():
        at = int(np.argmax(bad))
        rule = f"must be a multiple of {spec.burst_bytes} B below {spec.capacity_bytes} B"
        raise ValueError(f"trace: address {addresses[at]} of request {at} {rule}; {int(bad.sum())} of {len(bad)} break it")
    answers = n_entries_of(spec) + spec.read_clocks + spec.controller_latency_clocks + 2
    requests, responses = channels(spec.n_channels, 4), channels(spec.n_channels, answers)
    interval = interval_of(mode)
    patience = int64(PATIENCE * (longest_wait_clocks(spec) + max(interval, 0)))
    reached = np.zeros(1, np.int64)
    is_done = drive(spec, state, requests, responses, addresses, writes, interval, patience, reached)
    end = int(reached[0])
    if not is_done:
        raise DeadlockError(
            f"the replay stands still in clock {end}: no request was served for {patience} clocks, {PATIENCE} times the longest wait that "
            f"this memory can need; accepted {int(state.counters['accepted_reads'].sum() + state.counters['accepted_writes'].sum())} of "
            f"{len(addresses)} requests"
        )
    settle(spec, state, int(end))
    return _result(config, spec, state, int(end))


def _result(config: Any, spec: DramSpec, state: DramState, end: int) -> Replay:
    cycles, read_cycles, accept_cycles = (int(state.registers[at].max()) for at in ("done_at", "read_at", "accepted_at"))
    found = together(config, spec, state, end, cycles)
    logged = state.log[0, : state.registers[0]["logged"] if spec.log_capacity else 0]
    return Replay(
        **vars(found), cycles=cycles, read_cycles=read_cycles, accept_cycles=accept_cycles,
        commands=dict(zip(COMMANDS, (found.counters[name] for name in COMMAND_COUNTERS), strict=True)),
        read_queue=spec.read_queue, write_queue=spec.write_queue, log=np.ascontiguousarray(logged).view(COMMAND_RECORD)[:, 0],
    )


def replay(
    parameters: dict[str, Any] | str, mapping: str, trace: Any, mode: str, *, refresh: bool = True, scheduler: str = "fr_fcfs",
    read_queue: int = 32, write_queue: int = 32, log_capacity: int = 0, **choices: Any,
) -> Replay:
    """Replay a trace as the reference simulators were driven (in order, at most one request a DRAM clock).

    ``parameters``: one entry of a ``parameters.json`` or its name there; ``mapping``: bit fields, most significant first, or a name
    from the entry's ``mappings_msb_to_lsb``; ``trace``: (byte addresses, write flags), the name of a reference trace, or the path of a
    trace file; ``mode``: ``sat``, ``dep`` or ``paceN``; ``choices``: other keys of a ``dram`` section (``channels``, ``ranks``,
    ``page_policy``, ...). The first ``log_capacity`` commands are recorded in the result's ``log``. Raises ValueError naming the bad
    input, InputError with the bad lines of a file, DeadlockError for a memory that serves nothing any more (a defect of the model).
    """
    if isinstance(parameters, str):
        parameters = reference_parameters(parameters)
    stated = {"parameters": (parameters, dict), "mapping": (mapping, str), "mode": (mode, str), "log_capacity": (log_capacity, int)}
    for name, (value, kind) in stated.items():
        if not isinstance(value, kind):
            raise ValueError(f"{name}: {value!r}, must be of type {kind.__name__}")
    mapping = parameters.get("mappings_msb_to_lsb", {}).get(mapping, mapping)
    choices |= {"refresh": refresh, "scheduler": scheduler, "read_queue": read_queue, "write_queue": write_queue}
    config = replay_config(parameters, mapping, **choices)
    if isinstance(trace, Path):
        trace = read_trace(trace, parameters["tx"])
    elif isinstance(trace, str):
        trace = reference_trace(trace, geometry_name(parameters), parameters["tx"])
    if not isinstance(trace, Sequence | np.ndarray) or len(trace) != 2:
        raise ValueError("trace: must be (byte addresses, write flags), the name of a reference trace or a Path")
    addresses, is_write = trace
    return run_trace(config, addresses, is_write, mode, log_capacity)
