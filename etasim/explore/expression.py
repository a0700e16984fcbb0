"""Arithmetic that a user writes into a file: ``64 / array.lanes``, ``dsp <= 2048``. It is parsed and walked; nothing of it is executed.

Numbers are exact as far as the operations allow. A quantity counts in its base unit (Hz, B, bit, B/s, s, V, W, J). What is not known is
None, and so is what follows from it.
"""

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from etasim.config.errors import allowed_names
from etasim.config.units import UNITS, parse_quantity

Term = int | float | Fraction | bool | str | None
"""A value within an expression; None: not known."""

MOST_CHARACTERS = 500
LARGEST_EXPONENT = 64
LARGEST_POWER = 2**256
CONSTANTS = {"true": True, "false": False}


class ExpressionError(ValueError):
    """An expression that cannot be read, or has no value; the text says why."""


class Expression(NamedTuple):
    """A parsed expression and the ``names`` that it reads."""

    text: str
    tree: ast.expr
    names: frozenset[str]

    def value(self, lookup: Callable[[str], Any]) -> Term:
        """Its value where ``lookup`` gives that of each name. Raises ExpressionError for a division by zero, or a text among numbers."""
        value: Term = _value(self.tree, lookup)
        return value

    def excess(self, lookup: Callable[[str], Any]) -> float | None:
        """By how much it is not true: 0 where it is; of a comparison of numbers difference over bound; else 1; None: not known.

        Raises ExpressionError as `value` does.
        """
        return _excess(self.tree, lookup)

    def sides(self, lookup: Callable[[str], Any]) -> tuple[float, float] | None:
        """Both sides of a comparison of two numbers; None for anything else, or what is not known. Raises ExpressionError."""
        if not isinstance(self.tree, ast.Compare) or len(self.tree.ops) != 1:
            return None
        a, b = (_value(side, lookup) for side in (self.tree.left, self.tree.comparators[0]))
        return None if a is None or b is None or isinstance(a, str) or isinstance(b, str) else (float(a), float(b))


def parse(text: object) -> Expression:
    """Read an expression: numbers, names, ``+ - * / // % **``, comparisons, ``and or not``, ``a if b else c``, and `FUNCTIONS`.

    Raises ExpressionError.
    """
    if not isinstance(text, str) or not text.strip():
        raise ExpressionError(f"must be an expression such as 'dsp <= 2048', got {text!r:.60}")
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"is longer than {MOST_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{text!r:.60} is no expression: {getattr(error, 'msg', error)}") from None
    return Expression(text.strip(), tree, frozenset(_names(tree)))


def plain(value: Any) -> Term:
    """A value of an input file as an expression sees it: a quantity in its base unit, numbers, switches and names as they are."""
    if isinstance(value, str) and " " in value.strip():
        unit = value.split()[-1]
        kind = next((kind for kind, units in UNITS.items() if unit in units), None)
        if kind is not None:
            try:
                return _whole(parse_quantity(value, kind))
            except ValueError:
                return value
    return value if isinstance(value, (int, float, Fraction, str)) else None


def written(value: Term, like: Any) -> Any:
    """``value`` as the key of an input file takes it whose present value is ``like``: a quantity gets the base unit of its kind."""
    if isinstance(value, str) or value is None:
        return value
    value = value if isinstance(value, (bool, float)) else _whole(Fraction(value))
    unit = str(like).split()[-1] if isinstance(like, str) and " " in like else ""
    kind = next((kind for kind, units in UNITS.items() if unit in units), None)
    if kind is not None:
        return f"{Fraction(value).limit_denominator(10**9)} {next(iter(UNITS[kind]))}"
    return float(value) if isinstance(value, Fraction) else value


def _whole(value: Fraction) -> int | Fraction:
    return value.numerator if value.denominator == 1 else value


def _divide(a: Any, b: Any) -> Any:
    exact = not isinstance(a, float) and not isinstance(b, float)
    return _whole(Fraction(a) / Fraction(b)) if exact else a / b


def _power(a: Any, b: Any) -> Any:
    if abs(b) > LARGEST_EXPONENT or abs(a) > LARGEST_POWER:
        raise ExpressionError(f"a power beyond {LARGEST_EXPONENT}")
    result = a**b
    if isinstance(result, complex):
        raise ExpressionError("a root of a negative number")
    return result


def _root(value: Any) -> float:
    if value < 0:
        raise ExpressionError("a root of a negative number")
    return math.sqrt(value)


def _logarithm(value: Any) -> float | int:
    if value <= 0:
        raise ExpressionError("a logarithm of a number that is not positive")
    return int(value).bit_length() - 1 if value == int(value) and int(value) & (int(value) - 1) == 0 else math.log2(value)


BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: _divide, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Pow: _power,
}  # fmt: skip
UNARY: Mapping[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}
COMPARISONS: Mapping[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "min": min, "max": max, "abs": abs, "ceil": math.ceil, "floor": math.floor, "round": round, "log2": _logarithm, "sqrt": _root,
}  # fmt: skip


def _names(tree: ast.expr) -> Iterator[str]:
    """Names that a tree reads. Raises ExpressionError for a form that is not allowed."""
    dotted = _dotted(tree)
    if dotted is not None:
        if dotted not in CONSTANTS:
            yield dotted
        return
    for part in _parts(tree):
        yield from _names(part)


def _parts(tree: ast.expr) -> list[ast.expr]:
    """What a tree is made of, one level down."""
    match tree:
        case ast.Constant(value=value) if isinstance(value, (int, float, str)) and value not in (math.inf,):
            return []
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return [left, right]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in UNARY:
            return [operand]
        case ast.BoolOp(values=values):
            return values
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [test, body, orelse]
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(type(op) in COMPARISONS for op in ops):
            return [left, *comparators]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if arguments:
            if name not in FUNCTIONS:
                raise ExpressionError(f"unknown function {name!r}; {allowed_names(name, FUNCTIONS)}")
            return arguments
    raise ExpressionError(
        f"{ast.unparse(tree)!r:.60} is not allowed here; numbers, names, arithmetic, comparisons and {', '.join(FUNCTIONS)} are"
    )


def _dotted(tree: ast.expr) -> str | None:
    """The name that a tree is: ``array.lanes``."""
    match tree:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=below, attr=name):
            prefix = _dotted(below)
            return None if prefix is None else f"{prefix}.{name}"
    return None


def _value(tree: ast.expr, lookup: Callable[[str], Any]) -> Any:
    dotted = _dotted(tree)
    if dotted is not None:
        return CONSTANTS[dotted] if dotted in CONSTANTS else plain(lookup(dotted))
    match tree:
        case ast.Constant(value=value):
            return value
        case ast.IfExp(test=test, body=body, orelse=orelse):
            chosen = _value(test, lookup)
            return None if chosen is None else _value(body if chosen else orelse, lookup)
        case ast.BoolOp(op=op, values=values):
            return _joined([_value(each, lookup) for each in values], isinstance(op, ast.And))
    return _calculated(tree, [_value(part, lookup) for part in _parts(tree)])


def _joined(values: list[Any], every: bool) -> bool | None:
    """Whether ``every`` one, or any, of ``values`` is true; None where an unknown one decides."""
    decided = any(value is not None and bool(value) != every for value in values)
    return (not every) if decided else None if None in values else every


def _calculated(tree: ast.expr, values: list[Any]) -> Any:
    """An operation on known values."""
    if None in values:
        return None
    try:
        match tree:
            case ast.BinOp(op=op):
                return BINARY[type(op)](*map(_number, values))
            case ast.UnaryOp(op=op):
                return UNARY[type(op)](values[0])
            case ast.Compare(ops=ops):
                return all(COMPARISONS[type(op)](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
            case ast.Call(func=ast.Name(id=name)):
                return FUNCTIONS[name](*map(_number, values))
    except ZeroDivisionError:
        raise ExpressionError(f"{ast.unparse(tree)} divides by zero") from None
    except (TypeError, OverflowError, ArithmeticError) as error:
        raise ExpressionError(f"{ast.unparse(tree)} has no value: {error}") from None
    raise AssertionError("a form that _parts allows and nothing computes")


def _number(value: Any) -> Any:
    if isinstance(value, str):
        raise TypeError(f"{value!r} is no number")
    return value


def _excess(tree: ast.expr, lookup: Callable[[str], Any]) -> float | None:
    if isinstance(tree, ast.BoolOp):
        parts = [_excess(each, lookup) for each in tree.values]
        known = [part for part in parts if part is not None]
        if isinstance(tree.op, ast.And):
            return None if len(known) < len(parts) and not any(known) else sum(known)
        return min(known) if known and (min(known) == 0 or len(known) == len(parts)) else None
    value = _value(tree, lookup)
    if value is None or value:
        return None if value is None else 0.0
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1 and not isinstance(tree.ops[0], ast.NotEq):
        a, b = (_value(side, lookup) for side in (tree.left, tree.comparators[0]))
        if not isinstance(a, str) and not isinstance(b, str):
            return float(abs(a - b)) / max(abs(float(b)), 1e-9) or 1e-9
    return 1.0
