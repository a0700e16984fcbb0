"""What the planner's search rests on: bounds that hold, so that the plan is the best of all that fit, and tiles that are counted right."""

from collections import Counter
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import Sketch, graphs, single_layers
from small_networks import architecture, conv, network

from etasim.mapping import InfeasibleError
from etasim.mapping.iteration import Iteration
from etasim.schedule import plan as planner
from etasim.schedule.ample import without_spare
from etasim.schedule.plan import best_plans, fits, known_plans, plan
from etasim.schedule.problem import NOTHING_PINNED, Band, TileShape
from etasim.schedule.rounds import count_rounds, dealt, new_workspace, stream_bytes, tile_round
from etasim.schedule.tiling import band_operand_rows, bands_of, burst_span, tiles_of_band
from etasim.workload.lowering import PHASES

SIZES = {
    "buffers__activation__size": ["256 B", "1 KiB", "16 KiB"],
    "buffers__weight__size": ["256 B", "1 KiB", "16 KiB"],
    "buffers__error__size": ["512 B", "2 KiB", "32 KiB"],
    "array__stream_scratchpad": ["128 B", "1 KiB"],
    "array__stationary_scratchpad": ["64 B", "512 B"],
    "array__psum_depth": [4, 16, 64],
    "array__zero_insertion": [False, True],
    "noc__multicast": [False, True],
}
MACHINES = st.fixed_dictionaries({key: st.sampled_from(values) for key, values in SIZES.items()})


def problems(net, batch, **keys):
    """The array of a machine and what it has to plan for an iteration."""
    iteration = Iteration(architecture(**keys), net, batch, PHASES)
    convolutions = [unit for unit in iteration.units if unit.is_convolution]
    return iteration.array, [iteration.problem(unit, phase) for unit in convolutions for phase in ("ff", "bp", "wg")]


EVERY = 4000
"""More mappings than there are: none is left out because enough others are better."""


def is_the_first_of_the_best(array, problem):
    """The plan is the first of the best of all, worked out without ruling out any; and the best few are the first few."""
    try:
        every = best_plans(array, problem, EVERY)
    except InfeasibleError:
        return not fits(array, problem)
    values = [(each.cycles, each.dram_bytes) for each in every]
    assert len(every) < EVERY
    assert fits(array, problem)
    assert values == sorted(values)
    assert len(set(every)) == len(every)
    return plan(array, problem) == every[0] and best_plans(array, problem, 3) == every[:3]


@settings(max_examples=60)
@given(st.one_of(single_layers(), graphs()), st.integers(1, 5), MACHINES, st.booleans())
def test_the_plan_is_the_first_of_the_best_mappings(sketch, batch, keys, reduces):
    array, asked = problems(sketch.build(), batch, **keys)
    array = array._replace(reduces=reduces)
    assert all(is_the_first_of_the_best(array, problem) for problem in asked)


@pytest.mark.parametrize("activation", ["128 B", "256 B", "512 B", "1 KiB"])
@pytest.mark.parametrize(("stride", "padding"), [(3, 0), (2, 0), (1, 2)])
def test_so_it_is_where_bands_of_rows_read_less_than_whole_samples(activation, stride, padding):
    """A stride that leaves rows out, and rows that are nothing but padding."""
    net = network((8, 16, 16), conv("stem", 8), conv("target", 4, stride=stride, padding=padding), classes=2)
    array, asked = problems(net, 2, buffers__activation__size=activation)
    assert all(is_the_first_of_the_best(array, problem) for problem in asked if problem.name == "target")


@pytest.mark.parametrize("activation", ["128 B", "256 B"])
def test_so_it_is_where_a_band_has_no_row_of_a_pattern(activation):
    """With a stride of 3, bands of one row hold rows of one pattern each; they are not as the first."""
    target = {"name": "target", "op": "conv", "out_channels": 5, "kernel": [2, 3], "padding": [[2, 2], [1, 1]], "groups": 5}
    sketch = Sketch((1, 5, 5), [{"name": "stem", "op": "conv", "out_channels": 5, "kernel": 1}, target | {"stride": [3, 1]}], 1)
    array, asked = problems(sketch.build(), 2, buffers__activation__size=activation)
    assert all(is_the_first_of_the_best(array, problem) for problem in asked if problem.phase == "bp")


