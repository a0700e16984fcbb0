"""A calibration file: the stated unknowns of an architecture, each with its values and the reason for them."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from etasim.config import Architecture, BaseArchitecture, InputError, Problem, find_input, read_yaml
from etasim.config.base import Batch, Section
from etasim.config.errors import allowed_names
from etasim.config.reading import SourceMap
from etasim.explore.space import (
    Point,
    Space,
    SweepAxis,
    Variant,
    digest,
    key_paths,
    key_problems,
    named_input,
    no_such_key,
    step_text,
    validated,
    variant,
)
from etasim.machine.inputs import Inputs
from etasim.report.board import board_rows
from etasim.report.published import THROUGHPUTS
from etasim.workload import Network, dump_network, load_network
from etasim.workload.lowering import PHASES

AS_IT_IS = "as it is"
"""Label of the architecture that a calibration starts from."""


class Unknown(SweepAxis):
    """An axis of values with the reason why these are plausible."""

    reason: Annotated[str, Field(min_length=1)]


class Neighbour(Section):
    """Another ``architecture``, which takes the values of ``keys`` (or sections) from each machine that fits and runs ``networks``."""

    architecture: str
    taken: Annotated[tuple[str, ...], Field(min_length=1, alias="keys")]
    networks: Annotated[tuple[str, ...], Field(min_length=1)]


class Predicted(Section):
    """What the machines that fit are asked for beside the figures that they were fitted to: ``networks`` at the batch of each machine, the
    networks of the calibration at other ``batches``, and ``neighbours`` with their values."""

    networks: tuple[str, ...] = ()
    batches: tuple[Batch, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()


class CalibrationFile(Section):
    """Content of a calibration file: ``together``: every combination; ``alone``: one at a time, all else as in the architecture;
    ``predict``: what the machines that fit say of what was not used."""

    architecture: str
    networks: Annotated[tuple[str, ...], Field(min_length=1)]
    tolerance_percent: Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)]
    together: tuple[Unknown, ...] = ()
    alone: tuple[Unknown, ...] = ()
    predict: Predicted = Field(default_factory=Predicted)


class Proposal(NamedTuple):
    """A machine to be judged. ``settings``: architecture keys that differ from the file's; empty: the architecture as it is."""

    label: str
    settings: dict[str, Any]


class NetworkBatch(NamedTuple):
    """A network at a batch; None: at the batch of each machine."""

    network: Network
    batch: int | None = None


DumpedCase = tuple[NetworkBatch, str]
"""A case with its network as text, which is part of the identity of a point."""


class Relative(NamedTuple):
    """A `Neighbour` with what it names: ``keys`` are those that it takes from a machine that fits."""

    name: str
    base: BaseArchitecture
    keys: tuple[str, ...]
    cases: list[NetworkBatch]

    def like(self, machine: Architecture) -> Variant:
        """The neighbour with the values of ``machine``, or None and why there is no such machine."""
        tree = machine.resolved()
        return variant(self.base, {key: _resolved(tree, key) for key in self.keys})


class Calibration(NamedTuple):
    """A calibration file with all it names; ``candidates[0]`` is the architecture as it is. ``predicted``: cases that say what the machines
    that fit give beside the ``networks``; ``relatives``: other machines that are asked with their values. ``machines``: by label, what was
    made of the candidates so far, because loading hundreds of architectures takes seconds."""

    architecture: str
    networks: list[Network]
    tolerance_percent: float
    unknowns: tuple[Unknown, ...]
    candidates: list[Proposal]
    predicted: list[NetworkBatch]
    relatives: list[Relative]
    base: BaseArchitecture
    machines: dict[str, Variant]

    def machine(self, candidate: Proposal) -> Variant:
        """The architecture of ``candidate``, or None and why there is no such machine."""
        if candidate.label not in self.machines:
            self.machines[candidate.label] = variant(self.base, candidate.settings)
        return self.machines[candidate.label]

    def n_changed(self, candidate: Proposal) -> int:
        """Of how many unknowns ``candidate`` has another value than the architecture as it is."""
        own, _ = self.machine(candidate)
        tree = self.base.architecture.resolved()
        changed = {key for key in candidate.settings if own is None or _resolved(own.resolved(), key) != _resolved(tree, key)}
        return sum(not changed.isdisjoint(unknown.key_paths) for unknown in self.unknowns)

    def on_board(self) -> list[Proposal]:
        """The architecture as it is, and all others that its board holds."""
        first, *others = self.candidates
        return [first, *(candidate for candidate in others if self._fits(candidate))]

    def _fits(self, candidate: Proposal) -> bool:
        architecture, _ = self.machine(candidate)
        return architecture is not None and all(row["fits"] for row in board_rows(architecture))

    def space(self, candidates: Sequence[Proposal], fidelity: str, cases: Sequence[NetworkBatch] = ()) -> Space:
        """Points of ``candidates`` on ``cases`` (all networks, at their own batch), those of one machine beside each other; rows of all
        candidates may stand there."""
        keys = tuple(dict.fromkeys(key for unknown in self.unknowns for key in unknown.key_paths))
        asked = _dumped(cases or [NetworkBatch(network) for network in self.networks])
        points = {c.label: list(_points_of(self.base, self.machine(c), c, keys, fidelity, asked)) for c in self.candidates}
        others = frozenset(point.point_id for own in points.values() for point in own)
        return Space(keys, [point for candidate in candidates for point in points[candidate.label]], others)

    def space_of(self, relative: Relative, candidates: Sequence[Proposal], fidelity: str) -> Space:
        """Points of ``relative`` with the values of each of the ``candidates``, under their labels."""
        asked = _dumped(relative.cases)
        points: list[Point] = []
        for candidate in candidates:
            own, reason = self.machine(candidate)
            made = relative.like(own) if own else (None, reason)
            points += _points_of(relative.base, made, candidate, relative.keys, fidelity, asked)
        return Space(relative.keys, points)


