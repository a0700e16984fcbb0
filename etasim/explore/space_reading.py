"""From a design-space file to a DesignSpace, with every problem at its line."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from etasim.config import Architecture, BaseArchitecture, InputError, Problem, find_input, read_yaml
from etasim.config.errors import allowed_names, suggest
from etasim.config.reading import Document, KeyPath, SourceMap, parse_yaml
from etasim.config.validation import violations
from etasim.config.variants import NAMING_FILES
from etasim.core.registry import METRICS
from etasim.explore.design_space import AxisSteps, DesignSpace, leaves
from etasim.explore.expression import Expression, ExpressionError, parse
from etasim.explore.figures import BATCH, BOARD_EXCESS, CAUSE_SHARES, FITS_BOARD, figure_names, resource_names
from etasim.explore.keys import INERT, OF_VALUES
from etasim.explore.space import key_problems, named_input
from etasim.explore.space_file import ANALYTICAL, CYCLE, SpaceFile
from etasim.machine.arguments import problems as argument_problems
from etasim.machine.inputs import in_program_order
from etasim.workload import Network, load_network
from etasim.workload.trace import build_network

SPACES = "configs/spaces"
MOST_TRIED = 100_000
"""Combinations of steps that are tried to see whether a constraint can hold."""
STAND_INS = {"architecture": "-", "networks": ["-"]}
"""For sections that must be there and are wrong, so that the others can be judged."""


def load_design_space(path_or_name: str | Path) -> DesignSpace:
    """Read the design-space or sweep file at a path or of a shipped name.

    Raises InputError with every problem of the file and of the files that it names.
    """
    path = find_input(SPACES, path_or_name)
    data, source = read_yaml(path, SpaceFile.keys())
    content, problems = _validated(data, source)
    wrong = {problem.key.partition(".")[0].partition("[")[0] for problem in problems}
    if "phases" not in wrong:
        problems += argument_problems({"phases": content.phases}, lambda name, message: source.problem((name,), message))
    base, networks = None, []
    if "architecture" not in wrong:
        base = named_input(problems, source, ("architecture",), BaseArchitecture, content.architecture, path.parent)
    if "networks" not in wrong:
        networks = [
            named_input(problems, source, ("networks", i), load_network, name, path.parent) for i, name in enumerate(content.networks)
        ]
        problems += _network_problems(content, networks, source)
    if base is not None:
        problems += _problems(content, base.architecture, source)
        problems += _unsatisfiable(content, base, source) if not problems else []
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


def _validated(data: dict[str, Any], source: SourceMap) -> tuple[SpaceFile, list[Problem]]:
    """The content of a file, and what is wrong with it; what is wrong is left out of the content."""
    try:
        return SpaceFile.model_validate(data), []
    except ValidationError as error:
        found = list(violations(error, SpaceFile))
    wrong = {place[0] for place, _ in found if place}
    sound = {key: value for key, value in data.items() if key not in wrong}
    return SpaceFile.model_validate(STAND_INS | sound), [source.problem(place, message) for place, message in found]


def _space(name: str, content: SpaceFile, base: BaseArchitecture, networks: Iterable[Network], data: Mapping[str, Any]) -> DesignSpace:
    axes = [AxisSteps(axis.name, tuple(axis.settings()), axis.is_ordered) for axis in content.axes]
    batches = content.batch or (base.architecture.training.batch,)
    axes.append(AxisSteps(BATCH, tuple({BATCH: batch} for batch in batches), True))
    return DesignSpace(
        name, base, tuple(networks), in_program_order(content.phases), content.common, tuple(axes), _in_order(content.derived),
        tuple(map(parse, content.constraints)), content.objectives, content.fidelity, dict(_named_files(content)), data,
    )  # fmt: skip


def _in_order(derived: Mapping[str, str]) -> dict[str, Expression]:
    """Derived keys, each after those that it reads. Raises ExpressionError that names a circle."""
    left = {key: parse(text[1:]) for key, text in derived.items()}
    found: dict[str, Expression] = {}
    while left:
        ready = [key for key, expression in left.items() if not expression.names & left.keys()]
        if not ready:
            raise ExpressionError(f"depends on itself by way of {', '.join(left)}")
        found |= {key: left.pop(key) for key in ready}
    return found


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


def _network_problems(content: SpaceFile, networks: list[Network | None], source: SourceMap) -> Iterator[Problem]:
    """Networks of one name, and weights of others than the networks."""
    names = [network.name for network in networks if network is not None]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield source.problem(("networks", i), f"{name!r} is there already")
    for i, objective in enumerate(content.objectives):
        for name in sorted(set(names) ^ objective.weights.keys()) if objective.weights and len(names) == len(networks) else ():
            strange = f"{name!r} is no network of this file; {allowed_names(name, names)}"
            place: KeyPath = ("objectives", i, "weights")
            yield source.problem(place, f"lacks {name}") if name in names else source.problem((*place, name), strange)


def _problems(content: SpaceFile, base: Architecture, source: SourceMap) -> Iterator[Problem]:
    """Keys that do not exist, names that expressions cannot find, axes that move nothing."""
    yield from key_problems({"axes": content.axes}, {"set": content.common, "derived": content.derived}, base, source)
    for i, axis in enumerate(content.axes):
        for key in axis.key_paths:
            reason = unfelt(key)
            if reason:
                yield source.problem(("axes", i), f"{key!r} moves no figure in any fidelity: {reason}")
    keys = known_keys(base) | {key for axis in content.axes for key in axis.key_paths} | content.common.keys() | content.derived.keys()
    figures = {BATCH, *figure_names(), *resource_names(base.board)}
    expressions: tuple[tuple[KeyPath, str, set[str]], ...] = (
        *((("derived", key), text[1:], keys | {BATCH}) for key, text in content.derived.items()),
        *((("constraints", i), text, keys | figures) for i, text in enumerate(content.constraints)),
        *((("objectives", i, "metric"), objective.metric, keys | figures) for i, objective in enumerate(content.objectives)),
    )
    for place, text, allowed in expressions:
        for name in sorted(parse(text).names - allowed):
            yield source.problem(place, unknown_name(name, allowed, base.board is None))
    simulated = set(CAUSE_SHARES)
    for place, text in (
        *((("constraints", i), text) for i, text in enumerate(content.constraints) if content.fidelity == ANALYTICAL),
        *((("objectives", i, "metric"), each.metric) for i, each in enumerate(content.objectives) if content.fidelity != CYCLE),
    ):
        for name in sorted(parse(text).names & simulated):
            yield source.problem(place, f"{name!r} is known to the cycle model only, and fidelity is {content.fidelity}")
    try:
        _in_order(content.derived)
    except ExpressionError as error:
        yield source.problem(("derived",), str(error))


def unfelt(key: str) -> str:
    """Why an axis of ``key`` would be one of equal designs; empty if it is not."""
    name = key.replace("dram.timing_clocks", "dram.part.timing_clocks").replace("dram.currents_ma", "dram.part.currents_ma")
    reasons = [reason for pattern, reason in INERT.items() if fnmatchcase(name, pattern)]
    return reasons[0] if reasons else "it moves values, not time or energy" if name in OF_VALUES else ""


def unknown_name(name: str, allowed: Iterable[str], without_board: bool) -> str:
    """What to say of a name that an expression does not find."""
    if without_board and name in (FITS_BOARD, BOARD_EXCESS, "dsp"):
        return f"{name!r} needs a board, and the architecture has none; board.extends names one"
    close = suggest(name, allowed)
    return f"{name!r} is no metric, no resource and no key" + (
        f"; did you mean {close!r}?" if close else "; `etasim explain` lists metrics"
    )


def known_keys(base: Architecture) -> set[str]:
    """Key paths of an architecture whose values are no sections."""
    return {path for path, _ in leaves(base.resolved())}


def _unsatisfiable(content: SpaceFile, base: BaseArchitecture, source: SourceMap) -> Iterator[Problem]:
    """Constraints that no combination of steps meets, or that ask a figure to be negative."""
    space = _space("", content, base, (), {})
    for i, constraint in enumerate(space.constraints):
        of_figures = bool(constraint.names & {*figure_names(), *space.resource_names})
        if not (_can_hold_of_figures(constraint) if of_figures else _can_hold_of_keys(space, constraint)):
            yield source.problem(("constraints", i), f"{constraint.text!r} cannot hold for any design of this space")


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
