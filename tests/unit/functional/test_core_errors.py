"""Backward passes over whole maps against the specification in exact fractions: contributions, masks, normalization."""

import numpy as np
import pytest
from core_bench import Bench, Stored, seen_of
from exact_arithmetic import clip, contribution, divide, inverse_deviation, normalized, round_shift, sign
from test_core_forward import FORMATS, statistic_planes, statistics_of

PIXELS = 12


def contributions_of(bench, unit, role_units, data):
    """(contributions, [(n v, u)] that `seen` counts) of operands (role, unit) of the error of ``unit``, by operand and element."""
    form, n = bench.format(unit, "partial"), int(bench.units[unit]["n_contributions"])
    result, seen = [], []
    for (role, owner), elements in zip(role_units, data, strict=True):
        if role == "partial":
            result.append([int(v) for v in elements.flat])
            continue
        code = bench.format(owner, "error")
        values = [code.integer(int(c)) for c in elements.flat]
        result.append([contribution(v, code.unit, form.unit, n) for v in values])
        seen += [(n * v, code.unit) for v in values]
    return result, seen


def small_partials(bench, unit, pixels):
    """Contributions of which two make a sum within the limit."""
    return bench.random_map(unit, "partial", pixels) // 2


OPERANDS = [[("partial", 0)], [("error", 1)], [("partial", 0), ("error", 1)], [("error", 1), ("error", 2)]]


def operands(bench, role_units, pixels=PIXELS):
    """Data of the contributions (role, unit), all with the channels of unit 0."""
    return [
        small_partials(bench, 0, pixels) if role == "partial" else bench.random_map(0, "error", pixels, formatted_as=owner)
        for role, owner in role_units
    ]


def bench_of(form, seed=0, **unit):
    """A unit with three contributions, among others."""
    shape = {"channels": 7, "out_height": 3, "out_width": 4, "n_contributions": 3}
    return Bench([{**shape, **unit}, {"channels": 7, "n_contributions": 2}, {"channels": 7}], seed=seed, **form)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("role_units", [[("partial", 0), ("partial", 0)], *OPERANDS[2:]])
@pytest.mark.parametrize("error_unit", [-20, -9, 3])
def test_two_contributions_make_one_in_place(form, role_units, error_unit):
    bench = bench_of(form)
    bench.set_unit(1, "error", error_unit)
    data = operands(bench, role_units)
    reads = [Stored(owner, role, d) for (role, owner), d in zip(role_units, data, strict=True)]
    result = Stored(0, "partial", data[0])
    if role_units[0][0] == "partial":
        bench.place(reads[0])
        result.address = reads[0].address
    parts, seen = contributions_of(bench, 0, role_units, data)
    sums = bench.run("error_add", 0, reads, [result])[0]
    assert np.array_equal(sums, np.reshape(np.sum(parts, axis=0), sums.shape))
    assert bench.seen(0, "partial") == seen_of(seen)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("role_units", OPERANDS)
