"""Cells and tables of the generated pages."""

from collections.abc import Sequence

UNKNOWN = "-"


def number(value: float | None, form: str = "{:,.5g}") -> str:
    """A cell."""
    return UNKNOWN if value is None else form.format(value)


def markdown(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first line is the heading."""
    return ["| " + " | ".join(table[0]) + " |", "|" + "---|" * len(table[0]), *("| " + " | ".join(row) + " |" for row in table[1:])]
