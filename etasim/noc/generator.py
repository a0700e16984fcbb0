"""Random numbers: Knuth's lagged Fibonacci generators, integers by subtraction and fractions by addition.

The Art of Computer Programming, volume 2, section 3.6 (2002): X[n] = X[n-100] -+ X[n-37], of every 1009 numbers only the first 100
are used. BookSim 2 draws from the same two, so the same seed gives the same packets. Fractions are held in units of 2**-52, so
all arithmetic is on integers.
"""

from typing import NamedTuple

import numpy as np

from etasim.core.arrays import Integers
from etasim.core.jit import entry, kernel

LONG_LAG, SHORT_LAG, BLOCK = 100, 37, 1009
INTEGER, FRACTION = 0, 1
MASKS = np.array([(1 << 30) - 1, (1 << 52) - 1], np.int64)
SIGNS = np.array([-1, 1], np.int64)
FRACTION_ONE = 1 << 52
"""A fraction of 1; a draw lies below."""
_SEPARATION = 70
"""Streams of different seeds start at least 2**70 numbers apart."""


class Generators(NamedTuple):
    """State of both generators: ``lags`` [kind, 100] the last numbers, ``block`` [kind, 1009] those being used, ``n_used`` [kind]."""

    lags: np.ndarray
    block: np.ndarray
    n_used: np.ndarray


@kernel
def _extend(lags: Integers, block: Integers, n: int, kind: int) -> None:
    """Put the next ``n`` numbers (at least 100) into ``block`` and advance ``lags``."""
    mask, sign = MASKS[kind], SIGNS[kind]
    for j in range(LONG_LAG):
        block[j] = lags[j]
    for j in range(LONG_LAG, n):
        block[j] = (block[j - LONG_LAG] + sign * block[j - SHORT_LAG]) & mask
    for i in range(SHORT_LAG):
        lags[i] = (block[n + i - LONG_LAG] + sign * block[n + i - SHORT_LAG]) & mask
    for i in range(SHORT_LAG, LONG_LAG):
        lags[i] = (block[n + i - LONG_LAG] + sign * lags[i - SHORT_LAG]) & mask


@kernel
def _multiply_by_z(x: Integers, kind: int) -> None:
    """Multiply the polynomial in ``x`` by z, modulo z**100 + z**37 + 1."""
    for j in range(LONG_LAG, 0, -1):
        x[j] = x[j - 1]
    x[0] = x[LONG_LAG]
    x[SHORT_LAG] = (x[SHORT_LAG] + SIGNS[kind] * x[LONG_LAG]) & MASKS[kind]


@kernel
def _square(x: Integers, kind: int) -> None:
    """Square the polynomial in ``x``, modulo z**100 + z**37 + 1."""
    for j in range(LONG_LAG - 1, 0, -1):
        x[2 * j] = x[j]
        x[2 * j - 1] = 0
    for j in range(2 * LONG_LAG - 2, LONG_LAG - 1, -1):
        for lag in (LONG_LAG - SHORT_LAG, LONG_LAG):
            x[j - lag] = (x[j - lag] + SIGNS[kind] * x[j]) & MASKS[kind]


@entry
def _start(lags: Integers, block: Integers, seed: int, kind: int) -> None:
    """Fill ``lags`` with the beginning of the stream that belongs to ``seed``; overwrites ``block``."""
    mask, left = MASKS[kind], seed & MASKS[INTEGER]
    value = (seed + 2) & (mask - 1) if kind == INTEGER else 2 * (left + 2)
    for j in range(LONG_LAG):
        block[j] = value
        value = 2 * value if 2 * value <= mask else 2 * value - mask + 1
    block[1] += 1
    steps = _SEPARATION - 1
    while steps:
        _square(block, kind)
        if left & 1:
            _multiply_by_z(block, kind)
        if left:
            left >>= 1
        else:
            steps -= 1
    for j in range(LONG_LAG):
        lags[(j + LONG_LAG - SHORT_LAG) % LONG_LAG] = block[j]
    for _ in range(10):
        _extend(lags, block, 2 * LONG_LAG - 1, kind)


def generators(seed: int) -> Generators:
    """Both generators at the beginning of the stream of ``seed``."""
    state = Generators(np.zeros((2, LONG_LAG), np.int64), np.zeros((2, BLOCK), np.int64), np.full(2, LONG_LAG, np.int64))
    for kind in (INTEGER, FRACTION):
        _start(state.lags[kind], state.block[kind], seed, kind)
    return state


@kernel
def draw(generators: Generators, kind: int) -> int:
    """The next number: 0..2**30-1, or a fraction in units of 2**-52."""
    if generators.n_used[kind] == LONG_LAG:
        _extend(generators.lags[kind], generators.block[kind], BLOCK, kind)
        generators.n_used[kind] = 0
    generators.n_used[kind] += 1
    return generators.block[kind, generators.n_used[kind] - 1]
