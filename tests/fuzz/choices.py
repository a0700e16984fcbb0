"""Choices from one integer: the same seed makes the same case on every machine."""

import random
from collections.abc import Sequence
from typing import Any


class NoExample(Exception):
    """The choices so far lead to no example."""


class Seeded:
    """`random_networks.Choices` from a seeded generator, and what else a fuzzer wants."""

    def __init__(self, *seed: Any):
        self._random = random.Random(":".join(map(str, seed)))

    def whole(self, least: int, most: int) -> int:
        """A whole number, both ends included."""
        return self._random.randint(least, most)

    def small(self, least: int, most: int) -> int:
        """A whole number, both ends included, each power of two as likely as the next: mostly small."""
        span = most - least + 1
        return least + min(int(2 ** self._random.uniform(0, span.bit_length())) - 1, span - 1)

    def one_of(self, values: Sequence[Any]) -> Any:
        """One of ``values``."""
        return values[self._random.randrange(len(values))]

    def some_of(self, values: Sequence[Any], least: int = 0) -> list[Any]:
        """Some of ``values``, in their order."""
        chosen = set(self._random.sample(range(len(values)), self._random.randint(least, len(values))))
        return [value for i, value in enumerate(values) if i in chosen]

    def mixed(self, values: Sequence[Any]) -> list[Any]:
        """``values`` in another order."""
        return self._random.sample(list(values), len(values))

    def chance(self, share: float) -> bool:
        """True in ``share`` of all cases."""
        return self._random.random() < share

    def only_if(self, condition: bool) -> None:
        """Give this example up unless ``condition`` holds. Raises NoExample."""
        if not condition:
            raise NoExample

    def example_of(self, recipe, *arguments: Any, tries: int = 50) -> Any:
        """What ``recipe(self, *arguments)`` gives, tried again as long as its choices lead nowhere. Raises NoExample after ``tries``."""
        for _ in range(tries - 1):
            try:
                return recipe(self, *arguments)
            except NoExample:
                continue
        return recipe(self, *arguments)
