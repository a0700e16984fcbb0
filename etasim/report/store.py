"""The result folder: results.json, layers.csv, run.yaml and run_info.json, written together; of values also training.csv and state.npz, of
a run with a series also series.npz. `etasim.report.reading` and `etasim.report.series` read them back.

All but run_info.json depend on the inputs only and are byte-identical whenever the inputs are; what the computer did (wall
time, speed, versions) goes to run_info.json.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import yaml

from etasim.config.errors import InputError, Problem
from etasim.config.files import close_to, read_regular
from etasim.config.scalars import PlainDumper
from etasim.core.provenance import note_read
from etasim.core.registry import PICTURES
from etasim.core.sealed import PART
from etasim.estimate.compared import doubts
from etasim.machine.inputs import FunctionalInputs
from etasim.machine.result import RunResult, Value
from etasim.report.board import board_rows
from etasim.report.glossary import columns
from etasim.report.metrics import energy_rows, layer_rows, rounded, summary
from etasim.report.staging import staged_folder
from etasim.workload import dump_network

SCHEMA_VERSION = 1
RESULTS, LAYERS, RUN, RUN_INFO = "results.json", "layers.csv", "run.yaml", "run_info.json"
DOUBTS = "estimate_doubts"
"""Of results.json: why an estimate may be further off than where it was compared."""
TRAINING, STATE = "training.csv", "state.npz"
SERIES = "series.npz"
VALUE_FILES = (TRAINING, STATE)
"""Written by functional runs only."""
TENSORS = "tensors.npz"
"""Arrays that a run in a Python session began with."""
CHECKPOINT = "checkpoint.npz"
"""Of a run that is not finished."""
OBSOLETE = (*VALUE_FILES, TENSORS, SERIES, CHECKPOINT, CHECKPOINT + PART)
"""What results of a run take the place of, where it does not write it itself."""
PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
MOST_BYTES = 1 << 28
"""Of a text file that is read."""


def results(result: RunResult) -> dict[str, Any]:
    """Content of results.json."""
    return {
        "schema_version": SCHEMA_VERSION,
        "architecture": result.architecture.name,
        "network": result.network.name,
        "fidelity": result.fidelity,
        **({DOUBTS: doubts_of(result)} if result.analytical else {}),
        "summary": summary(result),
        "components": components(result),
    }


def doubts_of(result: RunResult) -> list[str]:
    """Why an estimate may be further off than where it was compared with the cycle model; nothing of a simulation."""
    return doubts(result.architecture, len(result.layers), result.total_cycles) if result.analytical else []


def components(result: RunResult) -> dict[str, list[dict[str, Any]]]:
    """The counters of the machine's parts, the energy of each action, the resources of the board."""
    parts = result.components | {"energy": energy_rows(result), "board": board_rows(result.architecture)}
    return {name: [_plain(counters) for counters in instances] for name, instances in parts.items()}


