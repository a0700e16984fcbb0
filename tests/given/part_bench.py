"""What a test hands to the ``step`` of one part: named tuples with just the links, or the tables of a program, that the part uses."""

from collections import namedtuple
from functools import cache


@cache
def _kind(names: tuple[str, ...]) -> type:
    return namedtuple("Fields", names)


def fields(**values):
    """A named tuple; of one type for the same names, so that kernels are compiled once."""
    return _kind(tuple(values))(*values.values())


NOTHING = fields(nothing=0)
"""For a part that uses no table of the program."""
