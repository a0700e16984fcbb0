"""Why convolutions fit no tiling, and the change of the machine with which they do.

The planner itself is asked: does a mapping fit if one memory is larger than any need, and what is the least size with which it does? So
no limit is written down twice, and what is suggested mends the operation.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import yaml

from etasim.config import Architecture, InputError
from etasim.config.array import WIDEST_ACCUMULATOR_BITS
from etasim.config.loading import apply_overrides, build_architecture
from etasim.config.reading import Document, SourceMap
from etasim.config.units import format_size
from etasim.core.errors import InfeasibleError, Reason
from etasim.schedule.array import ArraySizes, array_of, row_bytes
from etasim.schedule.mappers import mapper_of
from etasim.schedule.pinning import pattern_of, pins_of
from etasim.schedule.plan import fits, overflow
from etasim.schedule.problem import NOTHING_PINNED, ConvProblem, Pinned
from etasim.schedule.tiling import ceil_div

MOST_ATTEMPTS = 24
"""Changes that are tried one on top of the other."""

BEYOND_NEED = 2**40
"""A size that no operation needs: the largest of the schema."""


class Limit(NamedTuple):
    """A field of `ArraySizes` that bounds tiles: its key in the architecture, and what of the smallest tile it must hold, by phase."""

    field: str
    key: str
    holds: dict[str, str]


def _same(holds: str) -> dict[str, str]:
    return dict.fromkeys(("ff", "bp", "wg"), holds)


_WEIGHTS = "the weights between two blocks of channels"
LIMITS = (
    Limit("weight_bytes", "buffers.weight.size", {"ff": _WEIGHTS, "bp": _WEIGHTS, "wg": "the errors of one row, a block of channels"}),
    Limit("activation_bytes", "buffers.activation.size", _same("what a row of results reads of a block of the streamed channels")),
    Limit("error_bytes", "buffers.error.size", _same("one row of results, and as much again for what the unified core makes of it")),
    Limit("stream_scratchpad_bytes", "array.stream_scratchpad", _same("the streamed operand of the smallest pass")),
    Limit("stationary_scratchpad_bytes", "array.stationary_scratchpad", _same("the stationary operand of the smallest pass")),
    Limit("psum_depth", "array.psum_depth", _same("the sums of the smallest pass")),
)
"""What a tile must fit; of equally close ones the first is named."""


class Asked(NamedTuple):
    """An operation that must be planned."""

    layer: str
    problem: ConvProblem
    pins: Pinned


def least(fitting: Callable[[int], bool], low: int, high: int) -> int:
    """The least number in (low, high] that is ``fitting``, as ``high`` is and all beyond the first are."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fitting(middle) else (middle, high)
    return high


def needs(array: ArraySizes, asked: Asked) -> dict[str, int]:
    """Fields of the array and the least values with which the operation fits: one field, the one that grows least, if one is enough.

    Empty if no memory would help.
    """

    def fitting(changes: Mapping[str, Any]) -> bool:
        return fits(array._replace(**changes), asked.problem, asked.pins)

    def enough(field: str, value: int) -> bool:
        return fitting(values | {field: value})

    values: dict[str, int] = {}
    single = {}
    for limit in LIMITS:
        field = limit.field
        if enough(field, BEYOND_NEED):
            single[field] = least(partial(enough, field), getattr(array, field), BEYOND_NEED)
    if single:
        field = min(single, key=lambda name: single[name] / getattr(array, name))
        return {field: single[field]}
    values = {limit.field: BEYOND_NEED for limit in LIMITS}
    if not fitting(values):
        return {}
    for field in values:
        has = getattr(array, field)
        if enough(field, has):
            values[field] = has
        else:
            values[field] = least(partial(enough, field), has, BEYOND_NEED)
    return {field: value for field, value in values.items() if value != getattr(array, field)}


