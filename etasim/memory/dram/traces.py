"""Request traces: the sixteen of the references, from their integer formulas (unit: burst index inside the channel), and files."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from etasim.config.errors import InputError, Problem

_MASK = (1 << 64) - 1
_XORSHIFT_MULTIPLIER = 2685821657736338717  # Vigna's xorshift64*
_SEED_RANDOM, _SEED_DEPENDENT = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03
_RANDOM_BITS = 22


class Geometry(NamedTuple):
    """Bursts of a row, banks, bursts of a channel."""

    row_bursts: int
    banks: int
    bursts: int


GEOMETRIES = {
    "ddr3": Geometry(128, 8, 1 << 26),
    "ddr4": Geometry(128, 16, 1 << 27),
    "hbm2": Geometry(32, 16, 1 << 23),
    "lpddr4": Geometry(64, 8, 1 << 25),
}


def _random(n: int, seed: int, bits: int) -> np.ndarray:
    values, state = np.empty(n, np.int64), seed
    for i in range(n):
        state ^= state >> 12
        state ^= (state << 25) & _MASK
        state ^= state >> 27
        values[i] = (state * _XORSHIFT_MULTIPLIER & _MASK) >> (64 - bits)
    return values


def _streams(n: int, chunk: int, bases: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two read streams and a write stream that take turns in chunks of consecutive bursts."""
    i = np.arange(n)
    turn, stream = i // (3 * chunk), i // chunk % 3
    return np.array(bases)[stream] + turn * chunk + i % chunk, (stream == 2).astype(np.int64)


def _stride(n: int, step: int, wrap: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64) * step % wrap


def _generate(name: str, geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    row, banks, bursts = geometry
    bits = min(_RANDOM_BITS, bursts.bit_length() - 1)
    plain = (0, bursts // 4, bursts // 2)
    staggered = (0, bursts // 4 + row * (banks // 4), bursts // 2 + row * (banks // 4) * 2)
    mixed = {
        "stream3_c1": (1, plain), "stream3_c1_stag": (1, staggered), "stream3_c64": (64, plain), "stream3_c64_stag": (64, staggered),
    }
    if name in mixed:
        chunk, bases = mixed[name]
        return _streams(100_000, chunk, bases)
    if name == "rnd_rw21":
        return _random(100_000, _SEED_RANDOM, bits), (np.arange(100_000) % 3 == 2).astype(np.int64)
    if name == "seq_wr":
        return np.arange(100_000), np.ones(100_000, np.int64)
    reads: dict[str, Callable[[], np.ndarray]] = {
        "seq_rd": lambda: np.arange(100_000),
        "rnd_rd": lambda: _random(100_000, _SEED_RANDOM, bits),
        "stride_rowconf": lambda: _stride(20_000, row * banks, bursts),
        "stride_bank": lambda: _stride(50_000, row, bursts),
        "dep_rnd": lambda: _random(5_000, _SEED_DEPENDENT, bits),
        "dep_seq": lambda: np.arange(5_000),
        "dep_rowconf": lambda: _stride(5_000, row * banks, bursts),
        "pace8_seq_rd": lambda: np.arange(50_000),
        "pace20_rnd_rd": lambda: _random(50_000, _SEED_RANDOM, bits),
        "pace100_rnd_rd": lambda: _random(10_000, _SEED_RANDOM, bits),
    }
    if name not in reads:
        raise ValueError(f"trace: unknown reference trace {name!r}, allowed: {', '.join((*mixed, 'rnd_rw21', 'seq_wr', *reads))}")
    bursts_read = reads[name]()
    return bursts_read, np.zeros(len(bursts_read), np.int64)


def reference_trace(name: str, geometry: str, burst_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Byte addresses and write flags of a reference trace; ValueError lists the known traces and geometries."""
    if geometry not in GEOMETRIES:
        raise ValueError(f"geo: unknown geometry {geometry!r}, allowed: {', '.join(GEOMETRIES)}")
    bursts, writes = _generate(name, GEOMETRIES[geometry])
    return bursts * burst_bytes, writes


_LINE = re.compile(r"([RW])\s+([0-9a-fA-F]{1,15})")


def read_trace(path: Path, burst_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Byte addresses and write flags of a file with one request a line: R or W and the burst index in hexadecimal.

    Empty lines are skipped. Raises InputError with every line that is something else.
    """
    requests, problems = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        match = _LINE.fullmatch(line.strip())
        if match:
            requests.append((int(match[2], 16) * burst_bytes, match[1] == "W"))
        elif line.strip():
            problems.append(Problem(str(path), number, "", f"must be R or W and a burst index in hexadecimal, got {line.strip()[:40]!r}"))
    if problems:
        raise InputError(problems)
    addresses, writes = zip(*requests, strict=True) if requests else ((), ())
    return np.array(addresses, np.int64), np.array(writes, np.int64)
