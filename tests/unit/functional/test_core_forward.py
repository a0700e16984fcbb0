"""Forward passes of the unified core against the specification in exact fractions."""

from itertools import pairwise

import numpy as np
import pytest
from core_bench import Bench, Stored, seen_of
from exact_arithmetic import clip, common, divide, inverse_deviation, normalized, round_shift, total

FORMATS = [
    {},
    {"lanes": 3, "group": 3, "segments": 1, "piece_elements": 10, "by_table": False},
    {"lanes": 2, "group": 1, "segments": 4},
]


def output_of(bench, unit, values, relu):
    """(codes, mask, seen) of values [(v, u)] of an output."""
    form = bench.format(unit, "output")
    values = [(max(v, 0) if relu else v, u) for v, u in values]
    return [form.convert(v, u) for v, u in values], [int(v > 0) for v, _ in values], seen_of(values)


def compare(bench, unit, results, values, relu, shape):
    """Results of a command against values [(v, u)] in the order of the elements."""
    codes, mask, seen = output_of(bench, unit, values, relu)
    assert np.array_equal(results[0], np.reshape(codes, shape))
    if len(results) > 1:
        assert np.array_equal(results[1], np.reshape(mask, shape))
    assert bench.seen(unit, "output") == seen


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("in_place", [False, True])
def test_relu_keeps_what_is_positive(form, in_place):
    bench = Bench([{"channels": 5, "activation": 1}], **form)
    codes = bench.random_map(0, "output", 9, formatted_as=-1)
    source = Stored(-1, "output", codes)
    if in_place:
        bench.place(source)
    results = bench.run("relu", 0, [source], [Stored(0, "output", codes, address=source.address), Stored(0, "mask", codes)])
    form = bench.format(-1, "output")
    compare(bench, 0, results, [(form.integer(int(c)), form.unit) for c in codes.flat], True, codes.shape)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("n_sources", [1, 2, 4])
