"""From a design-space file to a DesignSpace, with every problem at its line."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from etasim.config import BaseArchitecture, InputError, Problem, find_input, read_yaml
from etasim.config.reading import Document, KeyPath, SourceMap, parse_yaml
from etasim.config.variants import NAMING_FILES
from etasim.core.registry import METRICS
from etasim.explore.design_space import AxisSteps, DesignSpace, in_order
from etasim.explore.expression import Expression, ExpressionError, parse
from etasim.explore.figures import BATCH
from etasim.explore.sound_content import SoundContent, sound_content
from etasim.explore.space import named_input
from etasim.explore.space_file import SpaceFile
from etasim.explore.space_problems import names_of, space_problems
from etasim.machine.arguments import problems as argument_problems
from etasim.machine.inputs import in_program_order
from etasim.workload import Network, load_network
from etasim.workload.trace import build_network

SPACES = "configs/spaces"
MOST_TRIED = 100_000
"""Combinations of steps that are tried to see whether a constraint can hold."""


def load_design_space(path_or_name: str | Path) -> DesignSpace:
    """Read the design-space or sweep file at a path or of a shipped name.

    Raises InputError with every problem of the file and of the files that it names.
    """
    path = find_input(SPACES, path_or_name)
    data, source = read_yaml(path, SpaceFile.keys())
    sound = sound_content(data, source)
    content, problems, base, networks = sound.content, sound.problems, None, []
    problems += argument_problems({"phases": content.phases}, lambda name, message: sound.source.problem((name,), message))
    if "architecture" not in sound.absent:
        base = named_input(problems, sound.source, ("architecture",), BaseArchitecture, content.architecture, path.parent)
    if "networks" not in sound.absent:
        places: list[KeyPath] = [("networks", i) for i in range(len(content.networks))]
        read = zip(places, content.networks, strict=True)
        networks = [named_input(problems, sound.source, place, load_network, name, path.parent) for place, name in read]
    problems += space_problems(sound, base and base.architecture, networks)
    problems += _unsatisfiable(sound, base) if base is not None else []
    if problems or base is None:
        raise InputError(sorted(set(problems)))
    return _space(path.stem, content, base, networks, data)


def restored_space(kept: Mapping[str, Any]) -> DesignSpace:
    """The space that `DesignSpace.kept` wrote down."""
    networks = [build_network(Document(*_mapping(text))) for text in kept["networks"]]
    content = SpaceFile.model_validate(kept["content"])
    return _space(kept["name"], content, BaseArchitecture.restored(kept["base"]), networks, kept["content"])


def _mapping(text: str) -> tuple[Any, SourceMap]:
    data, source = parse_yaml(text, "")
    return data, source


def _space(name: str, content: SpaceFile, base: BaseArchitecture, networks: Iterable[Network], data: Mapping[str, Any]) -> DesignSpace:
    axes = [AxisSteps(axis.name, tuple(axis.settings()), axis.is_ordered) for axis in content.axes]
    batches = content.batch or (base.architecture.training.batch,)
    axes.append(AxisSteps(BATCH, tuple({BATCH: batch} for batch in batches), True))
    return DesignSpace(
        name, base, tuple(networks), in_program_order(content.phases), content.common, tuple(axes), in_order(content.derived),
        tuple(map(parse, content.constraints)), content.objectives, content.fidelity, dict(_named_files(content)), data,
    )  # fmt: skip


def _named_files(content: SpaceFile) -> Iterator[tuple[str, str]]:
    """Digests of the files that values name: their contents are inputs too."""
    settings = itertools.chain(content.common.items(), *(step.items() for axis in content.axes for step in axis.settings()))
    folders = {"dram.part": "configs/dram", "energy.extends": "configs/energy", "board.extends": "configs/boards"}
    for key, value in settings:
        if key in NAMING_FILES and isinstance(value, str):
            try:
                path = find_input(folders[key], value)
            except InputError:
                continue  # a design without a machine
            yield f"{key}={value}", hashlib.sha256(path.read_bytes()).hexdigest()


def _unsatisfiable(sound: SoundContent, base: BaseArchitecture) -> Iterator[Problem]:
    """Constraints that no combination of steps meets, or that ask a figure to be negative, of those whose every name is known."""
    names, derived = names_of(sound.content, [base.architecture]), _with_a_value(sound, base)
    unknown = sound.vague | (sound.content.derived.keys() - derived.keys())
    space = _space("", sound.content.model_copy(update={"derived": derived}), base, (), {})
    for i, constraint in enumerate(space.constraints):
        if constraint.names <= names.allowed(("constraints",)) - unknown:
            of_figures = bool(constraint.names & names.figures - {BATCH})
            if not (_can_hold_of_figures(constraint) if of_figures else _can_hold_of_keys(space, constraint)):
                yield sound.source.problem(("constraints", i), f"{constraint.text!r} cannot hold for any design of this space")


def _with_a_value(sound: SoundContent, base: BaseArchitecture) -> dict[str, str]:
    """The derived keys that follow from known ones."""
    known = names_of(sound.content, [base.architecture]).allowed(("derived",)) - sound.vague - sound.content.derived.keys()
    found: dict[str, str] = {}
    while ready := {k: v for k, v in sound.content.derived.items() if k not in found and parse(v[1:]).names <= known | found.keys()}:
        found |= ready
    return found


TRIED = (0, 10**-6, 0.5, 1, 10**3, 10**6, 10**9, 10**15)


def _can_hold_of_figures(constraint: Expression) -> bool:
    """Whether it holds at either end of what figures can be: none is negative. An expression of several figures is given the benefit."""
    if len(constraint.names) != 1 or not all(METRICS[name].unit for name in constraint.names if name in METRICS):
        return True
    try:
        return any(constraint.excess(dict.fromkeys(constraint.names, figure).get) == 0 for figure in TRIED)
    except ExpressionError:
        return True


def _can_hold_of_keys(space: DesignSpace, constraint: Expression) -> bool:
    """Whether a combination of the steps that it reads meets it; so many that they are not tried are given the benefit."""
    reads = {name for key in constraint.names for name in (space.derived[key].names if key in space.derived else ())} | constraint.names
    chained = bool(reads & space.derived.keys() - constraint.names)
    axes = [axis for axis in space.axes if chained or reads & axis.steps[0].keys()]
    numbers = itertools.product(*(range(len(axis.steps)) if axis in axes else (0,) for axis in space.axes))
    for steps in itertools.islice(numbers, MOST_TRIED):
        design = space.design(space.number(steps))
        try:
            if not design.fault and constraint.excess(space.lookup({**design.settings, BATCH: design.batch})) in (0, None):
                return True
        except ExpressionError:
            continue
    return next(numbers, None) is not None
