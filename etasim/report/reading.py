"""The files of a result folder read back: whole, of this version, with every value of the type that the glossary gives it."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etasim.config.base import MOST_NODES
from etasim.config.errors import InputError, Problem, allowed_names, key_text
from etasim.core.json_reading import JsonError, read_value
from etasim.core.registry import METRICS
from etasim.machine.arguments import FIDELITIES, shown
from etasim.machine.result import LayerRow, TypedRow, Value
from etasim.report.glossary import SUMMARY, columns, shown_columns
from etasim.report.session import InSession
from etasim.report.staging import finish_publication
from etasim.report.store import DOUBTS, LAYERS, RESULTS, SCHEMA_VERSION, number, read_text
from etasim.workload.lowering import PHASES

AGAIN = "run the simulation again"
MOST = 2**63
"""No count and no figure is as large."""
MOST_PROBLEMS = 20
"""That one file is told of."""
NEVER_UNKNOWN = ("total_cycles", "time_ms", "mac_units", "peak_gops", "batch", "phases", "core_clock_hz")
"""Figures of the summary that every result has."""
PLACES = {"noc_router": {"network": 1 << 6, "x": MOST_NODES, "y": MOST_NODES}, "noc_link": {"router": 1 << 16, "flits": MOST}}
"""Whole numbers, each below its bound, that the picture of the network needs of a component."""

Wrong = Iterator[tuple[tuple[str | int, ...], str]]
"""Key paths and what is wrong there."""


@dataclass(frozen=True, repr=False)
class StoredResult(InSession):
    """What a result folder holds: the ``fidelity``, why an estimate may be off (``doubts``), the ``summary``, the ``components`` and one
    dictionary per row of layers.csv; and what `InSession` does."""

    folder: Path
    architecture: str
    network: str
    fidelity: str
    summary: TypedRow
    components: dict[str, list[dict[str, Any]]]
    layers: list[LayerRow]
    doubts: tuple[str, ...] = ()

    @property
    def stored(self) -> "StoredResult":  # type: ignore[override]  # itself
        """The figures as its files have them."""
        return self

    @contextmanager
    def in_a_folder(self) -> "Iterator[StoredResult]":
        """The result where it is."""
        yield self

    @property
    def is_estimate(self) -> bool:
        """Whether the figures are of closed forms instead of a simulation."""
        return self.fidelity == "analytical"


def read_results(folder: Path) -> StoredResult:
    """Read results.json and layers.csv of ``folder``.

    Raises InputError that names the file and line of what is missing, damaged, of a wrong type or of another schema version.
    """
    finish_publication(folder)
    path = folder / RESULTS
    data = read_json(path)
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        message = f"is {shown(version)}; this version of etasim reads {SCHEMA_VERSION}"
        raise InputError([Problem(str(path), 1, "schema_version", message)])
    refuse(path, _wrong_results(data), AGAIN)
    architecture, network, fidelity = (data[key] for key in ("architecture", "network", "fidelity"))
    rows = _read_layers(folder / LAYERS)
    _check_rows(folder / LAYERS, rows, data["summary"]["total_cycles"])
    doubts = tuple(data.get(DOUBTS, ()))
    return StoredResult(folder, architecture, network, fidelity, TypedRow(data["summary"]), data["components"], rows, doubts)


def _check_rows(path: Path, rows: Sequence[LayerRow], total_cycles: int) -> None:
    """Refuse rows that are not those of the iteration: their shares of it add up to all of it."""
    counted = sum(row.cycles for row in rows)
    if counted != total_cycles:
        message = f"add up to {counted:,}, those of {RESULTS} beside it to {total_cycles:,}: rows are missing, or of another run"
        raise InputError([Problem(str(path), 1, "cycles", f"{message}; {AGAIN}")])


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises InputError for text that is none."""
    try:
        return read_value(read_text(path))
    except JsonError as error:
        raise InputError([Problem(str(path), error.line, "", f"damaged: {error}; {AGAIN}")]) from None


def refuse(path: Path, wrong: Wrong, advice: str) -> None:
    """Raises InputError with what is ``wrong`` with the file, if anything is."""
    problems = []
    for place, message in wrong:
        problems.append(Problem(str(path), 1, key_text(place), f"{message}; {advice}"))
        if len(problems) == MOST_PROBLEMS:
            break
    if problems:
        raise InputError(problems)


def is_figure(value: Any) -> bool:
    """Whether ``value`` can be a count or a figure: a number that is finite and not negative."""
    return type(value) in (int, float) and 0 <= value < MOST


def _wrong_results(data: Mapping[str, Any]) -> Wrong:
    doubts = data.get(DOUBTS, [])
    if not isinstance(doubts, list) or not all(isinstance(doubt, str) for doubt in doubts):
        yield (DOUBTS,), f"must be a list of texts, got {shown(doubts)}"
    kinds = {"architecture": str, "network": str, "fidelity": str, "summary": dict, "components": dict}
    for key, kind in kinds.items():
        if key not in data:
            yield (key,), "is missing"
        elif not isinstance(data[key], kind):
            yield (key,), f"must be {'a text' if kind is str else 'a section'}, got {shown(data[key])}"
        elif key == "fidelity" and data[key] not in FIDELITIES:
            yield (key,), f"unknown name {shown(data[key])}; {allowed_names(data[key], FIDELITIES)}"
        elif key == "summary":
            yield from _wrong_summary(data[key])
        elif key == "components":
            yield from _wrong_components(data[key])


