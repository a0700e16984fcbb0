"""The best of several plans for each operation, by the cycle model: ``etasim run --autotune K``.

The planner orders mappings by a closed form. Here the best K of its order are simulated, operation by operation in the order of the
program, each within the whole iteration, and the quickest stays. Operations of one shape with the same neighbours are planned as one, and
tuned as one. What was simulated is kept beside the results, so tuning goes on where it was left.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from etasim.config import Architecture
from etasim.core.errors import InfeasibleError
from etasim.explore.pinned_iterations import PinnedIterations, with_plan
from etasim.machine.inputs import Inputs
from etasim.mapping.mapper import asked_of
from etasim.schedule.mappers import mapper_of
from etasim.schedule.pinning import pins_of
from etasim.schedule.problem import ConvProblem, Pinned

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


def autotune(inputs: Inputs, n_best: int, workers: int, folder: Path, told: Callable[[str], None] = lambda text: None) -> Tuned:
    """``inputs.architecture`` with the quickest of the best ``n_best`` plans for each operation. ``told`` is called with a line for each
    group of operations. The result does not depend on the number of workers.

    Raises InfeasibleError if the iteration cannot run as it is, ConservationError if a simulation breaks a rule of the machine.
    """
    inputs = inputs.in_blocks
    tuner, machine, changes = PinnedIterations(inputs, workers, folder / FILE), inputs.architecture, []
    groups = _groups(inputs)
    first = tuner.cycles([machine])[0]
    if first is None:
        raise InfeasibleError("autotune: the iteration cannot run as it is")
    now = first
    for number, (names, array, problem, pins) in enumerate(groups, 1):
        plans = mapper_of(inputs.architecture.mapper)(array, problem, n_best, pins)[1:]
        others = [with_plan(machine, names, pins_of(plan, problem.phase, array)) for plan in plans]
        found = [(cycles, rank) for rank, cycles in enumerate(tuner.cycles(others), 2) if cycles is not None]
        best = min(found, default=(now, 1))
        if best[0] < now:
            changes.append(TunedPlan(names, best[1], now, best[0]))
            now, machine = best[0], others[best[1] - 2]
        told(f"{number} of {len(groups)}: {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {now:,} cycles")
    return Tuned(machine, first, now, tuple(changes), tuner.n_simulated)


def _groups(inputs: Inputs) -> list[tuple[tuple[str, ...], Any, ConvProblem, Pinned]]:
    """Operations that are planned as one, in the order of the program: names, array, problem, pins."""
    array, asked = asked_of(*inputs[:4])
    groups: dict[tuple[ConvProblem, Pinned], list[str]] = {}
    for name, problem, pins in asked:
        groups.setdefault((problem, pins), []).append(name)
    return [(tuple(dict.fromkeys(names)), array, *key) for key, names in groups.items()]


def summary_lines(tuned: Tuned) -> Iterator[str]:
    """What tuning gained, for the terminal."""
    gain = 100 * (tuned.before - tuned.after) / tuned.before
    yield f"autotune: {tuned.before:,} -> {tuned.after:,} cycles (-{gain:.2f} %), {tuned.n_simulated} iterations simulated"
    for change in tuned.changes:
        gained = 100 * (change.before - change.after) / change.before
        yield f"  plan {change.rank} of {', '.join(change.operations)}: -{gained:.2f} %"
