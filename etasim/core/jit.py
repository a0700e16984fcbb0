"""The only import of numba: how kernels are compiled and how their machine code is cached.

``kernel`` is for functions called from other kernels: always inlined, no reference counting.
``entry`` is for the few functions called from Python: compiled once, cached on disk.

``_nrt=False`` switches numba's reference counting off, which costs atomic operations for every
array of a NamedTuple at every call that LLVM does not inline. It forbids allocation in kernels.
It is a private flag, so it lives here only and ``pyproject.toml`` pins numba's range.

The disk cache is stamped with a digest of all kernel sources, because numba's own
stamp covers only the file of the outermost function: a changed callee would run as old code.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from etasim.core.registry import plugins_digest

PACKAGE = Path(__file__).resolve().parent.parent
KERNEL_ROOMS = ("core", "machine", "memory", "noc", "pe", "program")
ROOMS_OF = {
    "functional": ("core", "functional", "ops", "program"), "numerics": ("core", "numerics"), "program": ("core", "program"),
}  # fmt: skip
"""Rooms whose kernels call none of the machine's, with the rooms that they do call."""

_FOREIGN: dict[str, set[Path]] = {}
"""By room: modules of other packages whose kernels its own call."""


Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Kernel = Callable[..., Any]

_numba: Any = numba  # its types leave out private flags


@lru_cache(maxsize=8)
def source_digest(rooms: tuple[str, ...] = KERNEL_ROOMS, foreign: tuple[Path, ...] = ()) -> str:
    """SHA-256 over the names and texts of every Python file in ``rooms``, and of ``foreign`` ones."""
    digest = hashlib.sha256()
    for path in (*sorted(path for room in rooms for path in (PACKAGE / room).rglob("*.py")), *foreign):
        digest.update(str(path.relative_to(PACKAGE) if PACKAGE in path.parents else path).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


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


class _PackageLocator(_CacheLocator):
    """Places all machine code in one folder, stamped with the digest of all sources."""

    def __init__(self, py_func: Any, py_file: str):
        self._py_file = py_file
        self._line = py_func.__code__.co_firstlineno
        room = [*py_func.__module__.split("."), ""][1]
        self._rooms = ROOMS_OF.get(room, KERNEL_ROOMS)
        self._foreign = tuple(sorted(_FOREIGN.get(room, ())))

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return source_digest(self._rooms, self._foreign)

    def get_disambiguator(self) -> str:
        """Machine code that may call kernels of other packages lies beside the other, in whose place it would be made at every turn."""
        return f"{self._line}{plugins_digest()[:12]}"

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "_PackageLocator":
        return cls(py_func, py_file)


class _PackageCacheImpl(CompileResultCacheImpl):
    _locator_classes: list[type[object]] = [_PackageLocator]  # noqa: RUF012 (numba's form)


class _PackageCache(FunctionCache):
    _impl_class = _PackageCacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Machine code from disk; what names a class that is no longer where it was is of other sources, and is dropped."""
        with suppress(ImportError, AttributeError):
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # numba's
        self._cache_file.flush()  # type: ignore[no-untyped-call]  # numba's
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
    if _numba.config.DISABLE_JIT:
        return lambda which, *values: kernels()[which](*values)
    chosen = lru_cache(maxsize=1)(lambda: _written_out(name, arguments, kernels()))
    later: Any = _without_wrapper(_named(name, arguments, "pass", {}), forceinline=True)
    later.get_call_template = lambda args, kws: chosen().get_call_template(args, kws)
    later.get_overload = lambda sig: chosen().get_overload(sig)
    return later


def named(path: str, room: str) -> Any:
    """The kernel ``module:name`` for ``room``, whose machine code is stamped with the module from now on if it is not of etasim."""
    module, _, name = path.partition(":")
    found = import_module(module)
    source = Path(str(found.__file__)).resolve()
    if PACKAGE not in source.parents:
        _FOREIGN.setdefault(room, set()).add(source)
    return getattr(found, name)


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
    return kernel(_named(name, ("which", *arguments), "\n    ".join(lines), scope))


def _named(name: str, arguments: tuple[str, ...], body: str, scope: dict[str, Any]) -> Any:
    scope = {"__name__": __name__} | scope
    exec(f"def {name}({', '.join(arguments)}):\n    {body}", scope)
    return scope[name]


def _without_wrapper(function: Any, forceinline: bool) -> Any:
    options = {"forceinline": forceinline, "_nrt": False, "error_model": "numpy"}
    compiled = _numba.njit(**options, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    if not _numba.config.DISABLE_JIT:
        callable_copy = entry(function)
        compiled._insert = lambda *_args, **_options: None
        compiled._compile_for_args = lambda *_args, **_options: callable_copy
    return compiled


def entry(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile ``function`` for calls from Python; machine code is cached on disk."""
    compiled = _numba.njit(_nrt=False, error_model="numpy", nogil=True)(function)
    if not _numba.config.DISABLE_JIT and cache_folder() is not None:
        compiled._cache = _PackageCache(function)  # type: ignore[no-untyped-call]  # numba's
    return compiled


def is_cached(function: object) -> bool:
    """Whether an ``entry`` has machine code on disk for the present sources (always, without the JIT)."""
    if _numba.config.DISABLE_JIT:
        return True
    cache = getattr(function, "_cache", None)
    index = getattr(cache, "_cache_file", None)
    with suppress(ImportError, AttributeError):
        return index is not None and bool(index._load_index())
    return False
