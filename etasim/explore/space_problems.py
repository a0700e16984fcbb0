"""What can be wrong with the content of a design-space file: names that nothing has, values that keys refuse, axes that move nothing."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Annotated, Any, NamedTuple, cast

from pydantic import BaseModel

from etasim.config import Architecture, BaseArchitecture, Problem
from etasim.config.catalog import shipped_names
from etasim.config.errors import allowed_names, suggest
from etasim.config.reading import KeyPath, SourceMap
from etasim.config.validation import refusal, required
from etasim.explore.design_space import in_order, leaves
from etasim.explore.expression import ExpressionError, parse
from etasim.explore.figures import BATCH, BOARD_EXCESS, CAUSE_SHARES, FITS_BOARD, figure_names, resource_names
from etasim.explore.keys import INERT, OF_VALUES, part_key
from etasim.explore.sound_content import SoundContent
from etasim.explore.space import key_problems
from etasim.explore.space_file import ANALYTICAL, CYCLE, KINDS, SCREEN, SPANS, DesignAxis, SpaceFile
from etasim.workload import Network

AUTO = "auto"
"""A value that says how the reader finds it."""


ESTIMATED: dict[str, tuple[str, ...]] = {ANALYTICAL: ("constraints", "objectives"), SCREEN: ("objectives",), CYCLE: ()}
"""What must be known to the estimate, by fidelity."""


class Names(NamedTuple):
    """What expressions may read: ``keys`` of the architecture and ``figures`` of an evaluation; ``without_board``: it has no board."""

    keys: set[str]
    figures: set[str]
    without_board: bool

    def allowed(self, place: KeyPath) -> set[str]:
        """Names for the expression at ``place``: derived keys are known before anything is evaluated."""
        return self.keys | ({BATCH} if place[0] == "derived" else self.figures)


def names_of(content: SpaceFile, bases: Iterable[Architecture]) -> Names:
    """Names that any of ``bases`` and the axes have."""
    keys = {path for base in bases for path, _ in leaves(base.resolved())}
    keys |= {key for axis in content.axes for key in axis.key_paths} | content.common.keys() | content.derived.keys()
    figures = {BATCH, *figure_names(), *(name for base in bases for name in resource_names(base.board))}
    return Names(keys, figures, all(base.board is None for base in bases))


@cache
def any_architecture() -> tuple[Architecture, ...]:
    """What ships, in the place of an architecture that is not known: a name that none of these has is wrong whichever was meant."""
    folders = ("configs", "configs/prior", "configs/parity")
    return tuple(BaseArchitecture(name).architecture for folder in folders for name in shipped_names(folder))


def expressions(content: SpaceFile) -> Iterator[tuple[KeyPath, str]]:
    """All expressions and where they stand."""
    yield from ((("derived", key), text[1:]) for key, text in content.derived.items())
    yield from ((("constraints", i), text) for i, text in enumerate(content.constraints))
    yield from ((("objectives", i, "metric"), objective.metric) for i, objective in enumerate(content.objectives))


def space_problems(sound: SoundContent, base: Architecture | None, networks: list[Network | None]) -> Iterator[Problem]:
    """Keys that do not exist, values that no such key takes, names that expressions cannot find, axes that move nothing. Without a
    ``base``, as far as no architecture would do."""
    content, source, bases = sound.content, sound.source, (base,) if base else any_architecture()
    yield from key_problems({"axes": content.axes}, {"set": content.common, "derived": content.derived}, bases, source)
    yield from _network_problems(content, networks, source)
    yield from _value_problems(content, sound.vague, source)
    for i, axis in enumerate(content.axes):
        for key in axis.key_paths:
            reason = unfelt(key)
            if reason:
                yield source.problem(("axes", i), f"{key!r} moves no figure in any fidelity: {reason}")
    names, simulated = names_of(content, bases), set(CAUSE_SHARES)
    for place, text in expressions(content):
        allowed, reads = names.allowed(place), parse(text).names
        for name in sorted(reads - allowed):
            yield source.problem(place, unknown_name(name, allowed, names.without_board))
        for name in sorted(reads & simulated) if place[0] in ESTIMATED[content.fidelity] else ():
            yield source.problem(place, f"{name!r} is known to the cycle model only, and fidelity is {content.fidelity}")
    try:
        in_order(content.derived)
    except ExpressionError as error:
        yield source.problem(("derived",), str(error))


def _network_problems(content: SpaceFile, networks: list[Network | None], source: SourceMap) -> Iterator[Problem]:
    """Networks of one name, and weights of others than the networks."""
    names = [network.name for network in networks if network is not None]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield source.problem(("networks", i), f"{name!r} is there already")
    for i, objective in enumerate(content.objectives):
        for name in sorted(set(names) ^ objective.weights.keys()) if objective.weights and names and None not in networks else ():
            strange = f"{name!r} is no network of this file; {allowed_names(name, names)}"
            place: KeyPath = ("objectives", i, "weights")
            yield source.problem(place, f"lacks {name}") if name in names else source.problem((*place, name), strange)


def _value_problems(content: SpaceFile, vague: frozenset[str], source: SourceMap) -> Iterator[Problem]:
    """Values that their keys refuse whatever the other keys are: another unit, below the least."""
    for key, value in content.common.items():
        yield from (source.problem(("set", key), message) for message in _refusal(key, value))
    for i, axis in enumerate(content.axes):
        for place, key, value in () if vague & set(axis.key_paths) else _ends(axis):
            yield from (source.problem(("axes", i, *place), message) for message in _refusal(key, value))


def _ends(axis: DesignAxis) -> Iterator[tuple[KeyPath, str, Any]]:
    """Values of an axis with their places: of a span the first and the last."""
    kind = next(kind for kind in KINDS if getattr(axis, kind))
    for number, step in enumerate(axis.settings()):
        place: KeyPath = (kind,) if kind in SPANS else (kind, number)
        if kind not in SPANS or number == 0:
            yield from (((*place, j) if axis.together else place, *setting) for j, setting in enumerate(step.items()))
    if kind in SPANS and number:
        yield from (((kind,), *setting) for setting in step.items())


def _refusal(key: str, value: Any) -> Iterator[str]:
    """Why no architecture has ``value`` under ``key``; nothing of sections, and of keys that others are made of."""
    kind = _kind(key)
    if kind is not None and value != AUTO and not isinstance(value, dict):
        message = refusal(kind, value)
        yield from [message] if message else []


@cache
def _kind(key: str) -> Any:
    """Type of the value at a key path of an architecture; None of a section, and where there is no such key."""
    field, model = None, Architecture
    for step in key.split("."):
        found = [field for name, field in model.model_fields.items() if step in (field.alias, name)] if _is_section(model) else []
        if not found:
            return None
        field, model = found[0], required(found[0].annotation)
    return None if field is None or _is_section(model) else cast(Any, Annotated)[(field.annotation, *field.metadata)]


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def unfelt(key: str) -> str:
    """Why an axis of ``key`` would be one of equal designs; empty if it is not."""
    name = part_key(key)
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
