"""How kernels are compiled: the file that imports numba.

``_nrt=False`` switches numba's reference counting off, which costs atomic operations for every
array of a NamedTuple at every call that LLVM does not inline. It forbids allocation in kernels.
It is a private flag, so it lives here only and ``pyproject.toml`` pins numba's range.

An index of a kernel is not negative, and machine code does not look whether it is: that alone was a sixth of the time of the machine's
loop.

The disk cache of an entry is stamped with what a function is made of (`etasim.core.stamp`), because numba's own stamp covers only the file
of the outermost function: a changed callee would run as old code. Procedures and parts are kept by `etasim.core.machine_code`.
"""

import gc
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

import numba
from llvmlite import ir  # type: ignore[import-untyped]  # has no types
from numba.core import cgutils, codegen, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.datamodel import models
from numba.core.imputils import lower_getattr_generic
from numba.core.registry import cpu_target
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, register_model, typeof_impl
from numba.np import arrayobj

from etasim.core import machine_code
from etasim.core.jit import Compiled, written
from etasim.core.machine_code import Code
from etasim.core.stamp import stamp

UNCOUNTED = {"_nrt": False, "error_model": "numpy"}
"""Options of everything that is compiled: no reference counting, and a division as numpy does it."""

_numba: Any = numba  # its types leave out private flags
_cgutils: Any = cgutils
_cfunc: Any = CFunc
_fix_integer_index: Any = arrayobj.fix_integer_index


def _kernel_index(context: Any, builder: Any, kind: Any, value: Any, size: Any) -> Any:
    """In kernels an index counts from the first element; numba would look at every one whether it is negative, and counts from the end."""
    if context.enable_nrt:
        return _fix_integer_index(context, builder, kind, value, size)
    return context.cast(builder, value, kind, types.intp)


arrayobj.fix_integer_index = _kernel_index


@typeof_impl.register(Compiled)
def _typeof_compiled(value: Compiled, _context: Any) -> Any:
    """In kernels, a function that is to be compiled is numba's own of it."""
    return cpu_target.typing_context.resolve_value_type(value.dispatcher)


@intrinsic
def lowest_bit(_context: Any, bits: Any) -> Any:
    """Index of the lowest set bit of a positive number, as one instruction."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


def inlined(function: Any, options: dict[str, Any]) -> Any:
    """numba's function for use in others. It gets no wrapper for calls from Python, which halves the time to compile the machine.

    numba would translate it again for every constant that a caller passes.
    """
    compiled = _numba.njit(**UNCOUNTED, **options, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    _compile_as(compiled, is_part_only=True)
    template = compiled.get_call_template
    compiled.get_call_template = lambda args, kws: template([_numba.types.unliteral(a) for a in args], kws)
    return compiled


def called_from_python(function: Any) -> Any:
    """numba's function with a wrapper, cached on disk."""
    compiled = _numba.njit(**UNCOUNTED, nogil=True)(function)
    _compile_as(compiled, is_part_only=False)
    if machine_code.cache_folder() is not None:
        compiled._cache = PackageCache(function)
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


