"""Machine code on disk: where it is kept, under what, and how it is loaded: by LLVM alone, without the compiler.

A file is of one function for one layout of its arguments (`etasim.core.layout`). Its name says what the function is made of
(`etasim.core.stamp`), how things are compiled and for which processor, because a changed callee would otherwise run as old code.
"""

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding  # type: ignore[import-untyped]  # has no types

from etasim.core.layout import Layout, text_of
from etasim.core.locks import alone
from etasim.core.stamp import stamp

PACKAGE = Path(__file__).resolve().parent.parent
SUFFIX = ".code"
LOCKS = "being-compiled"
"""The file of which each function that is being compiled has a byte."""

COMPILERS = ("compiling.py", "layout.py")
"""Files of `etasim.core` that say how things are compiled and lie in memory."""

UNUSED = ("numba_gil_ensure", "numba_gil_release", "numba_unpickle", "numba_do_raise", "numba_runtime_build_excinfo_struct")
"""What numba has machine code call where an error is raised, which no kernel does."""

_llvm: Any = llvmlite.binding


class Code(NamedTuple):
    """Object code, and the function in it that is called."""

    symbol: str
    object_code: bytes


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
def compiler() -> str:
    """SHA-256 of how things are compiled: our sources, numba and LLVM, the processor."""
    sources = [(PACKAGE / "core" / name).read_bytes() for name in COMPILERS]
    tools = [version("numba"), version("llvmlite"), *(os.environ.get(name, "") for name in ("NUMBA_OPT", "NUMBA_CPU_NAME"))]
    tools += [_llvm.get_default_triple(), _llvm.get_host_cpu_name(), _llvm.get_host_cpu_features().flatten()]
    return hashlib.sha256(b"\n".join([*sources, *(tool.encode() for tool in tools)])).hexdigest()


@cache
def _name(function: Callable[..., Any]) -> str:
    """Of all files of a function."""
    made_of = hashlib.sha256((compiler() + stamp(function)).encode()).hexdigest()[:24]
    called = "".join(c if c.isalnum() or c in "._" else "-" for c in f"{function.__module__}.{function.__qualname__}")
    return f"{called}-{made_of}-"


def are_kept(functions: Iterable[Callable[..., Any]]) -> bool:
    """Whether there is machine code on disk for what all of them are made of."""
    folder = cache_folder()
    if folder is None:
        return False
    names = [name for name in os.listdir(folder) if name.endswith(SUFFIX)]
    return all(any(name.startswith(_name(function)) for name in names) for function in functions)


_addresses: dict[tuple[Callable[..., Any], Layout], int] = {}
_engines: list[Any] = []
"""What is loaded, which stays until the process ends."""


def address_of(function: Callable[..., Any], layout: Layout, compiled: Callable[[], Code]) -> int:
    """Where the machine code of ``function`` lies, for arguments of ``layout``; from disk, or ``compiled`` and put there. What another
    process is compiling is waited for."""
    if (function, layout) not in _addresses:
        _addresses[function, layout] = _load(_code_of(_path(function, layout), compiled))
    return _addresses[function, layout]


def prepare(function: Callable[..., Any], layout: Layout, compiled: Callable[[], Code]) -> None:
    """Put machine code on disk, unless it is there or another process is compiling it."""
    if (path := _path(function, layout)) is not None:
        with alone(path.parent / LOCKS, _byte(path), waits=False) as is_ours:
            if is_ours and _read(path) is None:
                _keep(path, compiled())


def _path(function: Callable[..., Any], layout: Layout) -> Path | None:
    """Where machine code is kept, if it can be."""
    if (folder := cache_folder()) is None:
        return None
    return folder / f"{_name(function)}{hashlib.sha256(text_of(layout).encode()).hexdigest()[:16]}{SUFFIX}"


def _byte(path: Path) -> int:
    """Of the file of locks."""
    return int(hashlib.sha256(path.name.encode()).hexdigest()[:7], 16)


def _code_of(path: Path | None, compiled: Callable[[], Code]) -> Code:
    if path is None:
        return compiled()
    if (code := _read(path)) is not None:
        return code
    with alone(path.parent / LOCKS, _byte(path)):
        if (code := _read(path)) is None:
            code = compiled()
            _keep(path, code)
    return code


def _read(path: Path) -> Code | None:
    """What `_keep` has written; None if there is nothing, or something else."""
    try:
        digest, symbol, object_code = path.read_bytes().split(b"\n", 2)
    except (OSError, ValueError):
        return None
    return Code(symbol.decode(), object_code) if digest == _digest(symbol, object_code).encode() else None


def _digest(symbol: bytes, object_code: bytes) -> str:
    return hashlib.sha256(symbol + object_code).hexdigest()


def _keep(path: Path, code: Code) -> None:
    """Write a file, whole; a disk that is full costs the next process a compilation, not this one its result."""
    symbol = code.symbol.encode()
    with suppress(OSError):
        descriptor, name = tempfile.mkstemp(dir=path.parent)
        try:
            with open(descriptor, "wb") as file:
                file.write(b"\n".join([_digest(symbol, code.object_code).encode(), symbol, code.object_code]))
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise


@lru_cache(maxsize=1)
def _target() -> Any:
    """The processor, for LLVM."""
    _llvm.initialize_native_target()
    _llvm.initialize_native_asmprinter()
    never = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for name in UNUSED:
        if _llvm.address_of_symbol(name) is None:
            _llvm.add_symbol(name, never)
    return _llvm.Target.from_default_triple()


def _load(code: Code) -> int:
    """Address of the function of ``code``."""
    engine = _llvm.create_mcjit_compiler(_llvm.parse_assembly(""), _target().create_target_machine(jit=True))
    engine.add_object_file(_llvm.ObjectFileRef.from_data(code.object_code))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(code.symbol))


@cache
def callable_at(address: int, n_arguments: int) -> Callable[..., int]:
    """The function at ``address``, of so many whole numbers, for calls from Python; other threads run meanwhile."""
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * n_arguments)(address)
