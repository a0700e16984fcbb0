"""How near the best is the chosen plan? Nests of small operations in the cycle model, each within a small iteration of its own."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import yaml

from etasim import machine
from etasim.config import Architecture, load_architecture
from etasim.explore.pinned_iterations import PinnedIterations, with_plan
from etasim.explore.selfcheck.bars import bar
from etasim.explore.shortlist import TunedOperation, shortlist
from etasim.machine.inputs import Inputs
from etasim.mapping import Mapping as TileMapping
from etasim.mapping.mapper import asked_of, map_iteration
from etasim.program.commands import engines_of
from etasim.program.durations import compute_cycles
from etasim.report.metrics import rounded
from etasim.report.staging import write_text
from etasim.schedule.array import ArraySizes, array_of
from etasim.schedule.every_plan import every_plan
from etasim.schedule.pinning import pins_of
from etasim.schedule.problem import NOTHING_PINNED, ConvProblem, Plan
from etasim.workload import load_network

FILE = "nests.jsonl"
"""In the folder of the study: a line for each iteration that was simulated."""

AT_ONCE = 32
"""Iterations that are simulated before the best of them rules out others; the result does not depend on the number of workers."""

CHOSEN_PERCENT, MEAN_PERCENT, TUNED_PERCENT = 1.5, 0.5, 0.5
"""The bars: how far the chosen plan may be from the best, the mean of that, and how far the best of a few simulated ones may be."""

PHASES = {"ff": ("ff",), "bp": ("bp", "wg"), "wg": ("bp", "wg")}
"""Phases of the iteration in which the nests of a phase are tried: BP and WG of a layer work side by side."""

LAYER = "conv"
"""The layer whose nests are tried."""

OWN = {"ff": (LAYER, "norm", "relu"), "bp": (LAYER, "norm_before", "relu_before"), "wg": (LAYER,)}
"""Layers whose rows are the operation, with what the unified core makes of its results."""


class SmallLayer(NamedTuple):
    """A convolution of ``batch`` samples of ``in_channels`` maps of ``size`` x ``size`` pixels, on a shipped machine."""

    name: str
    architecture: str
    batch: int
    in_channels: int
    size: int
    out_channels: int
    kernel: int
    stride: int = 1

    def trace(self) -> dict[str, Any]:
        """A network of the layer with what stands around it in those of the paper, as a trace."""
        out_size = -(-self.size // self.stride)
        about = {"out_channels": self.out_channels, "kernel": self.kernel, "stride": self.stride, "padding": self.kernel // 2}
        layers = [
            {"name": "before", "op": "conv", "out_channels": self.in_channels, "kernel": 1}, {"name": "norm_before", "op": "norm"},
            {"name": "relu_before", "op": "relu"}, {"name": LAYER, "op": "conv", **about}, {"name": "norm", "op": "norm"},
            {"name": "relu", "op": "relu"}, {"name": "pool", "op": "avgpool", "kernel": out_size},
        ]  # fmt: skip
        maps = {"channels": self.in_channels, "height": self.size, "width": self.size}
        return {"name": self.name, "input": maps, "classes": self.out_channels, "layers": layers}


LAYERS = (
    SmallLayer("small_square", "eta_small", 3, 8, 8, 8, 3),
    SmallLayer("small_strided", "eta_small", 4, 8, 8, 12, 3, 2),
    SmallLayer("small_pointwise", "eta_small", 4, 16, 6, 12, 1),
    SmallLayer("small_wide", "eta_small", 2, 4, 7, 6, 5),
    SmallLayer("small_deep", "eta_small", 4, 24, 2, 24, 3),
    SmallLayer("resnet20_first", "eta_vc709", 2, 16, 32, 16, 3),
    SmallLayer("resnet20_strided", "eta_vc709", 2, 16, 32, 32, 3, 2),
    SmallLayer("resnet20_last", "eta_vc709", 2, 64, 8, 64, 3),
    SmallLayer("pointwise", "eta_vc709", 2, 64, 16, 64, 1),
    SmallLayer("vgg16_narrow", "eta_vc709", 2, 256, 4, 256, 3),
)
"""Five for each machine: of first and last stages, with a stride, of one kernel position, of many channels on few pixels."""


class PinnedNest(NamedTuple):
    """A plan, the machine that has it pinned, and a digest of the program that comes of it with cycles in which it cannot be done."""

    plan: Plan
    machine: Architecture
    program: str
    least_cycles: int


class Trying:
    """The nests of one phase of a layer. ``folder`` keeps the trace and what was simulated."""

    def __init__(self, layer: SmallLayer, phase: str, folder: Path, workers: int):
        self.layer, self.phase = layer, phase
        network = load_network(_written(layer, folder))
        self._inputs = Inputs(load_architecture(layer.architecture), network, layer.batch, PHASES[phase])
        self._iterations = PinnedIterations(self._inputs, workers, folder / FILE)
        self._estimates = PinnedIterations(self._inputs._replace(fidelity="analytical"), 1, None)
        self._cycles: dict[str, int | None] = {}

    @cached_property
    def asked(self) -> tuple[ArraySizes, ConvProblem]:
        """What the planner is asked."""
        architecture, network, batch, phases, *_ = self._inputs
        array, asked = asked_of(architecture, network, batch, phases)
        return array, next(each.problem for each in asked if each.name == f"{LAYER}.{self.phase}")

    def shortlisted(self, n_best: int) -> list[Plan]:
        """The plan that is chosen, and the others that ``--autotune`` would simulate."""
        operation = TunedOperation((f"{LAYER}.{self.phase}",), *self.asked, NOTHING_PINNED)
        return [plan for _, plan in shortlist(self._inputs.architecture, operation, n_best, self._estimates.cycles)]

    @cached_property
    def plans(self) -> list[Plan]:
        """All of the operation, by cycles of the closed form."""
        return every_plan(*self.asked)

    def nest(self, plan: Plan) -> PinnedNest:
        """A plan as a program."""
        architecture, network, batch, phases, *_ = self._inputs
        pinned = with_plan(architecture, (f"{LAYER}.{self.phase}",), self.pins(plan))
        mapping = map_iteration(pinned, network, batch, phases)
        return PinnedNest(plan, pinned, _digest(mapping), _least_cycles(mapping))

    def pins(self, plan: Plan) -> dict[str, Any]:
        """``plan`` as YAML pins it."""
        return pins_of(plan, self.phase, array_of(self._inputs.architecture))

    def cycles(self, nests: Sequence[PinnedNest]) -> list[int | None]:
        """Of the iteration; equal programs are simulated once."""
        unknown = {nest.program: nest for nest in nests if nest.program not in self._cycles}
        self._cycles |= dict(zip(unknown, self._iterations.cycles([nest.machine for nest in unknown.values()]), strict=True))
        return [self._cycles[nest.program] for nest in nests]

    @property
    def n_programs(self) -> int:
        """Different ones so far."""
        return len(self._cycles)

    def own_cycles(self, nest: PinnedNest) -> int:
        """Those of the rows of the operation, from when the one before it retires to when its last step does; or those that a cluster
        multiplies for it, if these are more because it works beside others."""
        result = machine.simulate_inputs(self._inputs._replace(architecture=nest.machine))
        rows = [row for row in result.layers if row.layer in OWN[self.phase] and row.phase == self.phase]
        busy = sum(row.count("cluster_busy_cycles") for row in rows) // self._inputs.architecture.array.clusters
        own: int = max(sum(row.count("cycles") for row in rows), busy)
        return own


def _written(layer: SmallLayer, folder: Path) -> Path:
    path = folder / f"{layer.name}.yaml"
    write_text(path, yaml.safe_dump(layer.trace(), sort_keys=False))
    return path


def _digest(mapping: TileMapping) -> str:
    """Of all that the machine reads of a program."""
    found = hashlib.sha256(repr(mapping.routes).encode())
    for table in mapping.program:
        found.update(table.tobytes())
    return found.hexdigest()


def _least_cycles(mapping: TileMapping) -> int:
    """Cycles that the busiest cluster multiplies: no iteration with this program takes fewer."""
    program, durations = mapping.program, compute_cycles(mapping.program)
    ends = [program.engine_start[engine : engine + 2] for engine in engines_of(program).computes]
    return max(int(durations[program.commands["row"][first:end]].sum()) for first, end in ends)


def study(
    layers: Sequence[SmallLayer], n_tuned: int, within_percent: float, folder: Path, workers: int,
    told: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:  # fmt: skip
    """What all phases of ``layers`` came to (`tried`), and the bars; ``told`` is called with the name of each when it is done.

    Raises ConservationError if a simulation breaks a rule of the machine."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for layer in layers:
        for phase in PHASES:
            found.append(tried(Trying(layer, phase, folder, workers), n_tuned, within_percent))
            told(f"{layer.name} {phase}")
    return findings(found)


