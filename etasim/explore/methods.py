"""Which designs to look at next. A method is asked for a few at a time and told their scores; what it asks for depends on these alone, so
that a search is the same whatever the number of workers, and can be repeated from what is on disk."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

from etasim.config import InputError, Problem
from etasim.explore.design_space import DesignSpace
from etasim.explore.pareto import pareto_front, ranked
from etasim.explore.scores import Score, directions

CHUNK = 512
"""Designs that are asked for at a time where scores make no difference."""
LARGEST_POPULATION = 48
EPOCH = 800
"""Trials of a sampler of nsga2."""
GUESSES = 8
"""Designs that TPE proposes at a time."""
STALE = 12
"""Times in a row that a search may propose nothing new before it ends."""


class Method(Protocol):
    """A search: `ask` for numbers of designs, none twice, until there are none; `tell` their scores, in their order."""

    def ask(self) -> list[int]:
        """Designs to evaluate next; empty at the end."""

    def tell(self, scores: Sequence[Score]) -> None:
        """The scores of what was asked for last."""


class Listed:
    """Designs in an order that scores do not change."""

    def __init__(self, numbers: Iterator[int], budget: int) -> None:
        self._numbers, self._left = numbers, budget

    def ask(self) -> list[int]:
        """The next ones."""
        found = list(islice(self._numbers, min(CHUNK, self._left)))
        self._left -= len(found)
        return found

    def tell(self, scores: Sequence[Score]) -> None:
        """Nothing follows from it."""


def _grid(space: DesignSpace, budget: int, _seed: int) -> Method:
    return Listed(iter(range(space.size)), budget)


def _random(space: DesignSpace, budget: int, seed: int) -> Method:
    return Listed(_shuffled(space.size, random.Random(seed)), budget)


def _shuffled(size: int, source: random.Random) -> Iterator[int]:
    """All numbers below ``size`` in random order; memory grows with those that were taken (Fisher and Yates, 1938, on a sparse array)."""
    moved: dict[int, int] = {}
    for i in range(size):
        j = source.randrange(i, size)
        chosen = moved.pop(j, j)
        if j != i:
            moved[j] = moved.pop(i, i)
        yield chosen


class Guided:
    """A sampler of optuna through ask and tell, on the steps of the axes.

    What it proposes again is told again without being evaluated. Where fewer than half of its proposals are new, the rest are
    neighbours of the front so far, one step along one axis, in a random order: in a space of steps the sampler alone would go round
    in circles.
    """

    def __init__(self, space: DesignSpace, budget: int, seed: int, sampler: Callable[[int], Any], at_a_time: int, epoch: int) -> None:
        """``sampler`` is made from a seed; after ``epoch`` trials a new one goes on from the best designs so far, because the time that a
        sampler needs for a proposal grows with the trials that it has seen."""
        self._space, self._left, self._at_a_time = space, min(budget, space.size), at_a_time
        self._source, self._sampler, self._epoch = random.Random(seed), sampler, epoch
        self._study = self._new_study()
        self._seen: dict[int, Score] = {}
        self._asked: list[int] = []
        self._trials: list[tuple[Any, int]] = []

    def _new_study(self) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        names = [objective.direction for objective in self._space.objectives]
        self._n_trials = 0
        return optuna.create_study(directions=names, sampler=self._sampler(self._source.randrange(2**31)))

    def ask(self) -> list[int]:
        """A generation; empty when the budget is spent, or nothing new is found."""
        for _ in range(STALE):
            self._asked = self._proposed()
            if self._asked or not self._left:
                break
            self.tell([])
        return self._asked

    def tell(self, scores: Sequence[Score]) -> None:
        """Let the sampler know: the violation of the constraints, and the objectives, 0 where they are not known."""
        self._seen |= dict(zip(self._asked, scores, strict=True))
        for trial, number in self._trials:
            score = self._seen[number]
            trial.set_constraint("violation", score.violation)
            self._study.tell(trial, [value or 0.0 for value in score.values])
        self._trials = []

    def _proposed(self) -> list[int]:
        """New designs of this generation; its trials, old designs included, wait for their scores."""
        if not self._left:
            return []
        if self._n_trials >= self._epoch:
            self._study = self._new_study()
            for number in self._best(self._at_a_time):
                self._enqueue(number)
        new = self._taken(self._at_a_time)
        missing = (min(self._at_a_time, self._left) + 1) // 2 - len(new)
        if missing > 0:
            for number in self._neighbours(missing, {*self._seen, *new}):
                self._enqueue(number)
                new += self._taken(1)
        self._left -= len(new)
        return new

    def _best(self, most: int) -> list[int]:
        """The best designs so far: front after front, then those that are closest to meeting the constraints."""
        feasible = [score for score in self._seen.values() if score.is_feasible]
        best = (
            [feasible[i] for i in ranked([score.known for score in feasible], directions(self._space.objectives), most)] if feasible else []
        )
        others = (score for score in self._seen.values() if not score.is_feasible)
        best += sorted(others, key=lambda score: (score.violation, score.number))[: most - len(best)]
        return [score.number for score in best]

    def _enqueue(self, number: int) -> None:
        """Let the sampler's next trial be this design."""
        self._study.enqueue_trial(dict(zip((axis.name for axis in self._space.axes), self._space.steps(number), strict=True)))

    def _taken(self, trials: int) -> list[int]:
        """The new designs among the next ``trials`` of the sampler, as far as the budget goes."""
        new: list[int] = []
        waiting = {number for _, number in self._trials}
        for _ in range(trials):
            trial = self._study.ask()
            self._n_trials += 1
            number = self._space.number([self._step(trial, i) for i in range(len(self._space.axes))])
            is_new = number not in self._seen and number not in waiting
            if is_new and len(waiting - self._seen.keys()) >= self._left:
                self._study.tell(trial, state=_pruned())
                continue
            self._trials.append((trial, number))
            waiting.add(number)
            new += [number] if is_new else []
        return new

    def _step(self, trial: Any, i: int) -> int:
        axis = self._space.axes[i]
        last = len(axis.steps) - 1
        step: int = trial.suggest_int(axis.name, 0, last) if axis.is_ordered else trial.suggest_categorical(axis.name, range(last + 1))
        return step

    def _neighbours(self, most: int, known: set[int]) -> list[int]:
        """Unseen designs one step from the front, at most so many, or any unseen ones where it has none."""
        feasible = [score for score in self._seen.values() if score.is_feasible]
        front = pareto_front([score.known for score in feasible], directions(self._space.objectives)) if feasible else []
        found: dict[int, None] = {}
        for i in front:
            steps = self._space.steps(feasible[i].number)
            for axis, own in enumerate(self._space.axes):
                others = (steps[axis] - 1, steps[axis] + 1) if own.is_ordered else range(len(own.steps))
                for step in others:
                    if 0 <= step < len(own.steps):
                        found[self._space.number([*steps[:axis], step, *steps[axis + 1 :]])] = None
        unseen = [number for number in found if number not in known]
        self._source.shuffle(unseen)
        tries = (self._source.randrange(self._space.size) for _ in range(20 * most))
        unseen += [number for number in dict.fromkeys(tries) if number not in known and number not in found] if len(unseen) < most else []
        return unseen[:most]


