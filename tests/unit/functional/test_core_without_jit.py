"""Passes give the same bytes, registers and exponents compiled and interpreted, in pieces of any size."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from core_bench import Bench, Stored

import etasim

SIDE = {f"{end}_{axis}": 4 for end in ("in", "out") for axis in ("height", "width")}
POOL = {"out_height": 2, "out_width": 2, "kernel_height": 3, "kernel_width": 3, "stride_height": 2, "stride_width": 2, "pad_height": 1,
        "pad_width": 1}  # fmt: skip


def digest(piece_elements):
    """SHA-256 of what all passes leave, one after the other, on a unit with a normalization (0), a pooling unit (1) and a loss (2)."""
    channels = {"channels": 6, "n_contributions": 2}
    units = [{**channels, **SIDE, "activation": 1, "has_bias": 1}, {**channels, **SIDE, **POOL}, {"channels": 1}]
    bench = Bench(units, piece_elements=piece_elements, decay=(52429, 20))
    sums, pooled = bench.random_map(0, "pre_normalization", 16), bench.random_map(1, "error", 4)
    before, codes, bits = Stored(0, "pre_normalization", sums), bench.random_map(0, "output", 16), bench.random_map(0, "mask", 16)
    lane_values = np.zeros((bench.n_blocks(0), bench.batch, 2 * bench.lanes), np.int64)
    output, mask, error = Stored(0, "output", codes), Stored(0, "mask", bits), Stored(0, "error", codes)
    partial, statistic = Stored(0, "partial", sums // 2), Stored(0, "statistic", lane_values)
    gradient, window = Stored(0, "parameter_gradient", lane_values[:, :1]), Stored(1, "window", pooled)
    small, contribution = Stored(1, "output", pooled), Stored(1, "partial", pooled)
    weights = [Stored(0, role, sums[:, :1]) for role in ("weight_gradient", "master_weight", "momentum")]
    bench.configure(0, "parameter", bench.random_parameters(0))
    bench.run("configure", 2, [Stored(2, "label", np.array([[5, 23]]))], blocks=(0, 1), samples=(0, 1))
    commands = [
        ("norm_sum", 0, [output], []),
        ("norm_spread", 0, [before], []),
        ("norm_apply", 0, [before], [output, mask, statistic]),
        ("configure", 0, [statistic], []),
        ("requantise", 0, [before], [output, mask]),
        ("relu", 0, [Stored(-1, "output", codes)], [output, mask]),
        ("add", 0, [Stored(-1, "output", codes), output], [output]),
        ("maxpool", 1, [output], [small, window]),
        ("avgpool", 1, [output], [small]),
        ("shortcut", 1, [output], [small]),
        ("loss", 2, [small], [contribution]),
        ("error_mask", 1, [contribution], [Stored(1, "error", pooled)]),
        ("maxpool_error", 1, [Stored(1, "error", pooled), window], [partial]),
        ("avgpool_error", 1, [Stored(1, "error", pooled)], [partial]),
        ("error_add", 0, [partial, Stored(1, "error", codes)], [partial]),
        ("norm_error_sums", 0, [partial, before, mask], [gradient]),
        ("norm_error_apply", 0, [partial, before, mask], [error]),
        ("update", 0, weights, [*weights[1:], Stored(0, "weight", sums[:, :1])]),
    ]
    for kind, unit, reads, writes in commands:
        for stored, data in zip(writes, bench.run(kind, unit, reads, writes, blocks=(0, bench.n_blocks(0))), strict=True):
            stored.data = data
    arrays = [bench.values.buffer, bench.values.tensors.seen, *bench.values.registers]
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def test_compiled_and_interpreted_passes_leave_the_same():
    tests, package = Path(__file__).parent, Path(etasim.__file__).parent.parent
    folders = os.pathsep.join(str(folder) for folder in (tests, tests.parents[1] / "given", package))
    code = f"import {Path(__file__).stem} as me; print(me.digest(48))"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": folders}
    interpreted = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert digest(48) == interpreted.stdout.strip()


def test_the_size_of_a_piece_does_not_matter():
    assert len({digest(n) for n in (17, 48, 512)}) == 1
