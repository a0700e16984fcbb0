"""What the operations of an iteration move and do, added up."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from etasim.estimate.traffic import N_CLASSES, SentWords


class Amounts:
    """What operations move and do: DRAM bytes by (operation, tensor class, is a store), cluster cycles and vector groups by operation.

    Words by (operation, message class: 0 streamed, 1 stationary, 2 results): ``sent``, ``hops`` (times the links that they take), and
    ``arrived`` where they go: in the scratchpads, and results as the error buffer writes them. ``dma_words`` by (operation, engine),
    ``unified_words`` by (operation, is a result), ``moved_words`` by (operation, mover). ``host_bytes``, ``served_bytes`` of the second
    level and ``forwarded_bytes``, read where they live on chip, by operation.
    """

    def __init__(self) -> None:
        self.dram_bytes: dict[tuple[int, str, bool], int] = defaultdict(int)
        self.sent: dict[tuple[int, int], int] = defaultdict(int)
        self.hops: dict[tuple[int, int], int] = defaultdict(int)
        self.arrived: dict[tuple[int, int], int] = defaultdict(int)
        self.dma_words: dict[tuple[int, int], int] = defaultdict(int)
        self.unified_words: dict[tuple[int, int], int] = defaultdict(int)
        self.cluster_cycles: dict[int, int] = defaultdict(int)
        self.vector_groups: dict[int, int] = defaultdict(int)
        self.host_bytes: dict[int, int] = defaultdict(int)
        self.moved_words: dict[tuple[int, int], int] = defaultdict(int)
        self.served_bytes: dict[int, int] = defaultdict(int)
        self.forwarded_bytes: dict[int, int] = defaultdict(int)

    def add_sent(self, operation: int, sent: SentWords) -> None:
        """An operation that sends ``sent``."""
        for kind in range(N_CLASSES):
            self.sent[operation, kind] += sent.words[kind]
            self.hops[operation, kind] += sent.hops[kind]
            self.arrived[operation, kind] += sent.arrived[kind]

    def add(self, other: "Amounts") -> None:
        """What ``other`` operations move and do, or the same ones besides."""
        self.add_listed((name, amounts.items()) for name, amounts in vars(other).items())

    def add_listed(self, listed: Iterable[tuple[str, Iterable[tuple[Any, int]]]]) -> None:
        """What others move and do that were `listed`."""
        for name, amounts in listed:
            own = getattr(self, name)
            for key, amount in amounts:
                own[key] += amount

    @property
    def listed(self) -> "Listed":
        """All of it in little memory."""
        return tuple((name, tuple((_one(key), n) for key, n in amounts.items())) for name, amounts in vars(self).items() if amounts)


Listed = tuple[tuple[str, tuple[tuple[Any, int], ...]], ...]
"""`Amounts` by name and key."""

_keys: dict[Any, Any] = {}


def _one(key: Any) -> Any:
    """The one of equal keys that is kept: a search has a few hundred, each in thousands of lists."""
    return _keys.setdefault(key, key)
