"""A design space: designs by number, made one at a time, so that a hundred thousand cost nothing until they are looked at."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from math import prod
from typing import Any, NamedTuple

from etasim import __version__
from etasim.config import BaseArchitecture
from etasim.core.jit import PACKAGE
from etasim.core.registry import PLUGINS
from etasim.explore.expression import Expression, ExpressionError, parse, written
from etasim.explore.figures import BATCH, resource_names
from etasim.explore.space import step_text
from etasim.explore.space_file import Objective
from etasim.workload import Network, dump_network

JUDGES = ("explore", "training", "cli.py")
"""Parts of the package that use results and change none."""

Step = dict[str, Any]


class AxisSteps(NamedTuple):
    """An axis of designs: ``steps`` are settings of keys. ``is_ordered``: whether neighbouring steps are alike."""

    name: str
    steps: tuple[Step, ...]
    is_ordered: bool


class Design(NamedTuple):
    """One machine and batch of a space. ``settings``: the keys that the axes and derivations set; ``fault``: why there are none."""

    number: int
    label: str
    settings: dict[str, Any]
    batch: int
    fault: str = ""


@dataclass(frozen=True)
class DesignSpace:
    """A design-space file with all that it names. ``common``: overrides of every design; ``derived`` in an order in which each finds
    what it reads; ``files``: contents of files that values name, by a digest; ``content``: the file as it was written."""

    name: str
    base: BaseArchitecture
    networks: tuple[Network, ...]
    phases: tuple[str, ...]
    common: Mapping[str, Any]
    axes: tuple[AxisSteps, ...]
    derived: Mapping[str, Expression]
    constraints: tuple[Expression, ...]
    objectives: tuple[Objective, ...]
    fidelity: str
    files: Mapping[str, str]
    content: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Number of designs."""
        return prod(len(axis.steps) for axis in self.axes)

    @property
    def keys(self) -> tuple[str, ...]:
        """Architecture keys that differ between designs, in the order of the file."""
        axes = (key for axis in self.axes if axis.name != BATCH for key in axis.steps[0])
        return tuple(dict.fromkeys((*axes, *self.derived)))

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The base as plain values by key path."""
        return dict(leaves(self.base.architecture.resolved()))

    @cached_property
    def resource_names(self) -> tuple[str, ...]:
        """Columns of the resources of the board, if the base has one."""
        return resource_names(self.base.architecture.board)

    def steps(self, number: int) -> tuple[int, ...]:
        """The step on each axis of design ``number``; the first axis is the outermost."""
        found = []
        for axis in reversed(self.axes):
            number, step = divmod(number, len(axis.steps))
            found.append(step)
        return tuple(reversed(found))

    def number(self, steps: Sequence[int]) -> int:
        """The design with these ``steps``: the inverse of `steps`."""
        number = 0
        for axis, step in zip(self.axes, steps, strict=True):
            number = number * len(axis.steps) + step
        return number

    def design(self, number: int) -> Design:
        """Design ``number``, from 0."""
        chosen = [axis.steps[step] for axis, step in zip(self.axes, self.steps(number), strict=True)]
        settings = {key: value for step in chosen[:-1] for key, value in step.items()}
        batch = chosen[-1][BATCH]
        varied = [(axis, step) for axis, step in zip(self.axes, chosen, strict=True) if len(axis.steps) > 1 or axis.name != BATCH]
        label = ", ".join(f"{axis.name}={step_text(step)}" for axis, step in varied) or self.base.architecture.name
        try:
            derived = self._derive(settings, batch)
        except ExpressionError as error:
            return Design(number, label, settings, batch, str(error))
        return Design(number, label, settings | derived, batch)

    def designs(self) -> Iterator[Design]:
        """All designs, one at a time."""
        return map(self.design, range(self.size))

    def _derive(self, settings: Mapping[str, Any], batch: int) -> dict[str, Any]:
        """The derived keys. Raises ExpressionError for one that has no value."""
        found: dict[str, Any] = {}
        for key, expression in self.derived.items():
            value = expression.value(self.lookup({**settings, **found, BATCH: batch}))
            if value is None:
                raise ExpressionError(f"{key}: {expression.text} is not known")
            found[key] = written(value, self.resolved.get(key))
        return found

    def lookup(self, known: Mapping[str, Any]) -> Callable[[str], Any]:
        """What an expression finds under a name: in ``known``, then in what is common to all designs, then in the base; None if nowhere."""
        return lambda name: next((each[name] for each in (known, self.common, self.resolved) if name in each), None)

    def overrides(self, design: Design) -> dict[str, Any]:
        """What makes the design's architecture of the base."""
        return {**self.common, **design.settings}

    @cached_property
    def _of_all(self) -> list[Any]:
        """What every evaluation depends on."""
        return [code_version(), self.base.architecture.resolved(), dict(self.files), list(self.phases)]

    @cached_property
    def _of_network(self) -> dict[str, str]:
        """Digest of what evaluations of a network depend on, by its name."""
        return {network.name: digest_of([*self._of_all, dump_network(network)]) for network in self.networks}

    def evaluation_digest(self, design: Design, network: str, fidelity: str) -> str:
        """Identity of an evaluation: contents of all inputs, and the version of the code."""
        return digest_of([self._of_network[network], self.overrides(design), design.batch, fidelity])

    def kept(self) -> dict[str, Any]:
        """All of it as plain values, from which `etasim.explore.space_reading.restored_space` makes an equal space."""
        networks = [dump_network(network) for network in self.networks]
        return {"name": self.name, "content": self.content, "base": self.base.kept(), "networks": networks}

    @cached_property
    def digest(self) -> str:
        """Identity of the space: a file that changes is another space."""
        return digest_of(
            [
                self._of_network,
                dict(self.common),
                [(axis.name, axis.steps, axis.is_ordered) for axis in self.axes],
                {key: expression.text for key, expression in self.derived.items()},
                [constraint.text for constraint in self.constraints],
                [objective.model_dump() for objective in self.objectives],
                self.fidelity,
            ]
        )


def in_order(derived: Mapping[str, str]) -> dict[str, Expression]:
    """Derived keys, each after those that it reads. Raises ExpressionError that names a circle."""
    left = {key: parse(text[1:]) for key, text in derived.items()}
    found: dict[str, Expression] = {}
    while left:
        ready = [key for key, expression in left.items() if not expression.names & left.keys()]
        if not ready:
            raise ExpressionError(f"depends on itself by way of {', '.join(left)}")
        found |= {key: left.pop(key) for key in ready}
    return found


def leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Key paths and values of nested sections."""
    for key, below in value.items():
        if isinstance(below, Mapping):
            yield from leaves(below, f"{prefix}{key}.")
        else:
            yield prefix + key, below


def digest_of(value: Any) -> str:
    """Hexadecimal digest of a plain value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]


@cache
def code_version() -> str:
    """Version of etasim with a digest of the sources that results depend on, and the packages that add to it."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] not in JUDGES:
            digest.update(path.read_bytes())
    for point in sorted(entry_points(group=PLUGINS), key=str):
        digest.update(f"{point.value} {point.dist.version if point.dist else ''}".encode())
    return f"{__version__} {digest.hexdigest()[:16]}"
