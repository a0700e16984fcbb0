"""Which job a process gets next: of the kind that it knows best, because its caches are full of it."""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

KindOf = Callable[[Any], Hashable]


class Dealer:
    """Deals jobs to processes, those of each kind in their order. ``kind_of``: the kind of a job; without, all are alike.

    What a process gets follows from what it did before; no outcome does.
    """

    def __init__(self, kind_of: KindOf | None = None) -> None:
        self._kind_of = kind_of or (lambda job: None)
        self._left: dict[Hashable, deque[tuple[int, Any]]] = {}
        self._done: Counter[Hashable] = Counter()
        self._done_by: dict[Hashable, Counter[Hashable]] = {}

    def take_in(self, jobs: Sequence[Any]) -> None:
        """Jobs to deal, in the place of those that are left."""
        self._left = {}
        for index, job in enumerate(jobs):
            self._left.setdefault(self._kind_of(job), deque()).append((index, job))

    @property
    def has_more(self) -> bool:
        """Whether a job is left."""
        return any(self._left.values())

    def next_for(self, process: Hashable) -> tuple[int, Any]:
        """The index of a job, and the job: of the kind of which ``process`` did the largest share so far, then of the one of which most
        are left. There must be one."""
        own = self._done_by.setdefault(process, Counter())
        waiting = [kind for kind, jobs in self._left.items() if jobs]
        kind = max(waiting, key=lambda kind: (self._share(own, kind), len(self._left[kind])))
        own[kind] += 1
        self._done[kind] += 1
        return self._left[kind].popleft()

    def _share(self, own: Counter[Hashable], kind: Hashable) -> float:
        """Of the jobs of a kind that ``own`` are; of one that nobody knows more than of one that others know."""
        return own[kind] / self._done[kind] if self._done[kind] else 0.5