def tried(trying: Trying, n_tuned: int, within_percent: float) -> dict[str, Any]:
    """The chosen plan, the best of the ``n_tuned`` that would be tuned, and the best of all, as plain values.

    Simulated are nests in the order of the closed form, up to those that it has ``within_percent`` of its best; none whose program was
    simulated already, or whose busiest cluster alone multiplies longer than the best iteration found takes.
    """
    plans, own_best = trying.plans, trying.shortlisted(n_tuned)
    first = [trying.nest(plan) for plan in own_best]
    of_first = [cycles for cycles in trying.cycles(first) if cycles is not None]
    best_cycles, best = min((cycles, i) for i, cycles in enumerate(of_first))
    found, n_ruled_out = first[best], 0
    wanted = [plan for plan in plans if plan.cycles <= plans[0].cycles * (1 + within_percent / 100) and plan not in own_best]
    for start in range(0, len(wanted), AT_ONCE):
        nests = [trying.nest(plan) for plan in wanted[start : start + AT_ONCE]]
        promising = [nest for nest in nests if nest.least_cycles < best_cycles]
        n_ruled_out += len(nests) - len(promising)
        for nest, cycles in zip(promising, trying.cycles(promising), strict=True):
            if cycles is not None and cycles < best_cycles:
                best_cycles, found = cycles, nest
    own, took = trying.own_cycles(found), {"chosen": of_first[0], "tuned": min(of_first), "best": best_cycles}
    percents = {f"{name}_percent": rounded(100 * (took[name] - best_cycles) / own) for name in ("chosen", "tuned")}
    counts = {"nests": len(plans), "tried": len(first) + len(wanted), "ruled_out": n_ruled_out, "programs": trying.n_programs}
    about = {"layer": trying.layer.name, "architecture": trying.layer.architecture, "batch": trying.layer.batch, "phase": trying.phase}
    both = {"chosen": own_best[0], "best": found.plan}
    return {
        **about, **counts, **percents, "own_cycles": own, "iteration_cycles": took, "best_rank": plans.index(found.plan) + 1,
        "planned_cycles": {name: plan.cycles for name, plan in both.items()},
        "pins": {name: trying.pins(plan) for name, plan in both.items()},
    }  # fmt: skip


def findings(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All operations, and the bars, as plain values."""
    chosen, tuned = ([each[f"{name}_percent"] for each in told] for name in ("chosen", "tuned"))
    bars = [
        bar("chosen plan behind the best, worst, in %", max(chosen, default=None), CHOSEN_PERCENT),
        bar("chosen plan behind the best, mean, in %", fmean(chosen) if chosen else None, MEAN_PERCENT),
        bar("best of the tuned behind the best, worst, in %", max(tuned, default=None), TUNED_PERCENT),
    ]
    return {"operations": list(told), "bars": bars}
