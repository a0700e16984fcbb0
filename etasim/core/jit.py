"""Which functions are compiled, and how they are asked for; numba is loaded when something must be compiled, and not before.

``kernel`` is for functions called from other kernels: always inlined, no reference counting.
``procedure`` is for the functions that a simulation calls from Python: kept on disk as machine code, which runs without numba
(`etasim.core.machine_code`). ``entry`` is for others that are called from Python: numba's own, with answers of any kind.

How numba compiles all of them is in `etasim.core.compiling`.
"""

import os
from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial, update_wrapper
from importlib import import_module
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from etasim.core import machine_code
from etasim.core.layout import layout_of, packing
from etasim.core.machine_code import PACKAGE, cache_folder

DISABLED = bool(int(os.environ.get("NUMBA_DISABLE_JIT") or 0))
"""Whether kernels run as Python, as numba lets its users ask for."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Kernel = Callable[..., Any]

__all__ = ["DISABLED", "PACKAGE", "Compiled", "Kernel", "cache_folder", "chooser", "entry", "is_cached", "kernel", "lowest_bit", "named",
           "prepared", "procedure", "routine", "written"]  # fmt: skip


class Compiled:
    """A function that is compiled when numba, or a call from Python, asks for it. ``options``: numba's, which are part of a stamp."""

    def __init__(self, function: Any, **options: Any):
        update_wrapper(self, function)
        self.py_func, self.targetoptions = function, options

    @cached_property
    def dispatcher(self) -> Any:
        """numba's own of it, for calls from kernels."""
        return _compiling().inlined(self.py_func, self.targetoptions)

    @cached_property
    def from_python(self) -> Any:
        """A copy for calls from Python: a kernel is only a part of others."""
        return _compiling().called_from_python(self.py_func)

    def __call__(self, *arguments: Any) -> Any:
        return self.from_python(*arguments)


class Routine(Compiled):
    """A kernel that is called, not inlined."""

    @cached_property
    def dispatcher(self) -> Any:
        return _compiling().inlined(self.py_func, self.targetoptions)


class NumbaEntry(Compiled):
    """A function called from Python, and from kernels."""

    @cached_property
    def dispatcher(self) -> Any:
        return _compiling().called_from_python(self.py_func)

    @property
    def from_python(self) -> Any:
        return self.dispatcher


class Procedure(Compiled):
    """A function called from Python at the address of its machine code."""

    @cached_property
    def _arguments(self) -> Any:
        """A named tuple of what it is called with."""
        return namedtuple("Arguments", [*signature(self.py_func).parameters])

    @cached_property
    def _codes(self) -> dict[Any, tuple[Callable[[int], int], Callable[[Any], Any]]]:
        """By layout: its machine code, and what lays arguments out."""
        return {}

    def __call__(self, *arguments: Any) -> Any:
        return self.prepared(*arguments)()

    def prepared(self, *arguments: Any) -> Callable[[], Any]:
        """The call with these arguments, laid out once for many times; it sees what is in its arrays then."""
        given = self._arguments(*arguments)
        layout = layout_of(given)
        known = self._codes.get(layout)
        if known is None:
            address = machine_code.address_of(self.py_func, layout, lambda: _compiling().procedure_code(self.py_func, given))
            known = self._codes[layout] = machine_code.callable_at(address, 1), packing(layout)
        code, packed_by = known
        memory = packed_by(given)
        return partial(_called, code, memory.ctypes.data, (memory, given))


def _called(code: Callable[[int], int], address: int, _kept_alive: tuple[Any, ...]) -> int:
    return code(address)


class Later(Compiled):
    """A kernel that is written when the first caller is compiled."""

    def __init__(self, stub: Any, chosen: Callable[[], Any]):
        super().__init__(stub)
        self.chosen = chosen

    @cached_property
    def dispatcher(self) -> Any:
        return self.chosen().dispatcher

    def __call__(self, *arguments: Any) -> Any:
        return self.chosen()(*arguments)


def _compiling() -> Any:
    """numba, loaded."""
    from etasim.core import compiling

    return compiling


if DISABLED:

    def lowest_bit(bits: int) -> int:
        """Index of the lowest set bit of a positive number."""
        return (int(bits) & -int(bits)).bit_length() - 1