@pytest.mark.parametrize("spread", [3, 60])
def test_an_addition_happens_in_the_common_unit(form, n_sources, spread):
    """Units up to 60 apart: the finest terms are rounded to 24 bits below the coarsest."""
    relu = n_sources % 2 == 0
    bench = Bench([{"channels": 5, "activation": relu}, *({"channels": 5} for _ in range(4))], seed=n_sources, **form)
    for k in range(n_sources):
        bench.set_unit(k + 1, "output", -20 + k * spread // 3)
    codes = [bench.random_map(k + 1, "output", 6) for k in range(n_sources)]
    writes = [Stored(0, "output", codes[0])] + ([Stored(0, "mask", codes[0])] if relu else [])
    bench.set_unit(0, "output", -14 + spread)
    results = bench.run("add", 0, [Stored(k + 1, "output", c) for k, c in enumerate(codes)], writes)
    forms = [bench.format(k + 1, "output") for k in range(n_sources)]
    terms = zip(*([(f.integer(int(c)), f.unit) for c in data.flat] for f, data in zip(forms, codes, strict=True)), strict=True)
    values = [total(*term) for term in terms]
    compare(bench, 0, results, values, relu, codes[0].shape)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("bias_unit", [None, -19, 17])
def test_requantisation_adds_the_bias_of_the_channel(form, bias_unit):
    """Without a bias the parameters' unit does not matter; with one, even zeros share in the common unit."""
    bench = Bench([{"channels": 7, "has_bias": bias_unit is not None, "activation": 1}], **form)
    bench.set_unit(0, "parameter", 17 if bias_unit is None else bias_unit)
    bench.set_unit(0, "pre_normalization", -12)
    sums = bench.random_map(0, "pre_normalization", 8)
    parameters = bench.random_parameters(0)
    if bias_unit is None:
        parameters[:] = 0
    parameters[0, 0, bench.lanes] = 0
    bench.configure(0, "parameter", parameters)
    results = bench.run("requantise", 0, [Stored(0, "pre_normalization", sums)], [Stored(0, "output", sums), Stored(0, "mask", sums)])
    values = []
    for (b, _, e), p in np.ndenumerate(sums):
        bias = int(parameters[b, 0, bench.lanes + e % bench.lanes])
        alone = bias_unit is None or not bench.exists(0, b, e)
        values.append((int(p), -12) if alone else total((int(p), -12), (bias, bias_unit)))
    compare(bench, 0, results, values, True, sums.shape)


def statistics_of(bench, unit, sums):
    """(mean, spread) by [block, sample, lane], from sums [block, sample, element]."""
    result = {}
    for b, n in np.ndindex(*sums.shape[:2]):
        valid = min(bench.lanes, bench.channels[unit] - b * bench.lanes)
        for first in range(0, valid, bench.group):
            group = range(first, min(first + bench.group, valid))
            values = [int(p) for e, p in enumerate(sums[b, n]) if e % bench.lanes in group]
            mean = clip(divide(sum(values), len(values)), 32767)
            spread = max(clip(divide(sum(abs(p - mean) for p in values), len(values)), 32767), 1)
            result.update({(b, n, lane): (mean, spread) for lane in group})
    return result


def statistic_planes(bench, sums, statistics):
    """Statistics as they are stored."""
    planes = np.zeros((*sums.shape[:2], 2 * bench.lanes), np.int64)
    for (b, n, lane), (mean, spread) in statistics.items():
        planes[b, n, lane], planes[b, n, bench.lanes + lane] = mean, spread
    return planes


def normalized_values(bench, unit, sums, statistics, parameters):
    """v of a normalization."""
    parameter_unit = bench.format(unit, "parameter").unit
    values = []
    for (b, n, e), p in np.ndenumerate(sums):
        lane = e % bench.lanes
        if (b, n, lane) not in statistics:
            values.append((0, 0))
            continue
        mean, spread = statistics[b, n, lane]
        scale, offset = int(parameters[b, 0, lane]), int(parameters[b, 0, bench.lanes + lane])
        value = normalized(int(p), mean, inverse_deviation(spread, bench.by_table))
        values.append((scale * value + offset * 2**12, parameter_unit - 12))
    return values


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", range(3))
def test_normalization_of_sums(form, seed):
    """The sums were added up while they were drained."""
    bench = Bench([{"channels": 7, "activation": 1, "out_height": 3, "out_width": 4}], seed=seed, **form)
    sums = bench.random_map(0, "pre_normalization", 12)
    if seed == 2:
        sums[:, 0] = 0  # no spread
    for (b, n, e), p in np.ndenumerate(sums):
        bench.values.registers.sums[b * bench.batch + n, e % bench.lanes] += p
    parameters = bench.random_parameters(0)
    bench.configure(0, "parameter", parameters)
    bench.run("norm_spread", 0, [Stored(0, "pre_normalization", sums)])
    statistics = statistics_of(bench, 0, sums)
    planes = statistic_planes(bench, sums, statistics)
    writes = [Stored(0, "output", sums), Stored(0, "mask", sums), Stored(0, "statistic", planes)]
    results = bench.run("norm_apply", 0, [Stored(0, "pre_normalization", sums)], writes)
    compare(bench, 0, results, normalized_values(bench, 0, sums, statistics, parameters), True, sums.shape)
    assert np.array_equal(results[2], planes)


@pytest.mark.parametrize("form", FORMATS)
def test_a_normalization_at_the_head_of_a_unit_goes_through_its_planes_in_pieces(form):
    """It adds up the sums itself, and a piece may begin in any lane; statistics come with the last one."""
    bench = Bench([{"channels": 7, "out_height": 3, "out_width": 5}], **form)
    codes = bench.random_map(0, "output", 15, formatted_as=-1)
    n_elements = codes.shape[-1]
    cuts = [0, 8, 24, n_elements]
    form = bench.format(-1, "output")
    integers = np.vectorize(form.integer)(codes)
    parameters = bench.random_parameters(0)
    bench.configure(0, "parameter", parameters)
    statistics = statistics_of(bench, 0, integers)
    planes = statistic_planes(bench, codes, statistics)
    outputs = np.zeros_like(codes)
    for kind in ("norm_sum", "norm_spread", "norm_apply"):
        for b, n in np.ndindex(*codes.shape[:2]):
            for first, end in pairwise(cuts):
                piece = codes[b : b + 1, n : n + 1, first:end]
                writes = [Stored(0, "output", piece, first)] if kind == "norm_apply" else []
                if writes and end == n_elements:
                    writes.append(Stored(0, "statistic", planes[b : b + 1, n : n + 1]))
                results = bench.run(kind, 0, [Stored(-1, "output", piece, first)], writes, (b, b + 1), (n, n + 1))
                if writes:
                    outputs[b, n, first:end] = results[0][0, 0]
                if len(writes) > 1:
                    assert np.array_equal(results[1][0, 0], planes[b, n])
    compare(bench, 0, [outputs], normalized_values(bench, 0, integers, statistics, parameters), False, codes.shape)


def test_terms_below_the_common_unit_are_rounded_before_they_are_added():
    """Two halves of a unit in the last place do not make one, for each is rounded to the even zero."""
    bench = Bench([{"channels": 1}, {"channels": 1}, {"channels": 1}, {"channels": 1}], lanes=1, group=1, batch=1)
    for unit, value in ((1, -25), (2, -25), (3, 0)):
        bench.set_unit(unit, "output", value)
    bench.set_unit(0, "output", -24)
    assert common(-25, -25, 0) == -24
    assert round_shift(1, 1) == 0
    codes = [np.full((1, 1, 1), c) for c in (1, 1, 0)]
    assert bench.run("add", 0, [Stored(k + 1, "output", c) for k, c in enumerate(codes)], [Stored(0, "output", codes[0])])[0].item() == 0
