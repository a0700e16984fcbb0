"""Every leaf of a pydantic schema: its path, what kind of value it takes, and the end of its range. New keys are found by themselves."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, PlainValidator, TypeAdapter, ValidationError

from etasim.config import units
from etasim.config.base import NameIn

Path = tuple[str | int, ...]
SAMPLE_KEY = "fuzz"
"""Key of the entry by which a mapping with free keys is entered."""

QUANTITIES = {
    validator: name.lower()
    for name, quantity in vars(units).items()
    if get_origin(quantity) is Annotated
    for validator in get_args(quantity)[1:]
    if isinstance(validator, PlainValidator)
}
"""Kind of a quantity (a key of `etasim.config.units.UNITS`) by the validator that marks it."""


class Leaf(NamedTuple):
    """A value of the YAML. ``names``: what a `Literal` or a registry allows; ``quantity``: its kind if it carries a unit; ``accepts``:
    whether the field alone takes a value, whatever the rules between fields say."""

    path: Path
    type: Any
    names: tuple[str, ...]
    quantity: str | None
    accepts: Callable[[Any], bool]

    def written(self, number: int | float) -> Any:
        """``number`` as the YAML writes it: with the base unit, if the leaf has one."""
        return number if self.quantity is None else f"{number} {next(iter(units.UNITS[self.quantity]))}"

    @property
    def is_number(self) -> bool:
        """Whether the leaf takes numbers, bare or with a unit."""
        return self.quantity is not None or self.type in (int, float)


def leaves(model: type[BaseModel], path: Path = ()) -> Iterator[Leaf]:
    """Leaves of ``model``, those of optional sections and of the first entries of lists and mappings included."""
    for name, field in model.model_fields.items():
        yield from _leaves_of(field.annotation, tuple(field.metadata), (*path, field.alias or name))


def _leaves_of(annotation: Any, metadata: tuple, path: Path) -> Iterator[Leaf]:
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = (*more, *metadata)
    arguments = [argument for argument in get_args(annotation) if argument is not NoneType]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from leaves(annotation, path)
    elif NoneType in get_args(annotation) and len(arguments) == 1:
        yield from _leaves_of(arguments[0], metadata, path)
    elif get_origin(annotation) in (tuple, dict) and not any(isinstance(mark, PlainValidator) for mark in metadata):
        of_entry = arguments[1] if get_origin(annotation) is dict else arguments[0]
        yield _leaf(annotation, metadata, path)
        yield from _leaves_of(of_entry, (), (*path, SAMPLE_KEY if get_origin(annotation) is dict else 0))
    else:
        yield _leaf(annotation, metadata, path)


def _leaf(annotation: Any, metadata: tuple, path: Path) -> Leaf:
    registered = (mark.registry.names for mark in metadata if isinstance(mark, NameIn))
    names = get_args(annotation) if get_origin(annotation) is Literal else next(registered, ())
    quantity = next((QUANTITIES[mark] for mark in metadata if isinstance(mark, PlainValidator) and mark in QUANTITIES), None)
    adapter = TypeAdapter(Annotated[annotation, *metadata] if metadata else annotation)

    def accepts(value: Any) -> bool:
        try:
            adapter.validate_python(value)
        except (ValidationError, ValueError, OverflowError):
            return False
        return True

    return Leaf(path, annotation, names, quantity, accepts)


@cache
def all_leaves(model: type[BaseModel]) -> tuple[Leaf, ...]:
    """`leaves` of a whole schema."""
    return tuple(leaves(model))


@cache
def end(leaf: Leaf) -> int | None:
    """The greatest whole number that the field alone takes, None if it takes none or knows no end (below 2^200)."""
    reached = next((1 << k for k in range(200) if leaf.accepts(leaf.written(1 << k))), None)
    if reached is None:
        return None
    beyond = next((1 << k for k in range(reached.bit_length(), 201) if not leaf.accepts(leaf.written(1 << k))), None)
    if beyond is None:
        return None
    reached = beyond >> 1
    while beyond - reached > 1:
        middle = (reached + beyond) // 2
        reached, beyond = (middle, beyond) if leaf.accepts(leaf.written(middle)) else (reached, middle)
    return reached


def value_at(data: Any, path: Path) -> Any:
    """The value at ``path`` of plain data; None where there is none."""
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def replaced(data: Any, path: Path, value: Any) -> Any:
    """``data`` with ``value`` at ``path``; sections and entries on the way are made where they are missing."""
    if not path:
        return value
    step, *rest = path
    if isinstance(step, int):
        entries = list(data) if isinstance(data, (list, tuple)) else []
        entries[step : step + 1] = [replaced(entries[step] if step < len(entries) else None, tuple(rest), value)]
        return entries
    section = dict(data) if isinstance(data, Mapping) else {}
    return section | {step: replaced(section.get(step), tuple(rest), value)}


def paths(data: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of all values of plain data, sections and lists included."""
    yield path
    entries = data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, list) else ()
    for step, below in entries:
        yield from paths(below, (*path, step))
