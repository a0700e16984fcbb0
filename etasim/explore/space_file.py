"""The sections of a design-space file: a sweep file with more kinds of axes, derived keys, constraints, objectives and a fidelity."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from etasim.config.base import Section, Violation, require
from etasim.config.errors import allowed_names
from etasim.config.units import UNITS
from etasim.explore.expression import ExpressionError, parse
from etasim.explore.space import SweepAxis, SweepFile

MOST_STEPS = 100_000
"""Of one axis."""

ANALYTICAL: Final = "analytical"
CYCLE: Final = "cycle"
SCREEN: Final = "screen"
FidelityName = Literal["analytical", "cycle", "screen"]
"""How designs are judged: by the estimate, by the cycle model, or by the estimate first and the promising by the cycle model."""

GEOMETRIC_MEAN: Final = "geometric_mean"
WORST: Final = "worst"
WEIGHTED: Final = "weighted"

ALL_UNITS = tuple(unit for units in UNITS.values() for unit in units)


def _readable(text: str) -> str:
    """Refuse what is no expression."""
    try:
        parse(text)
    except ExpressionError as error:
        raise PydanticCustomError("expression", "{reason}", {"reason": str(error)}) from None
    return text


def _derived(text: str) -> str:
    """Refuse what does not begin with an equals sign, or is no expression behind it."""
    if not text.startswith("="):
        raise PydanticCustomError("expression", "{reason}", {"reason": f"must begin with '=', as '= 64 / array.lanes', got {text!r:.60}"})
    return text[:1] + _readable(text[1:].strip())


Formula = Annotated[str, AfterValidator(_readable)]
Derived = Annotated[str, AfterValidator(_derived)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class NumberSpan(Section):
    """Numbers ``from`` .. ``to``, both included, of ``unit`` if they are quantities; ``step`` (a range) or ``points`` (a log range)."""

    first: Finite = Field(alias="from")
    last: Finite = Field(alias="to")
    step: Positive | None = None
    points: Annotated[int, Field(strict=True, ge=2, le=MOST_STEPS)] | None = None
    unit: str | None = None


class DesignAxis(SweepAxis):
    """An axis of one key, or of several that change together, by one of ``KINDS``.

    ``values`` and spans have an order, which a search follows; ``categories`` have none.
    """

    values: tuple[Any, ...] = ()
    categories: tuple[Any, ...] = ()
    range: NumberSpan | None = None
    powers_of_two: NumberSpan | None = None
    log_range: NumberSpan | None = None

    def _violations(self) -> Iterable[Violation]:
        given = [name for name in KINDS if getattr(self, name)] or [name for name in KINDS if name in self.model_fields_set]
        if len(given) != 1:
            yield (), f"needs exactly one of {', '.join(KINDS)}, got {' and '.join(given) or 'none'}"
            return
        kind = given[0]
        if kind in SPANS:
            yield from (((kind, *place), message) for place, message in SPANS[kind][0](getattr(self, kind)))
            if self.together is not None:
                yield (kind,), "is for one key; several keys that change together need values"
        elif not getattr(self, kind):
            yield (kind,), "must have at least 1 entry"
        yield from super()._violations() if kind == "values" else _keys_violations(self, kind)

    @property
    def is_ordered(self) -> bool:
        """Whether neighbours in the list are neighbours in the design space."""
        return not self.categories

    def settings(self) -> list[dict[str, Any]]:
        """One dictionary from key path to value for each step of the axis."""
        kind = next(name for name in KINDS if getattr(self, name))
        values = SPANS[kind][1](getattr(self, kind)) if kind in SPANS else getattr(self, kind)
        steps = values if self.together is not None else [[value] for value in values]
        return [dict(zip(self.key_paths, step, strict=True)) for step in steps]


def _keys_violations(axis: DesignAxis, kind: str) -> Iterable[Violation]:
    """What a sweep says of its keys and values, for axes that have no ``values``."""
    stand_in: tuple[Any, ...] = ([None] * len(axis.together),) if axis.together else (None,)
    values = axis.categories if kind == "categories" else stand_in
    for place, message in SweepAxis._violations(axis.model_copy(update={"values": values})):
        yield ((kind, *place[1:]) if place else place), message


def _bounds(span: NumberSpan) -> Iterable[Violation]:
    if span.last < span.first:
        yield (), f"is empty: from {span.first:g} is above to {span.last:g}"
    if span.unit is not None and span.unit not in ALL_UNITS:
        yield ("unit",), f"unknown unit {span.unit!r}; {allowed_names(span.unit, ALL_UNITS)}"


def _unknown(span: NumberSpan, names: Iterable[str], allowed: str) -> Iterable[Violation]:
    yield from (((name,), f"has no meaning here; allowed: {allowed}") for name in names if getattr(span, name) is not None)


def _range_violations(span: NumberSpan) -> Iterable[Violation]:
    yield from (*_bounds(span), *_unknown(span, ("points",), "from, to, step, unit"))
    if span.last >= span.first and (span.last - span.first) / (span.step or 1) > MOST_STEPS:
        yield ("step",), f"gives more than {MOST_STEPS:,} steps"


def _range_values(span: NumberSpan) -> list[Any]:
    first, last, step = (Fraction(str(value)) for value in (span.first, span.last, span.step or 1))
    return [_with_unit(first + i * step, span) for i in range(int((last - first) / step) + 1)]


def _powers_violations(span: NumberSpan) -> Iterable[Violation]:
    yield from (*_bounds(span), *_unknown(span, ("points", "step"), "from, to, unit"))
    for name, value in (("from", span.first), ("to", span.last)):
        if value < 1 or value != int(value) or int(value) & (int(value) - 1):
            yield (name,), f"must be a power of two, got {value:g}"


def _powers(span: NumberSpan) -> list[Any]:
    exponents = range(int(span.first).bit_length() - 1, int(span.last).bit_length())
    return [_with_unit(Fraction(2**exponent), span) for exponent in exponents]


def _log_violations(span: NumberSpan) -> Iterable[Violation]:
    yield from (*_bounds(span), *_unknown(span, ("step",), "from, to, points, unit"))
    if span.first <= 0:
        yield ("from",), f"must be greater than 0, got {span.first:g}"
    if span.points is None:
        yield ("points",), "is missing"


def _log_values(span: NumberSpan) -> list[Any]:
    """``points`` numbers of one ratio, whole numbers between whole ends; none twice."""
    n, whole = span.points or 2, span.first == int(span.first) and span.last == int(span.last)
    exact = [span.first * (span.last / span.first) ** (i / (n - 1)) for i in range(n)]
    values = [Fraction(round(value)) if whole else Fraction(f"{value:.6g}") for value in exact]
    return list(dict.fromkeys(_with_unit(value, span) for value in values))


def _with_unit(value: Fraction, span: NumberSpan) -> Any:
    """A number as the key takes it."""
    number = value.numerator if value.denominator == 1 else float(value)
    return number if span.unit is None else f"{number} {span.unit}"


SPANS = {
    "range": (_range_violations, _range_values),
    "powers_of_two": (_powers_violations, _powers),
    "log_range": (_log_violations, _log_values),
}
"""What is wrong with a span of each kind, and its values."""

KINDS = ("values", "categories", *SPANS)


class Objective(Section):
    """What is wanted more or less of: a metric, a resource, a key, or arithmetic of these; over several networks the ``aggregate``."""

    metric: Formula
    direction: Literal["maximize", "minimize"]
    aggregate: Literal["geometric_mean", "worst", "weighted"] = GEOMETRIC_MEAN
    weights: dict[str, Positive] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.weights is not None) != (self.aggregate == WEIGHTED):
            place = ("weights",) if self.weights is not None else ()
            require([(place, "weights of the networks and aggregate: weighted belong together")])
        return self


DEFAULT_OBJECTIVES = (
    Objective(metric="throughput_gops", direction="maximize"),
    Objective(metric="mac_units", direction="minimize"),
)
"""Of a file that states none, as every sweep file."""


class SpaceFile(SweepFile):
    """Content of a design-space file; every sweep file is one."""

    axes: tuple[DesignAxis, ...] = ()
    derived: dict[str, Derived] = Field(default_factory=dict)
    constraints: tuple[Formula, ...] = ()
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=4)] = DEFAULT_OBJECTIVES
    fidelity: FidelityName = SCREEN