@pytest.mark.parametrize("has_mask", [False, True])
def test_an_error_is_masked_and_its_sum_is_the_gradient_of_the_bias(form, role_units, has_mask):
    """The gradient comes with the last sample, and the next block begins with none."""
    bench = bench_of(form)
    data, mask = operands(bench, role_units), bench.random_map(0, "mask", PIXELS)
    parts, seen = contributions_of(bench, 0, role_units, data)
    errors = np.reshape(np.sum(parts, axis=0), data[0].shape) * (mask if has_mask else 1)
    bench.set_unit(0, "parameter_gradient", bench.format(0, "partial").unit + 4)
    planes = np.zeros((bench.n_blocks(0), 1, 2 * bench.lanes), np.int64)
    for sample in range(bench.batch):
        of = slice(sample, sample + 1)
        reads = [Stored(owner, role, d[:, of]) for (role, owner), d in zip(role_units, data, strict=True)]
        reads += [Stored(0, "mask", mask[:, of])] if has_mask else []
        writes = [Stored(0, "error", errors[:, of])] + ([Stored(0, "parameter_gradient", planes)] if sample == bench.batch - 1 else [])
        results = bench.run("error_mask", 0, reads, writes, samples=(sample, sample + 1))
        form, unit = bench.format(0, "error"), bench.format(0, "partial").unit
        assert np.array_equal(results[0], np.vectorize(lambda v: form.convert(int(v), unit))(errors[:, of]))  # noqa: B023
    sums = errors.reshape(*errors.shape[:2], PIXELS, bench.lanes).sum(axis=(1, 2))
    form = bench.format(0, "parameter_gradient")
    expected = [[0] * bench.lanes + [form.convert(int(v), unit) for v in row] for row in sums]
    assert np.array_equal(results[1][:, 0], expected)
    assert bench.seen(0, "partial") == seen_of(seen)
    assert bench.seen(0, "error") == seen_of((int(v), unit) for v in errors.flat)
    assert bench.seen(0, "parameter_gradient") == seen_of((int(v), unit) for v in sums.flat)
    assert not bench.values.registers.gradients.any()


