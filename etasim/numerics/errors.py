"""How numbers that cannot be computed with are reported: all problems at once, each with the tensor or layer that it is about."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class NumericsFault(NamedTuple):
    """One thing that is wrong; ``where`` names a tensor (``conv1.weight``), a layer, or an argument."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class NumericsError(ValueError):
    """Arguments of the numerics that cannot be; ``faults`` lists why."""

    def __init__(self, faults: Iterable[NumericsFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


def require(faults: Iterable[tuple[str, str]]) -> None:
    """Raises NumericsError with all (where, message) of ``faults``, if there are any."""
    found = [NumericsFault(*fault) for fault in faults]
    if found:
        raise NumericsError(found)


def all_of(*steps: Callable[[], Any]) -> list[Any]:
    """What each of ``steps`` returns. Raises NumericsError with the faults of all of them together."""
    results: list[Any] = []
    faults: list[NumericsFault] = []
    for step in steps:
        try:
            results.append(step())
        except NumericsError as error:
            faults += error.faults
    require(faults)
    return results