@settings(max_examples=60)
@given(st.one_of(single_layers(), graphs()), st.integers(1, 5), MACHINES, st.integers(0, 2))
def test_a_tile_with_more_rounds_than_the_list_has_is_planned_the_same(sketch, batch, keys, n_listed):
    array, asked = problems(sketch.build(), batch, **keys)

    def planned(workspace):
        known_plans.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(planner, "new_workspace", workspace)
            return [best_plans(array, problem, 2) if fits(array, problem) else () for problem in asked]

    short = planned(lambda: new_workspace()._replace(rounds=new_workspace().rounds[:n_listed]))
    assert short == planned(new_workspace)


@settings(max_examples=60)
@given(single_layers(), st.integers(1, 9), st.integers(1, 4), st.data())
def test_rounds_are_the_tiles_of_a_band_in_groups(sketch, batch, n_at_once, data):
    array, asked = problems(sketch.build(), batch)
    problem = data.draw(st.sampled_from([problem for problem in asked if problem.patterns[0].rows and problem.patterns[0].cols]))
    number = data.draw(st.integers(0, len(problem.patterns) - 1))
    pattern, record = problem.patterns[number], problem.pattern_records[number]
    rows = data.draw(st.integers(1, pattern.out_height))
    samples = data.draw(st.integers(0, batch))
    by_row = not samples and data.draw(st.booleans())
    most = pattern.cols if by_row else pattern.rows * pattern.cols
    pixels = pattern.rows * pattern.cols if samples else data.draw(st.integers(1, most))
    shape, band = TileShape(samples, pixels, 1, 1, int(by_row)), Band(0, batch, 0, pattern.out_height if samples else rows)
    tiles = tiles_of_band(pattern, shape, band)
    numbers = dealt(array.numbers, problem.numbers, record, shape, batch, 0, band.end_row, n_at_once)

    def words(n_bytes, unit_bytes):
        """Words of a run of bytes, on average over where it may begin: wherever one that lies behind others of its kind does."""
        if not n_bytes:
            return 0.0
        word = array.word_bytes
        return mean(len({byte // word for byte in range(i * unit_bytes, i * unit_bytes + n_bytes)}) for i in range(word))

    def operand_words(tile):
        n_rows, bits = tile.n_samples * pattern.operand_row_count(*tile.rows(pattern)), numbers.stream_pixel_bits
        if not by_row:
            return words(n_rows * numbers.row_bytes, n_rows // tile.n_samples * numbers.row_bytes if samples else numbers.row_bytes)
        first, end = pattern.operand_columns(tile)
        return n_rows * len({bit // (8 * array.word_bytes) for bit in range(first * bits, end * bits)})

    def pixel_bytes(n_pixels):
        return -(-n_pixels * numbers.pixel_bits // 8)

    def pixel_words(tile):
        each = pixel_bytes(tile.n_pixels // tile.n_samples)
        return words(tile.n_samples * each, each) if samples else words(each, pixel_bytes(pixels))

    expected = Counter()
    for first in range(0, len(tiles), n_at_once):
        each = tiles[first : first + n_at_once]
        streamed, stationary = sum(map(operand_words, each)), sum(map(pixel_words, each))
        expected[len(each), max(t.n_pixels for t in each), streamed, stationary] += 1
    found = Counter()
    for i in range(count_rounds(shape, numbers)):
        count, *what = tile_round(record, shape, numbers, i)
        found[tuple(what)] += count
    assert +found == expected


@settings(max_examples=60)
@given(single_layers(), st.integers(1, 5), st.data())
def test_bands_read_the_rows_that_their_tiles_read(sketch, batch, data):
    array, asked = problems(sketch.build(), batch)
    problem = data.draw(st.sampled_from(asked))
    height, rows = problem.patterns[0].out_height, data.draw(st.integers(1, problem.patterns[0].out_height))
    row_bytes = problem.patterns[0].in_width * array.lanes
    spans = [band_operand_rows(problem, band) for band in bands_of(1, height, 1, rows)]
    sizes = [(end - first) * row_bytes for first, end in spans]
    loaded = sum(burst_span(first * row_bytes, end * row_bytes, array.burst_bytes) for first, end in spans)
    assert stream_bytes(array.numbers, problem.numbers, problem.pattern_records, rows) == (max(sizes), sum(sizes), loaded)


@pytest.mark.parametrize("phase", ["ff", "bp", "wg"])
def test_layers_of_one_shape_are_planned_once(phase):
    net = network((4, 6, 6), conv("stem", 4), conv("a", 4, kernel=3, padding=1), conv("b", 4, kernel=3, padding=1), classes=3)
    array, asked = problems(net, 2)
    first, second = (problem for problem in asked if problem.name in "ab" and problem.phase == phase)
    assert first == second
    assert plan(array, first) is plan(array, second)


def test_a_layer_that_does_not_fit_is_refused_by_its_own_name():
    net = network((4, 6, 6), conv("stem", 4), conv("a", 4, kernel=3, padding=1), conv("b", 4, kernel=3, padding=1), classes=3)
    array, asked = problems(net, 2)
    for name in "ab":
        problem = next(problem for problem in asked if problem.name == name)
        with pytest.raises(InfeasibleError, match=rf"^{name} \(ff\)"):
            plan(array._replace(activation_bytes=1), problem)


AMPLE = {"activation_bytes": 2**30, "weight_bytes": 2**30}


@settings(max_examples=60)
@given(st.one_of(single_layers(), graphs()), st.integers(1, 5), MACHINES, st.sets(st.sampled_from([*AMPLE]), min_size=1), st.booleans())
def test_buffers_that_hold_all_of_an_operand_are_planned_as_any_larger(sketch, batch, keys, ample, reduces):
    array, asked = problems(sketch.build(), batch, **keys)
    larger = array._replace(reduces=reduces, **{name: AMPLE[name] for name in ample})
    for problem in asked:
        least = without_spare(larger, problem)
        assert all(getattr(least, name) < AMPLE[name] for name in ample)
        if fits(larger, problem):
            assert known_plans(least, problem, 3, NOTHING_PINNED) == known_plans(larger, problem, 3, NOTHING_PINNED)
        else:
            assert not fits(least, problem)


@settings(max_examples=30)
@given(st.one_of(single_layers(), graphs()), st.integers(1, 5), MACHINES, st.sampled_from([1.0, 7.0, 64.0]), st.integers(1, 4))
def test_gradients_are_planned_the_same_whatever_the_unified_core(sketch, batch, keys, vector_lanes, n_cores):
    array, asked = problems(sketch.build(), batch, **keys)
    other = array._replace(rates=array.rates._replace(vector_lanes=vector_lanes, n_cores=n_cores, command_cycles=31.0))
    for problem in asked:
        if problem.phase == "wg" and fits(array, problem):
            assert known_plans(other, problem, 3, NOTHING_PINNED) == known_plans(array.without_core, problem, 3, NOTHING_PINNED)


def test_of_two_orders_that_take_as_long_samples_are_whole_in_turn():
    """Both operands stay, and what follows is covered either way: whoever reads the results begins with the first sample."""
    net = network((16, 6, 6), conv("before", 16), conv("target", 12), classes=4)
    array, asked = problems(net, 4, buffers__activation__size="16 KiB", buffers__weight__size="16 KiB")
    backward = next(problem for problem in asked if (problem.name, problem.phase) == ("target", "bp"))
    first, *others = best_plans(array, backward, 8)
    other = next(each for each in others if each._replace(outer="stream") == first)
    assert (first.outer, other.outer) == ("stream", "stationary")
    assert (first.cycles, first.dram_bytes) == (other.cycles, other.dram_bytes)
