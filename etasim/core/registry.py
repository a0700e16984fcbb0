"""What a user may name: one registry for each kind of thing, which a room fills when it is imported and a package beside etasim can add to.

A package adds by an entry point of the group `PLUGINS` that names a module of its own; importing the module calls `Registry.add`.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

PLUGINS = "etasim.plugins"
"""The group of entry points."""

Item = TypeVar("Item")


class PluginError(Exception):
    """A package that cannot add what it promises."""


class UnknownNameError(KeyError):
    """A name that nothing of ``kind`` has; ``names`` are those that exist, ``close`` the likeliest of them."""

    def __init__(self, kind: str, name: str, names: tuple[str, ...]):
        self.kind, self.name, self.names = kind, name, names
        self.close = get_close_matches(name, names, 1)
        super().__init__(name)

    def __str__(self) -> str:
        meant = f"; did you mean {self.close[0]}?" if self.close else ""
        return f"unknown {self.kind} {self.name!r}; allowed: {', '.join(self.names)}{meant}"


class Registry(Generic[Item]):
    """Things of one ``kind`` by name, in the order in which they were added; ``home`` is the module that adds those of etasim."""

    def __init__(self, kind: str, home: str):
        self.kind, self.home = kind, home
        self._items: dict[str, Item] = {}

    def add(self, name: str, item: Item) -> Item:
        """Let ``name`` stand for ``item``. Raises PluginError if it stands for another one already."""
        if self._items.setdefault(name, item) is not item:
            raise PluginError(f"{self.kind} {name!r} is there twice")
        return item

    @property
    def names(self) -> tuple[str, ...]:
        """All names: those of etasim, then those of other packages."""
        self._fill()
        return tuple(self._items)

    def number(self, name: str) -> int:
        """Place of ``name`` in `names`. Raises UnknownNameError."""
        self[name]
        return self.names.index(name)

    def __getitem__(self, name: str) -> Item:
        """What ``name`` stands for. Raises UnknownNameError."""
        self._fill()
        if name not in self._items:
            raise UnknownNameError(self.kind, name, self.names)
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def items(self) -> Iterator[tuple[str, Item]]:
        """All names with what they stand for."""
        return ((name, self._items[name]) for name in self.names)

    def _fill(self) -> None:
        import_module(self.home)
        load_plugins()


@cache
def load_plugins() -> tuple[str, ...]:
    """Import what other packages add, once, in the order of their names; returns the modules. Raises PluginError."""
    modules = []
    for point in sorted(entry_points(group=PLUGINS), key=lambda point: (point.name, point.value)):
        try:
            point.load()
        except Exception as error:  # whatever a stranger's module does
            raise PluginError(f"entry point {point.name} = {point.value} of {PLUGINS}: {type(error).__name__}: {error}") from error
        modules.append(point.value)
    return tuple(modules)


DRAM_SCHEDULERS: Registry = Registry("DRAM scheduler", "etasim.memory.dram.schedulers")
"""Items: `etasim.memory.dram.scheduler.Scheduler`."""
