"""How kernels are compiled and how their machine code is cached.

``kernel`` is for functions called from other kernels: always inlined, no reference counting.
``entry`` is for the few functions called from Python: compiled once, cached on disk.

``_nrt=False`` switches numba's reference counting off, which costs atomic operations for every
array of a NamedTuple at every call that LLVM does not inline. It forbids allocation in kernels.
It is a private flag, so it lives here only and ``pyproject.toml`` pins numba's range.

An index of a kernel is not negative, and machine code does not look whether it is: that alone was a sixth of the time of the machine's
loop.

The disk cache is stamped with what a function is made of (`etasim.core.stamp`), because numba's own stamp covers only the file of the
outermost function: a changed callee would run as old code.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
from llvmlite import ir  # type: ignore[import-untyped]  # has no types
from numba.core import codegen, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.extending import intrinsic
from numba.np import arrayobj

from etasim.core.stamp import stamp

PACKAGE = Path(__file__).resolve().parent.parent

UNCOUNTED = {"_nrt": False, "error_model": "numpy"}
"""Options of everything that is compiled: no reference counting, and a division as numpy does it."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Kernel = Callable[..., Any]

_numba: Any = numba  # its types leave out private flags


_fix_integer_index: Any = arrayobj.fix_integer_index


def _kernel_index(context: Any, builder: Any, kind: Any, value: Any, size: Any) -> Any:
    """In kernels an index counts from the first element; numba would look at every one whether it is negative, and counts from the end."""
    if context.enable_nrt:
        return _fix_integer_index(context, builder, kind, value, size)
    return context.cast(builder, value, kind, types.intp)


arrayobj.fix_integer_index = _kernel_index

if _numba.config.DISABLE_JIT:

    def lowest_bit(bits: int) -> int:
        """Index of the lowest set bit of a positive number."""
        return (int(bits) & -int(bits)).bit_length() - 1

else:

    @intrinsic
    def lowest_bit(_context: Any, bits: Any) -> Any:
        """Index of the lowest set bit of a positive number, as one instruction."""

        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.int64), generate


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@lru_cache(maxsize=1)
def cache_folder() -> Path | None:
    """First writable of $NUMBA_CACHE_DIR, the package's ``__pycache__``, the user's cache folder; None if there is none."""
    if configured := os.environ.get("NUMBA_CACHE_DIR"):
        candidates = [Path(configured)]
    else:
        candidates = [PACKAGE / "__pycache__", *_user_folders()]
    return next(filter(_writable, candidates), None)


def _user_folders() -> Iterator[Path]:
    """The user's cache folder, if it is known: a user without an entry in the system's list and without $HOME has none."""
    if configured := os.environ.get("XDG_CACHE_HOME"):
        yield Path(configured) / "etasim"
    else:
        with suppress(RuntimeError):
            yield Path.home() / ".cache" / "etasim"


@lru_cache(maxsize=1)
def _compiler() -> str:
    """SHA-256 of how things are compiled: the sources of this file and of `etasim.core.frame`."""
    return hashlib.sha256(b"".join((PACKAGE / "core" / name).read_bytes() for name in ("jit.py", "frame.py"))).hexdigest()


class _PackageLocator(_CacheLocator):
    """Places all machine code in one folder, by module and name."""

    def __init__(self, py_func: Any):
        self._module = py_func.__module__

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        """Nothing: `PackageCache` asks for the stamp when the function is first called, when all that it reaches is there."""
        return ""

    def get_disambiguator(self) -> str:
        return str(self._module)

    @classmethod
    def from_function(cls, py_func: Any, _py_file: str) -> "_PackageLocator":
        return cls(py_func)


class _PackageCacheImpl(CompileResultCacheImpl):
    _locator_classes: list[type[object]] = [_PackageLocator]  # noqa: RUF012 (numba's form)


class PackageCache(FunctionCache):
    """Machine code of one function on disk."""

    _impl_class = _PackageCacheImpl

    def __init__(self, py_func: Any):
        super().__init__(py_func)  # type: ignore[no-untyped-call]  # numba's
        del self._cache_file

    @cached_property
    def _cache_file(self) -> Any:  # type: ignore[override]  # numba assigns it, here it is found late
        """A file for each stamp: packages that add kernels come and go, and their machine code must not take the place of the other."""
        made_of = _compiler() + stamp(self._py_func)
        name = f"{self._impl.filename_base}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
        return IndexDataCacheFile(self._cache_path, name, made_of)  # type: ignore[no-untyped-call]  # numba's

    def is_filled(self) -> bool:
        """Whether there is machine code for what the function is made of."""
        with suppress(ImportError, AttributeError):
            return bool(self._cache_file._load_index())
        return False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Machine code from disk; what names a class that is no longer where it was is of other sources, and is dropped."""
        with suppress(ImportError, AttributeError):
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # numba's
        self._cache_file.flush()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code; a disk that is full costs the next process a compilation, not this one its result."""
        with suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]  # numba's


