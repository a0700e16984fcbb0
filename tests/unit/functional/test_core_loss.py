"""The loss against the specification in exact fractions, and against real exponentials."""

from math import exp

import numpy as np
import pytest
from core_bench import Bench, Stored, seen_of
from exact_arithmetic import contribution, exponential
from test_core_forward import FORMATS

CHANNELS, PIXELS = 7, 4


def classes(bench, data, sample):
    """Class of each element of a sample, -1 if none: [block, element]."""
    numbers = np.full((data.shape[0], data.shape[-1]), -1)
    for b, e in np.ndindex(*numbers.shape):
        if bench.exists(0, b, e):
            numbers[b, e] = (b * bench.lanes + e % bench.lanes) * PIXELS + e // bench.lanes
    return numbers


def run_loss(bench, codes, labels):
    """Contributions of all samples."""
    bench.run("configure", 1, [Stored(1, "label", np.array([labels]))])
    assert list(bench.values.registers.labels) == labels
    return bench.run("loss", 1, [Stored(0, "output", codes)], [Stored(0, "partial", codes)], blocks=(0, len(codes)))[0]


def bench_of(form, n_contributions=1, batch=3):
    units = [{"channels": CHANNELS, "n_contributions": n_contributions}, {"channels": 1}]
    return Bench(units, **{"batch": batch, "piece_elements": 32, **form})


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("output_unit", [-16, -9, -3, 9, 40])
@pytest.mark.parametrize("n_contributions", [1, 2])
def test_contributions_of_the_loss(form, output_unit, n_contributions):
    bench = bench_of(form, n_contributions)
    bench.set_unit(0, "output", output_unit)
    codes, labels = bench.random_map(0, "output", PIXELS), [0, 13, CHANNELS * PIXELS - 1]
    stored = run_loss(bench, codes, labels)
    outputs, form, seen = bench.format(0, "output"), bench.format(0, "partial"), []
    for sample, label in enumerate(labels):
        numbers = classes(bench, codes, sample)
        z = {int(number): outputs.integer(int(codes[b, sample, e])) for (b, e), number in np.ndenumerate(numbers) if number >= 0}
        e = {number: exponential(max(z.values()) - value, outputs.unit) for number, value in z.items()}
        total = sum(e.values())
        errors = {number: (value * 2**15 + total // 2) // total - 2**15 * (number == label) for number, value in e.items()}
        expected = [[contribution(errors.get(int(number), 0), -15, form.unit, n_contributions) for number in row] for row in numbers]
        assert np.array_equal(stored[:, sample], expected)
        seen += [(n_contributions * value, -15) for value in errors.values()]
    assert bench.seen(0, "partial") == seen_of(seen)


def test_the_loss_is_the_softmax_less_the_label():
    """To 2^-9: the exponential's steps and the rounding of 2^-15."""
    bench = bench_of({})
    bench.set_unit(0, "output", -9)
    bench.set_unit(0, "partial", -15)
    codes = bench.random_map(0, "output", PIXELS)
    stored = run_loss(bench, codes, [1, 2, 3])
    outputs = bench.format(0, "output")
    for sample in range(bench.batch):
        numbers = classes(bench, codes, sample)
        real = np.vectorize(lambda c: exp(outputs.integer(int(c)) * 2.0**-9))(codes[:, sample]) * (numbers >= 0)
        assert np.allclose(stored[:, sample] * 2.0**-15, real / real.sum() - (numbers == sample + 1), atol=2**-9)
