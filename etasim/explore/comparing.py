"""Two results, or two points of explorations, beside each other: what differs in the machine, in the figures, and layer by layer."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config import InputError, Problem
from etasim.config.errors import allowed_names
from etasim.core.registry import METRICS
from etasim.explore.database import DATABASE, Evaluations
from etasim.explore.design_space import leaves
from etasim.explore.reasons import known_fidelity
from etasim.explore.space import variant
from etasim.machine.result import TypedRow, Value
from etasim.report.glossary import SUMMARY, columns
from etasim.report.inputs import read_inputs
from etasim.report.metrics import rounded, summary
from etasim.report.reading import read_results
from etasim.report.store import RUN
from etasim.workload import dump_network


class Side(NamedTuple):
    """One of the two: a machine on a network. ``layers``: cycles by layer and phase."""

    name: str
    architecture: dict[str, Any]
    network: str
    network_text: str
    batch: int
    fidelity: str
    summary: TypedRow
    layers: Mapping[tuple[str, str], int]


def read_side(text: str, network: str | None) -> Side:
    """What A or B of `etasim compare` names: a folder of results, or DIR:POINT, a point of the exploration in DIR, on ``network``.

    A point's layers are not kept: it is evaluated again in its fidelity. Raises InputError.
    """
    folder, colon, point = text.rpartition(":")
    if colon and point.isdecimal() and not Path(text).exists():
        return _of_point(text, Path(folder), int(point), network)
    if (Path(text) / DATABASE).exists():
        raise InputError([Problem(text, None, "", f"holds an exploration; name one of its points, as {text}:POINT (`etasim best {text}`)")])
    stored = read_results(Path(text))
    inputs = read_inputs(str(Path(text) / RUN), None)
    layers = Counter[tuple[str, str]]()
    for row in stored.layers:
        layers[row.layer, row.phase] += row.cycles
    return Side(
        text, dict(leaves(inputs.architecture.resolved())), stored.network, dump_network(inputs.network), inputs.batch, stored.fidelity,
        stored.summary, layers,
    )  # fmt: skip


def _of_point(text: str, folder: Path, number: int, wanted: str | None) -> Side:
    from etasim import machine

    with Evaluations(folder) as evaluations:
        space = evaluations.space
        fidelity = known_fidelity(evaluations, number)
    names = [network.name for network in space.networks]
    if wanted is None and len(names) > 1:
        raise InputError([Problem("--network", None, "", f"must say which of the networks; {allowed_names('', names)}")])
    if wanted is not None and wanted not in names:
        raise InputError([Problem("--network", None, "", f"{wanted!r} is no network of {folder}; {allowed_names(wanted, names)}")])
    network = next(network for network in space.networks if wanted in (None, network.name))
    design = space.design(number)
    architecture, reason = (None, design.fault) if design.fault else variant(space.base, space.overrides(design))
    if architecture is None:
        raise InputError([Problem(text, None, "", f"no such machine: {reason}")])
    result = machine.simulate(architecture, network, batch=design.batch, phases=space.phases, fidelity=fidelity)
    layers = Counter[tuple[str, str]]()
    for row in result.layers:
        layers[row.layer, row.phase] += row.cycles
    return Side(
        f"{text} ({design.label})", dict(leaves(architecture.resolved())), network.name, dump_network(network), design.batch, fidelity,
        summary(result), layers,
    )  # fmt: skip


def compare(a: Side, b: Side) -> dict[str, Any]:
    """The answer of `etasim compare` as plain values. ``change_percent``: of B against A; ``gain_cycles``: what B saves.

    Layers are compared where both ran the same network.
    """
    keys = [key for key in {**a.architecture, **b.architecture} if a.architecture.get(key) != b.architecture.get(key)]
    same = a.network_text == b.network_text
    layers = []
    for layer, phase in {**a.layers, **b.layers} if same else ():
        own, other = a.layers.get((layer, phase)), b.layers.get((layer, phase))
        gain = own - other if own is not None and other is not None else None
        layers.append({"layer": layer, "phase": phase, "a_cycles": own, "b_cycles": other, "gain_cycles": gain})
    return {
        **{name: _about(side) for name, side in (("a", a), ("b", b))},
        "architecture": [{"key": key, "a": a.architecture.get(key), "b": b.architecture.get(key)} for key in keys],
        "metrics": [_metric(name, a.summary[name], b.summary[name]) for name in columns(SUMMARY) if METRICS[name].unit],
        "same_network": same, "layers": layers,
    }  # fmt: skip


def _about(side: Side) -> dict[str, Any]:
    return {"name": side.name, "network": side.network, "batch": side.batch, "fidelity": side.fidelity}


def _metric(name: str, a: Value, b: Value) -> dict[str, Any]:
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    change = rounded(100 * (b / a - 1)) if numbers and a else None  # type: ignore[operator]
    return {"name": name, "unit": METRICS[name].unit, "better": METRICS[name].better, "a": a, "b": b, "change_percent": change}