def _wrong_summary(summary: Mapping[str, Any]) -> Wrong:
    for name in columns(SUMMARY):
        place, value = ("summary", name), summary.get(name)
        if name not in summary:
            yield place, "is missing"
        elif not METRICS[name].unit:
            if not isinstance(value, str):
                yield place, f"must be a text, got {shown(value)}"
        elif value is None:
            if name in NEVER_UNKNOWN:
                yield place, "must be a number, got null"
        elif not is_figure(value):
            yield place, f"must be a number, finite and not negative, or null, got {shown(value)}"
        elif name in NEVER_UNKNOWN and value == 0:
            yield place, "must be more than 0"


def _wrong_components(components: Mapping[str, Any]) -> Wrong:
    for name, instances in components.items():
        if not isinstance(instances, list) or not all(isinstance(instance, dict) for instance in instances):
            yield ("components", name), f"must be a list of sections, got {shown(instances)}"
            continue
        for i, instance in enumerate(instances):
            for key, value in instance.items():
                if not (value is None or isinstance(value, str) or is_figure(value)):
                    yield ("components", name, i, key), f"must be a text, a number, finite and not negative, or null, got {shown(value)}"
        wanted = NEEDED.get(name)
        if wanted is not None:
            yield from ((("components", name, i, *place), message) for i, one in enumerate(instances) for place, message in wanted(one))
    routers, links = (components.get(name) for name in ("noc_router", "noc_link"))
    if isinstance(routers, list) and isinstance(links, list):
        for i, link in enumerate(links):
            if isinstance(link, dict) and type(link.get("router")) is int and link["router"] >= len(routers):
                yield ("components", "noc_link", i, "router"), f"there is no router {shown(link['router'])}"


def _whole(name: str) -> Callable[[Mapping[str, Any]], Wrong]:
    def check(instance: Mapping[str, Any]) -> Wrong:
        for key, most in PLACES[name].items():
            value = instance.get(key)
            if type(value) is not int or not 0 <= value < most:
                yield (key,), f"must be a whole number below {most:,}, got {shown(value)}"
        if name == "noc_link" and not isinstance(instance.get("to"), str):
            yield ("to",), f"must be a text, got {shown(instance.get('to'))}"

    return check


def _columns(texts: tuple[str, ...], figures: tuple[str, ...], unknown: tuple[str, ...] = ()) -> Callable[[Mapping[str, Any]], Wrong]:
    """A check of the columns of a table: ``unknown`` are figures or null."""

    def check(instance: Mapping[str, Any]) -> Wrong:
        for key in (*texts, *figures, *unknown):
            value = instance.get(key)
            right = isinstance(value, str) if key in texts else is_figure(value) or (key in unknown and value is None and key in instance)
            if not right:
                yield (key,), f"must be {'a text' if key in texts else 'a number'}, got {shown(value)}"

    return check


NEEDED: dict[str, Callable[[Mapping[str, Any]], Wrong]] = {
    "noc_router": _whole("noc_router"),
    "noc_link": _whole("noc_link"),
    "energy": _columns(("component", "action", "excluded"), ("assumed",), ("energy_mj",)),
    "board": _columns(("resource",), ("used", "available", "share_percent", "fits", "estimate")),
}
"""What tables and pictures need of the instances of a component."""


def _read_layers(path: Path) -> list[LayerRow]:
    text = read_text(path)
    reader = csv.reader(io.StringIO(text), strict=True)
    rows: list[LayerRow] = []
    try:
        header = next(reader, [])
        if tuple(header) != shown_columns(LAYERS, header):
            strange = "not the columns of this version of etasim and of the packages that add to it"
            raise InputError([Problem(str(path), 1, "", f"damaged: {strange}; {AGAIN}")])
        if not text.endswith("\n"):
            raise InputError([Problem(str(path), text.count("\n") + 1, "", f"damaged: the last line is cut; {AGAIN}")])
        for cells in reader:
            rows.append(LayerRow({name: _cell(name, cell) for name, cell in zip(header, cells, strict=True)}))
    except (ValueError, csv.Error) as error:
        raise InputError([Problem(str(path), reader.line_num, "", f"damaged: {error}; {AGAIN}")]) from None
    if not rows:
        raise InputError([Problem(str(path), 1, "", f"damaged: it has no rows; {AGAIN}")])
    return rows


def _cell(name: str, cell: str) -> Value:
    """A cell of layers.csv. Raises ValueError for one that the column cannot hold."""
    if not METRICS[name].unit:
        if name == "phase" and cell not in PHASES:
            raise ValueError(f"unknown phase {shown(cell)}")
        return cell
    try:
        value = number(cell)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {shown(cell)}") from None
    if value is not None and not is_figure(value):
        raise ValueError(f"{name} must be a number, finite and not negative, got {shown(cell)}")
    if name in ("macs", "cycles") and not isinstance(value, int):
        raise ValueError(f"{name} is missing" if value is None else f"{name} must be a whole number, got {shown(cell)}")
    return value
