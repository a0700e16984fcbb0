"""Elements per second of the unified core's passes on bytes, warm. The bar is for one otherwise idle core."""

import numpy as np
import pytest
from core_bench import Bench, Stored

from etasim.functional.tables import PIECE_ELEMENTS

SIDE, LANES, CHANNELS, BATCH, SPREAD = 32, 16, 64, 4, 4500
MILLION_PER_S = 50


def commands():
    """(unit, operands, results) by kind."""
    shape = (CHANNELS // LANES, BATCH, SIDE * SIDE * LANES)
    rng = np.random.default_rng(0)
    codes, sums, bits = (rng.integers(*limits, shape) for limits in ((0, 127), (-9000, 9000), (0, 2)))
    source, output = Stored(0, "output", codes), Stored(1, "output", codes)
    mask, partial, error = Stored(1, "mask", bits), Stored(1, "partial", sums), Stored(1, "error", codes)
    before = Stored(1, "pre_normalization", sums)
    half = Stored(2, "output", codes[:, :, : shape[2] // 4])
    planes = [Stored(1, role, sums) for role in ("weight_gradient", "master_weight", "momentum")]
    return {
        "norm_spread": (1, [before], []),
        "norm_apply": (1, [before], [output, mask]),
        "requantise": (1, [before], [output, mask]),
        "relu": (1, [source], [output, mask]),
        "add": (1, [source, error], [output, mask]),
        "error_add": (1, [partial, Stored(0, "partial", sums)], [partial]),
        "error_mask": (1, [partial, mask], [error]),
        "norm_error_sums": (1, [partial, before, mask], []),
        "norm_error_apply": (1, [partial, before, mask], [error]),
        "update": (1, planes, [*planes[1:], Stored(1, "weight", codes)]),
        "avgpool": (2, [output], [half]),
        "maxpool": (2, [output], [half]),
    }


KINDS = tuple(commands())


@pytest.mark.parametrize("kind", KINDS)
def test_million_elements_per_second(benchmark, kind):
    size = {f"{side}_{axis}": SIDE for side in ("in", "out") for axis in ("height", "width")}
    pool = {**size, "out_height": SIDE // 2, "out_width": SIDE // 2, "kernel_height": 2, "kernel_width": 2, "stride_height": 2,
            "stride_width": 2}  # fmt: skip
    units = [{"channels": CHANNELS, **shape} for shape in (size, {**size, "activation": 1}, pool)]
    bench = Bench(units, lanes=LANES, group=LANES, batch=BATCH, piece_elements=PIECE_ELEMENTS, buffer_bytes=1 << 23)
    registers = bench.values.registers
    registers.statistics[:, 1], registers.parameters[:, 0], registers.deviations[:] = SPREAD, SPREAD, SPREAD * SIDE**2
    unit, reads, writes = commands()[kind]
    run = bench.prepare(kind, unit, reads, writes)
    run()
    benchmark(run)
    if benchmark.stats is not None:
        n_elements = reads[0].data.size
        benchmark.extra_info["million_elements_per_s"] = 1e-6 * n_elements / benchmark.stats.stats.min
        assert benchmark.extra_info["million_elements_per_s"] > MILLION_PER_S
