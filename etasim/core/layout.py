"""How arguments lie in memory for machine code: named tuples of arrays, numbers and tuples, as numba lays them out."""

import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

Layout = Any
"""All that machine code depends on in its arguments, hashable: of a tuple its class and the layouts of what it holds."""

NUMBERS = {
    int: "q", np.int64: "q", float: "d", np.float64: "d", np.int32: "i", np.float32: "f", bool: "?", np.bool_: "?", type(None): "q",
}  # fmt: skip
MOST_LATEST = 512
_latest: dict[int, tuple[tuple[Any, ...], Layout]] = {}
"""Tuples of numbers that were laid out lately, by identity, and their layouts."""
_packed: dict[int, tuple[tuple[Any, ...], tuple[Any, ...]]] = {}
"""The same, and all their numbers, one after the other."""
_OF_ARRAYS = {name: getattr(np.ndarray, name).__get__ for name in ("size", "itemsize", "ctypes", "shape", "strides")}
_flags, _dtype, _ndim = (getattr(np.ndarray, name).__get__ for name in ("flags", "dtype", "ndim"))
"""Read past the classes of arrays: a recarray looks for each among its fields first."""
_FIXED_WORDS = 5  # of an array: two pointers that nobody follows, the number of its elements, their size, where they are


def layout_of(value: Any) -> Layout:
    """The layout of a value. Raises TypeError for what has none."""
    kind = type(value)
    if isinstance(value, tuple):
        if getattr(value, "is_all_numbers", False):
            return _of_numbers(value)
        return (kind, *[own if own in NUMBERS else layout_of(each) for own, each in zip(map(type, value), value, strict=True)])
    if isinstance(value, np.ndarray):
        flags = _flags(value)
        order = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
        return (np.ndarray, _dtype(value), _ndim(value), order, flags.writeable, flags.aligned)
    if kind not in NUMBERS:
        raise TypeError(f"{kind.__qualname__} cannot be laid out")
    return kind


def _of_numbers(value: tuple[Any, ...]) -> Layout:
    """The layout of a tuple without arrays that says so of itself, because it is long and often asked about: the array that a planner works
    for. It is found by identity: equal numbers may be laid out in other ways."""
    known = _latest.get(id(value))
    if known is None:
        layout = type(value), *[own if own in NUMBERS else layout_of(each) for own, each in zip(map(type, value), value, strict=True)]
        known = _remember(_latest, value, layout)
    return known[1]


def _remember(latest: dict[int, tuple[Any, Any]], value: Any, found: Any) -> tuple[Any, Any]:
    """``value``, so that nothing else has its identity, and what was found of it."""
    if len(latest) == MOST_LATEST:
        del latest[next(iter(latest))]
    known = latest[id(value)] = value, found
    return known


def _remembering(read: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], tuple[Any, ...]]:
    """``read`` of a tuple of numbers, once for each that was asked about lately."""

    def numbers(value: Any) -> tuple[Any, ...]:
        known = _packed.get(id(value))
        if known is None:
            known = _remember(_packed, value, read(value))
        found: tuple[Any, ...] = known[1]
        return found

    return numbers


@cache
def text_of(layout: Layout) -> str:
    """A layout as text that is the same in every process."""
    if not isinstance(layout, tuple):
        return NUMBERS[layout]
    kind, *below = layout
    if kind is np.ndarray:
        return repr(below)
    return f"{kind.__module__}.{kind.__qualname__}{getattr(kind, '_fields', '')}({','.join(map(text_of, below))})"


@cache
def _format(layout: Layout) -> str:
    """Of `struct`: a tuple is aligned as what it holds, and so long that another can follow it."""
    if not isinstance(layout, tuple):
        return NUMBERS[layout]
    kind, *below = layout
    if kind is np.ndarray:
        return f"{_FIXED_WORDS + 2 * below[1]}q"
    inside = "".join(map(_format, below))
    widest = "q" if {*inside} & {*"qd"} else "i" if {*inside} & {*"if"} else ""
    return f"0{widest}{inside}0{widest}" if widest else inside


@cache
def _numbers(layout: Layout) -> Callable[[Any], tuple[Any, ...]]:
    """What gives the numbers of `_format` of a tuple, written out: a walk through it would take ten times as long. A tuple inside is
    written by itself, once for all that hold one of its layout: to compile the text takes longer than to run it."""
    below = {f"below_{i}": _numbers(each) for i, each in enumerate(layout[1:]) if isinstance(each, tuple) and each[0] is not np.ndarray}
    read: Callable[[Any], tuple[Any, ...]] = eval(f"lambda value: ({''.join(_reading(layout))})", _OF_ARRAYS | below)
    return _remembering(read) if hasattr(layout[0], "is_all_numbers") else read


def _reading(layout: Layout) -> Iterator[str]:
    for i, each in enumerate(layout[1:]):
        place = f"value[{i}]"
        if not isinstance(each, tuple):
            yield "0," if each is type(None) else f"{place},"
        elif each[0] is np.ndarray:
            yield f"0, 0, size({place}), itemsize({place}), ctypes({place}).data, *shape({place}), *strides({place}),"
        else:
            yield f"*below_{i}({place}),"


def packing(layout: Layout) -> Callable[[Any], np.ndarray]:
    """What gives a value of ``layout`` as bytes in memory; its arrays must outlive their use."""
    pack, numbers = struct.Struct(_format(layout)).pack, _numbers(layout)
    return lambda value: np.frombuffer(pack(*numbers(value)), np.uint8)


def packed(layout: Layout, value: Any) -> np.ndarray:
    """``value``, of ``layout``, as bytes in memory; its arrays must outlive their use."""
    return packing(layout)(value)
