"""What the planner's search rests on: bounds that hold, so that the plan is the best of all that fit, and tiles that are counted right."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import graphs, single_layers
from small_networks import architecture, conv, network

from etasim.mapping import InfeasibleError
from etasim.mapping.iteration import Iteration
from etasim.schedule.gradient_plans import GradientPlanner
from etasim.schedule.plan import plan
from etasim.schedule.problem import Band, TileShape
from etasim.schedule.result_plans import ResultPlanner
from etasim.schedule.tiling import divisors, tile_rounds, tiles_of_band
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


def worked_out(array, problem):
    """(value, mapping) of every mapping that fits; each stage's bound is at least that of the stage before."""
    planner = (GradientPlanner if problem.phase == "wg" else ResultPlanner)(array, problem)
    parts = divisors(array.clusters) if array.reduces and problem.phase == "wg" else [1]
    for option in planner.options(tuple((split, n) for n in parts for split in divisors(array.clusters // n))):
        lowest = (0.0, 0)
        for stage in planner.stages:
            found = stage(option)
            if found is None:
                break
            assert found[0] >= lowest
            lowest, option = found
        else:
            yield lowest, option


def is_the_first_of_the_best(array, problem):
    values = list(worked_out(array, problem))
    try:
        chosen = plan(array, problem)
    except InfeasibleError:
        return not values
    value, best = min(values, key=lambda pair: pair[0])
    allotted = {name: getattr(chosen, name) for name in best.allotment._fields}
    return (chosen.cycles, chosen.dram_bytes, chosen.shapes, allotted) == (*value, best.tiles.shapes, best.allotment._asdict())


@settings(max_examples=60, deadline=None)
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


@settings(max_examples=60, deadline=None)
@given(single_layers(), st.integers(1, 9), st.integers(1, 4), st.data())
def test_rounds_are_the_tiles_of_a_band_in_groups(sketch, batch, n_at_once, data):
    _, asked = problems(sketch.build(), batch)
    pattern = data.draw(st.sampled_from([pattern for problem in asked for pattern in problem.patterns if pattern.rows and pattern.cols]))
    rows = data.draw(st.integers(1, pattern.out_height))
    samples = data.draw(st.integers(0, batch))
    pixels = pattern.rows * pattern.cols if samples else data.draw(st.integers(1, pattern.rows * pattern.cols))
    shape, band = TileShape(samples, pixels, 1, 1), Band(0, batch, 0, pattern.out_height if samples else rows)
    tiles = [(t.n_pixels, t.n_samples * pattern.operand_row_count(*t.rows(pattern))) for t in tiles_of_band(pattern, shape, band)]
    assert tile_rounds(pattern, shape, band, n_at_once) == Counter(
        tuple(tiles[first : first + n_at_once]) for first in range(0, len(tiles), n_at_once)
    )


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