else:

    class _LowestBit(Compiled):
        """As one instruction."""

        @cached_property
        def dispatcher(self) -> Any:
            return _compiling().lowest_bit

    @_LowestBit
    def lowest_bit(bits: int) -> int:
        """Index of the lowest set bit of a positive number."""
        return (bits & -bits).bit_length() - 1


def _as(kind: Any, function: Any, **options: Any) -> Any:
    """``function``, to be compiled; callers see it as it is written."""
    return kind(function, **options)


def kernel(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile ``function`` for use inside other kernels (inlined, allocation forbidden).

    A call from Python (a test, say) compiles a copy.
    """
    return function if DISABLED else _as(Compiled, function, forceinline=True)


def routine(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile ``function`` for calls from kernels, once for all of them: a call, not inlined (allocation forbidden)."""
    return function if DISABLED else _as(Routine, function, forceinline=False)


def procedure(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile ``function`` for calls from Python, with arrays, numbers and tuples of these; it answers with a whole number, or nothing, and
    says so. Machine code is kept on disk, and runs without numba."""
    if function.__annotations__.get("return", function) not in (None, int, bool):
        raise TypeError(f"{function.__qualname__} answers with something else than a whole number")
    return function if DISABLED else _as(Procedure, function, procedure=True)


def prepared(function: Any, *arguments: Any) -> Callable[[], Any]:
    """The call of a ``procedure`` with these arguments, for many times."""
    return function.prepared(*arguments) if isinstance(function, Procedure) else partial(function, *arguments)


def entry(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile ``function`` for calls from Python and from kernels; machine code is cached on disk by numba."""
    return function if DISABLED else _as(NumbaEntry, function, nogil=True)


def is_cached(function: Any) -> bool:
    """Whether an ``entry`` or a ``procedure`` has machine code on disk for what it is made of (always, without the JIT)."""
    if DISABLED:
        return True
    if isinstance(function, Procedure):
        return machine_code.are_kept([function.py_func])
    return isinstance(function, NumbaEntry) and bool(_compiling().is_filled(function.dispatcher))


def chooser(name: str, arguments: tuple[str, ...], kernels: Sequence[Kernel] | Callable[[], Sequence[Kernel]]) -> Kernel:
    """A kernel ``name(which, *arguments)`` that calls kernel number ``which`` of ``kernels``; all of them return the same type.

    ``kernels`` may be a function, which is asked when the first caller is compiled: by then every package has added its own.
    """
    if not callable(kernels):
        return _written_out(name, arguments, kernels)
    chosen = lru_cache(maxsize=1)(lambda: _written_out(name, arguments, kernels()))
    if not DISABLED:
        return Later(written(name, arguments, "pass", {}), chosen)
    later: Any = lambda *values: chosen()(*values)  # noqa: E731
    later.chosen = chosen
    return later


def named(path: str) -> Any:
    """The kernel ``module:name``."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _written_out(name: str, arguments: tuple[str, ...], kernels: Sequence[Kernel]) -> Any:
    """The source of a chooser, compiled: numba calls what it knows by name, and keeps machine code of what calls closures on no disk.

    A kernel that several numbers stand for is written once.
    """
    numbers: dict[Kernel, list[int]] = {}
    for number, each in enumerate(kernels):
        numbers.setdefault(each, []).append(number)
    call = f"({', '.join(arguments)})"
    *tests, _ = [" or ".join(f"which == {number}" for number in each) for each in numbers.values()]
    lines = [f"if {test}: return kernel_{i}{call}" for i, test in enumerate(tests)] + [f"return kernel_{len(tests)}{call}"]
    scope = {f"kernel_{i}": each for i, each in enumerate(numbers)}
    return kernel(written(name, ("which", *arguments), "\n    ".join(lines), scope))


def written(name: str, arguments: tuple[str, ...], body: str, scope: dict[str, Any]) -> Any:
    """A function from its source; ``body`` finds what it calls in ``scope``."""
    scope = {"__name__": __name__} | scope
    exec(f"def {name}({', '.join(arguments)}):\n    {body}", scope)
    return scope[name]
