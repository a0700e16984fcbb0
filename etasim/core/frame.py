"""Parts of a machine that are compiled by themselves and called by address.

A part sees a frame: its description, its state, and what all parts share. Machine code of a part gets the address of its frame, and reads
from there what it needs when it needs it, so that a call costs a few nanoseconds whatever the frame holds, and no part is compiled
again because another one has changed. A part may have several instances (engines, channels), which share frame and code.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from operator import index
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]  # has no types
from numba.core import cgutils, types
from numba.core.ccallback import CFunc
from numba.core.datamodel import models
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, register_model

from etasim.core.jit import UNCOUNTED, Kernel, PackageCache, cache_folder, kernel, written

_numba: Any = numba  # its types leave out what is used here
_cgutils: Any = cgutils


class Frame(NamedTuple):
    """What a part sees: arrays, whole numbers and named tuples of them."""

    spec: Any
    state: Any
    program: Any
    links: Any  # the channels by name, which is given above the parts
    log: Any


class Reference(types.Type):
    """A named tuple in memory, read field by field."""

    def __init__(self, target: Any):
        self.target = target
        short = hashlib.sha256(str(target).encode()).hexdigest()[:16]
        super().__init__(f"Reference({target.instance_class.__name__} {short})")

    def field(self, name: str) -> tuple[int, Any]:
        """Number and type of a field of the tuple."""
        number = self.target.fields.index(name)
        return number, self.target.types[number]


@register_model(Reference)
class _ReferenceModel(models.PrimitiveModel):
    def __init__(self, manager: Any, reference: Any):
        pointer = manager.lookup(reference.target).get_data_type().as_pointer()
        super().__init__(manager, reference, pointer)  # type: ignore[no-untyped-call]  # numba's


@infer_getattr
class _ReferenceAttribute(AttributeTemplate):
    key = Reference

    def generic_resolve(self, reference: Any, name: str) -> Any:  # type: ignore[override]  # numba has no signature there
        _, below = reference.field(name)
        return Reference(below) if isinstance(below, types.BaseNamedTuple) else below


@lower_getattr_generic(Reference)  # type: ignore[no-untyped-call, untyped-decorator]  # numba's
def _read_field(context: Any, builder: Any, reference: Any, pointer: Any, name: str) -> Any:
    number, below = reference.field(name)
    place = _cgutils.gep_inbounds(builder, pointer, 0, number)
    return place if isinstance(below, types.BaseNamedTuple) else _load(builder, place)


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
def _call(_context: Any, _code: Any, _frame: Any, _instance: Any, _now: Any) -> Any:
    """Call machine code at an address."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        code, *rest = arguments
        kind = ir.FunctionType(code.type, [value.type for value in rest])
        return builder.call(builder.inttoptr(code, kind.as_pointer()), rest)

    return types.int64(types.int64, types.int64, types.int64, types.int64), generate


class Calls(NamedTuple):
    """``table`` [place, (address of code, address of a frame, instance)]; ``frames``: what lies there."""

    table: Any
    frames: tuple[Any, ...]


if _numba.config.DISABLE_JIT:

    def call(table: Any, place: int, now: int) -> int:
        """What a part's function returns for its frame, its instance and ``now``."""
        return int(table[place](now))

else:

    @kernel
    def call(table: Any, place: int, now: int) -> int:
        """What a part's function returns for its frame, its instance and ``now``, as a whole number."""
        return _call(table[place, 0], table[place, 1], table[place, 2], now)  # type: ignore[call-arg]  # numba gives the context


def bind(functions: Sequence[Kernel], frames: Sequence[Frame], counts: Sequence[int]) -> Calls:
    """Kernels ``function(spec, state, program, links, log, instance, now)``, each with its frame and the number of its instances, which
    follow each other in the table, for `call`; compiled, if they are not yet.

    The arrays of the frames must outlive the result.
    """
    parts = [*zip(functions, frames, counts, strict=True)]
    if _numba.config.DISABLE_JIT:
        return Calls([partial(function, *frame, i) for function, frame, count in parts for i in range(count)], tuple(frames))
    memory = tuple(np.array(list(_words(frame)), np.int64) for frame in frames)
    rows = [
        (_compiled(function, _type_of(frame)).address, words.ctypes.data, i)
        for (function, frame, count), words in zip(parts, memory, strict=True) for i in range(count)
    ]  # fmt: skip
    return Calls(np.array(rows, np.int64), memory)


def _words(value: Any) -> Iterator[int]:
    """A frame as numba lays it out: every part of it has eight bytes."""
    if isinstance(value, np.ndarray):
        yield from (0, 0, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides)
    elif isinstance(value, tuple):
        for each in value:
            yield from _words(each)
    else:
        yield index(value)


_TYPES: dict[Any, Any] = {}


def _type_of(frame: Frame) -> Any:
    """numba's type of a frame, which takes it milliseconds to find out."""
    layout = _layout(frame)
    if layout not in _TYPES:
        _TYPES[layout] = _numba.typeof(frame)
    return _TYPES[layout]


def _layout(value: Any) -> Any:
    """All that numba's type depends on."""
    if isinstance(value, tuple):
        return (type(value), *map(_layout, value))
    return (value.dtype, value.ndim, value.flags.c_contiguous, value.flags.writeable) if isinstance(value, np.ndarray) else type(value)


@cache
def _on_frame(function: Kernel) -> Kernel:
    """``function`` of a frame, an instance and the time."""
    body = f"return part({', '.join(f'frame.{name}' for name in Frame._fields)}, instance, now)"
    return written(function.__name__, ("frame", "instance", "now"), body, {"part": function, "__name__": function.__module__})


@cache
def _compiled(function: Kernel, frame: Any) -> Any:
    signature = (Reference(frame), types.int64, types.int64), types.int64
    code: Any = CFunc(_on_frame(function), signature, {}, UNCOUNTED | {"forceinline": True})
    if cache_folder() is not None:
        code._cache = PackageCache(_on_frame(function))
    code.compile()
    return code


def are_cached(functions: Iterable[Kernel]) -> bool:
    """Whether all of them have machine code on disk for what they are made of (always, without the JIT)."""
    return _numba.config.DISABLE_JIT or (
        cache_folder() is not None and all(PackageCache(_on_frame(function)).is_filled() for function in functions)
    )
