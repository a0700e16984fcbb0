"""What the throughputs would be if one thing were different: sensitivity to each assumption, the bottleneck ladder, what-if rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from etasim.config import Architecture, InputError, load_architecture
from etasim.explore.evaluate import Evaluation, evaluate, one_line
from etasim.explore.keys import is_felt_by_estimate
from etasim.explore.space_file import ANALYTICAL
from etasim.explore.workers import Outcome, run_jobs
from etasim.machine.inputs import Inputs
from etasim.report.metrics import rounded
from etasim.report.published import ARCHITECTURE, NETWORKS
from etasim.workload import load_network
from etasim.workload.lowering import PHASES

ASSUMED = (
    "core.clock", "array.psum_depth", "array.stream_scratchpad", "array.stationary_scratchpad", "noc.link_width",
    "buffers.activation.size", "buffers.weight.size", "buffers.error.size", "dma.outstanding_bursts", "dram.channels",
    "dram.controller_latency", "dram.read_queue", "dram.write_queue", "unified_core.lanes", "unified_core.pipeline_depth",
    "controller.queue_depth", "training.batch",
)  # fmt: skip
"""Parameters that the sensitivity halves and doubles."""

LINK_WIDTH = "noc.link_width"
PARTS = {"DRAM": "dram.ideal", "NoC": "noc.ideal", "buffers": "buffers.ideal", "unified core": "unified_core.ideal"}
_WIDTHS = ("activation", "weight", "error", "pre_normalization", "weight_gradient", "master_weight", "momentum")
WITHOUT: dict[str, dict[str, Any]] = {
    "zeros inserted for strides": {"array.zero_insertion": True},
    "normalization over the batch, not overlapped": {"numerics.normalization": "batch"},
    "no multicast": {"noc.multicast": False},
}
"""Machines without one of ETA's ideas."""

_LANE = "unified_core.lane"
_FREE: dict[str, Any] = {f"{_LANE}.drained_sums": True, f"{_LANE}.plane_work": False, f"{_LANE}.divider_cycles": 4}
CHARGES: dict[str, dict[str, Any]] = {
    "sums for the mean ride on the drain": {f"{_LANE}.drained_sums": True},
    "work of each plane is free": {f"{_LANE}.plane_work": False},
    "quotients take 4 cycles": {f"{_LANE}.divider_cycles": 4},
    "these three": _FREE,
    "lanes of 3 multipliers, 6 adders": {f"{_LANE}.multipliers": 3, f"{_LANE}.adders": 6},
    "lanes of 2 multipliers, 4 adders": {f"{_LANE}.multipliers": 2, f"{_LANE}.adders": 4},
    "lanes of 1 multiplier, 2 adders": {f"{_LANE}.multipliers": 1, f"{_LANE}.adders": 2},
}
"""What the work of the unified core's lanes may be charged (docs/models/lane_work.md)."""
CHARGES_GROUP = "work of the lanes, charged otherwise"

FILLS: dict[str, dict[str, Any]] = {
    "aligning products of different scales: a cycle a pass": {"array.fill.pass": 1},
    "turning to another phase: 100 cycles": {"array.fill.phase": 100},
    "turning to another phase: 1,000 cycles": {"array.fill.phase": 1000},
}
"""What stands between the chunks of the array; none of it does on the shipped machine (docs/models/lane_work.md)."""
FILLS_GROUP = "what stands between chunks"

INSTEAD: dict[str, dict[str, Any]] = {"normalization by a running scale": {"numerics.normalization": "running"}}
"""Machines that do a thing in another way."""

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

UNFELT = "the estimate does not feel it"
"""The reason of a row that only the cycle model could tell (docs/keys.md)."""


class Case(NamedTuple):
    """A machine that differs from the architecture in ``overrides``; ``group`` and ``name`` say how."""

    group: str
    name: str
    overrides: dict[str, Any]


