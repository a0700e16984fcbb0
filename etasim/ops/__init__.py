"""Operations: one file each, one row of a table each (`etasim.ops.schema`)."""

from importlib import import_module
from pkgutil import iter_modules

from etasim.ops.schema import ACTIVATION, JOINED, NORMALIZATION, OPERATIONS, OWN, PADDED, SAME, LaneWork, OpSchema, Pass

__all__ = ["ACTIVATION", "JOINED", "NORMALIZATION", "OPERATIONS", "OWN", "PADDED", "SAME", "LaneWork", "OpSchema", "Pass"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
