"""The best of several plans for each operation, by the cycle model: ``etasim run --autotune K``.

The planner orders mappings by a closed form. Here the best K of its order are simulated, operation by operation in the order of the
program, each within the whole iteration, and the quickest stays. Operations of one shape with the same neighbours are planned as one, and
tuned as one. What was simulated is kept beside the results, so tuning goes on where it was left.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config import Architecture, Pins
from etasim.core.errors import InfeasibleError
from etasim.core.json_reading import read_value
from etasim.explore.design_space import code_version, digest_of
from etasim.explore.evaluate import Evaluation, evaluate
from etasim.explore.workers import Outcome, run_jobs
from etasim.machine.errors import ConservationError
from etasim.machine.inputs import Inputs
from etasim.mapping.mapper import asked_of
from etasim.schedule.mappers import mapper_of
from etasim.schedule.pinning import pins_of
from etasim.schedule.problem import ConvProblem, Pinned
from etasim.workload import dump_network

FILE = "autotune.jsonl"
"""In the folder of the results: a line for each iteration that was simulated."""


class TunedPlan(NamedTuple):
    """Operations whose plan is now number ``rank`` of the planner's order (from 1), and cycles of the iteration before and with it."""

    operations: tuple[str, ...]
    rank: int
    before: int
    after: int


class Tuned(NamedTuple):
    """The architecture with the plans that were found pinned, cycles of the iteration before and after, and what changed."""

    architecture: Architecture
    before: int
    after: int
    changes: tuple[TunedPlan, ...]
    n_simulated: int


class _Cache:
    """Cycles by a digest of what they depend on, a line each, on disk as soon as they are known; a last line that was cut short is left
    out."""

    def __init__(self, path: Path):
        self._path = path
        self.cycles: dict[str, int | None] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        self._ends_line = text[-1:] in ("", "\n")
        for line in text.splitlines():
            try:
                entry = read_value(line)
                self.cycles[entry["key"]] = entry["cycles"]
            except (ValueError, KeyError, TypeError):
                continue

    def add(self, key: str, cycles: int | None) -> None:
        self.cycles[key] = cycles
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(("" if self._ends_line else "\n") + json.dumps({"key": key, "cycles": cycles}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._ends_line = True


class _Tuner:
    """Simulates iterations with other pins; ``n_simulated`` now, and not known from before."""

    def __init__(self, inputs: Inputs, workers: int, cache: _Cache):
        self._inputs, self._workers, self._cache = inputs._replace(functional=None), workers, cache
        resolved = inputs.architecture.resolved()
        resolved.pop("mapping", None)
        rest = [resolved, dump_network(inputs.network), inputs.batch, inputs.phases, inputs.fidelity]
        self._identity, self.n_simulated = digest_of([code_version(), *rest]), 0

    def cycles(self, machines: Sequence[Architecture]) -> list[int | None]:
        """Cycles of an iteration on each of ``machines``; None where it cannot run."""
        keys = [digest_of([self._identity, machine.resolved().get("mapping", {})]) for machine in machines]
        unknown = [i for i, key in enumerate(keys) if key not in self._cache.cycles]

        def ended(number: int, outcome: Outcome) -> None:
            found = Evaluation("failed", outcome.error) if outcome.error else outcome.value
            if found.status == "failed":
                raise ConservationError(f"autotune: {found.reason}")
            self._cache.add(keys[unknown[number]], found.figures.count("total_cycles") if found.status == "ok" else None)

        run_jobs(evaluate, [self._inputs._replace(architecture=machines[i]) for i in unknown], self._workers, finished=ended)
        self.n_simulated += len(unknown)
        return [self._cache.cycles[key] for key in keys]


def autotune(inputs: Inputs, n_best: int, workers: int, folder: Path, told: Callable[[str], None] = lambda text: None) -> Tuned:
    """``inputs.architecture`` with the quickest of the best ``n_best`` plans for each operation. ``told`` is called with a line for each
    group of operations. The result does not depend on the number of workers.

    Raises InfeasibleError if the iteration cannot run as it is, ConservationError if a simulation breaks a rule of the machine.
    """
    tuner, machine, changes = _Tuner(inputs, workers, _Cache(folder / FILE)), inputs.architecture, []
    groups = _groups(inputs)
    first = tuner.cycles([machine])[0]
    if first is None:
        raise InfeasibleError("autotune: the iteration cannot run as it is")
    now = first
    for number, (names, array, problem, pins) in enumerate(groups, 1):
        plans = mapper_of(inputs.architecture.mapper)(array, problem, n_best, pins)[1:]
        others = [_pinned(machine, names, pins_of(plan, problem.phase, array.clusters)) for plan in plans]
        found = [(cycles, rank) for rank, cycles in enumerate(tuner.cycles(others), 2) if cycles is not None]
        best = min(found, default=(now, 1))
        if best[0] < now:
            changes.append(TunedPlan(names, best[1], now, best[0]))
            now, machine = best[0], others[best[1] - 2]
        told(f"{number} of {len(groups)}: {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {now:,} cycles")
    return Tuned(machine, first, now, tuple(changes), tuner.n_simulated)


def _groups(inputs: Inputs) -> list[tuple[tuple[str, ...], Any, ConvProblem, Pinned]]:
    """Operations that are planned as one, in the order of the program: names, array, problem, pins."""
    array, asked = asked_of(inputs.architecture, inputs.network, inputs.batch, inputs.phases)
    groups: dict[tuple[ConvProblem, Pinned], list[str]] = {}
    for name, problem, pins in asked:
        groups.setdefault((problem, pins), []).append(name)
    return [(tuple(dict.fromkeys(names)), array, *key) for key, names in groups.items()]


def _pinned(machine: Architecture, names: Sequence[str], pins: Mapping[str, Any]) -> Architecture:
    """``machine`` with the plan of ``names`` pinned, before what it pins by patterns."""
    own = dict.fromkeys(names, Pins.model_validate(pins))
    rest = {pattern: each for pattern, each in machine.mapping.pins.items() if pattern not in own}
    return machine.model_copy(update={"mapping": machine.mapping.with_pins(own | rest)})


def summary_lines(tuned: Tuned) -> Iterator[str]:
    """What tuning gained, for the terminal."""
    gain = 100 * (tuned.before - tuned.after) / tuned.before
    yield f"autotune: {tuned.before:,} -> {tuned.after:,} cycles (-{gain:.2f} %), {tuned.n_simulated} iterations simulated"
    for change in tuned.changes:
        gained = 100 * (change.before - change.after) / change.before
        yield f"  plan {change.rank} of {', '.join(change.operations)}: -{gained:.2f} %"