def run_yaml(result: RunResult, functional: FunctionalInputs | None = None) -> str:
    """Content of run.yaml: every input of the simulation, resolved; `etasim run run.yaml` repeats it.

    ``functional``: what a run with values was given; files of tensors are named as they were given, not copied.
    """
    head = {
        "schema_version": SCHEMA_VERSION,
        "batch": result.batch,
        "phases": list(result.phases),
        "fidelity": result.fidelity,
        **({} if functional is None else {"functional": functional.recorded()}),
        "architecture": result.architecture.resolved(),
    }
    text = yaml.dump(head, Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    return f"{text}network:\n{indent(dump_network(result.network), '  ')}"


def result_files(functional: bool, series: bool = False) -> tuple[str, ...]:
    """Names of what a run writes into its folder."""
    return (RESULTS, LAYERS, RUN, RUN_INFO, *(VALUE_FILES if functional else ()), *([SERIES] if series else []))


def check_nothing_is_lost(folder: Path, resume: bool, force: bool) -> None:
    """Refuse a folder with a result of an earlier run, or in which a run could go on that is not to go on, unless it may go: InputError."""
    left = [] if force or resume else [name for name in (RESULTS, *VALUE_FILES) if (folder / name).exists()]
    messages = [f"holds {', '.join(left)} of an earlier run; choose another --out, or let"] if left else []
    if (folder / CHECKPOINT).exists() and not resume and not force:
        messages.append(f"holds {CHECKPOINT} of a run that is not finished: go on with --resume, choose another --out, or let")
    if messages:
        raise InputError(Problem(str(folder), None, "--out", f"{message} it go with --force") for message in messages)


def obsolete(folder: Path) -> tuple[str, ...]:
    """What a new result in ``folder`` takes the place of: `OBSOLETE`, and the pictures of the result before, with their tables."""
    if not any(path.suffix in PICTURE_SUFFIXES for path in folder.glob("*")):
        return OBSOLETE
    pictures = [f"{name}{suffix}" for name in PICTURES.names for suffix in (*PICTURE_SUFFIXES, ".csv")]
    return (*OBSOLETE, *(name for name in pictures if name not in (LAYERS, TRAINING)))


def write_results(
    result: RunResult, folder: Path, run_info: dict[str, Any], functional: FunctionalInputs | None = None, force: bool = False
) -> None:
    """Write the files of ``folder`` together: all of them appear, or none does. ``functional``: inputs of a run with values; arrays that
    come from no file are written too, so that run.yaml can name one.

    Raises OSError if the folder cannot be written, InputError if it holds a result already; with ``force`` that goes, and its pictures.
    """
    check_nothing_is_lost(folder, False, force)
    arrays = functional.arrays if functional is not None and not functional.tensors else {}
    if functional is not None and arrays:
        functional = functional._replace(tensors=(str(folder / TENSORS),))
    with staged_folder(folder, obsolete(folder)) as temporary:
        write_files(result, temporary, run_info, functional)
        if arrays:
            np.savez(temporary / TENSORS, **arrays)  # type: ignore[arg-type]  # a keyword of its own may not be in the way


def write_files(result: RunResult, folder: Path, run_info: dict[str, Any], functional: FunctionalInputs | None = None) -> None:
    """Write the files of a result into ``folder``, one after the other."""
    layers = layer_rows(result)
    texts = {
        RESULTS: json_text(results(result)),
        LAYERS: csv_text(tuple(layers[0]), layers),
        RUN: run_yaml(result, functional),
        RUN_INFO: json_text(run_info),
    }
    if result.values is not None:
        from etasim.report.training import training_rows, write_state

        texts[TRAINING] = csv_text(columns(TRAINING), training_rows(result.values))
        write_state(result.values, folder / STATE)
    if result.series is not None:
        from etasim.report.series import write_series

        write_series(result, result.series, folder, texts[RESULTS])
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def json_text(value: Any) -> str:
    """``value`` as indented JSON; refuses the non-numbers that JSON does not know."""
    return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def csv_text(columns: tuple[str, ...], rows: Sequence[Mapping[str, Value]], header: bool = True) -> str:
    """``rows`` as comma-separated text; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def number(cell: str) -> Value:
    """A cell of a CSV file as the int or float it was written from; None for an empty one. Raises ValueError."""
    if cell == "":
        return None
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def read_text(path: Path) -> str:
    """Text of the regular file ``path``; InputError if it is missing, unreadable, binary or larger than any that etasim writes."""
    note_read(path)
    try:
        return read_regular(path, MOST_BYTES).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        message = "damaged: not a text file"
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}{close_to(path) if isinstance(error, FileNotFoundError) else ''}"
    raise InputError([Problem(str(path), 1, "", message)])


def _plain(counters: dict[str, Any]) -> dict[str, Any]:
    """Counters as plain Python integers, whatever integer type the machine counted in; figures rounded as those of the summary."""
    return {name: _plain_value(value) for name, value in counters.items()}


def _plain_value(value: Any) -> Value:
    if value is None or isinstance(value, str):
        return value
    return rounded(value) if isinstance(value, float) else int(value)
