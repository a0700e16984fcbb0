"""Folders of reference runs: parameter sets, measured runs, exact cases and recorded commands, read and checked place by place.

A folder is laid out like the one that is shipped: ``dram/parameters.json``, ``dram/reference_runs.csv`` (or ``.csv.gz``),
``dram/exact_without_refresh.json``, ``dram/commands/PARTS__TRACE__SOURCE.csv.gz``. Whatever is missing gives nothing to compare; a
parameter set that the folder does not list is taken from those that are shipped. Everything wrong ends in one InputError.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config.errors import InputError, Problem
from etasim.core.clock import Clocks
from etasim.core.json_reading import JsonError, read_value
from etasim.memory.dram.checker import ANY_ROW, Command
from etasim.memory.dram.parts import shipped_parameters
from etasim.memory.dram.replay import replay_config
from etasim.memory.dram.spec import build
from etasim.memory.dram.standards import COMMANDS

UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)


class Run(NamedTuple):
    """One measured run; ``line`` is its place in the file, ``tag`` names a variation that the row does not spell out."""

    line: int
    parameters: str
    mapping: str
    refresh: bool
    trace: str
    mode: str
    simulator: str
    tag: str
    cycles: int


class Stream(NamedTuple):
    """A recorded command stream: part, trace and the short name of the simulator behind it."""

    path: Path
    parameters: str
    trace: str
    source: str


@contextmanager
def located(path: Path | None, line: int, key: str, problems: list[Problem]) -> Iterator[None]:
    """Note what is wrong with a place of a file instead of stopping at it."""
    try:
        yield
    except KeyError as error:
        problems.append(Problem(str(path), line, key, f"{error.args[0]} is missing"))
    except ValueError as error:
        problems += (Problem(str(path), line, key, message) for message in str(error).split("; "))
    except (TypeError, AttributeError) as error:
        problems.append(Problem(str(path), line, key, f"has not the form of a reference ({error})"))


def raise_all(problems: list[Problem]) -> None:
    """Raise InputError if there is anything to report."""
    if problems:
        raise InputError(problems)


def _text(path: Path) -> str:
    try:
        return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    except UNREADABLE as error:
        raise InputError([Problem(str(path), None, "", f"cannot be read: {error}")]) from None


def _object(path: Path) -> tuple[dict[str, Any], str]:
    """The JSON object in a file, and its text."""
    text = _text(path)
    try:
        value = read_value(text)
    except JsonError as error:
        raise InputError([Problem(str(path), error.line, "", str(error))]) from None
    if not isinstance(value, dict):
        raise InputError([Problem(str(path), 1, "", "must be an object by name")])
    return value, text


def _lines(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV file; InputError names the columns that it lacks."""
    reader = csv.DictReader(_text(path).splitlines())
    try:
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError([Problem(str(path), 1, "", f"columns missing: {', '.join(missing)}")])
        for row in reader:
            yield reader.line_num, {name: value or "" for name, value in row.items() if name is not None}
    except csv.Error as error:
        raise InputError([Problem(str(path), reader.line_num, "", f"is no comma-separated text: {error}")]) from None


def _whole(row: dict[str, str], name: str, least: int = 0) -> int:
    text = row[name].strip()
    if not text.removeprefix("-").isdecimal() or int(text) < least:
        raise ValueError(f"{name}: {text!r}, must be a whole number of at least {least}")
    return int(text)


def read_parameters(folder: Path) -> dict[str, dict[str, Any]]:
    """Parameter sets by name: those shipped, and over them those of the folder, of which each must describe a memory."""
    problems: list[Problem] = []
    path = folder / "parameters.json"
    if not path.is_file():
        return shipped_parameters()
    sets, text = _object(path)
    sets = {name: parameters for name, parameters in sets.items() if not name.startswith("_")}
    for name, parameters in sets.items():
        line = text[: max(text.find(json.dumps(name)), 0)].count("\n") + 1
        with located(path, line, name, problems):
            for mapping in parameters.get("mappings_msb_to_lsb", {}).values():
                build(replay_config(parameters, mapping), Clocks(1, 1, Fraction(1)), 1)
    raise_all(problems)
    return shipped_parameters() | sets


def named(parameters: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The parameter set called ``name``; ValueError lists the known ones."""
    if name not in parameters:
        raise ValueError(f"params: unknown parameter set {name!r}, allowed: {', '.join(parameters)}")
    return parameters[name]


def runs_path(folder: Path) -> Path | None:
    """The file of measured runs, if there is one."""
    return next((folder / name for name in ("reference_runs.csv", "reference_runs.csv.gz") if (folder / name).is_file()), None)


def read_runs(folder: Path) -> list[Run]:
    """All measured runs of a folder."""
    problems: list[Problem] = []
    runs: list[Run] = []
    path = runs_path(folder)
    if path is None:
        return []
    for line, row in _lines(path, ("params", "mapping", "refresh", "trace", "mode", "sim", "cycles")):
        with located(path, line, "", problems):
            if row["refresh"] not in ("True", "False"):
                raise ValueError(f"refresh: {row['refresh']!r}, must be True or False")
            names = (row["params"], row["mapping"], row["refresh"] == "True", row["trace"], row["mode"], row["sim"], row.get("tag", ""))
            runs.append(Run(line, *names, _whole(row, "cycles", 1)))
    raise_all(problems)
    return runs


def read_exact(path: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The exact cases, (parameter set, mapping, trace) to the figures; nothing if there is no file."""
    if not path.is_file():
        return {}
    problems: list[Problem] = []
    cases: dict[tuple[str, str, str], dict[str, Any]] = {}
    for point, traces in _object(path)[0].items():
        with located(path, 1, point, problems):
            parameters, slash, mapping = point.partition("/")
            if not (slash and isinstance(traces, dict)):
                raise ValueError("must be PARAMETERS/MAPPING with figures by trace")
            for trace, figures in traces.items():
                wrong = [key for key, value in figures.items() if isinstance(value, bool) or not isinstance(value, int | float)]
                if wrong:
                    raise ValueError(f"{trace}: {', '.join(wrong)} must be numbers")
                cases[parameters, mapping, trace] = figures
    raise_all(problems)
    return cases


def streams(folder: Path) -> list[Stream]:
    """The recorded command streams of a folder, in order of their names."""
    problems: list[Problem] = []
    found: list[Any] = []
    for path in sorted((folder / "commands").glob("*.csv*")):
        names = path.name.partition(".csv")[0].split("__")
        if len(names) == 3:
            found.append(Stream(path, *names))
        else:
            problems.append(Problem(str(path), None, "", "must be named PARAMETERS__TRACE__SOURCE.csv.gz"))
    raise_all(problems)
    return found


def _command(row: dict[str, str]) -> Command:
    name = row["cmd"]
    if name not in COMMANDS:
        raise ValueError(f"cmd: unknown command {name!r}, allowed: {', '.join(COMMANDS)}")
    group, bank = (max(_whole(row, key, -1), 0) for key in ("bg", "ba"))
    return Command(_whole(row, "cycle"), name, 0, group, bank, _whole(row, "row") if name in ("ACT", "RD", "WR") else ANY_ROW)


def recorded_commands(path: Path) -> list[Command]:
    """Commands of a recorded stream. The row of a PRE is that of the request behind it, so it is dropped."""
    problems: list[Problem] = []
    commands: list[Command] = []
    for line, row in _lines(path, ("cycle", "cmd", "bg", "ba", "row")):
        with located(path, line, "", problems):
            commands.append(_command(row))
    raise_all(problems)
    return commands