def kernel(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile ``function`` for use inside other kernels (inlined, allocation forbidden).

    It gets no wrapper for calls from Python, which halves the time to compile the machine. A call from Python (a test, say)
    compiles a second copy with one.
    """
    return _without_wrapper(function, forceinline=True)


def routine(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile ``function`` for calls from kernels, once for all of them: a call, not inlined (allocation forbidden).

    numba would compile it again for every constant that a caller passes, and inline it where the caller is inlined.
    """
    compiled = _without_wrapper(function, forceinline=False)
    if not _numba.config.DISABLE_JIT:
        template = compiled.get_call_template
        compiled.get_call_template = lambda args, kws: template([_numba.types.unliteral(a) for a in args], kws)
    return compiled


def chooser(name: str, arguments: tuple[str, ...], kernels: Sequence[Kernel] | Callable[[], Sequence[Kernel]]) -> Kernel:
    """A kernel ``name(which, *arguments)`` that calls kernel number ``which`` of ``kernels``; all of them return the same type.

    ``kernels`` may be a function, which is asked when the first caller is compiled: by then every package has added its own.
    """
    if not callable(kernels):
        return _written_out(name, arguments, kernels)
    chosen = lru_cache(maxsize=1)(lambda: _written_out(name, arguments, kernels()))
    later: Any = lambda *values: chosen()(*values)  # noqa: E731
    if not _numba.config.DISABLE_JIT:
        later = _without_wrapper(written(name, arguments, "pass", {}), forceinline=True)
        later.get_call_template = lambda args, kws: chosen().get_call_template(args, kws)
        later.get_overload = lambda sig: chosen().get_overload(sig)
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


def _without_wrapper(function: Any, forceinline: bool) -> Any:
    compiled = _numba.njit(**UNCOUNTED, forceinline=forceinline, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    if not _numba.config.DISABLE_JIT:
        callable_copy = entry(function)
        _compile_as(compiled, is_part_only=True)
        compiled._insert = lambda *_args, **_options: None
        compiled._compile_for_args = lambda *_args, **_options: callable_copy
    return compiled


_parts_only: list[bool] = []
"""Of the functions that are being compiled, the innermost last: whether it only becomes a part of what calls it."""


def _compile_as(compiled: Any, is_part_only: bool) -> None:
    """Have numba leave a function that only becomes a part of others as it is: it is optimized, and machine code made of it, in these.

    numba would do both for each function, and again for each that contains it, and again.
    """
    compile_now = compiled.compile

    def compile_within(signature: Any) -> Any:
        _parts_only.append(is_part_only)
        try:
            return compile_now(signature)
        finally:
            _parts_only.pop()

    compiled.compile = compile_within


_codegen: Any = codegen  # has no types


class _Library(_codegen.JITCodeLibrary):  # type: ignore[misc]  # numba's
    """Code of one function and of all that it is made of."""

    def _optimize_final_module(self) -> None:
        if not (_parts_only and _parts_only[-1]):
            super()._optimize_final_module()

    def _finalize_final_module(self) -> None:
        if _parts_only and _parts_only[-1]:
            self._finalized = True
        else:
            super()._finalize_final_module()


def _set_env(target: Any, name: str, env: Any) -> None:
    """Only what has machine code has a place for its environment."""
    if target._engine.is_symbol_defined(name):
        _set_numbas_env(target, name, env)


_set_numbas_env = _codegen.JITCPUCodegen.set_env
_codegen.JITCPUCodegen.set_env = _set_env
_codegen.JITCPUCodegen._library_class = _Library


def entry(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile ``function`` for calls from Python; machine code is cached on disk."""
    compiled = _numba.njit(**UNCOUNTED, nogil=True)(function)
    if not _numba.config.DISABLE_JIT:
        _compile_as(compiled, is_part_only=False)
    if not _numba.config.DISABLE_JIT and cache_folder() is not None:
        compiled._cache = PackageCache(function)
    return compiled


def is_cached(function: object) -> bool:
    """Whether an ``entry`` has machine code on disk for what it is made of (always, without the JIT)."""
    cache = getattr(function, "_cache", None)
    return bool(_numba.config.DISABLE_JIT) or (isinstance(cache, PackageCache) and cache.is_filled())
