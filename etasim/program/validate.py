"""A program is validated when it is built: rules that hold whatever the machine's timing, each said once.

What a machine made of a program is checked after its run (`etasim.machine.laws`).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from etasim.core.errors import ProgramError
from etasim.program import order, structure
from etasim.program.commands import Program
from etasim.program.facts import Earlier, Facts, Limits


class Rule(NamedTuple):
    """``broken``: how a program breaks the rule, a line each. ``holds_others``: no other rule can be read if it is broken."""

    name: str
    broken: Callable[[Facts], Iterator[str]]
    holds_others: bool = False


RULES = (
    Rule("numbering", structure.numbering, holds_others=True),
    Rule("tables", structure.tables, holds_others=True),
    Rule("dependencies", structure.dependencies, holds_others=True),
    Rule("addresses", structure.addresses),
    Rule("groups", order.groups),
    Rule("hazards", order.hazards),
    Rule("unwritten", order.unwritten),
    Rule("halves", order.halves),
    Rule("scratchpads", order.scratchpads),
    Rule("words", order.words),
    Rule("passes", order.passes),
    Rule("reductions", order.reductions),
)


def violations(program: Program, limits: Limits) -> dict[str, list[str]]:
    """By name of each rule that ``program`` breaks: how, a line each."""
    return _broken(Facts(program, limits))


def _broken(facts: Facts) -> dict[str, list[str]]:
    found = {}
    for rule in RULES:
        if lines := list(rule.broken(facts)):
            found[rule.name] = lines
            if rule.holds_others:
                break
    return found


def check(program: Program, limits: Limits, earlier: Earlier | None = None, is_last: bool = True) -> Earlier | None:
    """Raises ProgramError with every rule that ``program`` breaks: all of it, or the window that comes after those that left what is
    ``earlier``. Returns what this one leaves, unless it ``is_last``."""
    facts = Facts(program, limits, earlier, is_last)
    if found := _broken(facts):
        lines = [f"{name}: {line}" for name, broken in found.items() for line in broken]
        raise ProgramError("\n  ".join(["the tile program breaks rules:", *lines]))
    return None if is_last else facts.leave()