def _pruned() -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL


def _nsga2(space: DesignSpace, budget: int, seed: int) -> Method:
    from optuna.samplers import NSGAIISampler

    population = max(4, min(LARGEST_POPULATION, budget // 16))
    return Guided(space, budget, seed, lambda own: NSGAIISampler(population_size=population, seed=own), population, EPOCH)


def _tpe(space: DesignSpace, budget: int, seed: int) -> Method:
    from optuna.samplers import TPESampler

    startup = max(10, min(50, budget // 5))
    return Guided(space, budget, seed, lambda own: TPESampler(seed=own, n_startup_trials=startup), GUESSES, budget)


METHODS: dict[str, Callable[[DesignSpace, int, int], Method]] = {"grid": _grid, "random": _random, "nsga2": _nsga2, "tpe": _tpe}
"""A search of a space by its name, of so many designs, from a seed."""


def method(name: str, space: DesignSpace, budget: int | None, seed: int) -> Method:
    """The search called ``name``; without a ``budget`` all designs. Raises InputError where optuna is needed and not installed."""
    try:
        return METHODS[name](space, space.size if budget is None else min(budget, space.size), seed)
    except ImportError as error:
        if error.name != "optuna":
            raise
        message = f"{name} needs optuna: pip install 'etasim[dse]'; grid and random need nothing"
        raise InputError([Problem("--method", None, "", message)]) from None
