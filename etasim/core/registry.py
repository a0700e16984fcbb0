"""What a user may name: one registry for each kind of thing, which a room fills when it is imported and a package beside etasim can add to.

A package adds by an entry point of the group `PLUGINS` that names a module of its own; importing the module calls `Registry.add`. What a
thing of a kind is, says the room that is its home; the page docs/extend.md walks through some.
"""

import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

PLUGINS = "etasim.plugins"
"""The group of entry points."""

ETASIM = "etasim"
"""Where a name is from that no other package adds."""

Item = TypeVar("Item")


def suggest(word: object, known: Iterable[str]) -> str | None:
    """The known name closest to ``word``, upper and lower case alike, or one that starts with it; None if none is close."""
    by_lower_case = {name.lower(): name for name in known}
    lower = str(word).lower()
    matches = get_close_matches(lower, by_lower_case, n=1) or [name for name in by_lower_case if lower and name.startswith(lower)]
    return by_lower_case[matches[0]] if matches else None


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the closest one, or nothing."""
    close = suggest(word, known)
    return f"; did you mean {close!r}?" if close else ""


def allowed_names(word: object, known: Iterable[str]) -> str:
    """The second half of a message about an unknown name: what is allowed, and the closest of it."""
    known = sorted(known)
    return f"allowed: {', '.join(known) or 'none'}{did_you_mean(word, known)}"


class PluginError(Exception):
    """A package that cannot add what it promises."""


class UnknownNameError(KeyError):
    """``name``, which nothing of ``kind`` has; the message lists ``names``, those that exist."""

    def __init__(self, kind: str, name: object, names: Iterable[str]):
        super().__init__(name)
        self.message = f"unknown {kind} {name!r:.60}; {allowed_names(name, names)}"

    def __str__(self) -> str:
        return self.message


class Registry(Generic[Item]):
    """Things of one ``kind`` by name, in the order in which they were added; ``home`` is the module that adds those of etasim."""

    def __init__(self, kind: str, home: str):
        self.kind, self.home = kind, home
        self._items: dict[str, Item] = {}
        self._origins: dict[str, str] = {}

    def add(self, name: str, item: Item) -> Item:
        """Let ``name`` stand for ``item``; the module that calls is where it is from. Raises PluginError if it stands for another one."""
        origin = sys._getframe(1).f_globals["__name__"].partition(".")[0]
        if origin != ETASIM:
            import_module(self.home)
        if self._items.setdefault(name, item) is not item:
            raise PluginError(f"{self.kind} {name!r} is there already, from {self._origins[name]}")
        self._origins.setdefault(name, origin)
        return item

    @property
    def names(self) -> tuple[str, ...]:
        """All names: those of etasim, then those of other packages. Raises PluginError."""
        import_module(self.home)
        load_plugins()
        return tuple(self._items)

    def number(self, name: str) -> int:
        """Place of ``name`` in `names`. Raises UnknownNameError."""
        self[name]
        return self.names.index(name)

    def __getitem__(self, name: object) -> Item:
        """What ``name`` stands for. Raises UnknownNameError."""
        if isinstance(name, str) and name in self._items:
            return self._items[name]
        names = self.names
        if not isinstance(name, str) or name not in names:
            raise UnknownNameError(self.kind, name, names)
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def items(self) -> Iterator[tuple[str, Item]]:
        """All names with what they stand for."""
        return ((name, self._items[name]) for name in self.names)

    def origin(self, name: str) -> str:
        """`ETASIM`, or the top-level module that added ``name``. Raises UnknownNameError."""
        self[name]
        return self._origins[name]


ROUTING_POLICIES: Registry[Any] = Registry("routing policy", "etasim.noc.routing")
TOPOLOGIES: Registry[Any] = Registry("topology", "etasim.noc.topology")
DRAM_STANDARDS: Registry[Any] = Registry("DRAM standard", "etasim.memory.dram.standards")
DRAM_SCHEDULERS: Registry[Any] = Registry("DRAM scheduler", "etasim.memory.dram.schedulers")
ADDRESS_MAPS: Registry[Any] = Registry("address map", "etasim.memory.dram.address_maps")
DATA_FORMATS: Registry[Any] = Registry("data format", "etasim.numerics.format")
METRICS: Registry[Any] = Registry("metric", "etasim.report.glossary")
PICTURES: Registry[Any] = Registry("picture", "etasim.report.plots")
OPERATIONS: Registry[Any] = Registry("operation", "etasim.ops")
MAPPERS: Registry[Any] = Registry("mapper", "etasim.schedule.mappers")
IMPORTERS: Registry[Any] = Registry("importer", "etasim.training.importers")
INPUT_FOLDERS: Registry[Any] = Registry("folder of inputs", "etasim.config.catalog")


def load_plugins() -> None:
    """Import what other packages add, once, in the order of their names. Raises PluginError, at each call, if one of them fails."""
    for point in _points():
        if point not in _begun:
            _begun.append(point)
            _load(point)
    if _failures:
        raise _failures[0]


_begun: list[EntryPoint] = []
"""Whose module is loaded or being loaded: one that asks for names finds what there is so far."""

_failures: list[PluginError] = []


@cache
def _points() -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=PLUGINS), key=lambda point: (point.name, point.value)))


def plugins() -> list[str]:
    """What other packages say they add, as ``package: entry point``."""
    return [f"{point.dist.name if point.dist else point.value}: {point.name}" for point in _points()]


def _load(point: EntryPoint) -> None:
    try:
        point.load()
    except Exception as error:  # whatever a stranger's module does
        package = point.dist.name if point.dist else point.value
        reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        _failures.append(PluginError(f"package {package}: entry point {point.name} = {point.value} of {PLUGINS}: {reason}"))