def cases(architecture: Architecture) -> list[Case]:
    """All cases; the first is the architecture as it is."""
    found = [Case("base", "as it is", {})]
    resolved = architecture.resolved()
    for key in ASSUMED:
        value = resolved
        for part in key.split("."):
            value = value[part]
        networks = resolved["noc"].get("networks") if key == LINK_WIDTH else None
        for step, factor in (("half", 0.5), ("double", 2)):
            overrides = {"noc.networks": _wider(networks, factor)} if networks else {key: scaled(value, factor)}
            found.append(Case(f"sensitivity {step}", key, overrides))
    found += [Case("ladder", name, {key: True}) for name, key in PARTS.items()]
    found.append(Case("ladder", "all together", dict.fromkeys(PARTS.values(), True)))
    for bits in (16, 32):
        wide = {f"data.{name}": f"{bits} bit" for name in _WIDTHS} | {"array.accumulator_width": f"{2 * bits + 32} bit"}
        found.append(Case("what if", f"{bits}-bit tensors", wide))
    found += [Case("what if", name, overrides) for name, overrides in (WITHOUT | INSTEAD).items()]
    found += [Case("what if", f"unified core of {n} lanes", {"unified_core.lanes": n}) for n in (8, 16, 32, 64, 128)]
    found.append(Case("what if", "dedicated units (ideal unified core)", {"unified_core.ideal": True}))
    found += [Case("what if", f"batch {n}", {"training.batch": n}) for n in BATCHES]
    return found + cases_of_charges()


def cases_of_charges() -> list[Case]:
    """Those of `CHARGES`."""
    return [Case(CHARGES_GROUP, name, overrides) for name, overrides in CHARGES.items()]


def cases_of_fills() -> list[Case]:
    """Those of `FILLS`."""
    return [Case(FILLS_GROUP, name, overrides) for name, overrides in FILLS.items()]


def _wider(networks: Sequence[Mapping[str, Any]], factor: float) -> list[dict[str, Any]]:
    """Physical networks with links ``factor`` times as wide: where there are some, no packet takes a main link."""
    return [{**network, "link_width": scaled(network["link_width"], factor)} for network in networks]


def scaled(value: Any, factor: float) -> Any:
    """A number, or a quantity such as ``250 MHz``, times ``factor``; whole numbers stay whole, and at least 1."""
    number, _, unit = str(value).partition(" ")
    product = float(number) * factor
    whole = max(int(product), 1) if product >= 1 or not unit else product
    if not unit:
        return whole
    return f"{product:g} {unit}" if product != int(product) else f"{int(product)} {unit}"


def vary(
    fidelity: str, workers: int, finished: Callable[[str], None], architecture: str = ARCHITECTURE, networks: Sequence[str] = NETWORKS,
    chosen: Sequence[Case] = (),
) -> list[dict[str, Any]]:  # fmt: skip
    """One row for each case (all, or those that are ``chosen``, the first without a change) and network: its figures, and its change
    against the architecture as it is."""
    base_machine = load_architecture(architecture)
    chosen = chosen or cases(base_machine)
    loaded = {name: load_network(name) for name in networks}
    rows: list[dict[str, Any]] = []
    jobs: list[Inputs] = []
    for case in chosen:
        for name in networks:
            row: dict[str, Any] = {"group": case.group, "name": case.name, "network": name, "fidelity": fidelity, "reason": None}
            row["architecture"] = base_machine.name
            rows.append(row)
            if fidelity == ANALYTICAL and case.overrides and not any(map(is_felt_by_estimate, case.overrides)):
                row["reason"] = UNFELT
                continue
            try:
                machine = load_architecture(architecture, case.overrides)
            except InputError as problem:
                row["reason"] = one_line(problem)
                continue
            row["job"] = len(jobs)
            jobs.append(Inputs(machine, loaded[name], machine.training.batch, PHASES, fidelity))
    measured: dict[int, Mapping[str, Any]] = {}

    def ended(index: int, outcome: Outcome) -> None:
        measured[index] = {"reason": outcome.error} if outcome.error else _figures(outcome.value)
        finished(jobs[index].network.name)

    run_jobs(evaluate, jobs, workers, finished=ended)
    base: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        row |= measured.get(row.pop("job", -1), {})
        base.setdefault(row["network"], row)
        own, reference = row.get("throughput_gops"), base[row["network"]].get("throughput_gops")
        row["change_percent"] = rounded(100 * (own / reference - 1)) if own and reference else None
    return rows


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    """What a row says of a simulation, or the reason why the machine cannot run the network."""
    if evaluation.summary is None:
        return {"reason": evaluation.reason}
    figures = {name: evaluation.summary[name] for name in ("throughput_gops", "total_cycles")}
    figures["dram_bytes"] = evaluation.figures.number("dram_read_bytes") + evaluation.figures.number("dram_write_bytes")
    return figures | {"phases": evaluation.phase_cycles}