class _PackageLocator(_CacheLocator):
    """Places all machine code in one folder, by module and name."""

    def __init__(self, py_func: Any):
        self._module = py_func.__module__

    def get_cache_path(self) -> str:
        return str(machine_code.cache_folder())

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
        made_of = machine_code.compiler() + stamp(self._py_func)
        name = f"{self._impl.filename_base}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
        return IndexDataCacheFile(self._cache_path, name, made_of)  # type: ignore[no-untyped-call]  # numba's

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Without what a function finds outside itself, which the stamp covers."""
        return sig, codegen.magic_tuple()

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


def is_filled(dispatcher: Any) -> bool:
    """Whether an entry has machine code on disk."""
    return isinstance(dispatcher._cache, PackageCache) and dispatcher._cache.is_filled()


class Reference(types.Type):
    """A named tuple in memory, read field by field. ``by_value``: a named tuple in it is read as a whole."""

    def __init__(self, target: Any, by_value: bool = False):
        self.target, self.by_value = target, by_value
        short = hashlib.sha256(str(target).encode()).hexdigest()[:16]
        super().__init__(f"Reference({target.instance_class.__name__} {short} {by_value})")

    def field(self, name: str) -> tuple[int, Any]:
        """Number and type of a field of the tuple."""
        number = self.target.fields.index(name)
        return number, self.target.types[number]

    def is_below(self, kind: Any) -> bool:
        """Whether a field of a type is again read field by field."""
        return isinstance(kind, types.BaseNamedTuple) and not self.by_value


@register_model(Reference)
class _ReferenceModel(models.PrimitiveModel):
    def __init__(self, manager: Any, reference: Any):
        pointer = manager.lookup(reference.target).get_data_type().as_pointer()
        super().__init__(manager, reference, pointer)  # type: ignore[no-untyped-call]  # numba's


@infer_getattr
class _ReferenceAttribute(AttributeTemplate):
    key = Reference

    def generic_resolve(self, reference: Any, name: str) -> Any:  # type: ignore[override]  # numba has no signature there
        _, kind = reference.field(name)
        return Reference(kind) if reference.is_below(kind) else kind


@lower_getattr_generic(Reference)  # type: ignore[no-untyped-call, untyped-decorator]  # numba's
def _read_field(context: Any, builder: Any, reference: Any, pointer: Any, name: str) -> Any:
    number, kind = reference.field(name)
    place = _cgutils.gep_inbounds(builder, pointer, 0, number)
    if reference.is_below(kind):
        return place
    return context.data_model_manager[kind].from_data(builder, _load(builder, place))


def _load(builder: Any, place: Any) -> Any:
    """A value that nothing changes while the machine runs, so that the compiler may read it when and as often as it likes."""
    kind = place.type.pointee
    if isinstance(kind, ir.LiteralStructType | ir.ArrayType):
        value = ir.Constant(kind, ir.Undefined)
        for i in range(len(kind)):
            value = builder.insert_value(value, _load(builder, _cgutils.gep_inbounds(builder, place, 0, i)), i)
        return value
    value = builder.load(place)
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


@intrinsic
def call_at(_context: Any, _code: Any, _frame: Any, _instance: Any, _now: Any) -> Any:
    """Call machine code at an address."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        code, *rest = arguments
        kind = ir.FunctionType(code.type, [value.type for value in rest])
        return builder.call(builder.inttoptr(code, kind.as_pointer()), rest)

    return types.int64(types.int64, types.int64, types.int64, types.int64), generate


def part_code(function: Callable[..., Any], frame: Any) -> Code:
    """Machine code of a kernel of the fields of ``frame``, an instance and the time; it is called with an address instead of the fields."""
    body = f"return part({', '.join(f'frame.{name}' for name in frame._fields)}, instance, now)"
    return _code(function, ("frame", "instance", "now"), body, (Reference(_numba.typeof(frame)), types.int64, types.int64))


def procedure_code(function: Callable[..., Any], arguments: Any) -> Code:
    """Machine code of a function that is called with the address of its ``arguments``, a named tuple."""
    call = f"part({', '.join(f'memory.{name}' for name in arguments._fields)})"
    body = f"{call}\n    return 0" if function.__annotations__["return"] is None else f"return {call}"
    return _code(function, ("memory",), body, (Reference(_numba.typeof(arguments)),))


@contextmanager
def _no_collection() -> Iterator[None]:
    """While kernels are compiled no garbage is collected, of which there is little."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _code(function: Callable[..., Any], names: tuple[str, ...], body: str, kinds: tuple[Any, ...]) -> Code:
    part = Compiled(getattr(function, "py_func", function), forceinline=True)
    whole = written(function.__name__, names, body, {"part": part, "__name__": function.__module__})
    with global_compiler_lock, _no_collection():
        compiled = _cfunc(whole, (kinds, types.int64), {}, UNCOUNTED | {"forceinline": True})._compile_uncached()
        _, _, (object_code, _) = compiled.library.serialize_using_object_code()
    return Code(compiled.fndesc.llvm_cfunc_wrapper_name, object_code)
