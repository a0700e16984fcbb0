"""The DRAM model beside reference runs: one row a figure, with its bar.

A folder of references is laid out like the project's own copy, ``dram/parameters.json``, ``dram/reference_runs.csv`` (or ``.csv.gz``),
``dram/exact_without_refresh.json``, ``dram/commands/*.csv.gz``; whatever is missing gives no rows. The bars are those of the
references' README, 0 where both simulators agree to the cycle; each simulator is met by its own policy.
"""

import csv
import gzip
import json
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np

import etasim
from etasim.config.errors import InputError, Problem
from etasim.core.clock import Clocks
from etasim.memory.dram.checker import ANY_ROW, Command, Rules, check
from etasim.memory.dram.parts import part_from_parameters
from etasim.memory.dram.replay import COMMAND_RECORD, Replay, replay, replay_config
from etasim.memory.dram.spec import build, timings_of
from etasim.memory.dram.standards import COMMANDS
from etasim.memory.dram.traces import reference_trace

DRAMSIM3 = "dramsim3"
SCHEDULER_OF = {"ramulator2.1-FRFCFS": "fr_fcfs", "ramulator2.1-FRFCFSRowHit": "fr_fcfs_row_hit", DRAMSIM3: "bank_round_robin"}
"""Reference policies that the model configures literally."""

EXACT_KEYS = {"r21": "ramulator2.1-FRFCFS", "dramsim3": DRAMSIM3}
"""Suffixes of the keys of ``exact_without_refresh.json``."""

SCHEDULER_OF_STREAM = {"r21": "fr_fcfs", "d3": "bank_round_robin"}

ORDER_FORCED = ("dep_", "pace", "stride_rowconf")
COLLIDING = ("stream3_c1", "stream3_c1_stag")
COLLIDING_MARGIN_PERCENT = 5.0
WRITE_ONLY_PERCENT = 0.1
"""Bar of DRAMsim3's write-only runs, which end with the last acceptance."""

STREAM_REQUESTS = 2000


def default_references() -> Path:
    """The copy of the references in the project's tests; FileNotFoundError in an installation without them."""
    folder = Path(etasim.__file__).resolve().parents[1] / "tests" / "validation" / "data"
    if not (folder / "dram").is_dir():
        raise FileNotFoundError(f"no reference runs in {folder}: name a folder with --references")
    return folder


def bar_percent(kind: str, trace: str, refresh: bool) -> float:
    """Allowed error in cycles for a part of standard ``kind``; ``seq_rd`` to ``stride_bank`` are saturated."""
    if trace.startswith(ORDER_FORCED):
        return 0.5 if refresh else 0.0
    if trace == "rnd_rw21":
        return 3.0
    if trace.startswith("rnd_") or trace == "stride_bank":
        return 1.5
    return 0.6 if kind == "DDR3" else 1.5


def is_comparable(simulator: str, parameters: dict) -> bool:
    """Whether the model has the policy of ``simulator`` for this part: DRAMsim3 sends the ACT of HBM2 in one clock, JEDEC in two."""
    return simulator in SCHEDULER_OF and not (simulator == DRAMSIM3 and parameters["kind"] == "HBM2")


def _mode(trace: str) -> str:
    return "dep" if trace.startswith("dep") else trace.partition("_")[0] if trace.startswith("pace") else "sat"


def _row(name: str, ours: float, reference: float, bar: float) -> dict:
    error = 100 * (ours - reference) / reference if reference else 100.0 * (ours != 0)
    return {"name": name, "ours": ours, "reference": reference, "error_percent": error, "bar_percent": bar, "pass": abs(error) <= bar}


