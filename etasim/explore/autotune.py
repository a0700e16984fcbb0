"""The best of several plans for each operation, by the cycle model: ``etasim run --autotune K``.

The planner orders mappings by a closed form. Here its best and K - 1 others that the estimate recommends (`etasim.explore.shortlist`) are
simulated, operation by operation in the order of the program, each within the whole iteration, and the quickest stays. Operations of one
shape with the same neighbours are planned as one, and tuned as one. What was simulated is kept beside the results, so tuning goes on where
it was left.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from etasim.config import Architecture
from etasim.core.errors import InfeasibleError
from etasim.explore.pinned_iterations import PinnedIterations
from etasim.explore.shortlist import TunedOperation, shortlist
from etasim.machine.inputs import Inputs
from etasim.mapping.mapper import asked_of
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
    """``inputs.architecture`` with the quickest of ``n_best`` plans for each operation. ``told`` is called with a line for each
    group of operations. The result does not depend on the number of workers.

    Raises InfeasibleError if the iteration cannot run as it is, ConservationError if a simulation breaks a rule of the machine.
    """
    inputs = inputs.in_blocks
    tuner, machine, changes = PinnedIterations(inputs, workers, folder / FILE), inputs.architecture, []
    estimates = PinnedIterations(inputs._replace(fidelity="analytical"), 1, None)
    operations = _operations(inputs)
    first = tuner.cycles([machine])[0]
    if first is None:
        raise InfeasibleError("autotune: the iteration cannot run as it is")
    now = first
    for number, operation in enumerate(operations, 1):
        others = shortlist(machine, operation, n_best, estimates.cycles)[1:]
        pinned, names = [operation.pinned(machine, plan) for _, plan in others], operation.names
        found = [(cycles, i) for i, cycles in enumerate(tuner.cycles(pinned)) if cycles is not None]
        best, which = min(found, default=(now, 0))
        if best < now:
            changes.append(TunedPlan(names, others[which][0], now, best))
            now, machine = best, pinned[which]
        told(f"{number} of {len(operations)}: {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {now:,} cycles")
    return Tuned(machine, first, now, tuple(changes), tuner.n_simulated)


def _operations(inputs: Inputs) -> list[TunedOperation]:
    """Those that are planned as one together, in the order of the program."""
    array, asked = asked_of(*inputs[:4])
    groups: dict[tuple[ConvProblem, Pinned], list[str]] = {}
    for name, problem, pins in asked:
        groups.setdefault((problem, pins), []).append(name)
    return [TunedOperation(tuple(dict.fromkeys(names)), array, *key) for key, names in groups.items()]


def summary_lines(tuned: Tuned) -> Iterator[str]:
    """What tuning gained, for the terminal."""
    gain = 100 * (tuned.before - tuned.after) / tuned.before
    yield f"autotune: {tuned.before:,} -> {tuned.after:,} cycles (-{gain:.2f} %), {tuned.n_simulated} iterations simulated"
    for change in tuned.changes:
        gained = 100 * (change.before - change.after) / change.before
        yield f"  plan {change.rank} of {', '.join(change.operations)}: -{gained:.2f} %"