class Normalization:
    """The error of a normalization by the specification; ``sums`` P [block, sample, element] in ``sums_unit``."""

    def __init__(self, bench, sums, sums_unit, errors, statistics, parameters):
        self.bench, self.sums, self.sums_unit, self.errors = bench, sums, sums_unit, errors
        self.statistics, self.parameters = statistics, parameters

    def terms(self, b, n, e):
        """(D, xh, G, side) of an element."""
        lane = e % self.bench.lanes
        mean, spread = self.statistics[b, n, lane]
        p, error, scale = int(self.sums[b, n, e]), int(self.errors[b, n, e]), int(self.parameters[b, 0, lane])
        return error, normalized(p, mean, inverse_deviation(spread, self.bench.by_table)), round_shift(scale * error, 12), sign(p - mean)

    def group(self, b, n, lane):
        """(g, q, z) of the group that a lane belongs to."""
        first = lane - lane % self.bench.group
        lanes = [k for k in range(first, first + self.bench.group) if (b, n, k) in self.statistics]
        terms = [self.terms(b, n, e) for e in range(self.sums.shape[-1]) if e % self.bench.lanes in lanes]
        s1, s2, s3 = sum(t[2] for t in terms), sum(t[2] * t[1] for t in terms), sum(t[3] for t in terms)
        return divide(s1, len(terms)), divide(round_shift(s2, 12), len(terms)), divide(s3 * 2**12, len(terms))

    def values(self):
        """[(v, u)] by element."""
        gradient_unit = self.bench.format(0, "parameter").unit + self.bench.format(0, "partial").unit + 12
        groups = {key: self.group(*key) for key in self.statistics}
        result = []
        for b, n, e in np.ndindex(*self.sums.shape):
            key = (b, n, e % self.bench.lanes)
            if key not in self.statistics:
                result.append((0, 0))
                continue
            (_, _, scaled, side), (g, q, z) = self.terms(b, n, e), groups[key]
            m, s = inverse_deviation(self.statistics[key][1], self.bench.by_table)
            value = (scaled - g - round_shift(5134 * (side * 4096 - z) * q, 24)) * m
            result.append((value, gradient_unit - s - self.sums_unit))
        return result

    def gradients(self):
        """Of scale and offset: [block, 2, lane]."""
        result = np.zeros((self.sums.shape[0], 2, self.bench.lanes), np.int64)
        for b, n, e in np.ndindex(*self.sums.shape):
            if (b, n, e % self.bench.lanes) in self.statistics:
                error, value, _, _ = self.terms(b, n, e)
                result[b, :, e % self.bench.lanes] += (error * value, error)
        return result


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("role_units", OPERANDS[1:3])
@pytest.mark.parametrize(("heads", "has_mask", "cuts"), [(True, True, (0, 8, 16)), (False, True, (0,)), (False, False, (0, 8))])
def test_the_error_of_a_normalization(form, role_units, heads, has_mask, cuts):
    """Of sums, or of the source's codes if it heads the unit; planes in pieces: all sums before the first error."""
    bench = bench_of(form, seed=len(cuts))
    source = (-1, "output") if heads else (0, "pre_normalization")
    stored = bench.random_map(0, source[1], PIXELS, formatted_as=source[0])
    form = bench.format(*source)
    sums = np.vectorize(lambda c: form.integer(int(c)))(stored)
    data, mask = operands(bench, role_units), bench.random_map(0, "mask", PIXELS)
    parts, seen = contributions_of(bench, 0, role_units, data)
    errors = np.reshape(np.sum(parts, axis=0), stored.shape) * (mask if has_mask else 1)
    parameters, statistics = bench.random_parameters(0), statistics_of(bench, 0, sums)
    bench.configure(0, "parameter", parameters)
    bench.configure(0, "statistic", statistic_planes(bench, sums, statistics))
    gradient_planes, result, ends = np.zeros((1, 1, 2 * bench.lanes), np.int64), np.zeros_like(stored), [*cuts[1:], stored.shape[-1]]
    gradients = {}
    for kind in ("norm_error_sums", "norm_error_apply"):
        for b, n in np.ndindex(*stored.shape[:2]):
            for first, end in zip(cuts, ends, strict=True):
                of = np.s_[b : b + 1, n : n + 1, first:end]
                reads = [Stored(owner, role, d[of], first) for (role, owner), d in zip(role_units, data, strict=True)]
                reads += [Stored(*source, stored[of], first)] + ([Stored(0, "mask", mask[of], first)] if has_mask else [])
                last = n == bench.batch - 1 and end == stored.shape[-1]
                gradient = [Stored(0, "parameter_gradient", gradient_planes)] if last else []
                writes = gradient if kind == "norm_error_sums" else [Stored(0, "error", stored[of], first)]
                written = bench.run(kind, 0, reads, writes, (b, b + 1), (n, n + 1))
                if kind == "norm_error_apply":
                    result[of] = written[0]
                elif gradient:
                    gradients[b] = written[0][0, 0]
    expected = Normalization(bench, sums, form.unit, errors, statistics, parameters)
    values, sums = expected.values(), expected.gradients()
    code, gradient, unit = bench.format(0, "error"), bench.format(0, "parameter_gradient"), bench.format(0, "partial").unit
    assert np.array_equal(result, np.reshape([code.convert(*v) for v in values], result.shape))
    assert bench.seen(0, "error") == seen_of(values)
    terms = [[(int(v), unit - 12 + 12 * k) for k, row in enumerate(block) for v in row] for block in sums]
    assert np.array_equal([gradients[b] for b in range(len(sums))], [[gradient.convert(*v) for v in block] for block in terms])
    assert bench.seen(0, "parameter_gradient") == seen_of(v for block in terms for v in block)
    assert bench.seen(0, "partial") == seen_of(seen)


@pytest.mark.parametrize("n_contributions", [1, 2, 3, 7])
def test_contributions_are_limited_so_that_their_sum_fits(n_contributions):
    bench = Bench([{"channels": 1, "n_contributions": n_contributions}, {"channels": 1}], lanes=1, group=1, batch=1)
    for unit, role, value in ((0, "partial", -15), (1, "error", 0)):
        bench.set_unit(unit, role, value)
    greatest = np.full((1, 1, 1), 127)
    reads = [Stored(1, "error", greatest), Stored(1, "error", greatest * 0)]
    limit = 32767 // n_contributions
    assert bench.run("error_add", 0, reads, [Stored(0, "partial", greatest)])[0].item() == limit
    assert clip(limit * n_contributions, 32767) == limit * n_contributions
    assert bench.seen(0, "partial") == (4032 * n_contributions - 1).bit_length()
