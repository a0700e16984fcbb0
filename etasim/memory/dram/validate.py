"""The DRAM model beside reference runs: one row a figure, with its bar.

The bars are those of the references' README, 0 where both simulators agree to the cycle; each simulator is met by its own policy.
"""

from collections import Counter
from fractions import Fraction
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from etasim.config.catalog import shipped_folder
from etasim.config.errors import Problem
from etasim.memory.dram import checker
from etasim.memory.dram.checker import ANY_ROW, Command, Rules, check
from etasim.memory.dram.parts import geometry_name, part_from_parameters
from etasim.memory.dram.references import (
    Run,
    located,
    named,
    raise_all,
    read_exact,
    read_parameters,
    read_runs,
    recorded_commands,
    runs_path,
    streams,
)
from etasim.memory.dram.replay import COMMAND_RECORD, Replay, replay
from etasim.memory.dram.standards import COMMANDS
from etasim.memory.dram.traces import reference_trace


class Simulator(NamedTuple):
    """How a reference simulator is met: keys of a ``dram`` section, and whether its runs end with the last read data (without reads:
    the last acceptance) although writes are still queued."""

    choices: dict[str, Any]
    ends_with_reads: bool = False


DRAMSIM3 = "dramsim3"
SIMULATORS = {
    "ramulator2.1-FRFCFS": Simulator({"scheduler": "fr_fcfs"}),
    "ramulator2.1-FRFCFSRowHit": Simulator({"scheduler": "fr_fcfs_row_hit"}),
    "ramulator2.0a-FRFCFS": Simulator(
        # its buffers of 32 take one request more; the watermarks stay those of 32
        {"scheduler": "fr_fcfs_blocking", "read_queue": 33, "write_queue": 33,
         "write_high_watermark": Fraction(8 * 32, 10 * 33), "write_low_watermark": Fraction(2 * 32, 10 * 33)},
        ends_with_reads=True,
    ),
    DRAMSIM3: Simulator({"scheduler": "bank_round_robin"}, ends_with_reads=True),
}
"""Reference policies that the model configures literally."""

SIMULATOR_OF_SOURCE = {"r21": "ramulator2.1-FRFCFS", "dramsim3": DRAMSIM3, "d3": DRAMSIM3}
"""By the short names in the keys of ``exact_without_refresh.json`` and in the names of recorded streams."""

ORDER_FORCED = ("dep_", "pace", "stride_rowconf")
COLLIDING = ("stream3_c1", "stream3_c1_stag")
COLLIDING_MARGIN_PERCENT = 5.0
WRITE_ONLY_PERCENT = 0.1
"""Bar of write-only runs that end with the last acceptance."""

STREAM_REQUESTS = 2000


def bar_percent(kind: str, trace: str, refresh: bool) -> float:
    """Allowed error in cycles for a part of standard ``kind``; ``seq_rd`` to ``stride_bank`` are saturated."""
    if trace.startswith(ORDER_FORCED):
        return 0.5 if refresh else 0.0
    if trace == "rnd_rw21":
        return 3.0
    if trace.startswith("rnd_") or trace == "stride_bank":
        return 1.5
    return 0.6 if kind == "DDR3" else 1.5


def _mode(trace: str) -> str:
    return "dep" if trace.startswith("dep") else trace.partition("_")[0] if trace.startswith("pace") else "sat"


def _row(name: str, ours: float, reference: float, bar: float) -> dict[str, Any]:
    error = 100 * (ours - reference) / reference if reference else 100.0 * (ours != 0)
    return {"name": name, "ours": ours, "reference": reference, "error_percent": error, "bar_percent": bar, "pass": abs(error) <= bar}


def _why_not(run: Run, parameters: dict[str, dict[str, Any]]) -> str | None:
    """Why a run cannot be compared, if so."""
    if run.simulator not in SIMULATORS:
        return f"runs of {run.simulator}: its policy is not modelled"
    if run.tag:
        return f"runs tagged {run.tag!r}: what the tag changes is not spelled out"
    if run.simulator == DRAMSIM3 and named(parameters, run.parameters)["kind"] == "HBM2":
        return "runs of dramsim3 with HBM2: it sends ACT in one clock, JEDEC in two"
    return None