def explained(error: InfeasibleError, architecture: Architecture, emit: Callable[[Architecture], object]) -> InfeasibleError:
    """``error`` with everything that keeps ``emit`` from working: what it suggests is changed, and tried, until it does.

    The changes are those with which ``emit`` works; none, where an error suggests nothing.
    """
    reasons: dict[str, Reason] = {}
    changes: dict[str, int | str] = {}
    for _ in range(MOST_ATTEMPTS):
        for reason in error.reasons:
            what = reason.message.partition(" needs ")[0] if reason.layer else reason.key or reason.message
            reasons.setdefault(what, reason)  # in a larger memory the same tile may be larger, and need more
        if not error.changes:
            break
        changes |= error.changes
        try:
            emit(build_architecture(apply_overrides(Document(architecture.resolved(), SourceMap()), changes)))
        except InfeasibleError as next_error:
            error = next_error
        except InputError:
            break
        else:
            return InfeasibleError(*reasons.values(), changes=changes)
    return InfeasibleError(*reasons.values())


def refuse_misfits(architecture: Architecture, array: ArraySizes, asked: Sequence[Asked]) -> None:
    """Raise InfeasibleError, with a reason for each operation that cannot be planned and the changes with which all can."""
    misfits = [each for each in asked if overflow(array, each.problem) != (0, 0) or not fits(array, each.problem, each.pins)]
    if not misfits:
        return
    reasons, larger, bits = [], array, array.accumulator_bits
    for operation in misfits:
        problem, where = operation.problem, f"{operation.layer} ({operation.problem.phase})"
        terms, needed = overflow(array, problem)
        if terms:
            bits = max(bits, needed)
            message = f"{where}: sums of {terms:,} products need {needed} bits, array.accumulator_width is {array.accumulator_bits}"
            reasons.append(Reason(message, operation.layer, "array.accumulator_width"))
        if not fits(array, problem, operation.pins):
            if without := _without_pins(architecture, array, operation):
                reasons.append(Reason(f"{where}: {without}", operation.layer))
                continue
            own = needs(array, operation)
            shortfalls = [_shortfall(limit, problem.phase, own[limit.field], array) for limit in LIMITS if limit.field in own]
            reasons.append(Reason(f"{where}: fits no tiling: {'; '.join(shortfalls) or 'no memory would help'}", operation.layer))
            if own and not fits(larger, problem, operation.pins):
                larger = larger._replace(**{field: max(value, getattr(larger, field)) for field, value in own.items()})
    raise InfeasibleError(*reasons, changes=_changes(architecture, larger, bits))


def _without_pins(architecture: Architecture, array: ArraySizes, asked: Asked) -> str:
    """What is wrong with pins without which an operation fits; empty if it does not fit without them either."""
    if asked.pins == NOTHING_PINNED or not fits(array, asked.problem):
        return ""
    pattern, phase = pattern_of(architecture, asked.layer, asked.problem.phase), asked.problem.phase
    chosen = mapper_of(architecture.mapper)(array, asked.problem, 1, NOTHING_PINNED)[0]
    free = yaml.safe_dump(pins_of(chosen, phase, array), default_flow_style=True, width=sys.maxsize)
    return f"no mapping that fits has what mapping.{pattern} pins; without it the planner takes {free.strip()}"


def _shortfall(limit: Limit, phase: str, needed: int, array: ArraySizes) -> str:
    unit = "B" if limit.field.endswith("bytes") else "entries"
    return f"{limit.key} must hold {needed:,} {unit}, {limit.holds[phase]}, and has {getattr(array, limit.field):,}"


def _changes(architecture: Architecture, larger: ArraySizes, bits: int) -> dict[str, int | str]:
    """The changes as overrides, in the words of the architecture file; none if an accumulator cannot be so wide."""
    if bits > WIDEST_ACCUMULATOR_BITS:
        return {}
    has = array_of(architecture)
    grown = [limit for limit in LIMITS if getattr(larger, limit.field) > getattr(has, limit.field)]
    changes = {limit.key: _value(architecture, limit, getattr(larger, limit.field)) for limit in grown}
    return changes | ({"array.accumulator_width": f"{bits} bit"} if bits > has.accumulator_bits else {})


def _value(architecture: Architecture, limit: Limit, needed: int) -> int | str:
    """``needed`` as the architecture file writes it; a buffer has whole rows of its banks."""
    if not limit.field.endswith("bytes"):
        return needed
    section, _, name = limit.key.partition(".")
    if section == "buffers":
        row = row_bytes(architecture, name.removesuffix(".size"))
        needed = ceil_div(needed, row) * row
    return format_size(needed)
