"""All passes by number, which is what a command of the unified core says."""

from functools import lru_cache

from etasim.core.registry import PluginError
from etasim.ops.schema import OPERATIONS, Pass
from etasim.ops.unit import UNIT_PASSES


def all_passes() -> tuple[Pass, ...]:
    """Those of every unit, then those of the operations in their order, then those of their variants. Raises PluginError if two of them
    have one name."""
    return tuple(_by_name(OPERATIONS.names).values())


def pass_number(name: str) -> int:
    """Place of a pass in `all_passes`."""
    return list(_by_name(OPERATIONS.names)).index(name)


def pass_named(name: str) -> Pass:
    """The pass of a name."""
    return _by_name(OPERATIONS.names)[name]


@lru_cache(maxsize=4)
def _by_name(kinds: tuple[str, ...]) -> dict[str, Pass]:
    passes: dict[str, Pass] = {}
    schemas = [OPERATIONS[kind] for kind in kinds]
    schemas += [variant for schema in schemas for variant in schema.variants.values()]
    for step in (*UNIT_PASSES, *(step for schema in schemas for step in schema.passes)):
        if passes.setdefault(step.name, step) != step:
            raise PluginError(f"two passes of the unified core are called {step.name!r}")
    return passes
