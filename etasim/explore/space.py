"""A sweep file: a base architecture, networks, batches and axes of overrides, expanded to design points."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from etasim.config import Architecture, BaseArchitecture, InputError, Problem, find_input, read_yaml
from etasim.config.architecture import Dram
from etasim.config.base import Batch, Section, Violation, require
from etasim.config.errors import suggest
from etasim.config.reading import KeyPath, SourceMap
from etasim.config.validation import violations
from etasim.explore.evaluate import one_line
from etasim.machine.arguments import problems as argument_problems
from etasim.machine.inputs import Inputs, in_program_order
from etasim.report.inputs import gather
from etasim.workload import Network, dump_network, load_network
from etasim.workload.lowering import PHASES

_OPTIONAL_KEYS = ("mapping", *(f"dram.{key}" for key in Dram.MERGED_KEYS))
"""Keys that an architecture need not have, so that a sweep may add them and what is below them."""


class SweepAxis(Section):
    """Values of one ``key``, or of several ``keys`` that change together: then each value is a list, one entry a key. Its name is that of
    the key unless it has one."""

    name: Annotated[str, Field(min_length=1)] = "that of the key"
    key: str | None = None
    together: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(None, alias="keys")
    values: Annotated[tuple[Any, ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "name" in data:
            return data
        keys = data.get("keys")
        name = data.get("key") or ("+".join(map(str, keys)) if isinstance(keys, list) and keys else None)
        return data if name is None else data | {"name": name}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require(self._violations())
        return self

    def _violations(self) -> Iterable[Violation]:
        if (self.key is None) == (self.together is None):
            yield (), "needs either key (one) or keys (several that change together)"
        elif self.together is not None:
            for index, value in enumerate(self.values):
                if not isinstance(value, list) or len(value) != len(self.together):
                    yield ("values", index), f"must be a list of {len(self.together)} entries, one for each of {', '.join(self.together)}"

    @property
    def key_paths(self) -> tuple[str, ...]:
        """Architecture keys that this axis sets."""
        return self.together or (self.key or "",)

    def settings(self) -> list[dict[str, Any]]:
        """One dictionary from key path to value for each step of the axis."""
        steps = self.values if self.together is not None else [[value] for value in self.values]
        return [dict(zip(self.key_paths, step, strict=True)) for step in steps]


class SweepFile(Section):
    """Content of a sweep file. ``set`` holds overrides of every point; ``batch`` is one number or a list, default the architecture's."""

    architecture: str
    networks: Annotated[tuple[str, ...], Field(min_length=1)]
    batch: Annotated[tuple[Batch, ...], Field(min_length=1)] | None = None
    phases: Annotated[tuple[str, ...], Field(min_length=1)] = PHASES
    common: dict[str, Any] = Field(default_factory=dict, alias="set")
    axes: tuple[SweepAxis, ...] = ()

    @field_validator("batch", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return value if isinstance(value, (list, tuple)) else [value]


class Point(NamedTuple):
    """One design point. ``inputs`` is None where the overrides give no valid architecture; ``reason`` says why. ``fidelity``: how it is,
    or would be, evaluated."""

    point_id: str
    label: str
    settings: dict[str, Any]
    network: str
    batch: int
    phases: tuple[str, ...]
    inputs: Inputs | None
    reason: str = ""
    fidelity: str = "cycle"


class Space(NamedTuple):
    """All points of a sweep, and the architecture keys that vary. ``others``: further points whose rows may stand beside theirs."""

    keys: tuple[str, ...]
    points: list[Point]
    others: frozenset[str] = frozenset()


def load_space(path_or_name: str | Path) -> Space:
    """Read and expand the sweep file at a path or of a shipped name (``pe_array``).

    Raises InputError with every problem of the file, of the architecture and of the networks that it names. A
    combination of values that gives no valid architecture is a point without inputs, not an error.
    """
    path = find_input("configs/sweeps", path_or_name)
    data, source = read_yaml(path, SweepFile.keys())
    problems: list[Problem] = []
    sweep = validated(SweepFile, data, source)
    problems += argument_problems({"phases": sweep.phases}, lambda name, message: source.problem((name,), message))
    base = named_input(problems, source, ("architecture",), BaseArchitecture, sweep.architecture, path.parent)
    networks = [named_input(problems, source, ("networks", i), load_network, name, path.parent) for i, name in enumerate(sweep.networks)]
    if base is not None:
        problems += key_problems({"axes": sweep.axes}, {"set": sweep.common}, [base.architecture], source)
    if problems:
        raise InputError(sorted(set(problems)))
    points = list(_expand(sweep, base, networks))
    return Space(tuple(key for axis in sweep.axes for key in axis.key_paths), points)


def validated(section: type[Section], data: Any, source: SourceMap) -> Any:
    """``data`` as a value of ``section``. Raises InputError with every problem and its line."""
    try:
        return section.model_validate(data)
    except ValidationError as error:
        raise InputError(sorted({source.problem(place, message) for place, message in violations(error, section)})) from None


def named_input(problems: list[Problem], source: SourceMap, place: KeyPath, load: Callable[[Path], Any], name: str, folder: Path) -> Any:
    """The input called ``name``, looked for beside the sweep file; a problem in finding it has the line of ``place``."""
    kind = "configs" if load is BaseArchitecture else "traces"
    try:
        found = find_input(kind, name, folder)
    except InputError as error:
        problems.extend(source.problem(place, f"{name!r}: {problem.message}") for problem in error.problems)
        return None
    return gather(problems, load, found)


def key_problems(
    lists: Mapping[str, Sequence[SweepAxis]], fixed: Mapping[str, Iterable[str]], bases: Iterable[Architecture], source: SourceMap
) -> Iterator[Problem]:
    """Two axes of one name, keys set twice, and keys that none of the architectures ``bases`` has.

    ``lists``: the axes by the key of the file under which they stand; ``fixed``: architecture keys by the key of the file that sets them.
    """
    axes = [(place, index, axis) for place, group in lists.items() for index, axis in enumerate(group)]
    names = Counter(axis.name for _, _, axis in axes)
    for place, index, axis in axes:
        if names[axis.name] > 1:
            yield source.problem((place, index, "name"), f"{axis.name!r} names {names[axis.name]} axes")
    known = {path for base in bases for path in key_paths(base.resolved())}
    used: set[str] = set()
    for at, key in _places_of_keys(axes, fixed):
        if key in used:
            yield source.problem(at, f"{key!r} is already set above")
        elif key not in known and not any(f"{key}.".startswith(f"{optional}.") for optional in _OPTIONAL_KEYS):
            yield source.problem(at, no_such_key(key, known))
        used.add(key)


def no_such_key(key: str, known: Iterable[str]) -> str:
    """What is wrong with a ``key`` that is not among the ``known`` ones."""
    close = suggest(key, known)
    return f"{key!r} is not a key of the architecture" + (f"; did you mean {close!r}?" if close else "")


def _places_of_keys(axes: Sequence[tuple[str, int, SweepAxis]], fixed: Mapping[str, Iterable[str]]) -> Iterator[tuple[KeyPath, str]]:
    """Every architecture key that the file sets, and where it says so."""
    yield from (((place, key), key) for place, keys in fixed.items() for key in keys)
    for place, index, axis in axes:
        if axis.key is not None:
            yield (place, index, "key"), axis.key
        else:
            yield from (((place, index, "keys", position), key) for position, key in enumerate(axis.key_paths))


def key_paths(value: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """All keys and sections of a tree, with dots."""
    for key, below in value.items():
        yield prefix + key
        if isinstance(below, Mapping):
            yield from key_paths(below, f"{prefix}{key}.")


def _expand(sweep: SweepFile, base: BaseArchitecture, networks: list[Network]) -> Iterator[Point]:
    """Every combination, the first axis outermost; networks and batches change fastest."""
    phases = in_program_order(sweep.phases)
    resolved = base.architecture.resolved()
    dumped = {network.name: dump_network(network) for network in networks}
    for steps in itertools.product(*(axis.settings() for axis in sweep.axes)):
        settings = {key: value for step in steps for key, value in step.items()}
        label = ", ".join(f"{axis.name}={step_text(step)}" for axis, step in zip(sweep.axes, steps, strict=True))
        chosen, reason = variant(base, sweep.common | settings)
        content = chosen.resolved() if chosen else [resolved, reason]
        for network, batch in itertools.product(networks, sweep.batch or (base.architecture.training.batch,)):
            inputs = Inputs(chosen, network, batch, phases) if chosen else None
            identity = {
                "architecture": content,
                "overrides": sweep.common | settings,
                "network": dumped[network.name],
                "batch": batch,
                "phases": phases,
            }
            yield Point(digest(identity), label or sweep.architecture, settings, network.name, batch, phases, inputs, reason)


Variant = tuple[Architecture | None, str]


def variant(base: BaseArchitecture, overrides: dict[str, Any]) -> Variant:
    """The architecture with ``overrides``, or None and why there is no such machine."""
    try:
        return base.varied(overrides), ""
    except InputError as error:
        return None, one_line("\n".join(f"{problem.key}: {problem.message}" for problem in error.problems))


def step_text(step: dict[str, Any]) -> str:
    """Values of a step as a short label: 4x8x8x8."""
    return "x".join(str(value) for value in step.values() if not isinstance(value, (list, dict)) and value != "auto")


def digest(identity: dict[str, Any]) -> str:
    """Short identity of a design point, from the contents of its inputs: a file that changes is another input under the same name."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