@lru_cache(maxsize=32)
def _trace(name: str, geometry: str, burst_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    return reference_trace(name, geometry, burst_bytes)


def _replay(
    parameters: dict[str, Any], mapping: str, trace: str, mode: str, simulator: str, n_requests: int | None = None, **choices: Any
) -> Replay:
    addresses, writes = (column[:n_requests] for column in _trace(trace, geometry_name(parameters), parameters["tx"]))
    return replay(parameters, mapping, (addresses, writes), mode, **SIMULATORS[simulator].choices, **choices)


def _end(result: Replay, simulator: str) -> int:
    """The clock with which the simulator would say that this run ends."""
    if SIMULATORS[simulator].ends_with_reads:
        return result.read_cycles or result.accept_cycles
    return result.cycles


def _interval_row(name: str, ours: int, references: list[int]) -> dict[str, Any]:
    """A figure that must lie in the interval of the two simulators, widened by the margin; the error is to the nearer end."""
    nearest = min(max(ours, min(references)), max(references))
    return _row(name, ours, nearest, COLLIDING_MARGIN_PERCENT)


def run_rows(folder: Path, parameters: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Cycles of every measured run of a policy that the model configures literally."""
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    runs = read_runs(folder)
    for run in runs:
        with located(runs_path(folder), run.line, "", problems):
            if _why_not(run, parameters) is None:
                rows.append(_run_row(run, named(parameters, run.parameters), runs))
    raise_all(problems)
    return rows


def _run_row(run: Run, part: dict[str, Any], runs: list[Run]) -> dict[str, Any]:
    result = _replay(part, run.mapping, run.trace, run.mode, run.simulator, refresh=run.refresh)
    name = f"{run.parameters} {run.mapping} {'refresh' if run.refresh else 'no refresh'} {run.trace} {run.simulator} cycles"
    bar, ours = bar_percent(part["kind"], run.trace, run.refresh), _end(result, run.simulator)
    if SIMULATORS[run.simulator].ends_with_reads:
        bar = WRITE_ONLY_PERCENT if not result.read_cycles else COLLIDING_MARGIN_PERCENT if run.trace in COLLIDING else bar
    elif run.trace in COLLIDING:
        same = [r.cycles for r in runs if r[1:6] == run[1:6] and r.tag == run.tag and r.simulator in (run.simulator, DRAMSIM3)]
        return _interval_row(name, ours, same)
    return _row(name, ours, run.cycles, bar)


def exact_rows(folder: Path, parameters: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Cycles and average latency of the order-forced cases, each simulator's under its own policy."""
    problems: list[Problem] = []
    rows: list[dict[str, Any]] = []
    path = folder / "exact_without_refresh.json"
    for ((part, mapping, trace), figures), source in product(read_exact(path).items(), ("r21", "dramsim3")):
        simulator = SIMULATOR_OF_SOURCE[source]
        with located(path, 1, f"{part}/{mapping}", problems):
            run = Run(1, part, mapping, False, trace, _mode(trace), simulator, "", 0)
            if f"cycles_{source}" not in figures or _why_not(run, parameters):
                continue
            result = _replay(named(parameters, part), mapping, trace, run.mode, simulator, refresh=False)
            name = f"{part} {mapping} exact {trace} {simulator}"
            rows.append(_row(f"{name} cycles", _end(result, simulator), figures[f"cycles_{source}"], 0.0))
            if f"avg_read_latency_{source}" in figures:
                latency = round(result.average_read_latency_cycles or 0, 4)
                rows.append(_row(f"{name} average latency", latency, figures[f"avg_read_latency_{source}"], 0.0))
    raise_all(problems)
    return rows


def rules_of(parameters: dict[str, Any]) -> Rules:
    """What the timing checker needs of a parameter set."""
    return checker.rules_of(part_from_parameters(parameters))


def logged_commands(log: np.ndarray, rules: Rules) -> list[Command]:
    """Commands of one of our own logs (``COMMAND_RECORD``)."""
    assert log.dtype == COMMAND_RECORD
    per_rank, commands = rules.banks_per_group * rules.bank_groups, []
    for clock, command, target, row, _ in log.tolist():
        name = COMMANDS[command]
        if name in ("PREA", "REF"):
            commands.append(Command(clock, name, target))
        else:
            group, bank = divmod(target % per_rank, rules.banks_per_group)
            commands.append(Command(clock, name, target // per_rank, group, bank, row if name in ("ACT", "RD", "WR") else ANY_ROW))
    return commands


def command_rows(folder: Path, parameters: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Recorded streams: illegal commands that the checker finds, and how many commands of the same policy ours differ from.

    DRAMsim3 leaves its last writes unissued, so ours may go on after the recorded end.
    """
    problems: list[Problem] = []
    rows: list[dict[str, Any]] = []
    for stream in streams(folder):
        with located(stream.path, 1, "", problems):
            part, name = named(parameters, stream.parameters), f"{stream.parameters} {stream.trace} {stream.source}"
            rules, recorded = rules_of(part), recorded_commands(stream.path)
            rows.append(_row(f"{name} recorded commands, illegal", len(check(recorded, rules).violations), 0, 0.0))
            if stream.source not in SIMULATOR_OF_SOURCE:
                continue
            simulator, room = SIMULATOR_OF_SOURCE[stream.source], 2 * len(recorded) + 8
            result = _replay(part, "RoBaCo", stream.trace, _mode(stream.trace), simulator, STREAM_REQUESTS, log_capacity=room)
            ours = logged_commands(result.log, rules)
            rows.append(_row(f"{name} our commands, illegal", len(check(ours, rules).violations), 0, 0.0))
            beyond = max(len(recorded) - len(ours), 0) if simulator == DRAMSIM3 else abs(len(ours) - len(recorded))
            differing = sum(a != b for a, b in zip(ours, recorded, strict=False)) + beyond
            rows.append(_row(f"{name} our commands, other than recorded", differing, 0, 0.0))
    raise_all(problems)
    return rows


def _folder(references: str | Path | None) -> Path:
    return (Path(references) if references is not None else shipped_folder("references")) / "dram"


def rows(references: str | Path | None = None) -> list[dict[str, Any]]:
    """Every comparison that a folder of references allows: name, ours, reference, error_percent, bar_percent, pass.

    Default: the runs that are shipped. A folder without DRAM references gives no rows. Raises InputError for files that cannot
    be used.
    """
    folder = _folder(references)
    parameters = read_parameters(folder)
    return exact_rows(folder, parameters) + run_rows(folder, parameters) + command_rows(folder, parameters)


def not_compared(references: str | Path | None = None) -> list[str]:
    """What ``rows`` leaves out of the measured runs, one line for each reason, with how many."""
    folder = _folder(references)
    parameters = read_parameters(folder)
    reasons = [_why_not(run, parameters) for run in read_runs(folder)]
    return [f"{count} {reason}" for reason, count in Counter(filter(None, reasons)).items()]