@lru_cache(maxsize=32)
def _trace(name: str, geometry: str, burst_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    return reference_trace(name, geometry, burst_bytes)


def _replay(parameters: dict, mapping: str, trace: str, mode: str, **choices) -> Replay:
    return replay(parameters, mapping, _trace(trace, parameters["geo"], parameters["tx"]), mode, **choices)


def _runs(folder: Path) -> tuple[Path, list[dict[str, str]]]:
    for name, open_text in (("reference_runs.csv", open), ("reference_runs.csv.gz", gzip.open)):
        if (folder / name).is_file():
            with open_text(folder / name, "rt") as file:
                return folder / name, list(csv.DictReader(file))
    return folder, []


def _interval_row(name: str, ours: int, references: list[int]) -> dict:
    """A figure that must lie in the interval of the two simulators, widened by the margin; the error is to the nearer end."""
    nearest = min(max(ours, min(references)), max(references))
    return _row(name, ours, nearest, COLLIDING_MARGIN_PERCENT)


@contextmanager
def _located(path: Path, line: int, key: str, problems: list[Problem]):
    """Note what is wrong with a place of a file instead of stopping at it."""
    try:
        yield
    except ValueError as error:
        problems += (Problem(str(path), line, key, message) for message in str(error).split("; "))
    except KeyError as error:
        problems.append(Problem(str(path), line, key, f"{error.args[0]} is missing"))


def read_parameters(path: Path) -> dict:
    """The parameter sets of a folder of references; InputError with everything that is wrong with any of them."""
    text, problems = path.read_text(), []
    try:
        sets = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError([Problem(str(path), error.lineno, "", error.msg)]) from None
    sets = {name: parameters for name, parameters in sets.items() if not name.startswith("_")}
    for name, parameters in sets.items():
        line = text[: text.index(f'"{name}"')].count("\n") + 1
        with _located(path, line, name, problems):
            for mapping in parameters["mappings_msb_to_lsb"].values():
                build(replay_config(parameters, mapping), Clocks(1, 1, Fraction(1)), 1)
    if problems:
        raise InputError(problems)
    return sets


def run_rows(folder: Path, parameters: dict) -> list[dict]:
    """Cycles of every saturated, paced and dependent run of a policy that the model configures literally.

    A tag names a variation that the row does not spell out, so tagged runs are left out.
    """
    path, runs = _runs(folder)
    rows, problems = [], []
    for line, run in enumerate(runs, start=2):
        with _located(path, line, "", problems):
            part = parameters.get(run["params"])
            if part is not None and not run.get("tag") and is_comparable(run["sim"], part):
                rows.append(_run_row(run, part, runs))
    if problems:
        raise InputError(problems)
    return rows


def _run_row(run: dict[str, str], part: dict, runs: list[dict[str, str]]) -> dict:
    refresh = run["refresh"] == "True"
    result = _replay(part, run["mapping"], run["trace"], run["mode"], refresh=refresh, scheduler=SCHEDULER_OF[run["sim"]])
    name = f"{run['params']} {run['mapping']} {'refresh' if refresh else 'no refresh'} {run['trace']} {run['sim']} cycles"
    bar = bar_percent(part["kind"], run["trace"], refresh)
    if run["sim"] == DRAMSIM3:
        bar = WRITE_ONLY_PERCENT if not result.read_cycles else COLLIDING_MARGIN_PERCENT if run["trace"] in COLLIDING else bar
        return _row(name, result.read_cycles or result.accept_cycles, int(run["cycles"]), bar)
    if run["trace"] in COLLIDING:
        same = [r for r in runs if all(r[key] == run[key] for key in ("params", "mapping", "refresh", "trace", "mode", "tag"))]
        return _interval_row(name, result.cycles, [int(r["cycles"]) for r in same if r["sim"] in (run["sim"], DRAMSIM3)])
    return _row(name, result.cycles, int(run["cycles"]), bar)


def exact_rows(folder: Path, parameters: dict) -> list[dict]:
    """Cycles and average latency of the order-forced cases, each simulator's under its own policy."""
    path, rows = folder / "exact_without_refresh.json", []
    cases = json.loads(path.read_text()) if path.is_file() else {}
    for point, traces in cases.items():
        part, mapping = point.split("/")
        for (trace, expected), (key, simulator) in product(traces.items(), EXACT_KEYS.items()):
            if f"cycles_{key}" not in expected or not is_comparable(simulator, parameters[part]):
                continue
            result = _replay(parameters[part], mapping, trace, _mode(trace), refresh=False, scheduler=SCHEDULER_OF[simulator])
            name = f"{part} {mapping} exact {trace} {simulator}"
            rows.append(_row(f"{name} cycles", result.cycles, expected[f"cycles_{key}"], 0.0))
            latency = round(result.average_read_latency_cycles, 4)
            rows.append(_row(f"{name} average latency", latency, expected[f"avg_read_latency_{key}"], 0.0))
    return rows


def rules_of(parameters: dict) -> Rules:
    """What the timing checker needs of a parameter set."""
    hbm = parameters["kind"] == "HBM2"
    timings = timings_of(part_from_parameters(parameters))
    return Rules(timings, parameters["ba"], parameters["bg"], private_data_bus=hbm, split_command_bus=hbm, act_clocks=1 + hbm)


def _recorded(line: dict[str, str]) -> Command:
    row = int(line["row"]) if line["cmd"] in ("ACT", "RD", "WR") else ANY_ROW
    return Command(int(line["cycle"]), line["cmd"], 0, max(int(line["bg"]), 0), max(int(line["ba"]), 0), row)


def recorded_commands(path: Path) -> list[Command]:
    """Commands of a recorded stream. The row of a PRE is that of the request behind it, so it is dropped."""
    with gzip.open(path, "rt") as file:
        return [_recorded(line) for line in csv.DictReader(file)]


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


def command_rows(folder: Path, parameters: dict) -> list[dict]:
    """Recorded streams: illegal commands that the checker finds, and how many commands of the same policy ours differ from.

    DRAMsim3 leaves its last writes unissued, so ours may go on after the recorded end.
    """
    rows = []
    for path in sorted((folder / "commands").glob("*__*__*.csv.gz")):
        part, trace, source = path.name.removesuffix(".csv.gz").split("__")
        rules, recorded = rules_of(parameters[part]), recorded_commands(path)
        rows.append(_row(f"{part} {trace} {source} recorded commands, illegal", len(check(recorded, rules).violations), 0, 0.0))
        if source not in SCHEDULER_OF_STREAM:
            continue
        addresses, writes = (column[:STREAM_REQUESTS] for column in _trace(trace, parameters[part]["geo"], parameters[part]["tx"]))
        result = replay(
            parameters[part], "RoBaCo", (addresses, writes), _mode(trace), log_capacity=2 * len(recorded) + 8,
            scheduler=SCHEDULER_OF_STREAM[source],
        )
        ours = logged_commands(result.log, rules)
        rows.append(_row(f"{part} {trace} {source} our commands, illegal", len(check(ours, rules).violations), 0, 0.0))
        beyond = max(len(recorded) - len(ours), 0) if source == "d3" else abs(len(ours) - len(recorded))
        differing = sum(a != b for a, b in zip(ours, recorded, strict=False)) + beyond
        rows.append(_row(f"{part} {trace} {source} our commands, other than recorded", differing, 0, 0.0))
    return rows


def rows(references: str | Path | None = None) -> list[dict]:
    """Every comparison that a folder of references allows: name, ours, reference, error_percent, bar_percent, pass.

    Default: the copy in the project's tests. A folder without DRAM references gives no rows. Raises InputError for files that cannot
    be used.
    """
    folder = Path(references) / "dram" if references is not None else default_references() / "dram"
    if not (folder / "parameters.json").is_file():
        return []
    parameters = read_parameters(folder / "parameters.json")
    return exact_rows(folder, parameters) + run_rows(folder, parameters) + command_rows(folder, parameters)
