"""What all sections of an architecture share: frozen models, exact whole numbers, rules that name their keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError, core_schema

from etasim.core.registry import Registry, UnknownNameError

Count = Annotated[int, Field(strict=True, ge=1, le=2**20)]
"""How many of something there are, at least one. The model multiplies several of these in 64 bits, and keeps no table of them."""

MOST_NODES = 2**12
MOST_CLUSTERS = 2**10
"""Tables of the network are as large as the routes times the nodes: minutes and gigabytes beyond these."""

Clusters = Annotated[int, Field(strict=True, ge=1, le=MOST_CLUSTERS)]
Nodes = Annotated[int, Field(strict=True, ge=1, le=MOST_NODES)]
"""Nodes along one side of the network."""

Node = Annotated[int, Field(strict=True, ge=0, lt=MOST_NODES)]
"""Number of a network node, row by row."""

Slots = Annotated[int, Field(strict=True, ge=1, le=2**16)]
"""Entries of a queue that the machine keeps a table of."""

LONGEST_DELAY = 2**12
"""Of a stage: the machine keeps a slot for each cycle that something may be under way."""

Delay = Annotated[int, Field(strict=True, ge=0, le=LONGEST_DELAY)]
"""Clock cycles, zero allowed."""

Latency = Annotated[int, Field(strict=True, ge=1, le=LONGEST_DELAY)]
"""Clock cycles, at least one."""

LARGEST_BATCH = 2**16
Batch = Annotated[int, Field(strict=True, ge=1, le=LARGEST_BATCH)]
"""Samples of an iteration: each has commands of its own."""

Switch = StrictBool

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]+$", max_length=200)]
"""A name that is safe in tables, files and on the command line."""


@dataclass(frozen=True)
class NameIn:
    """Marks a text as a name of ``registry``: ``Annotated[str, NameIn(TOPOLOGIES)]``."""

    registry: Registry[Any]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def _checked(self, name: object) -> object:
        try:
            self.registry[name]
        except UnknownNameError as error:
            raise PydanticCustomError("unknown_name", "{reason}", {"reason": str(error)}) from None
        return name


Violation = tuple[tuple[str | int, ...], str]
"""A broken rule: the key path below the checked value, and the message."""


class Section(BaseModel):
    """A mapping of the YAML; attribute names are the YAML keys plus the unit of a quantity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    MERGED_KEYS: ClassVar[tuple[str, ...]] = ()
    """Keys that the reader accepts here and merges into others before the section is built."""

    ENTRIES: ClassVar["type[Section] | None"] = None
    """What stands under names that the user chooses, where a section has such beside its keys."""

    @classmethod
    def is_name(cls, text: str) -> bool:
        """Whether ``text`` can be one of these names; what cannot is a key that is misspelt."""
        return True

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """The keys of this section as the YAML writes them."""
        return tuple(field.alias or name for name, field in cls.model_fields.items()) + cls.MERGED_KEYS


def require(violations: Iterable[Violation]) -> None:
    """Refuse a value that breaks rules; the reader reports each violation at its own key."""
    violations = tuple(violations)
    if violations:
        text = "; ".join(message for _, message in violations)
        raise PydanticCustomError("rules", "{text}", {"text": text, "violations": violations})


def power_of_two_violations(values: dict[str, int]) -> Iterable[Violation]:
    """One violation for each value (by YAML key) that is not a power of two."""
    for key, value in values.items():
        if value & (value - 1):
            yield (key,), f"must be a power of two, got {value}"
