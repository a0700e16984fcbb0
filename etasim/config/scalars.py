"""What a plain word of our YAML is: null, a switch, a decimal number, or text.

YAML 1.1 and 1.2 part over ``016``, ``3:0``, ``0o16``, ``1_000`` and dates. Numbers are decimal here: other spellings are refused with the
decimal one, so that a file means the same to every reader. A date is text.
"""

import re

import yaml

MOST_DIGITS = 40
"""Characters of a number; all that the model counts has fewer."""

_CORE = "tag:yaml.org,2002:"
UNUSUAL = "!unusual-number"

_WORDS = {
    "null": r"~|null|Null|NULL|",
    "bool": "|".join(case(word) for word in ("yes", "no", "true", "false", "on", "off") for case in (str.lower, str.title, str.upper)),
    "int": r"[-+]?(?:0|[1-9][0-9]*)",
    "float": r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    "merge": r"<<",
}
_BASES = {"0o": 8, "0x": 16, "0b": 2}
_OTHER_BASE = re.compile(r"([-+]?)(0[oxb])([0-9a-f_]+)", re.IGNORECASE)
_LEADING_ZERO = re.compile(r"([-+]?)0+([0-9]+)")
_SEPARATED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?")
_SEXAGESIMAL = re.compile(r"([-+]?)([0-9]+(?::[0-9]{1,2})+)(\.[0-9]*)?")


class PlainScalars(yaml.SafeLoader):
    """Safe YAML whose plain words are those of this module."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's name and form)


class PlainDumper(yaml.SafeDumper):
    """Safe YAML that quotes all text which `PlainScalars`, or a reader of YAML 1.1, would take for something else."""


_UNUSUAL = "|".join(pattern.pattern for pattern in (_OTHER_BASE, _LEADING_ZERO, _SEPARATED, _SEXAGESIMAL))
for _tag, _pattern in ({_CORE + kind: pattern for kind, pattern in _WORDS.items()} | {UNUSUAL: f"(?i:{_UNUSUAL})"}).items():
    for _room in (PlainScalars, PlainDumper):
        _room.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), None)


def refusal(node: yaml.ScalarNode) -> str | None:
    """Why the scalar is no value of ours, with the spelling that is; None if it is one."""
    text = node.value
    if node.tag in (UNUSUAL, f"{_CORE}int", f"{_CORE}float") and len(text) > MOST_DIGITS:
        return f"a number of {len(text):,} characters; at most {MOST_DIGITS} are allowed"
    if node.tag == f"{_CORE}merge":
        return "merge keys are not supported; write the values out"
    if node.tag != UNUSUAL:
        return None
    return f"numbers are decimal: {_decimal(text)} instead of {text!r}, or put quotes around it if it is text"


def _decimal(text: str) -> str:
    """``write`` and the decimal spelling of an unusual number."""
    if found := _OTHER_BASE.fullmatch(text):
        try:
            return f"write {found[1]}{int(found[3].replace('_', ''), _BASES[found[2].lower()])}"
        except ValueError:
            return "write one"
    if found := _LEADING_ZERO.fullmatch(text):
        octal = set(found[2]) <= set("01234567")
        meant = f", or {found[1]}{int(found[2], 8)} for what YAML 1.1 reads (octal)," if octal and int(found[2], 8) != int(found[2]) else ""
        return f"write {found[1]}{int(found[2])}{meant}"
    if _SEPARATED.fullmatch(text):
        return f"write {text.replace('_', '').lstrip('0') or '0'}"
    found = _SEXAGESIMAL.fullmatch(text)
    assert found is not None, f"{text!r} has the tag of an unusual number"
    sign, digits, fraction = found.groups()
    value = 0
    for part in digits.split(":"):
        value = 60 * value + int(part)
    return f"write {sign}{value}{(fraction or '').rstrip('.')} (base 60, as YAML 1.1 reads it)"
