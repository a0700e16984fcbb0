"""What a kernel is made of, as a digest: the stamp under which its machine code is kept.

It covers the code of every function that the kernel reaches and every value that these read, wherever they are written: in etasim or in
a package that adds to it. An edit changes the stamps of what is made of the edited function, and no other; comments change none.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np


def stamp(function: Callable[..., Any]) -> str:
    """SHA-256 of what ``function`` is made of, in the order in which it is found."""
    digest = hashlib.sha256()
    for text in _made_of(function):
        digest.update(text.encode())
    return digest.hexdigest()


def extent(function: Callable[..., Any]) -> int:
    """How much ``function`` is made of: what has more takes longer to compile."""
    return sum(map(len, _made_of(function)))


def _made_of(function: Callable[..., Any]) -> Iterator[str]:
    seen, waiting = set(), [function]
    while waiting:
        each = _source(waiting.pop())
        if each not in seen:
            seen.add(each)
            text, below = _pieces(each)
            yield text
            waiting += below


def _source(value: Any) -> Any:
    """The function behind a kernel; one that is chosen when it is first called is chosen now."""
    value = value.chosen() if hasattr(value, "chosen") else value
    return getattr(value, "py_func", value)


@cache
def _pieces(function: FunctionType) -> tuple[str, tuple[Callable[..., Any], ...]]:
    """A function's own part of a stamp, and the functions that it reads."""
    text, below = [function.__module__, function.__qualname__, repr(function.__defaults__)], []
    codes = list(_nested(function.__code__))
    for code in codes:
        constants = [constant for constant in code.co_consts if not isinstance(constant, CodeType) and constant != function.__doc__]
        text += [code.co_code.hex(), repr(constants), repr(code.co_names), repr(code.co_varnames)]
    for name, value in _read(function, codes):
        if isinstance(_source(value), FunctionType):
            below.append(value)
            text.append(f"{name}{getattr(value, 'targetoptions', '')}")
        else:
            text.append(f"{name}={_constant(value)}")
    return "\n".join(text), tuple(below)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _nested(const)


def _read(function: FunctionType, codes: list[CodeType]) -> Iterator[tuple[str, Any]]:
    """Names and values that a function finds outside itself: those of its closure, its module, and modules that it names."""
    yield from zip(function.__code__.co_freevars, (cell.cell_contents for cell in function.__closure__ or ()), strict=True)
    names = sorted({name for code in codes for name in code.co_names})
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            yield from ((f"{name}.{below}", getattr(value, below)) for below in names if hasattr(value, below))
        else:
            yield name, value


def _constant(value: Any) -> str:
    """A value that machine code may hold, as text; the name of anything else."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    if isinstance(value, tuple | list):
        return f"({','.join(_constant(each) for each in value)})"
    if isinstance(value, str | bytes | int | float | complex | bool | None | np.generic | np.dtype):
        return repr(value)
    return getattr(value, "__qualname__", type(value).__qualname__)
