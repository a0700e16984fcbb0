"""Values a second of the codec, warm, on one core; the bars are those of the data format's task."""

import numpy as np
import pytest

from etasim.numerics import CodeFormat, encode, normalize, normalize_backward, to_real

N_VALUES = 2**22
LEAST_VALUES_PER_SECOND = 1e8


def report(benchmark, n_values, least_values_per_second=0.0):
    if benchmark.stats is not None:
        speed = n_values / benchmark.stats.stats.median
        benchmark.extra_info["million_values_per_s"] = round(speed * 1e-6, 1)
        assert speed >= least_values_per_second


@pytest.mark.parametrize("layout", [CodeFormat(8, 2), CodeFormat(8, 1), CodeFormat(8, 4), CodeFormat(16, 2)], ids=str)
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_encode(benchmark, layout, rounding):
    values = np.random.default_rng(0).normal(size=N_VALUES).astype(np.float32)
    encode(values, layout, 3, rounding)
    codes = benchmark(encode, values, layout, 3, rounding)
    assert len(codes) == N_VALUES
    report(benchmark, N_VALUES, LEAST_VALUES_PER_SECOND if layout == CodeFormat() else 0.0)


def test_to_real(benchmark):
    codes = np.random.default_rng(0).integers(0, 256, N_VALUES).astype(np.uint8)
    to_real(codes, CodeFormat(), 3)
    assert len(benchmark(to_real, codes, CodeFormat(), 3)) == N_VALUES
    report(benchmark, N_VALUES, LEAST_VALUES_PER_SECOND)


def test_normalize_forward_and_backward(benchmark):
    """Reported only: numpy on int64."""
    rng = np.random.default_rng(0)
    p, d = rng.integers(-9000, 9000, (2, 4, 64, 64, 32))
    scale = rng.integers(1, 9000, 64)

    def run():
        return normalize_backward(d, 0, normalize(p, 0, scale, scale, 0))

    assert benchmark(run).v.shape == p.shape
    report(benchmark, p.size)
