"""Parts of a machine that are compiled by themselves and called by address.

A part sees a frame: its description, its state, and what all parts share. Machine code of a part gets the address of its frame, and reads
from there what it needs when it needs it, so that a call costs a few nanoseconds whatever the frame holds, and no part is compiled
again because another one has changed. A part may have several instances (engines, channels), which share frame and code.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from etasim.core.jit import DISABLED, Compiled, Kernel, kernel
from etasim.core.layout import Layout, layout_of, packed
from etasim.core.machine_code import Code, address_of, are_kept, callable_at, prepare


class Frame(NamedTuple):
    """What a part sees: arrays, whole numbers and named tuples of them."""

    spec: Any
    state: Any
    program: Any
    links: Any  # the channels by name, which is given above the parts
    log: Any


NOTHING, GOES_ON, WAITS = range(3)
"""What a step of an instance says: it did nothing; it did something, and may do more in the next cycle; it did something, and what it
waits for now is a time stamp that its ``next_timer`` names, or what others do to its channels."""


class Calls(NamedTuple):
    """``table`` [place, (address of code, address of a frame, instance)]; ``frames``: what lies there."""

    table: Any
    frames: tuple[Any, ...]


if DISABLED:

    def call(table: Any, place: int, now: int) -> int:
        """What a part's function returns for its frame, its instance and ``now``."""
        return int(table[place](now))

    def bound(table: Any, place: int) -> Callable[[int], int]:
        """What a part's function returns for its frame and its instance, as a function of the time."""
        return partial(call, table, place)

else:

    class _CallAt(Compiled):
        """As machine code."""

        @cached_property
        def dispatcher(self) -> Any:
            from etasim.core.compiling import call_at

            return call_at

    @_CallAt
    def _call(code: int, frame: int, instance: int, now: int) -> int:
        """Call machine code at an address."""
        return callable_at(int(code), 3)(int(frame), int(instance), now)

    @kernel
    def call(table: Any, place: int, now: int) -> int:
        """What a part's function returns for its frame, its instance and ``now``, as a whole number."""
        return _call(table[place, 0], table[place, 1], table[place, 2], now)

    def bound(table: Any, place: int) -> Callable[[int], int]:
        """What a part's function returns for its frame and its instance, as a function of the time, for calls from Python."""
        code, frame, instance = table[place].tolist()
        return partial(callable_at(code, 3), frame, instance)


def bind(functions: Sequence[Kernel], frames: Sequence[Frame], counts: Sequence[int]) -> Calls:
    """Kernels ``function(spec, state, program, links, log, instance, now)``, each with its frame and the number of its instances, which
    follow each other in the table, for `call`; compiled, if they are not yet.

    The arrays of the frames must outlive the result.
    """
    parts = [*zip(functions, frames, counts, strict=True)]
    if DISABLED:
        return Calls([partial(function, *frame, i) for function, frame, count in parts for i in range(count)], tuple(frames))
    layouts = [layout_of(frame) for frame in frames]
    memory = tuple(packed(layout, frame) for layout, frame in zip(layouts, frames, strict=True))
    rows = [
        (_address(function, layout, frame), words.ctypes.data, i)
        for (function, frame, count), layout, words in zip(parts, layouts, memory, strict=True) for i in range(count)
    ]  # fmt: skip
    return Calls(np.array(rows, np.int64), memory)


def _address(function: Any, layout: Layout, frame: Frame) -> int:
    return address_of(function.py_func, layout, partial(_compiled, function, frame))


def _compiled(function: Any, frame: Frame) -> Code:
    from etasim.core.compiling import part_code

    return part_code(function, frame)


def compile_part(function: Any, frame: Frame) -> None:
    """Have machine code of a part on disk, unless another process is compiling it."""
    prepare(function.py_func, layout_of(frame), partial(_compiled, function, frame))


def are_cached(functions: Iterable[Any]) -> bool:
    """Whether all of them have machine code on disk for what they are made of (always, without the JIT)."""
    return DISABLED or are_kept(function.py_func for function in functions)