def _dumped(cases: Sequence[NetworkBatch]) -> list[DumpedCase]:
    return [(case, dump_network(case.network)) for case in cases]


def _points_of(
    base: BaseArchitecture, made: Variant, candidate: Proposal, keys: Sequence[str], fidelity: str, cases: Sequence[DumpedCase]
) -> Iterator[Point]:
    """Points of what was ``made`` of ``base`` with the values of ``candidate``: one of each of the ``cases`` (with its network, dumped)."""
    architecture, reason = made
    resolved = architecture.resolved() if architecture else [base.architecture.resolved(), reason]
    settings = {key: candidate.settings.get(key, "") for key in keys}
    for (network, asked), dumped in cases:
        batch = asked or (architecture.training.batch if architecture else 0)
        identity: dict[str, Any] = {"architecture": resolved, "overrides": candidate.settings, "network": dumped, "fidelity": fidelity}
        identity |= {"batch": asked} if asked else {}
        inputs = Inputs(architecture, network, batch, PHASES, fidelity) if architecture else None
        yield Point(digest(identity), candidate.label, settings, network.name, batch, PHASES, inputs, reason, fidelity)


def load_calibration(path_or_name: str | Path) -> Calibration:
    """Read and expand the calibration file at a path or of a shipped name. Raises InputError with all its problems."""
    path = find_input("configs/calibration", path_or_name)
    data, source = read_yaml(path, CalibrationFile.keys())
    content = validated(CalibrationFile, data, source)
    problems: list[Problem] = []
    base = named_input(problems, source, ("architecture",), BaseArchitecture, content.architecture, path.parent)
    networks = [named_input(problems, source, ("networks", i), load_network, name, path.parent) for i, name in enumerate(content.networks)]
    asked = enumerate(content.predict.networks)
    others = [named_input(problems, source, ("predict", "networks", i), load_network, name, path.parent) for i, name in asked]
    relatives = list(_relatives(content.predict.neighbours, base, problems, source, path.parent))
    problems += _unpublished(networks, source)
    if base is not None:
        problems += key_problems({"together": content.together, "alone": content.alone}, {}, [base.architecture], source)
    if problems:
        raise InputError(sorted(set(problems)))
    unknowns = (*content.together, *content.alone)
    candidates = list(_candidates(content, base.architecture.resolved()))
    predicted = [NetworkBatch(network) for network in others]
    predicted += [NetworkBatch(network, batch) for batch in content.predict.batches for network in networks]
    return Calibration(content.architecture, networks, content.tolerance_percent, unknowns, candidates, predicted, relatives, base, {})


def _relatives(
    neighbours: Sequence[Neighbour], base: BaseArchitecture | None, problems: list[Problem], source: SourceMap, folder: Path
) -> Iterator[Relative]:
    """The neighbours that can be asked; what is wrong with the others goes to ``problems``."""
    for i, neighbour in enumerate(neighbours):
        place = ("predict", "neighbours", i)
        other = named_input(problems, source, (*place, "architecture"), BaseArchitecture, neighbour.architecture, folder)
        asked = enumerate(neighbour.networks)
        networks = [named_input(problems, source, (*place, "networks", j), load_network, name, folder) for j, name in asked]
        known = set(key_paths(base.architecture.resolved())) if base else set(neighbour.taken)
        strange = [(j, key) for j, key in enumerate(neighbour.taken) if key not in known]
        problems += [source.problem((*place, "keys", j), no_such_key(key, known)) for j, key in strange]
        if other is not None and None not in networks and not strange:
            yield Relative(other.architecture.name, other, neighbour.taken, [NetworkBatch(network) for network in networks])


def _unpublished(networks: Sequence[Network | None], source: SourceMap) -> Iterator[Problem]:
    """Networks that no figure can be compared with."""
    for i, network in enumerate(networks):
        if network is not None and network.name not in THROUGHPUTS:
            message = f"the network {network.name!r} has no published throughput; {allowed_names(network.name, THROUGHPUTS)}"
            yield source.problem(("networks", i), message)


def _candidates(content: CalibrationFile, resolved: dict[str, Any]) -> Iterator[Proposal]:
    """The architecture as it is, all combinations of ``together``, and each value of ``alone``; none twice."""
    yield Proposal(AS_IT_IS, {})
    for steps in itertools.product(*(unknown.settings() for unknown in content.together)):
        settings = {key: value for step in steps for key, value in step.items()}
        if any(_resolved(resolved, key) != value for key, value in settings.items()):
            yield Proposal(", ".join(f"{u.name}={step_text(s)}" for u, s in zip(content.together, steps, strict=True)), settings)
    for unknown in content.alone:
        for step in unknown.settings():
            yield Proposal(f"{unknown.name}={step_text(step)}", step)


def _resolved(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree
